//! How many tokens a request will take, before it is made: corrected by what the provider counts.

use pg_llm_sandbox::types::{ChatRequest, Part};

/// Bytes of text that make a token, roughly, in every language model.
const BYTES_A_TOKEN: usize = 4;
/// Of an answer whose length nobody bounds.
const ANSWER: u32 = 500;
/// Of an image or a document.
const ATTACHMENT: usize = 1_000;

/// Of a chat.
pub(crate) fn chat(request: &ChatRequest) -> u32 {
    let parts = request.messages.iter().flat_map(|message| &message.parts);
    let prompt = parts.map(|part| match part {
        Part::Text(text) => text.len() / BYTES_A_TOKEN,
        Part::Image(_) | Part::Document(_) => ATTACHMENT,
        Part::ToolCall(call) => call.arguments.len() / BYTES_A_TOKEN,
        _ => 0,
    });
    let tools = request.tools.iter().map(|tool| tool.description.as_ref().map_or(0, String::len) / BYTES_A_TOKEN);
    let prompt = prompt.chain(tools).fold(1_usize, usize::saturating_add);
    tokens(prompt).saturating_add(request.sampling.max_tokens.unwrap_or(ANSWER))
}

/// Of texts that are only read.
pub(crate) fn texts<'a>(texts: impl IntoIterator<Item = &'a String>) -> u32 {
    tokens(texts.into_iter().fold(1_usize, |sum, text| sum.saturating_add(text.len() / BYTES_A_TOKEN)))
}

fn tokens(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
