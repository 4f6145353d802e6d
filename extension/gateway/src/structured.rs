//! Answers that have to be JSON: asked for, found in what the model wrote, held against the schema, and sent back once where they do not fit.

use std::sync::Arc;
use std::time::Instant;

use pg_llm_sandbox::CallError as SandboxCallError;
use pg_llm_sandbox::interrupt::Interrupt;
use pg_llm_sandbox::types::{Answer, ChatRequest, FinishReason, JsonSchemaFormat, Message, Part, ResponseFormat, Role, Usage};
use serde_json::Value;

use crate::attempts::Attempts;
use crate::chat::{self, Answered};
use crate::error::{CallError, ErrorKind, clip};
use crate::extract;
use crate::filters;
use crate::route::Route;
use crate::schema::{Halt, JsonSchema};

/// The form that an answer is to have.
#[derive(Clone, Debug, PartialEq)]
pub enum AnswerFormat {
    /// Any text.
    Text,
    /// JSON, where the model keeps to it: nothing is enforced.
    Json,
    /// JSON that fits a schema, or an error.
    Schema(Arc<SchemaFormat>),
    /// The same for endpoints that can be told a schema. Nothing is enforced: its reader takes other answers too.
    Advised(Arc<SchemaFormat>),
}

/// A schema for answers.
#[derive(Debug, PartialEq)]
pub struct SchemaFormat {
    /// What providers are told as its name.
    pub(crate) name: String,
    /// Whether providers are asked to enforce it to the letter.
    pub(crate) strict: bool,
    pub(crate) schema: JsonSchema,
}

impl SchemaFormat {
    /// Whether a value is what the schema wants; none where that takes too long to say.
    pub fn admits(&self, value: &Value) -> Option<bool> {
        self.schema.violations(value, &|| false).ok().map(|violations| violations.is_empty())
    }
}

/// JSON in an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Structured {
    /// As the model wrote it, without what stood around it.
    pub(crate) text: String,
    pub(crate) value: Value,
}

/// Longest answer that is sent back for repair, in bytes: more does not fit most context windows a second time.
const MOST_REPAIRED: usize = 512 * 1024;
/// Longest beginning of an answer in a DETAIL, in bytes.
const QUOTED_ANSWER: usize = 500;

impl AnswerFormat {
    /// What the adapter is asked to have enforced; none where the endpoint cannot be told a schema.
    pub(crate) fn to_wire(&self, native_schema: bool) -> Option<ResponseFormat> {
        match self {
            Self::Text => Some(ResponseFormat::Text),
            Self::Json => Some(ResponseFormat::JsonObject),
            Self::Schema(format) | Self::Advised(format) => native_schema.then(|| {
                ResponseFormat::JsonSchema(JsonSchemaFormat {
                    name: format.name.clone(),
                    schema: format.schema.text().to_owned(),
                    strict: format.strict,
                })
            }),
        }
    }

    /// What the model is told of a schema where the endpoint cannot be.
    pub(crate) fn instructions(&self, native_schema: bool) -> Option<String> {
        match self {
            Self::Schema(format) if !native_schema => Some(format!(
                "Answer with one JSON value that is valid against the JSON Schema below, and with nothing else: no explanation, no code fence.\n\n{}",
                format.schema.text()
            )),
            _ => None,
        }
    }
}

/// What became of an answer that was to fit a schema.
enum Verdict {
    Fits(Structured),
    /// The model wants a tool first: there is nothing to judge yet.
    WantsTools,
    /// Cut off: more of the same would not help.
    CutOff,
    /// The provider held it back, or the model refused.
    HeldBack,
    /// What is wrong with it.
    Wrong(Vec<String>),
}

/// Gives back the answer with its JSON; where it does not fit the schema, the model is shown what is wrong and asked once more with `ask`, if `max_attempts`
/// and the deadline leave room for it. Without `ask`, as in a stream whose pieces are out, there is no second time.
///
/// # Errors
/// When it still does not fit, was cut off or held back; and whatever ends the second request.
pub(crate) fn settle(
    route: &Route,
    format: &SchemaFormat,
    answered: Answered,
    attempts: &mut Attempts,
    interrupt: &Arc<dyn Interrupt>,
    request: Option<&ChatRequest>,
) -> Result<(Answered, Option<Structured>), CallError> {
    let Answered { mut answer, mut acted } = answered;
    let mut repaired = false;
    loop {
        let wrong = match judge(format, &answer, attempts, interrupt)? {
            Verdict::Fits(structured) => return Ok((Answered { answer, acted }, Some(structured))),
            Verdict::WantsTools => return Ok((Answered { answer, acted }, None)),
            Verdict::CutOff => return Err(failure(attempts, &answer, "was cut off before its JSON was whole", Some("Raise max_tokens."))),
            Verdict::HeldBack => return Err(failure(attempts, &answer, "refused, or its answer was held back (content_filter)", None)),
            Verdict::Wrong(wrong) => wrong,
        };
        let too_long = text_of(&answer).len() > MOST_REPAIRED;
        let hint = match request {
            Some(_) if too_long => "It is too long to be sent back for repair.",
            Some(_) if repaired => "It was shown what is wrong and asked once more. A simpler schema, or descriptions in it, may help.",
            Some(_) => "There was no attempt left to have it repaired: raise max_attempts.",
            None => "A streamed answer is not repaired: its pieces are out. pg_llm_chat_json() can have it repaired.",
        };
        let Some(request) = request.filter(|_| !repaired && !too_long && attempts.take_one_more()) else {
            let what = format!("gave an answer that does not fit the schema: {}", clip(&wrong.join("; "), 600));
            // Another model may keep to the schema.
            return Err(CallError { may_fall_back: true, ..failure(attempts, &answer, &what, Some(hint)) });
        };
        // What filters let through, and what is wrong with it, may hold what they keep from the model: they see all of it again.
        let second = repair_request(request, format, &answer, &wrong);
        let Answered { answer: next, acted: again } = chat::complete(route, &second, attempts, interrupt)?;
        filters::add_acted(&mut acted, again);
        repaired = true;
        answer = Answer { usage: sum(answer.usage.take(), next.usage), ..next };
    }
}

fn judge(format: &SchemaFormat, answer: &Answer, attempts: &mut Attempts, interrupt: &Arc<dyn Interrupt>) -> Result<Verdict, CallError> {
    let text = text_of(answer);
    if answer.parts.iter().any(|p| matches!(p, Part::ToolCall(_))) {
        return Ok(Verdict::WantsTools);
    }
    let deadline = attempts.deadline();
    let stopped = || interrupt.stopped() || Instant::now() >= deadline;
    let mut wrong = Vec::new();
    let mut fitting: Option<Structured> = None;
    for found in extract::candidates(&text) {
        match found {
            // What is checked must be what is stored.
            Ok(structured) if extract::has_nul(&structured.value) => {
                wrong.push("the answer has the character U+0000, which the database cannot hold".to_owned());
            }
            Ok(structured) => match format.schema.violations(&structured.value, &stopped) {
                Ok(violations) if violations.is_empty() => match &fitting {
                    Some(other) if other.value != structured.value => {
                        return Ok(Verdict::Wrong(vec!["the answer has several JSON values that fit, and must be one".to_owned()]));
                    }
                    _ => fitting = Some(structured),
                },
                // The first that is JSON is the one that was meant.
                Ok(violations) if wrong.is_empty() => wrong = violations.iter().map(ToString::to_string).collect(),
                Ok(_) => {}
                Err(Halt::Stopped) if interrupt.stopped() => return Err(attempts.failure(&SandboxCallError::Stopped)),
                Err(Halt::Stopped) => return Err(attempts.failure(&SandboxCallError::TimedOut)),
                Err(halt) => return Err(too_much(attempts, answer, halt)),
            },
            Err(why) if wrong.is_empty() => wrong = vec![why],
            Err(_) => {}
        }
    }
    if let Some(structured) = fitting.filter(|_| answer.finish_reason != Some(FinishReason::ContentFilter)) {
        return Ok(Verdict::Fits(structured));
    }
    Ok(match answer.finish_reason {
        Some(FinishReason::Length) => Verdict::CutOff,
        Some(FinishReason::ContentFilter) => Verdict::HeldBack,
        _ => Verdict::Wrong(wrong),
    })
}

fn text_of(answer: &Answer) -> String {
    answer.parts.iter().filter_map(|p| if let Part::Text(t) = p { Some(t.as_str()) } else { None }).collect()
}

/// The conversation, the answer, and what is wrong with it.
fn repair_request(request: &ChatRequest, format: &SchemaFormat, answer: &Answer, wrong: &[String]) -> ChatRequest {
    let mut again = request.clone();
    let mut parts = answer.parts.clone();
    if text_of(answer).is_empty() {
        // Some providers take no message without text.
        parts.push(Part::Text("(no text)".to_owned()));
    }
    again.messages.push(Message { role: Role::Assistant, parts });
    let list = wrong.iter().map(|w| format!("- {w}")).collect::<Vec<_>>().join("\n");
    let text = format!(
        "This answer is not valid:\n{}\n\nAnswer again with the corrected JSON value alone, without explanation or code fence. It must be valid against this JSON Schema:\n{}",
        clip(&list, 4000),
        format.schema.text()
    );
    again.messages.push(Message { role: Role::User, parts: vec![Part::Text(text)] });
    again
}

/// Tokens of two calls; what one of them does not say is unknown for both.
fn sum(first: Option<Usage>, second: Option<Usage>) -> Option<Usage> {
    let (first, second) = (first?, second?);
    let add = |a: Option<u64>, b: Option<u64>| a.zip(b).map(|(a, b)| a.saturating_add(b));
    let raw = [first.raw, second.raw].into_iter().flatten().collect::<Vec<_>>();
    Some(Usage {
        input_tokens: add(first.input_tokens, second.input_tokens),
        output_tokens: add(first.output_tokens, second.output_tokens),
        cached_tokens: add(first.cached_tokens, second.cached_tokens),
        cache_write_tokens: add(first.cache_write_tokens, second.cache_write_tokens),
        reasoning_tokens: add(first.reasoning_tokens, second.reasoning_tokens),
        raw: (!raw.is_empty()).then(|| format!("[{}]", raw.join(","))),
    })
}

fn failure(attempts: &mut Attempts, answer: &Answer, what: &str, hint: Option<&str>) -> CallError {
    let text = text_of(answer);
    let detail =
        if text.trim().is_empty() { "The answer has no text.".to_owned() } else { format!("Answer: {}", clip(text.trim(), QUOTED_ANSWER)) };
    attempts.rejected(ErrorKind::Provider, what, detail, hint)
}

fn too_much(attempts: &mut Attempts, answer: &Answer, halt: Halt) -> CallError {
    let why = match halt {
        Halt::TooDeep => "schema and answer nest too deeply together",
        Halt::LongText => "it holds a text that is too long for a pattern of the schema",
        Halt::TooMuch | Halt::Stopped => "the schema takes too many steps for it",
    };
    let detail = format!("Answer: {}", clip(text_of(answer).trim(), QUOTED_ANSWER));
    attempts.rejected(ErrorKind::TooLarge, &format!("gave an answer that cannot be held against the schema: {why}"), detail, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(input: Option<u64>, output: Option<u64>, raw: Option<&str>) -> Usage {
        Usage {
            input_tokens: input,
            output_tokens: output,
            cached_tokens: None,
            cache_write_tokens: None,
            reasoning_tokens: None,
            raw: raw.map(str::to_owned),
        }
    }

    #[test]
    fn tokens_of_both_calls_are_summed_and_unknown_stays_unknown() {
        let both = sum(Some(usage(Some(3), Some(4), Some("{\"a\":1}"))), Some(usage(Some(10), None, Some("{}")))).unwrap();
        assert_eq!((both.input_tokens, both.output_tokens, both.raw.as_deref()), (Some(13), None, Some("[{\"a\":1},{}]")));
        assert!(sum(Some(usage(Some(1), None, None)), None).is_none());
    }
}
