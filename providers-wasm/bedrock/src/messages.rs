//! Messages as they are sent: two roles that take turns, and the system prompt apart.

use pg_llm_guest::json::{record, set};
use pg_llm_guest::prelude::*;

use crate::media::{DocumentNames, document, image};
use crate::refusal::{Refusal, object, one};

/// A conversation in blocks.
#[derive(Debug, Default)]
pub(crate) struct Conversation {
    pub(crate) system: Vec<Value>,
    turns: Vec<(&'static str, Vec<Value>)>,
    /// Whether tools were called or have answered.
    pub(crate) has_tools: bool,
}

const USER: &str = "user";
const ASSISTANT: &str = "assistant";

/// Sorts messages: those of the operator to the top, the others into turns. The roles have to alternate, so that neighbours of one role are one turn; the
/// results of tools are the user's.
pub(crate) fn encode(messages: &[Message]) -> Result<Conversation, Refusal> {
    let mut conversation = Conversation::default();
    let mut names = DocumentNames::default();
    for message in messages {
        match message.role {
            Role::System => {
                for part in &message.parts {
                    let Part::Text(text) = part else { return Err(misplaced(part, "system")) };
                    if !text.trim().is_empty() {
                        conversation.system.push(text_block(text));
                    }
                }
            }
            Role::User => {
                for part in &message.parts {
                    let block = match part {
                        Part::Text(text) => text_block(text),
                        Part::Image(media) => one("image", image(media)?),
                        Part::Document(media) => one("document", document(media, &mut names)?),
                        Part::ToolCall(_) | Part::ToolResult(_) | Part::Thinking(_) => return Err(misplaced(part, "user")),
                    };
                    conversation.add(USER, block);
                }
            }
            Role::Assistant => {
                for part in &message.parts {
                    conversation.said(part)?;
                }
            }
            Role::Tool => {
                for part in &message.parts {
                    let Part::ToolResult(result) = part else { return Err(misplaced(part, "tool")) };
                    conversation.has_tools = true;
                    conversation.add(USER, tool_result(result));
                }
            }
        }
    }
    Ok(conversation)
}

impl Conversation {
    fn add(&mut self, role: &'static str, block: Value) {
        match self.turns.last_mut() {
            Some((last, blocks)) if *last == role => blocks.push(block),
            _ => self.turns.push((role, vec![block])),
        }
    }

    /// A part of the model's own message.
    fn said(&mut self, part: &Part) -> Result<(), Refusal> {
        let block = match part {
            // A model that said nothing takes no turn.
            Part::Text(text) if text.trim().is_empty() => return Ok(()),
            Part::Text(text) => text_block(text),
            Part::Thinking(thinking) => match reasoning(thinking) {
                Some(block) => block,
                None => return Ok(()),
            },
            Part::ToolCall(call) => {
                self.has_tools = true;
                tool_use(call)?
            }
            Part::Image(_) | Part::Document(_) | Part::ToolResult(_) => return Err(misplaced(part, "assistant")),
        };
        self.add(ASSISTANT, block);
        Ok(())
    }

    /// Has the prompt cached up to its end, and up to the end of the system prompt, for this time.
    pub(crate) fn cache(&mut self, time: &str) {
        let mut point = Map::new();
        set(&mut point, "type", "default".into());
        if time != "default" {
            set(&mut point, "ttl", time.into());
        }
        let point = one("cachePoint", point.into());
        if !self.system.is_empty() {
            self.system.push(point.clone());
        }
        if let Some((_, blocks)) = self.turns.last_mut() {
            blocks.push(point);
        }
    }

    /// The `messages` of the body. Blank texts are refused by the provider and say nothing: beside other blocks they are left out.
    pub(crate) fn messages(&mut self) -> Value {
        let turns = std::mem::take(&mut self.turns).into_iter();
        let turns = turns.map(|(role, mut blocks)| {
            if !blocks.iter().all(is_blank) {
                blocks.retain(|block| !is_blank(block));
            }
            record([("role", role.into()), ("content", blocks.into())])
        });
        turns.collect::<Vec<Value>>().into()
    }
}

fn is_blank(block: &Value) -> bool {
    block.text_at("text").is_some_and(|text| text.trim().is_empty())
}

fn text_block(text: &str) -> Value {
    one("text", text.into())
}

/// Thinking without a signature was shown to be read, and is not taken back: Claude refuses it, and other models are not to be reminded of it.
fn reasoning(thinking: &Thinking) -> Option<Value> {
    let signature = thinking.signature.as_deref()?;
    let content = if thinking.redacted {
        one("redactedContent", signature.into())
    } else {
        one("reasoningText", record([("text", thinking.text.as_str().into()), ("signature", signature.into())]))
    };
    Some(one("reasoningContent", content))
}

fn tool_use(call: &ToolCall) -> Result<Value, Refusal> {
    let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
    let input = object("the arguments of tool call ", &call.id, arguments)?;
    let call = record([("toolUseId", call.id.as_str().into()), ("name", call.name.as_str().into()), ("input", input.into())]);
    Ok(one("toolUse", call))
}

fn tool_result(result: &ToolResult) -> Value {
    let content = if result.content.trim().is_empty() { Vec::new() } else { vec![text_block(&result.content)] };
    let mut encoded = Map::new();
    set(&mut encoded, "toolUseId", result.call_id.as_str().into());
    set(&mut encoded, "content", content.into());
    if result.is_error {
        // Success is what it is without a word, and not every model knows the field.
        set(&mut encoded, "status", "error".into());
    }
    one("toolResult", encoded.into())
}

fn misplaced(part: &Part, role: &str) -> Refusal {
    let what = match part {
        Part::Text(_) => "a text",
        Part::Image(_) => "an image",
        Part::Document(_) => "a document",
        Part::ToolCall(_) => "a tool call",
        Part::ToolResult(_) => "a tool result",
        Part::Thinking(_) => "thinking",
    };
    Refusal::Invalid([what, " cannot be part of a message of role ", role].concat())
}
