//! What is sent for a chat.

use pg_llm_guest::json::{object, record, set};
use pg_llm_guest::prelude::*;

use crate::messages;
use crate::settings::post;

/// The HTTP request for a chat.
pub fn encode(request: &ChatRequest, mode: Mode) -> Result<HttpRequest, Failure> {
    let settings = Settings::of(request)?;
    let mut body = Map::new();
    set(&mut body, "model", request.model.as_str().into());
    let (messages, documents) = messages::encode(&request.messages)?;
    set(&mut body, "messages", messages.into());
    if !documents.is_empty() {
        set(&mut body, "documents", documents.into());
    }
    sampling(&request.sampling, &mut body)?;
    tools(request, &mut body)?;
    if let Some(format) = &request.response_format {
        set(&mut body, "response_format", response_format(format)?);
    }
    if let Some(reasoning) = &request.reasoning {
        set(&mut body, "thinking", thinking(reasoning));
    }
    if let Some(mode) = settings.text("safety_mode")? {
        set(&mut body, "safety_mode", mode.into());
    }
    if let Some(mode) = settings.text("citation_mode")? {
        set(&mut body, "citation_options", record([("mode", mode.into())]));
    }
    let streams = mode == Mode::Stream;
    if streams {
        set(&mut body, "stream", true.into());
    }
    post("/v2/chat", if streams { "text/event-stream" } else { "application/json" }, body, request.extra_body.as_deref())
}

fn sampling(sampling: &Sampling, body: &mut Map<String, Value>) -> Result<(), Failure> {
    for (name, value) in [
        ("temperature", sampling.temperature),
        ("p", sampling.top_p),
        ("presence_penalty", sampling.presence_penalty),
        ("frequency_penalty", sampling.frequency_penalty),
    ] {
        if let Some(value) = value {
            // JSON has no NaN and no infinity.
            let number = serde_json::Number::from_f64(value).ok_or_else(|| Failure::invalid(format!("{name} must be a finite number")))?;
            set(body, name, Value::Number(number));
        }
    }
    if sampling.seed.is_some_and(i64::is_negative) {
        return Err(Failure::unsupported("Cohere takes a seed from 0"));
    }
    for (name, value) in [("k", sampling.top_k.map(i64::from)), ("max_tokens", sampling.max_tokens.map(i64::from)), ("seed", sampling.seed)]
    {
        if let Some(value) = value {
            set(body, name, value.into());
        }
    }
    match sampling.logprobs {
        None => {}
        Some(0) => set(body, "logprobs", true.into()),
        Some(_) => {
            return Err(Failure::unsupported("Cohere tells the log probabilities of the chosen tokens only: ask for no alternatives"));
        }
    }
    if !sampling.stop.is_empty() {
        set(body, "stop_sequences", sampling.stop.as_slice().into());
    }
    Ok(())
}

fn tools(request: &ChatRequest, body: &mut Map<String, Value>) -> Result<(), Failure> {
    let (choice, only) = match &request.tool_choice {
        None | Some(ToolChoice::Auto) => (None, None),
        Some(ToolChoice::None) => (Some("NONE").filter(|_| !request.tools.is_empty()), None),
        Some(ToolChoice::Required) => (Some("REQUIRED"), None),
        Some(ToolChoice::Named(name)) => (Some("REQUIRED"), Some(name)),
    };
    let chosen = || request.tools.iter().filter(|tool| only.is_none_or(|name| tool.name == *name));
    if let Some(name) = only.filter(|_| chosen().next().is_none()) {
        return Err(Failure::invalid(format!("tool_choice names \"{name}\", which is not among the tools")));
    }
    let tools = chosen().map(tool).collect::<Result<Vec<Value>, Failure>>()?;
    let strict = |wanted: bool| chosen().any(|tool| tool.strict == Some(wanted));
    match (strict(true), strict(false)) {
        (true, true) => return Err(Failure::unsupported("Cohere's tools are strict all together or not at all")),
        (false, false) => {}
        (strict, _) => set(body, "strict_tools", strict.into()),
    }
    if !tools.is_empty() {
        set(body, "tools", tools.into());
    }
    if let Some(choice) = choice {
        set(body, "tool_choice", choice.into());
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
    Ok(record([("type", "function".into()), ("function", function.into())]))
}

/// The name of a schema has no place and no use; the schema is enforced whether `strict` says so or not.
fn response_format(format: &ResponseFormat) -> Result<Value, Failure> {
    Ok(match format {
        ResponseFormat::Text => record([("type", "text".into())]),
        ResponseFormat::JsonObject => record([("type", "json_object".into())]),
        ResponseFormat::JsonSchema(format) => {
            let schema = object("the schema of the response format", &format.schema)?;
            record([("type", "json_object".into()), ("json_schema", schema.into())])
        }
    })
}

fn thinking(reasoning: &Reasoning) -> Value {
    let mut thinking = Map::new();
    let on = reasoning.effort.as_deref() != Some("none") && reasoning.budget_tokens != Some(0);
    set(&mut thinking, "type", if on { "enabled" } else { "disabled" }.into());
    if let Some(tokens) = reasoning.budget_tokens.filter(|_| on) {
        set(&mut thinking, "token_budget", tokens.into());
    }
    thinking.into()
}
