//! OpenAI's Responses, with the setting `api`: another way of saying the same things.
//!
//! Nothing is kept at the provider (`store` false), so a conversation is sent whole. What the model thought comes encrypted (`reasoning.encrypted_content`) and
//! goes back as it came: the signature of a thinking part is the item's id and encrypted content, as JSON.
//!
//! Penalties, `top_k`, a seed and stop sequences have no place here and are refused.

mod decode;
mod encode;
mod input;
mod stream;

pub(crate) use decode::answer;
pub(crate) use encode::encode;
pub(crate) use stream::Items;

use pg_llm_guest::json::{record, text};
use pg_llm_guest::prelude::*;

/// What must go back of an item of reasoning, as one opaque text; none when the provider sent nothing that it could read again.
fn signature(item: &Value) -> Option<String> {
    let encrypted = item.word_at("encrypted_content")?;
    Some(text(&record([("id", item.text_at("id").unwrap_or_default().into()), ("encrypted_content", encrypted.into())])))
}

/// What an item of reasoning shows of it: a summary, or the words themselves where a server has them.
fn shown(item: &Value) -> String {
    let of = |name: &str| item.items_at(name).iter().filter_map(|part| part.text_at("text")).collect::<String>();
    let summary = of("summary");
    if summary.is_empty() { of("content") } else { summary }
}
