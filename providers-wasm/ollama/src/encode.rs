//! What is sent for a chat.

use pg_llm_guest::json::{object, record, set};
use pg_llm_guest::prelude::*;

use crate::messages;
use crate::settings::{Load, auth};

/// The HTTP request for a chat.
pub fn encode(request: &ChatRequest, mode: Mode) -> Result<HttpRequest, Failure> {
    let body = Value::Object(body(request, mode)?);
    let accept = if mode == Mode::Stream { "application/x-ndjson" } else { "application/json" };
    Ok(HttpRequest::post("/api/chat").header("accept", accept).json(&body).auth(auth()))
}

fn body(request: &ChatRequest, mode: Mode) -> Result<Map<String, Value>, Failure> {
    let mut load = Load::parse(&request.settings)?;
    let mut body = Map::new();
    set(&mut body, "model", request.model.as_str().into());
    set(&mut body, "messages", messages::encode(&request.messages)?.into());
    set(&mut body, "stream", (mode == Mode::Stream).into());
    let with_tools = match &request.tool_choice {
        None | Some(ToolChoice::Auto) => true,
        Some(ToolChoice::None) => false,
        Some(ToolChoice::Required | ToolChoice::Named(_)) => {
            return Err(Failure::unsupported("Ollama cannot be told to call a tool: tool_choice can only be auto or none"));
        }
    };
    if with_tools && !request.tools.is_empty() {
        set(&mut body, "tools", request.tools.iter().map(tool).collect::<Result<Vec<Value>, Failure>>()?.into());
    }
    match &request.response_format {
        None | Some(ResponseFormat::Text) => {}
        Some(ResponseFormat::JsonObject) => set(&mut body, "format", "json".into()),
        // The name has no place and no use; the schema is enforced whether `strict` says so or not.
        Some(ResponseFormat::JsonSchema(format)) => {
            set(&mut body, "format", object("the schema of the response format", &format.schema)?.into());
        }
    }
    if let Some(reasoning) = &request.reasoning {
        set(&mut body, "think", think(reasoning)?);
    }
    if let Some(alternatives) = request.sampling.logprobs {
        set(&mut body, "logprobs", true.into());
        if alternatives > 0 {
            set(&mut body, "top_logprobs", alternatives.into());
        }
    }
    sampling(&request.sampling, &mut load.options)?;
    load.complete(request.extra_body.as_deref(), &mut body)?;
    Ok(body)
}

fn sampling(sampling: &Sampling, options: &mut Map<String, Value>) -> Result<(), Failure> {
    for (name, value) in [
        ("temperature", sampling.temperature),
        ("top_p", sampling.top_p),
        ("presence_penalty", sampling.presence_penalty),
        ("frequency_penalty", sampling.frequency_penalty),
    ] {
        if let Some(value) = value {
            // JSON has no NaN and no infinity.
            let number = serde_json::Number::from_f64(value).ok_or_else(|| Failure::invalid(format!("{name} must be a finite number")))?;
            set(options, name, Value::Number(number));
        }
    }
    for (name, value) in
        [("top_k", sampling.top_k.map(i64::from)), ("num_predict", sampling.max_tokens.map(i64::from)), ("seed", sampling.seed)]
    {
        if let Some(value) = value {
            set(options, name, value.into());
        }
    }
    if !sampling.stop.is_empty() {
        set(options, "stop", sampling.stop.as_slice().into());
    }
    Ok(())
}

fn tool(tool: &Tool) -> Result<Value, Failure> {
    if tool.strict == Some(true) {
        return Err(Failure::unsupported(format!(
            "Ollama does not enforce the schema of a tool's arguments, and \"{}\" is strict",
            tool.name
        )));
    }
    let mut function = Map::new();
    set(&mut function, "name", tool.name.as_str().into());
    if let Some(description) = &tool.description {
        set(&mut function, "description", description.as_str().into());
    }
    set(&mut function, "parameters", object(&format!("the parameters of tool \"{}\"", tool.name), &tool.parameters)?.into());
    Ok(record([("type", "function".into()), ("function", function.into())]))
}

/// On, off, or the caller's word for how much: models differ in which levels they know, and the server says so.
fn think(reasoning: &Reasoning) -> Result<Value, Failure> {
    match (reasoning.effort.as_deref(), reasoning.budget_tokens) {
        (_, Some(0)) | (Some("none"), _) => Ok(false.into()),
        (_, Some(_)) => Err(Failure::unsupported("Ollama takes no budget of thinking tokens, only an effort")),
        (Some(word), None) => Ok(word.into()),
        (None, None) => Ok(true.into()),
    }
}
