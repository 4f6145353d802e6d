//! How many tokens a request will take, before it is made: corrected by what the provider counts.

use pg_llm_sandbox::types::{ChatRequest, Message, Part};

/// Bytes of text that make a token, roughly, in every language model.
const BYTES_A_TOKEN: usize = 4;
/// Of an answer whose length nobody bounds.
const ANSWER: u32 = 500;
/// Of an image or a document.
const ATTACHMENT: usize = 1_000;

/// Of a chat.
pub(crate) fn chat(request: &ChatRequest) -> u32 {
    let messages = request.messages.iter().map(|message| self::message(message) as usize);
    let tools = request.tools.iter().map(|tool| tool.description.as_ref().map_or(0, String::len) / BYTES_A_TOKEN);
    let prompt = messages.chain(tools).fold(1_usize, usize::saturating_add);
    tokens(prompt).saturating_add(request.sampling.max_tokens.unwrap_or(ANSWER))
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
pub(crate) fn texts<'a>(texts: impl IntoIterator<Item = &'a String>) -> u32 {
    tokens(texts.into_iter().fold(1_usize, |sum, text| sum.saturating_add(text.len() / BYTES_A_TOKEN)))
}

fn tokens(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
