//! A stream's events, put together to the answer that they are pieces of.

use std::collections::{HashMap, HashSet};

use pg_llm_sandbox::types::{Answer, Event, FinishReason, Part, Thinking, TokenLogprob, ToolCall, ToolCallDelta, Usage};
use pg_llm_sandbox::{CallError as SandboxCallError, GuestFault, logprob_bytes};

use crate::filters;

/// An answer so far.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    id: Option<String>,
    model: Option<String>,
    parts: Vec<Part>,
    /// By index, in the order in which they began.
    calls: Vec<(u32, ToolCall)>,
    /// Where in `calls` the call of an index is. There may be very many: a search through them all for each piece would take for ever.
    places: HashMap<u32, usize>,
    finish_reason: Option<FinishReason>,
    usage: Option<Usage>,
    logprobs: Vec<TokenLogprob>,
    /// What the events held, in bytes.
    bytes: u64,
    /// Tool calls as the provider gave them, by index.
    begun_calls: HashSet<u32>,
}

/// Most tool calls of a streamed answer: each may have filters of its own, with memory of their own. Providers take no more tools than that.
const MOST_CALLS: usize = 128;

impl Assembly {
    /// Counts an event as the provider gave it.
    pub(crate) fn count(&mut self, event: &Event) {
        self.bytes += bytes(event);
        if let Event::ToolCall(delta) = event {
            self.begun_calls.insert(delta.index);
        }
    }

    /// Why it is too much for an answer that may have so many bytes; none where it is not.
    pub(crate) fn too_much(&self, most: u64) -> Option<SandboxCallError> {
        let what = if self.bytes > most {
            format!("its answer is larger than {most} bytes")
        } else if self.begun_calls.len() > MOST_CALLS {
            format!("its answer has more than {MOST_CALLS} tool calls")
        } else {
            return None;
        };
        Some(SandboxCallError::Guest(GuestFault::Contract(what)))
    }

    /// Adds an event. Those of which something is to be shown at once are given by reference.
    pub(crate) fn push(&mut self, event: &Event) {
        match event {
            Event::Started(started) => {
                self.id.clone_from(&started.id);
                self.model.clone_from(&started.model);
            }
            Event::Text(text) => match self.parts.last_mut() {
                Some(Part::Text(so_far)) => so_far.push_str(text),
                _ => self.parts.push(Part::Text(text.clone())),
            },
            Event::Thinking(text) => match self.parts.last_mut() {
                Some(Part::Thinking(t)) if !t.redacted && t.signature.is_none() => t.text.push_str(text),
                _ => self.think(text, None, false),
            },
            Event::ThinkingSignature(signature) => match self.parts.last_mut() {
                Some(Part::Thinking(t)) if !t.redacted && t.signature.is_none() => t.signature = Some(signature.clone()),
                _ => self.think("", Some(signature), false),
            },
            Event::RedactedThinking(content) => self.think("", Some(content), true),
            Event::ToolCall(delta) => self.call(delta),
            Event::Logprobs(tokens) => self.logprobs.extend_from_slice(tokens),
            Event::Usage(usage) => self.usage = Some(usage.clone()),
            Event::Finish(reason) => self.finish_reason = Some(reason.clone()),
        }
    }

    fn think(&mut self, text: &str, signature: Option<&String>, redacted: bool) {
        self.parts.push(Part::Thinking(Thinking { text: text.to_owned(), signature: signature.cloned(), redacted }));
    }

    fn call(&mut self, delta: &ToolCallDelta) {
        let at = *self.places.entry(delta.index).or_insert_with(|| {
            self.calls.push((delta.index, ToolCall { id: String::new(), name: String::new(), arguments: String::new(), signature: None }));
            self.calls.len() - 1
        });
        let call = &mut self.calls[at].1;
        if let Some(id) = &delta.id {
            call.id.clone_from(id);
        }
        if let Some(name) = &delta.name {
            call.name.clone_from(name);
        }
        call.arguments.push_str(&delta.arguments);
        if delta.signature.is_some() {
            call.signature.clone_from(&delta.signature);
        }
    }

    /// Takes out what is of filtered answers and not theirs to show.
    pub(crate) fn without_words(&mut self) {
        filters::without_words(&mut self.logprobs);
    }

    /// Forgets tool calls that will not be whole.
    pub(crate) fn drop_calls(&mut self, indexes: &[u32]) {
        let dropped: HashSet<&u32> = indexes.iter().collect();
        self.calls.retain(|(index, _)| !dropped.contains(index));
        self.places = self.calls.iter().enumerate().map(|(at, (index, _))| (*index, at)).collect();
    }

    /// The provider's terminal word was there.
    pub(crate) fn is_finished(&self) -> bool {
        self.finish_reason.is_some()
    }

    /// The model in the provider's words, once it has said so.
    pub(crate) fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// The provider's id of the response, once it has said so.
    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Output tokens, in the provider's count.
    pub(crate) fn output_tokens(&self) -> Option<u64> {
        self.usage.as_ref()?.output_tokens
    }

    /// The whole answer.
    pub(crate) fn answer(self) -> Answer {
        let mut parts = self.parts;
        parts.extend(self.calls.into_iter().map(|(_, mut call)| {
            // A call without arguments has no piece of them.
            if call.arguments.trim().is_empty() {
                "{}".clone_into(&mut call.arguments);
            }
            Part::ToolCall(call)
        }));
        let (finish_reason, usage, logprobs) = (self.finish_reason, self.usage, self.logprobs);
        Answer { id: self.id, model: self.model, parts, finish_reason, usage, logprobs, raw: None }
    }
}

/// What an event takes, as part of an answer: what holds its texts, too, or a guest that says nothing often enough would take all memory.
fn bytes(event: &Event) -> u64 {
    let option = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let sum = match event {
        Event::Started(started) => option(&started.id) + option(&started.model),
        Event::Text(text) => text.len(),
        Event::Thinking(text) | Event::ThinkingSignature(text) | Event::RedactedThinking(text) => size_of::<Part>() + text.len(),
        Event::ToolCall(delta) => {
            size_of::<Part>() + delta.arguments.len() + option(&delta.id) + option(&delta.name) + option(&delta.signature)
        }
        Event::Logprobs(tokens) => tokens.iter().map(logprob_bytes).sum(),
        Event::Usage(usage) => option(&usage.raw),
        Event::Finish(FinishReason::Other(word)) => word.len(),
        Event::Finish(_) => 0,
    };
    sum as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use pg_llm_sandbox::types::Started;

    fn assembled(events: &[Event]) -> Answer {
        let mut assembly = Assembly::default();
        for event in events {
            assembly.push(event);
        }
        assembly.answer()
    }

    fn piece(index: u32, id: Option<&str>, name: Option<&str>, arguments: &str) -> Event {
        let (id, name) = (id.map(str::to_owned), name.map(str::to_owned));
        Event::ToolCall(ToolCallDelta { index, id, name, arguments: arguments.to_owned(), signature: None })
    }

    #[test]
    fn texts_are_joined_and_thinking_keeps_its_signature() {
        let answer = assembled(&[
            Event::Started(Started { id: Some("r".into()), model: Some("m".into()) }),
            Event::Thinking("h".into()),
            Event::Thinking("m".into()),
            Event::ThinkingSignature("s".into()),
            Event::Text("a".into()),
            Event::Text("b".into()),
            Event::RedactedThinking("x".into()),
            Event::Finish(FinishReason::Stop),
        ]);
        assert_eq!((answer.id.as_deref(), answer.model.as_deref()), (Some("r"), Some("m")));
        let shown: Vec<String> = answer
            .parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Thinking(t) => format!("<{} {:?} {}>", t.text, t.signature, t.redacted),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(shown, ["<hm Some(\"s\") false>", "ab", "< Some(\"x\") true>"]);
    }

    #[test]
    fn two_signatures_are_of_two_blocks_and_never_one() {
        let answer = assembled(&[
            Event::ThinkingSignature("one".into()),
            Event::ThinkingSignature("two".into()),
            Event::Thinking("seen".into()),
            Event::ThinkingSignature("three".into()),
            Event::Finish(FinishReason::Stop),
        ]);
        let blocks: Vec<(&str, Option<&str>)> = answer
            .parts
            .iter()
            .filter_map(|p| if let Part::Thinking(t) = p { Some((t.text.as_str(), t.signature.as_deref())) } else { None })
            .collect();
        assert_eq!(blocks, [("", Some("one")), ("", Some("two")), ("seen", Some("three"))]);
    }

    #[test]
    fn pieces_of_tool_calls_come_in_any_order_of_calls() {
        let answer = assembled(&[
            piece(0, Some("c0"), Some("f"), "{\"a\""),
            piece(1, Some("c1"), Some("g"), ""),
            piece(0, None, None, ":1}"),
            Event::Finish(FinishReason::ToolCalls),
        ]);
        let calls: Vec<(&str, &str, &str)> = answer
            .parts
            .iter()
            .filter_map(|p| if let Part::ToolCall(c) = p { Some((c.id.as_str(), c.name.as_str(), c.arguments.as_str())) } else { None })
            .collect();
        assert_eq!(calls, [("c0", "f", "{\"a\":1}"), ("c1", "g", "{}")]);
    }

    #[test]
    fn the_last_usage_counts() {
        let usage = |n| {
            Event::Usage(Usage {
                input_tokens: None,
                output_tokens: Some(n),
                cached_tokens: None,
                cache_write_tokens: None,
                reasoning_tokens: None,
                raw: None,
            })
        };
        let mut assembly = Assembly::default();
        for n in [1, 7] {
            assembly.push(&usage(n));
        }
        assert_eq!(assembly.output_tokens(), Some(7));
    }
}
