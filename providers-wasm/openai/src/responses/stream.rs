//! A streamed response: typed events, the last of which is `response.completed` or `response.incomplete`.

use pg_llm_guest::json::record;
use pg_llm_guest::prelude::*;

use super::decode::{call_id, failed, finish_reason, said};
use super::{shown, signature};
use crate::content::{arguments, logprobs_of};
use crate::decode::invented_id;
use crate::errors;
use crate::usage::usage_in;

/// More items than any response has.
const MAX_ITEMS: usize = 1024;

/// The items of a running response, a few words for each.
#[derive(Debug, Default)]
pub(crate) struct Items {
    started: bool,
    known: Vec<Item>,
    calls: u32,
}

#[derive(Debug)]
struct Item {
    /// `output_index`.
    wire_index: u64,
    /// Its place among the calls, if it is one.
    call: Option<u32>,
    /// Whether any of its words came.
    spoken: bool,
    /// Whether it has ended.
    done: bool,
}

impl Items {
    /// Takes an event; `raw` is its text.
    pub(crate) fn event(
        &mut self,
        event: &Value,
        raw: &[u8],
        quota_is_throttle: bool,
        events: &mut Vec<Event>,
    ) -> Result<Progress, Failure> {
        let kind = event.text_at("type").unwrap_or_default();
        if let Some(failure) = errors::in_body(event, raw, quota_is_throttle) {
            return Err(failure);
        }
        let response = event.get("response").unwrap_or(&Value::Null);
        let delta = || event.text_at("delta").unwrap_or_default().to_owned();
        match kind {
            "response.created" | "response.in_progress" | "response.queued" => self.start(response, events),
            "response.output_item.added" => {
                if let Some(item) = event.get("item").filter(|item| item.text_at("type") == Some("function_call")) {
                    self.begin_call(event, item, events);
                }
            }
            "response.output_text.delta" | "response.refusal.delta" => {
                self.spoken(event);
                events.push(Event::Text(delta()));
                let logprobs = logprobs_of(event.items_at("logprobs"));
                if !logprobs.is_empty() {
                    events.push(Event::Logprobs(logprobs));
                }
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                self.spoken(event);
                events.push(Event::Thinking(delta()));
            }
            "response.function_call_arguments.delta" => {
                let piece = delta();
                if let Some(index) = self.item(event).filter(|_| !piece.is_empty()).and_then(|item| item.speak().call) {
                    events.push(call_piece(index, piece));
                }
            }
            "response.output_item.done" => self.end_item(event, event.get("item").unwrap_or(&Value::Null), events),
            "response.completed" | "response.incomplete" => return self.end(response, raw, quota_is_throttle, events),
            "response.failed" | "response.cancelled" => {
                return Err(failed(response, raw, quota_is_throttle)
                    .unwrap_or_else(|| Failure::new(FailureKind::Server, "the response failed, without words").with_raw(raw)));
            }
            "error" => {
                // OpenAI's own has its words beside the type, others have an object as everywhere.
                let error = record([("error", event.clone())]);
                return Err(errors::in_body(&error, raw, quota_is_throttle).unwrap_or_else(|| Failure::new(FailureKind::Server, kind)));
            }
            // Parts that begin and end, tools that run at the provider, and what the provider adds in time.
            _ => {}
        }
        Ok(Progress::More)
    }

    fn start(&mut self, response: &Value, events: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.started, true) {
            let of = |name: &str| response.word_at(name).map(str::to_owned);
            events.push(Event::Started(Started { id: of("id"), model: of("model") }));
        }
    }

    /// The item that an event is about, which begins with it if it has not.
    fn item(&mut self, event: &Value) -> Option<&mut Item> {
        let wire_index = event.u64_at("output_index").unwrap_or(0);
        let at = match self.known.iter().position(|item| item.wire_index == wire_index) {
            Some(at) => at,
            None if self.known.len() == MAX_ITEMS => return None,
            None => {
                self.known.push(Item { wire_index, call: None, spoken: false, done: false });
                self.known.len() - 1
            }
        };
        self.known.get_mut(at)
    }

    fn spoken(&mut self, event: &Value) {
        if let Some(item) = self.item(event) {
            item.spoken = true;
        }
    }

    fn begin_call(&mut self, event: &Value, call: &Value, events: &mut Vec<Event>) {
        let index = self.calls;
        let Some(item) = self.item(event).filter(|item| item.call.is_none()) else { return };
        item.call = Some(index);
        let arguments = arguments(call);
        item.spoken = !arguments.is_empty();
        self.calls += 1;
        events.push(Event::ToolCall(ToolCallDelta {
            index,
            id: Some(call_id(call).map_or_else(|| invented_id(index as usize), str::to_owned)),
            name: Some(call.text_at("name").unwrap_or_default().to_owned()),
            arguments,
            signature: None,
        }));
    }

    /// An item is complete: what did not come in pieces is said now.
    fn end_item(&mut self, event: &Value, item: &Value, events: &mut Vec<Event>) {
        let kind = item.text_at("type").unwrap_or_default();
        if kind == "function_call" {
            self.begin_call(event, item, events);
        }
        let Some(known) = self.item(event).filter(|known| !known.done) else { return };
        known.done = true;
        let (was_spoken, call) = (std::mem::replace(&mut known.spoken, true), known.call);
        match kind {
            "message" if !was_spoken => events.extend(item.items_at("content").iter().map(|piece| Event::Text(said(piece).to_owned()))),
            "function_call" if !was_spoken => events.extend(call.map(|index| call_piece(index, arguments(item)))),
            "reasoning" => {
                let text = if was_spoken { String::new() } else { shown(item) };
                let is_shown = was_spoken || !text.is_empty();
                events.push(Event::Thinking(text));
                events.extend(signature(item).map(if is_shown { Event::ThinkingSignature } else { Event::RedactedThinking }));
            }
            _ => {}
        }
    }

    fn end(&mut self, response: &Value, raw: &[u8], quota_is_throttle: bool, events: &mut Vec<Event>) -> Result<Progress, Failure> {
        self.start(response, events);
        if let Some(failure) = failed(response, raw, quota_is_throttle) {
            return Err(failure);
        }
        // A server that streams no items has them all here.
        if self.known.is_empty() {
            for (index, item) in (0_u64..).zip(response.items_at("output")) {
                self.end_item(&record([("output_index", index.into())]), item, events);
            }
        }
        events.extend(usage_in(response).map(Event::Usage));
        let finish = finish_reason(response, self.calls > 0).unwrap_or(FinishReason::Stop);
        if self.known.is_empty() && finish == FinishReason::Stop {
            return Err(Failure::protocol("the response has no output", raw));
        }
        events.push(Event::Finish(finish));
        Ok(Progress::Done)
    }
}

impl Item {
    fn speak(&mut self) -> &Self {
        self.spoken = true;
        self
    }
}

fn call_piece(index: u32, arguments: String) -> Event {
    Event::ToolCall(ToolCallDelta { index, arguments, ..ToolCallDelta::default() })
}
