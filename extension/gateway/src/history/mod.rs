//! A session's conversation: what of it goes along with the next prompt, and what a turn adds to it.
//!
//! A turn begins with a user's message and goes on, with answers, tool calls and their results, until the next one. Turns are left out as a whole and from the
//! oldest on, so that no call is cut from its result and no thinking from what it led to; instructions (messages of role system) are never left out. The turn
//! that goes on, whose tools' results come now, is always sent.

mod cut;
mod options;
mod summary;

use pg_llm_sandbox::types::{Message, Part, Role};
use serde_json::{Value, json};

use crate::admission::estimate;
use crate::chat;
use crate::error::ConfigError;
use crate::messages;
use crate::options::ChatOptions;
use crate::outcome::ChatOutcome;
use crate::route::Route;

use cut::{Bounds, Room};
pub use options::SessionOptions;
pub use summary::SummaryCall;

/// A message that was said before.
#[derive(Clone, Debug, PartialEq)]
pub struct Earlier {
    /// Its place in the conversation, from 1.
    pub id: i64,
    message: Message,
    /// The model type that said it.
    provider: Option<String>,
}

impl Earlier {
    /// Reads what [`Said`] holds; none for what is no message.
    pub fn read(id: i64, json: &[u8], provider: Option<String>) -> Option<Self> {
        messages::read(&serde_json::from_slice(json).ok()?).map(|message| Self { id, message, provider })
    }

    /// As it is said to a model of this type. Thinking, and what is signed, mean something to who said them alone: others refuse them.
    fn told(&self, model_type: &str) -> Message {
        let mut message = self.message.clone();
        if self.provider.as_deref().is_some_and(|provider| provider != model_type) {
            message.parts.retain(|part| !matches!(part, Part::Thinking(_)));
            for part in &mut message.parts {
                if let Part::ToolCall(call) = part {
                    call.signature = None;
                }
            }
        }
        message
    }
}

/// A message to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: &'static str,
    /// The whole message, as the option `messages` takes it: UTF-8.
    pub json: Vec<u8>,
    /// The type of the model that said it; none where the caller did.
    pub provider: Option<String>,
}

impl Said {
    fn of(message: &Message) -> Self {
        let json = messages::of_role(message.role, &message.parts).to_string().into_bytes();
        Self { role: messages::role_name(message.role), json, provider: None }
    }
}

/// A message that is kept, to be shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// Its words: texts and results of tools, joined. Empty where there are none.
    pub text: String,
    /// All of it, as the option `messages` takes it.
    pub message: Value,
}

impl Shown {
    /// Reads what [`Said`] holds; none for what is no message.
    pub fn read(json: &[u8]) -> Option<Self> {
        let message: Value = serde_json::from_slice(json).ok()?;
        let text = messages::read(&message)?.parts.iter().map(words).collect();
        Some(Self { text, message })
    }
}

fn words(part: &Part) -> &str {
    match part {
        Part::Text(text) => text,
        Part::ToolResult(result) => &result.content,
        Part::Image(_) | Part::Document(_) | Part::ToolCall(_) | Part::Thinking(_) => "",
    }
}

/// A prompt that goes on with a conversation, before it is sent.
#[derive(Clone, Debug)]
pub struct Turn {
    prompt: String,
    options: ChatOptions,
}

impl Turn {
    /// What the caller says now: `messages` of the options, then the prompt with what is attached to it.
    ///
    /// # Errors
    /// When that is nothing.
    pub fn new(prompt: String, options: ChatOptions) -> Result<Self, ConfigError> {
        if prompt.is_empty() && options.messages.is_empty() && options.images.is_empty() && options.documents.is_empty() {
            return Err(ConfigError::invalid(
                "a turn of a session needs a prompt",
                "An empty one goes with the option messages, such as results of tools, or with images and documents.".to_owned(),
            ));
        }
        Ok(Self { prompt, options })
    }

    /// The call's own options.
    pub fn options(&self) -> &ChatOptions {
        &self.options
    }

    /// What it adds to the conversation, with this outcome of a model of this type: all that was said, as it was said.
    pub fn said(&self, outcome: &ChatOutcome, model_type: Option<&str>) -> Vec<Said> {
        let prompt = chat::user_message(&self.prompt, &self.options);
        let answer = Said::of(&Message { role: Role::Assistant, parts: outcome.answer.parts.clone() });
        let answer = Said { provider: model_type.map(str::to_owned), ..answer };
        self.options.messages.iter().chain(&prompt).map(Said::of).chain([answer]).collect()
    }
}

/// What a call is made of.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The prompt.
    pub prompt: String,
    /// The options, with the conversation as `messages`.
    pub options: ChatOptions,
    /// How many earlier messages are among them.
    pub earlier: usize,
}

/// The conversation before a turn.
#[derive(Clone, Debug)]
pub struct History {
    earlier: Vec<Earlier>,
    /// What came before the first of them is among them, or in the summary.
    whole: bool,
    summary: Option<String>,
    /// Of [`Self::earlier`], from here on they are sent.
    sent_from: usize,
}

impl History {
    /// A conversation whose latest messages are `earlier`, in their order. `whole`: there are no others, but those that the summary stands for.
    pub fn new(earlier: Vec<Earlier>, whole: bool, summary: Option<String>) -> Self {
        Self { earlier, whole, summary, sent_from: 0 }
    }

    /// Refuses a turn that leaves tools that the model has asked for without their results: providers do too, and the conversation would be stuck.
    ///
    /// # Errors
    /// With the ids of those calls.
    pub fn check_tools(&self, turn: &Turn) -> Result<(), ConfigError> {
        let Some(asked_at) = self.earlier.iter().rposition(|earlier| earlier.message.role == Role::Assistant) else { return Ok(()) };
        let later = self.earlier.iter().skip(asked_at + 1).map(|earlier| &earlier.message).chain(&turn.options.messages);
        let answered: Vec<&str> = later
            .flat_map(|message| &message.parts)
            .filter_map(|part| if let Part::ToolResult(result) = part { Some(result.call_id.as_str()) } else { None })
            .collect();
        let calls = self.earlier.iter().skip(asked_at).take(1).flat_map(|asked| &asked.message.parts);
        let open: Vec<&str> = calls
            .filter_map(|part| if let Part::ToolCall(call) = part { Some(call.id.as_str()) } else { None })
            .filter(|id| !answered.contains(id))
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        Err(ConfigError::invalid(
            format!("the model waits for the results of its tool calls {}", crate::error::clip(&open.join(", "), 200)),
            r#"Give each with the option messages: [{"role": "tool", "tool_call_id": "...", "content": ...}], or fork the session before that turn."#
                .to_owned(),
        ))
    }

    /// Leaves out the oldest turns beyond `most` messages, or beyond the model's context.
    pub fn trim(&mut self, route: &Route, turn: &Turn, most: usize) {
        self.sent_from = self.cut(route, turn, most, Room::All);
    }

    /// The same, where what is left out is to be summarized: then half of the room is left to turns to come, so that not each of them makes a summary. None where
    /// nothing is left out.
    pub fn summarize(&self, route: &Route, turn: &Turn, most: usize) -> Option<SummaryCall> {
        if self.cut(route, turn, most, Room::All) == 0 {
            return None;
        }
        let cut = self.cut(route, turn, most, Room::Half);
        summary::call(route, turn, self.summary.as_deref(), self.earlier.get(..cut)?)
    }

    /// Puts a summary in the place of the messages up to `up_to`.
    pub fn replace(&mut self, up_to: i64, summary: String) {
        self.earlier.retain(|earlier| earlier.id > up_to || earlier.message.role == Role::System);
        (self.summary, self.whole, self.sent_from) = (Some(summary), true, 0);
    }

    /// The index from which on messages are sent.
    fn cut(&self, route: &Route, turn: &Turn, most: usize, room: Room) -> usize {
        let options = turn.options.clone().over(&route.spec.defaults);
        let summary = self.summary.as_ref().map_or(0, |summary| estimate::texts([summary]).total());
        let bounds = Bounds {
            messages: most,
            tokens: route.spec.context_tokens.map(|context| {
                context.saturating_sub(estimate::chat(&chat::request(route, &turn.prompt, &options)).total()).saturating_sub(summary)
            }),
        };
        let goes_on = turn.options.messages.first().is_some_and(|first| matches!(first.role, Role::Tool | Role::Assistant));
        cut::at(&self.earlier, self.whole, goes_on, &bounds.of(room))
    }

    /// The turn's call, of a model of this type.
    pub fn prepare(&self, turn: &Turn, model_type: &str) -> Prepared {
        let (left_out, sent) = self.earlier.split_at(self.sent_from.min(self.earlier.len()));
        let instructions = left_out.iter().filter(|earlier| earlier.message.role == Role::System);
        let mut messages: Vec<Message> = instructions.chain(sent).map(|earlier| earlier.told(model_type)).collect();
        let earlier = messages.len();
        messages.extend(turn.options.messages.iter().cloned());
        let mut prompt = turn.prompt.clone();
        if let Some(summary) = &self.summary {
            let told = summary::told(summary);
            // In a user's message that is there anyway: not all models take two in a row, and it is no instruction.
            match messages.iter_mut().find(|message| message.role == Role::User) {
                Some(first) => first.parts.insert(0, Part::Text(told)),
                None if prompt.is_empty() => prompt = told,
                None => prompt = format!("{told}\n\n{prompt}"),
            }
        }
        Prepared { prompt, options: ChatOptions { messages, ..turn.options.clone() }, earlier }
    }
}

/// What a turn adds to the object of its answer.
pub fn describe(answer: &mut Value, session: &str, messages: i64, earlier: usize, summary: Option<&ChatOutcome>) {
    answer["session_id"] = json!(session);
    answer["message_count"] = json!(messages);
    answer["sent_messages"] = json!(earlier);
    answer["summary"] = summary.map_or(Value::Null, |summary| {
        json!({"request_id": summary.request_id, "usage": summary.usage_json(), "attempts": summary.attempts, "instance_name": summary.instance})
    });
}

#[cfg(test)]
mod tests;
