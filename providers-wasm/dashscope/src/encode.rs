//! What is sent.

use pg_llm_guest::json::{object, read, record, set};
use pg_llm_guest::prelude::*;

use crate::messages;
use crate::settings::Wire;

/// The HTTP request for a chat.
pub fn encode(request: &ChatRequest, mode: Mode) -> Result<HttpRequest, Failure> {
    let wire = Wire::of(&request.settings)?;
    let multimodal = is_multimodal(request, &wire);
    let mut parameters = Map::new();
    if !multimodal {
        // The multimodal endpoint knows no other result.
        set(&mut parameters, "result_format", "message".into());
    }
    if mode == Mode::Stream {
        set(&mut parameters, "incremental_output", wire.incremental_output.into());
    }
    sampling(&request.sampling, &mut parameters)?;
    tools(request, &mut parameters)?;
    match &request.response_format {
        None | Some(ResponseFormat::Text) => {}
        Some(ResponseFormat::JsonObject) => set(&mut parameters, "response_format", record([("type", "json_object".into())])),
        Some(ResponseFormat::JsonSchema(format)) => {
            let schema = object("the schema of the response format", &format.schema)?;
            let described = record([("name", format.name.as_str().into()), ("strict", format.strict.into()), ("schema", schema.into())]);
            set(&mut parameters, "response_format", record([("type", "json_schema".into()), ("json_schema", described)]));
        }
    }
    if let Some(reasoning) = &request.reasoning {
        // `none`, and a budget of no token, is off; every other word is on.
        let on = reasoning.effort.as_deref() != Some("none") && reasoning.budget_tokens != Some(0);
        set(&mut parameters, "enable_thinking", on.into());
        if let Some(tokens) = reasoning.budget_tokens.filter(|_| on) {
            set(&mut parameters, "thinking_budget", tokens.into());
        }
        if let Some(word) = reasoning.effort.as_deref().filter(|_| on && wire.reasoning_effort) {
            set(&mut parameters, "reasoning_effort", word.into());
        }
    }
    if wire.preserve_thinking {
        set(&mut parameters, "preserve_thinking", true.into());
    }
    if let Some(enable) = wire.enable_search {
        set(&mut parameters, "enable_search", enable.into());
    }
    if let Some(options) = &wire.search_options {
        set(&mut parameters, "search_options", options.clone());
    }
    if messages::wants_detail(&request.messages) {
        set(&mut parameters, "vl_high_resolution_images", true.into());
    }
    let messages = messages::encode(&request.messages, multimodal, wire.preserve_thinking)?;
    let path = if multimodal {
        "/api/v1/services/aigc/multimodal-generation/generation"
    } else {
        "/api/v1/services/aigc/text-generation/generation"
    };
    let input = record([("messages", messages.into())]);
    let http = post(path, &request.model, input, parameters, request.extra_body.as_deref(), &wire)?;
    Ok(match mode {
        Mode::Whole => http.header("accept", "application/json"),
        Mode::Stream => http.header("accept", "text/event-stream").header("x-dashscope-sse", "enable"),
    })
}

/// A request of the form that all of DashScope's have.
pub(crate) fn post(
    path: &str,
    model: &str,
    input: Value,
    parameters: Map<String, Value>,
    extra_body: Option<&str>,
    wire: &Wire,
) -> Result<HttpRequest, Failure> {
    let mut body = Map::new();
    set(&mut body, "model", model.into());
    set(&mut body, "input", input);
    set(&mut body, "parameters", parameters.into());
    if let Some(extra) = extra_body {
        for (name, value) in object("extra_body", extra)? {
            match (body.get_mut(&name), value) {
                // To set one parameter is not to unset the others.
                (Some(Value::Object(members)), Value::Object(further)) => further.iter().for_each(|(name, value)| {
                    set(members, name, value.clone());
                }),
                (_, value) => set(&mut body, &name, value),
            }
        }
    }
    Ok(with_headers(HttpRequest::post(path).json(&Value::Object(body)), wire))
}

/// Adds the key, and the headers of the settings.
pub(crate) fn with_headers(http: HttpRequest, wire: &Wire) -> HttpRequest {
    wire.headers.iter().fold(http.bearer("default"), |http, (name, value)| http.header(name.as_str(), value.as_str()))
}

/// Whether a stream is asked for increments: as the setting says, unless `extra_body` says otherwise.
pub(crate) fn asks_for_increments(request: &ChatRequest) -> Result<bool, Failure> {
    let extra = request.extra_body.as_deref().and_then(|extra| read(extra).ok());
    let asked = extra.as_ref().and_then(|extra| extra.get("parameters")?.get("incremental_output")?.as_bool());
    Ok(asked.unwrap_or(Wire::of(&request.settings)?.incremental_output))
}

fn is_multimodal(request: &ChatRequest, wire: &Wire) -> bool {
    wire.multimodal.unwrap_or_else(|| {
        // These have no other endpoint; to ask them at the other one ends in `url error, check url!`.
        ["-vl", "qvq", "-omni", "-ocr"].iter().any(|family| request.model.contains(family))
            || request.messages.iter().flat_map(|message| &message.parts).any(|part| matches!(part, Part::Image(_)))
    })
}

fn sampling(sampling: &Sampling, parameters: &mut Map<String, Value>) -> Result<(), Failure> {
    // Both ends are refused by some models, and nobody can tell them from these.
    let top_p = sampling.top_p.map(|value| if (0.0..=1.0).contains(&value) { value.clamp(1e-6, 0.999_999) } else { value });
    for (name, value) in [("temperature", sampling.temperature), ("top_p", top_p), ("presence_penalty", sampling.presence_penalty)] {
        if let Some(value) = value {
            // JSON has no NaN and no infinity.
            let number = serde_json::Number::from_f64(value).ok_or_else(|| not_finite(name))?;
            set(parameters, name, Value::Number(number));
        }
    }
    if sampling.frequency_penalty.is_some() {
        return Err(Failure::unsupported(
            "DashScope has no frequency_penalty; it has presence_penalty, and repetition_penalty in extra_body's parameters",
        ));
    }
    for (name, value) in [
        ("top_k", sampling.top_k.map(i64::from)),
        ("max_tokens", sampling.max_tokens.map(i64::from)),
        ("seed", sampling.seed),
        ("top_logprobs", sampling.logprobs.filter(|alternatives| *alternatives > 0).map(i64::from)),
    ] {
        if let Some(value) = value {
            set(parameters, name, value.into());
        }
    }
    if sampling.logprobs.is_some() {
        set(parameters, "logprobs", true.into());
    }
    if !sampling.stop.is_empty() {
        set(parameters, "stop", sampling.stop.as_slice().into());
    }
    Ok(())
}

fn not_finite(name: &str) -> Failure {
    let mut words = name.to_owned();
    words.push_str(" must be a finite number");
    Failure::invalid(words)
}

fn tools(request: &ChatRequest, parameters: &mut Map<String, Value>) -> Result<(), Failure> {
    if !request.tools.is_empty() {
        set(parameters, "tools", request.tools.iter().map(tool).collect::<Result<Vec<Value>, Failure>>()?.into());
    }
    let choice = match (&request.tool_choice, request.tools.as_slice()) {
        (None, _) => return Ok(()),
        (Some(ToolChoice::Auto), _) => "auto".into(),
        (Some(ToolChoice::None), _) => "none".into(),
        (Some(ToolChoice::Named(name)), _) => by_name(name),
        // Of one tool, at least one is that one.
        (Some(ToolChoice::Required), [only]) => by_name(&only.name),
        (Some(ToolChoice::Required), _) => {
            return Err(Failure::unsupported("DashScope cannot be told to call any of several tools; name one, or let it choose"));
        }
    };
    set(parameters, "tool_choice", choice);
    Ok(())
}

fn by_name(name: &str) -> Value {
    record([("type", "function".into()), ("function", record([("name", name.into())]))])
}

fn tool(tool: &Tool) -> Result<Value, Failure> {
    if tool.strict == Some(true) {
        return Err(Failure::unsupported("DashScope does not enforce the schema of a tool (strict)"));
    }
    let mut function = Map::new();
    set(&mut function, "name", tool.name.as_str().into());
    if let Some(description) = &tool.description {
        set(&mut function, "description", description.as_str().into());
    }
    let mut what = "the parameters of tool ".to_owned();
    what.push_str(&tool.name);
    set(&mut function, "parameters", object(&what, &tool.parameters)?.into());
    Ok(record([("type", "function".into()), ("function", function.into())]))
}
