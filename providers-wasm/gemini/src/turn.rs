//! What the model says, from one response or from the chunks of a stream: both have the same form.

use pg_llm_guest::failure::words;
use pg_llm_guest::json;
use pg_llm_guest::prelude::*;

use crate::arguments::PartialArguments;
use crate::errors;
use crate::usage::usage;

/// More tool calls than any answer has.
const MAX_CALLS: u32 = 1024;

/// Ids of calls to which the provider gave none begin so. They are not sent back: both sides then go by the order of the calls.
const INVENTED: &str = "call-";

/// Whether an id of a call is one of ours.
pub(crate) fn is_invented(id: &str) -> bool {
    id.strip_prefix(INVENTED).is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// An answer that comes about.
///
/// Kept are its finish reason, which older models repeat in every chunk, and the arguments of a call that arrives in pieces.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // what has been seen, each independent of the others
pub(crate) struct Turn {
    /// A blocked prompt is a failure.
    blocked_is_error: bool,
    started: bool,
    /// How many calls there are.
    calls: u32,
    /// The last call, while its arguments arrive in pieces.
    open: Option<PartialArguments>,
    /// The last word so far.
    finish: Option<FinishReason>,
    /// Whether there was any part.
    spoken: bool,
    /// Nothing was said since the last signature.
    signed: bool,
}

impl Turn {
    /// Nothing said so far.
    pub(crate) fn new(blocked_is_error: bool) -> Self {
        Self { blocked_is_error, ..Self::default() }
    }

    /// Takes a response, or a list of chunks.
    pub(crate) fn take_all(&mut self, body: &Value, raw: &[u8], events: &mut Vec<Event>) -> Result<(), Failure> {
        let chunks = body.as_array().map_or(std::slice::from_ref(body), Vec::as_slice);
        chunks.iter().try_for_each(|chunk| self.take(chunk, raw, events))
    }

    /// Takes a response or a chunk of one. `raw` is its text.
    pub(crate) fn take(&mut self, chunk: &Value, raw: &[u8], events: &mut Vec<Event>) -> Result<(), Failure> {
        let (id, model) = (chunk.word_at("responseId"), chunk.word_at("modelVersion"));
        if !self.started && (id.is_some() || model.is_some()) {
            self.started = true;
            events.push(Event::Started(Started { id: id.map(str::to_owned), model: model.map(str::to_owned) }));
        }
        // With `candidateCount` above 1 others are interleaved, and left alone.
        let candidate = chunk.items_at("candidates").iter().find(|candidate| candidate.u64_at("index").unwrap_or(0) == 0);
        if let Some(candidate) = candidate {
            self.candidate(candidate, events)?;
        }
        events.extend(chunk.at("usageMetadata").and_then(usage).map(Event::Usage));
        if let Some(failure) = errors::in_body(chunk, raw) {
            return Err(failure);
        }
        match chunk.at("promptFeedback").and_then(|feedback| Some((feedback, feedback.word_at("blockReason")?))) {
            Some((feedback, reason)) if candidate.is_none() => self.blocked(feedback, reason, raw),
            _ => Ok(()),
        }
    }

    /// The last events, when the response is at its end; none when the model never said that it was done.
    pub(crate) fn end(&mut self, events: &mut Vec<Event>) {
        if let Some(reason) = self.finish.take() {
            self.close_call(events);
            events.push(Event::Finish(match reason {
                FinishReason::Stop if self.calls > 0 => FinishReason::ToolCalls,
                reason => reason,
            }));
        }
    }

    /// Whether the model said anything, if only that it was done.
    pub(crate) fn has_begun(&self) -> bool {
        self.spoken || self.finish.is_some()
    }

    fn blocked(&mut self, feedback: &Value, reason: &str, raw: &[u8]) -> Result<(), Failure> {
        if self.blocked_is_error {
            let words = feedback.word_at("blockReasonMessage").map_or_else(|| words(&["the prompt was blocked: ", reason]), str::to_owned);
            let mut failure = Failure::new(FailureKind::ContentFilter, words).with_raw(raw);
            failure.code = Some(reason.to_owned());
            return Err(failure);
        }
        self.finish = Some(FinishReason::ContentFilter);
        Ok(())
    }

    fn candidate(&mut self, candidate: &Value, events: &mut Vec<Event>) -> Result<(), Failure> {
        for part in candidate.at("content").map(|content| content.items_at("parts")).unwrap_or_default() {
            self.spoken = true;
            self.part(part, events)?;
        }
        let logprobs = candidate.at("logprobsResult").map(logprobs).unwrap_or_default();
        if !logprobs.is_empty() {
            events.push(Event::Logprobs(logprobs));
        }
        if let Some(reason) = candidate.get("finishReason").and_then(finish_reason) {
            self.finish = Some(reason);
        }
        Ok(())
    }

    /// Text, thinking, or a call, with its signature. Code that Google ran, its output, and media are left to the raw response.
    fn part(&mut self, part: &Value, events: &mut Vec<Event>) -> Result<(), Failure> {
        let signature = part.word_at("thoughtSignature").map(str::to_owned);
        if let Some(call) = part.at("functionCall") {
            return self.call(call, signature, events);
        }
        let Some(text) = part.text_at("text") else { return Ok(()) };
        if !text.is_empty() {
            self.signed = false;
            let is_thought = part.get("thought").and_then(Value::as_bool) == Some(true);
            events.push(if is_thought { Event::Thinking(text.to_owned()) } else { Event::Text(text.to_owned()) });
        }
        // Whoever puts events together would take a second signature for the rest of the first; a text can do without.
        if let Some(signature) = signature.filter(|_| !self.signed) {
            self.signed = true;
            events.push(Event::ThinkingSignature(signature));
        }
        Ok(())
    }

    /// A call, whole; or a piece of one: the name first, then arguments, then a piece with neither, which ends it.
    fn call(&mut self, call: &Value, signature: Option<String>, events: &mut Vec<Event>) -> Result<(), Failure> {
        let (name, pieces) = (call.word_at("name"), call.items_at("partialArgs"));
        let continues = call.get("willContinue").and_then(Value::as_bool) == Some(true);
        if let Some(name) = name {
            self.close_call(events);
            if self.calls == MAX_CALLS {
                return Ok(());
            }
            let arguments = call.at("args");
            let whole = !continues && pieces.is_empty();
            let mut id = String::from(INVENTED);
            match call.word_at("id") {
                Some(known) => known.clone_into(&mut id),
                None => id.push_str(&self.calls.to_string()),
            }
            events.push(Event::ToolCall(ToolCallDelta {
                index: self.calls,
                id: Some(id),
                name: Some(name.to_owned()),
                arguments: if whole { arguments.map_or_else(|| "{}".to_owned(), json::text) } else { String::new() },
                signature,
            }));
            self.calls += 1;
            self.open = (!whole).then(|| PartialArguments::new(arguments));
        } else if self.open.is_some() && signature.is_some() {
            events.push(Event::ToolCall(ToolCallDelta { index: self.calls - 1, signature, ..ToolCallDelta::default() }));
        }
        if let Some(open) = &mut self.open {
            for piece in pieces {
                open.take(piece)?;
            }
        }
        if !continues {
            self.close_call(events);
        }
        Ok(())
    }

    fn close_call(&mut self, events: &mut Vec<Event>) {
        if let Some(open) = self.open.take() {
            let arguments = open.into_json();
            events.push(Event::ToolCall(ToolCallDelta { index: self.calls - 1, arguments, ..ToolCallDelta::default() }));
        }
    }
}

/// What the provider's word means; none while it says nothing.
///
/// Vertex AI has numbers for words when a request asks so; the first six are agreed on.
fn finish_reason(word: &Value) -> Option<FinishReason> {
    const WORDS: [&str; 6] = ["", "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER"];
    let number = word.as_u64().map(|number| usize::try_from(number).ok().and_then(|at| WORDS.get(at).copied()).unwrap_or("OTHER"));
    Some(match number.or_else(|| word.as_str())? {
        "" | "FINISH_REASON_UNSPECIFIED" => return None,
        "STOP" => FinishReason::Stop,
        "MAX_TOKENS" => FinishReason::Length,
        "SAFETY"
        | "RECITATION"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "MODEL_ARMOR"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION" => FinishReason::ContentFilter,
        other => FinishReason::Other(other.to_owned()),
    })
}

/// The chosen tokens, each with the alternatives of its step.
fn logprobs(result: &Value) -> Vec<TokenLogprob> {
    let token = |candidate: &Value| Some((candidate.text_at("token")?.to_owned(), candidate.f64_at("logProbability")?));
    let tops = result.items_at("topCandidates");
    let chosen = result.items_at("chosenCandidates").iter().enumerate();
    chosen
        .filter_map(|(at, chosen)| {
            let (chosen, logprob) = token(chosen)?;
            let alternatives = tops.get(at).map(|top| top.items_at("candidates")).unwrap_or_default();
            let alternatives = alternatives.iter().filter_map(token).map(|(token, logprob)| TopLogprob { token, logprob }).collect();
            Some(TokenLogprob { token: chosen, logprob, alternatives })
        })
        .collect()
}
