//! What is sent.

use pg_llm_guest::json::{object, record, set};
use pg_llm_guest::prelude::*;

use crate::messages;
use crate::settings::{ReasoningStyle, Wire};

/// The HTTP request for a chat.
pub fn encode(request: &ChatRequest, mode: Mode) -> Result<HttpRequest, Failure> {
    let wire = Wire::of(request)?;
    let body = Value::Object(body(request, mode, &wire)?);
    let accept = if mode == Mode::Stream { "text/event-stream" } else { "application/json" };
    let mut http = HttpRequest::post(wire.path.as_str()).header("accept", accept).json(&body).auth(wire.auth);
    for (name, value) in wire.headers {
        http = http.header(name, value);
    }
    Ok(http)
}

fn body(request: &ChatRequest, mode: Mode, wire: &Wire) -> Result<Map<String, Value>, Failure> {
    let mut body = Map::new();
    set(&mut body, "model", request.model.as_str().into());
    set(&mut body, "messages", messages::encode(&request.messages, wire)?.into());
    sampling(&request.sampling, wire, &mut body)?;
    if !request.tools.is_empty() {
        set(&mut body, "tools", request.tools.iter().map(tool).collect::<Result<Vec<Value>, Failure>>()?.into());
    }
    if let Some(choice) = &request.tool_choice {
        let choice = match choice {
            ToolChoice::Auto => "auto".into(),
            ToolChoice::None => "none".into(),
            ToolChoice::Required => "required".into(),
            ToolChoice::Named(name) => record([("type", "function".into()), ("function", record([("name", name.as_str().into())]))]),
        };
        set(&mut body, "tool_choice", choice);
    }
    if let Some(format) = &request.response_format {
        set(&mut body, "response_format", response_format(format)?);
    }
    if let Some(reasoning) = &request.reasoning {
        add_reasoning(reasoning, wire.reasoning_style, &mut body)?;
    }
    if mode == Mode::Stream {
        set(&mut body, "stream", true.into());
        if wire.stream_usage {
            set(&mut body, "stream_options", record([("include_usage", true.into())]));
        }
    }
    if let Some(extra) = &request.extra_body {
        // What `extra-body` names replaces what stands there; it is the caller's last word.
        for (name, value) in object("extra_body", extra)? {
            set(&mut body, &name, value);
        }
    }
    Ok(body)
}

fn sampling(sampling: &Sampling, wire: &Wire, body: &mut Map<String, Value>) -> Result<(), Failure> {
    for (name, value) in [
        ("temperature", sampling.temperature),
        ("top_p", sampling.top_p),
        ("presence_penalty", sampling.presence_penalty),
        ("frequency_penalty", sampling.frequency_penalty),
    ] {
        if let Some(value) = value {
            // JSON has no NaN and no infinity.
            let number = serde_json::Number::from_f64(value).ok_or_else(|| Failure::invalid(format!("{name} must be a finite number")))?;
            set(body, name, Value::Number(number));
        }
    }
    for (name, value) in [
        ("top_k", sampling.top_k.map(i64::from)),
        (wire.max_tokens_field.as_str(), sampling.max_tokens.map(i64::from)),
        (wire.seed_field.as_str(), sampling.seed),
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

fn tool(tool: &Tool) -> Result<Value, Failure> {
    let mut function = Map::new();
    set(&mut function, "name", tool.name.as_str().into());
    if let Some(description) = &tool.description {
        set(&mut function, "description", description.as_str().into());
    }
    set(&mut function, "parameters", object(&format!("the parameters of tool \"{}\"", tool.name), &tool.parameters)?.into());
    if let Some(strict) = tool.strict {
        set(&mut function, "strict", strict.into());
    }
    Ok(record([("type", "function".into()), ("function", function.into())]))
}

fn response_format(format: &ResponseFormat) -> Result<Value, Failure> {
    Ok(match format {
        ResponseFormat::Text => record([("type", "text".into())]),
        ResponseFormat::JsonObject => record([("type", "json_object".into())]),
        ResponseFormat::JsonSchema(format) => {
            let schema = object("the schema of the response format", &format.schema)?;
            let described = record([("name", format.name.as_str().into()), ("schema", schema.into()), ("strict", format.strict.into())]);
            record([("type", "json_schema".into()), ("json_schema", described)])
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
            (None, Some(word)) => set(body, "reasoning", record([("effort", word.as_str().into())])),
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
