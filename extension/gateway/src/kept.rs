//! Answers as the response cache keeps them: which, in what form, and what comes back.

use std::time::Duration;

use pg_llm_sandbox::types::{Answer, FinishReason, Part, Thinking, ToolCallDelta};

use crate::caching::{CacheTerms, Caching};
use crate::call_log::CallLog;
use crate::chat::ChatCall;
use crate::confidence;
use crate::extract;
use crate::filters::Action;
use crate::ledger::Account;
use crate::outcome::ChatOutcome;
use crate::record::{Record, put_text};
use crate::stream::{Delta, StreamOutcome};
use crate::structured::AnswerFormat;

/// Another one wherever the bytes that follow it change their meaning: what was kept in another form is not there.
const VERSION: u64 = 2;

impl ChatCall {
    /// On which terms its answer may come from the cache; none where it may not.
    pub fn cache_terms(&self) -> Option<CacheTerms> {
        match self.options().cache {
            Some(Caching::On(terms)) => Some(terms),
            Some(Caching::Off) | None => None,
        }
    }

    /// What is kept of this call's outcome; none for what is not: an answer that was cut off, held back or ended in a way of its own, one that a filter should have seen, one that another model
    /// gave in the place of this one, and one that comes out of the cache.
    pub fn to_kept(&self, outcome: &ChatOutcome) -> Option<Vec<u8>> {
        let whole = matches!(outcome.answer.finish_reason, Some(FinishReason::Stop | FinishReason::ToolCalls));
        let filtered = outcome.acted.iter().all(|acted| acted.action != Action::LeftOut);
        if !whole || !filtered || outcome.cached || !outcome.passed.is_empty() || outcome.instance != self.route().instance {
            return None;
        }
        let mut kept = Vec::new();
        let sink = &mut |bytes: &[u8]| kept.extend_from_slice(bytes);
        VERSION.put(sink);
        put_text(&outcome.model_name, sink);
        outcome.acted.put(sink);
        outcome.structured.as_ref().map(|s| s.text.clone()).put(sink);
        let Answer { id, model, parts, finish_reason, usage, logprobs, raw } = &outcome.answer;
        id.put(sink);
        model.put(sink);
        parts.put(sink);
        finish_reason.put(sink);
        usage.put(sink);
        logprobs.put(sink);
        // The largest part, of use to who asks for it alone.
        if outcome.include_raw {
            raw.put(sink);
        } else {
            None::<String>.put(sink);
        }
        Some(kept)
    }

    /// The outcome that [`Self::to_kept`] was given, for another caller; `latency` is how long finding it took. None for anything else.
    pub fn from_kept(&self, mut kept: &[u8], latency: Duration) -> Option<ChatOutcome> {
        let bytes = &mut kept;
        if u64::read(bytes)? != VERSION {
            return None;
        }
        let model_name = String::read(bytes)?;
        let acted = Vec::read(bytes)?;
        let structured = Option::<String>::read(bytes)?.map(|text| extract::read(&text)).transpose().ok()?;
        let answer = Answer::read(bytes)?;
        if !bytes.is_empty() {
            return None;
        }
        let wants_tools = answer.parts.iter().any(|part| matches!(part, Part::ToolCall(_)));
        let format = self.options().response_format.clone();
        match &format {
            Some(AnswerFormat::Schema(_)) if structured.is_none() && !wants_tools => return None,
            Some(AnswerFormat::Schema(_)) => {}
            _ if structured.is_some() => return None,
            _ => {}
        }
        let outcome = ChatOutcome {
            request_id: self.route().origin.request_id,
            instance: self.route().instance.clone(),
            model_name,
            answer,
            acted,
            format,
            structured,
            include_raw: self.options().include_raw == Some(true),
            cached: true,
            fallback_used: false,
            passed: Vec::new(),
            attempts: 0,
            latency,
            log: CallLog::default(),
        };
        // One that another model is to be asked for as well is asked for anew.
        if !self.is_sure(&outcome) {
            return None;
        }
        Account::of(self.route()).cached(&outcome.answer, latency);
        Some(outcome)
    }
}

/// A whole answer as the stream that it might have been: each part in one piece.
pub(crate) fn replay(outcome: ChatOutcome) -> Vec<Delta> {
    let mut deltas = vec![Delta::Started];
    let mut index = 0;
    for part in &outcome.answer.parts {
        match part {
            Part::Text(text) if !text.is_empty() => deltas.push(Delta::Text(text.clone())),
            Part::Thinking(Thinking { text, redacted: false, .. }) if !text.is_empty() => deltas.push(Delta::Thinking(text.clone())),
            Part::ToolCall(call) => {
                deltas.push(Delta::ToolCall(ToolCallDelta {
                    index,
                    id: Some(call.id.clone()),
                    name: Some(call.name.clone()),
                    arguments: call.arguments.clone(),
                    signature: call.signature.clone(),
                }));
                index += 1;
            }
            _ => {}
        }
    }
    let confidence = confidence::from_logprobs(&outcome.answer.logprobs);
    deltas.push(Delta::End(Box::new(StreamOutcome { chat: outcome, confidence, time_to_first_token: None, tokens_per_second: None })));
    deltas
}
