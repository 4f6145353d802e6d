//! What is sent.

use pg_llm_guest::failure::words;
use pg_llm_guest::json::{object, record, set, string};
use pg_llm_guest::prelude::*;

use crate::settings::{ReasoningStyle, Wire};
use crate::{messages, responses};

/// The HTTP request for a chat.
pub fn encode(request: &ChatRequest, mode: Mode) -> Result<HttpRequest, Failure> {
    let wire = Wire::of(request)?;
    let accept = if mode == Mode::Stream { "text/event-stream" } else { "application/json" };
    let extra = request.extra_body.as_deref();
    if wire.is_responses()? {
        let path = wire.path("responses_path", "/responses", &request.model)?;
        return post(&wire, path, accept, extra, &mut |body| responses::encode(request, mode, &wire, body));
    }
    let path = wire.path("chat_path", "/chat/completions", &request.model)?;
    post(&wire, path, accept, extra, &mut |body| chat(request, mode, &wire, body))
}

/// What makes a body.
pub(crate) type Fill<'a> = &'a mut dyn FnMut(&mut Map<String, Value>) -> Result<(), Failure>;

/// A POST of the body that `fill` makes, with what the caller puts over it: its last word, so it replaces what stands there.
///
/// Whoever may fail fills what is another's: there is less to clean up on each way out, which is a tenth of a guest.
pub(crate) fn post(wire: &Wire, path: String, accept: &str, extra: Option<&str>, fill: Fill<'_>) -> Result<HttpRequest, Failure> {
    let mut body = Map::new();
    fill(&mut body)?;
    if let Some(extra) = extra {
        for (name, value) in object("extra_body", extra)? {
            set(&mut body, &name, value);
        }
    }
    Ok(wire.request(Method::Post, path, accept)?.json(&Value::Object(body)))
}

fn chat(request: &ChatRequest, mode: Mode, wire: &Wire, body: &mut Map<String, Value>) -> Result<(), Failure> {
    set(body, "model", string(&request.model));
    set(body, "messages", messages::encode(&request.messages, wire)?);
    sampling(&request.sampling, wire, body)?;
    if !request.tools.is_empty() {
        set(body, "tools", tools(&request.tools, Some("function"))?);
    }
    if let Some(choice) = &request.tool_choice {
        set(body, "tool_choice", tool_choice(choice, Some("function")));
    }
    if let Some(format) = &request.response_format {
        set(body, "response_format", format_of(format, Some("json_schema"))?);
    }
    if let Some(reasoning) = &request.reasoning {
        add_reasoning(reasoning, wire.reasoning_style()?, body)?;
    }
    if mode == Mode::Stream {
        set(body, "stream", true.into());
        if wire.stream_usage()? {
            set(body, "stream_options", record([("include_usage", true.into())]));
        }
    }
    Ok(())
}

/// Sets a number. JSON has no NaN and no infinity.
pub(crate) fn set_number(body: &mut Map<String, Value>, name: &str, value: Option<f64>) -> Result<(), Failure> {
    if let Some(value) = value {
        let number = serde_json::Number::from_f64(value).ok_or_else(|| Failure::invalid(words(&[name, " must be a finite number"])))?;
        set(body, name, Value::Number(number));
    }
    Ok(())
}

fn sampling(sampling: &Sampling, wire: &Wire, body: &mut Map<String, Value>) -> Result<(), Failure> {
    set_number(body, "temperature", sampling.temperature)?;
    set_number(body, "top_p", sampling.top_p)?;
    set_number(body, "presence_penalty", sampling.presence_penalty)?;
    set_number(body, "frequency_penalty", sampling.frequency_penalty)?;
    for (name, value) in [
        ("top_k", sampling.top_k.map(i64::from)),
        (wire.text_or("max_tokens_field", "max_completion_tokens")?, sampling.max_tokens.map(i64::from)),
        (wire.text_or("seed_field", "seed")?, sampling.seed),
        ("top_logprobs", sampling.logprobs.filter(|alternatives| *alternatives > 0).map(i64::from)),
    ] {
        if let Some(value) = value {
            set(body, name, value.into());
        }
    }
    if sampling.logprobs.is_some() {
        set(body, "logprobs", true.into());
    }
    if !sampling.stop.is_empty() {
        set(body, "stop", sampling.stop.as_slice().into());
    }
    Ok(())
}

/// `{"type": ..., ...}` with the members beside the type, or within a member of this name: the two interfaces differ in that.
fn typed(kind: &str, within: Option<&str>, members: Map<String, Value>) -> Value {
    let mut typed = Map::new();
    set(&mut typed, "type", string(kind));
    match within {
        Some(name) => set(&mut typed, name, members.into()),
        None => typed.extend(members),
    }
    typed.into()
}

pub(crate) fn tool_choice(choice: &ToolChoice, within: Option<&str>) -> Value {
    string(match choice {
        ToolChoice::Auto => "auto",
        ToolChoice::None => "none",
        ToolChoice::Required => "required",
        ToolChoice::Named(name) => {
            let mut members = Map::new();
            set(&mut members, "name", string(name));
            return typed("function", within, members);
        }
    })
}

pub(crate) fn tools(tools: &[Tool], within: Option<&str>) -> Result<Value, Failure> {
    let mut encoded = Vec::with_capacity(tools.len());
    for tool in tools {
        let what = words(&["the parameters of tool \"", &tool.name, "\""]);
        let parameters = object(&what, &tool.parameters)?;
        let mut function = Map::new();
        set(&mut function, "name", string(&tool.name));
        if let Some(description) = &tool.description {
            set(&mut function, "description", string(description));
        }
        set(&mut function, "parameters", parameters.into());
        if let Some(strict) = tool.strict {
            set(&mut function, "strict", strict.into());
        }
        encoded.push(typed("function", within, function));
    }
    Ok(encoded.into())
}

pub(crate) fn format_of(format: &ResponseFormat, within: Option<&str>) -> Result<Value, Failure> {
    Ok(match format {
        ResponseFormat::Text => typed("text", None, Map::new()),
        ResponseFormat::JsonObject => typed("json_object", None, Map::new()),
        ResponseFormat::JsonSchema(format) => {
            let schema = object("the schema of the response format", &format.schema)?;
            let mut members = Map::new();
            set(&mut members, "name", string(&format.name));
            set(&mut members, "schema", schema.into());
            set(&mut members, "strict", format.strict.into());
            typed("json_schema", within, members)
        }
    })
}

fn add_reasoning(reasoning: &Reasoning, style: ReasoningStyle, body: &mut Map<String, Value>) -> Result<(), Failure> {
    let Reasoning { effort, budget_tokens } = reasoning;
    // Of a style that only knows on and off, `none` is off and every other word on; a budget of no token is off as well.
    let on = effort.as_deref() != Some("none") && *budget_tokens != Some(0);
    let takes_budget = matches!(style, ReasoningStyle::OpenRouter | ReasoningStyle::EnableThinking);
    if on && style == ReasoningStyle::None && (effort.is_some() || budget_tokens.is_some()) {
        return Err(Failure::unsupported("this endpoint cannot be told how much to think (reasoning_style is none)"));
    }
    if !takes_budget && budget_tokens.is_some_and(|tokens| tokens > 0) {
        return Err(Failure::unsupported(
            "this endpoint takes no budget of thinking tokens, only an effort (see the setting reasoning_style)",
        ));
    }
    match style {
        ReasoningStyle::None => {}
        ReasoningStyle::Effort => {
            if let Some(word) = effort.as_deref().or_else(|| budget_tokens.map(|_| "none")) {
                set(body, "reasoning_effort", word.into());
            }
        }
        ReasoningStyle::OpenRouter => match (budget_tokens, effort) {
            (Some(0), _) => set(body, "reasoning", record([("enabled", false.into())])),
            (Some(tokens), _) => set(body, "reasoning", record([("max_tokens", (*tokens).into())])),
            (None, Some(word)) => set(body, "reasoning", record([("effort", string(word))])),
            (None, None) => {}
        },
        ReasoningStyle::EnableThinking => {
            set(body, "enable_thinking", on.into());
            if let Some(tokens) = budget_tokens.filter(|_| on) {
                set(body, "thinking_budget", tokens.into());
            }
        }
        ReasoningStyle::Thinking => set(body, "thinking", record([("type", if on { "enabled" } else { "disabled" }.into())])),
        ReasoningStyle::ChatTemplate => set(body, "chat_template_kwargs", record([("enable_thinking", on.into())])),
    }
    Ok(())
}
