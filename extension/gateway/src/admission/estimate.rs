//! How many tokens a request will take, before it is made: corrected by what the provider counts.

use pg_llm_sandbox::types::{ChatRequest, Message, Part};

/// Tokens that a request is thought to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) input: u32,
    pub(crate) output: u32,
}

impl Expected {
    /// Of both kinds.
    pub(crate) fn total(self) -> u32 {
        self.input.saturating_add(self.output)
    }
}

/// Bytes of text that make a token, roughly, in every language model.
const BYTES_A_TOKEN: usize = 4;
/// Of an answer whose length nobody bounds.
const ANSWER: u32 = 500;
/// Of an image or a document.
const ATTACHMENT: usize = 1_000;

/// Of a chat.
pub(crate) fn chat(request: &ChatRequest) -> Expected {
    let messages = request.messages.iter().map(|message| self::message(message) as usize);
    let tools = request.tools.iter().map(|tool| tool.description.as_ref().map_or(0, String::len) / BYTES_A_TOKEN);
    let prompt = messages.chain(tools).fold(1_usize, usize::saturating_add);
    Expected { input: tokens(prompt), output: request.sampling.max_tokens.unwrap_or(ANSWER) }
}

/// Of one message.
pub(crate) fn message(message: &Message) -> u32 {
    let parts = message.parts.iter().map(|part| match part {
        Part::Text(text) => text.len() / BYTES_A_TOKEN,
        Part::Image(_) | Part::Document(_) => ATTACHMENT,
        Part::ToolCall(call) => call.arguments.len() / BYTES_A_TOKEN,
        Part::ToolResult(result) => result.content.len() / BYTES_A_TOKEN,
        Part::Thinking(thinking) => thinking.text.len() / BYTES_A_TOKEN,
    });
    tokens(parts.fold(0_usize, usize::saturating_add))
}

/// Of texts that are only read.
pub(crate) fn texts<'a>(texts: impl IntoIterator<Item = &'a String>) -> Expected {
    let input = tokens(texts.into_iter().fold(1_usize, |sum, text| sum.saturating_add(text.len() / BYTES_A_TOKEN)));
    Expected { input, output: 0 }
}

fn tokens(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
