//! What is sent.

use pg_llm_guest::json::object;
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
    body.insert("model".to_owned(), json!(request.model));
    body.insert("messages".to_owned(), Value::Array(messages::encode(&request.messages, wire)?));
    sampling(&request.sampling, wire, &mut body)?;
    if !request.tools.is_empty() {
        body.insert("tools".to_owned(), request.tools.iter().map(tool).collect::<Result<Value, Failure>>()?);
    }
    if let Some(choice) = &request.tool_choice {
        let choice = match choice {
            ToolChoice::Auto => json!("auto"),
            ToolChoice::None => json!("none"),
            ToolChoice::Required => json!("required"),
            ToolChoice::Named(name) => json!({ "type": "function", "function": { "name": name } }),
        };
        body.insert("tool_choice".to_owned(), choice);
    }
    if let Some(format) = &request.response_format {
        body.insert("response_format".to_owned(), response_format(format)?);
    }
    if let Some(reasoning) = &request.reasoning {
        add_reasoning(reasoning, wire.reasoning_style, &mut body)?;
    }
    if mode == Mode::Stream {
        body.insert("stream".to_owned(), json!(true));
        if wire.stream_usage {
            body.insert("stream_options".to_owned(), json!({ "include_usage": true }));
        }
    }
    if let Some(extra) = &request.extra_body {
        // What `extra-body` names replaces what stands there; it is the caller's last word.
        body.extend(object("extra_body", extra)?);
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
            body.insert(name.to_owned(), Value::Number(number));
        }
    }
    let mut add = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    add("top_k", sampling.top_k.map(Value::from));
    add(&wire.max_tokens_field, sampling.max_tokens.map(Value::from));
    add("stop", (!sampling.stop.is_empty()).then(|| json!(sampling.stop)));
    add(&wire.seed_field, sampling.seed.map(Value::from));
    if let Some(alternatives) = sampling.logprobs {
        add("logprobs", Some(json!(true)));
        add("top_logprobs", (alternatives > 0).then(|| json!(alternatives)));
    }
    Ok(())
}

fn tool(tool: &Tool) -> Result<Value, Failure> {
    let mut function = Map::new();
    function.insert("name".to_owned(), json!(tool.name));
    if let Some(description) = &tool.description {
        function.insert("description".to_owned(), json!(description));
    }
    function.insert("parameters".to_owned(), Value::Object(object(&format!("the parameters of tool \"{}\"", tool.name), &tool.parameters)?));
    if let Some(strict) = tool.strict {
        function.insert("strict".to_owned(), json!(strict));
    }
    Ok(json!({ "type": "function", "function": function }))
}

fn response_format(format: &ResponseFormat) -> Result<Value, Failure> {
    Ok(match format {
        ResponseFormat::Text => json!({ "type": "text" }),
        ResponseFormat::JsonObject => json!({ "type": "json_object" }),
        ResponseFormat::JsonSchema(format) => {
            let schema = object("the schema of the response format", &format.schema)?;
            json!({ "type": "json_schema", "json_schema": { "name": format.name, "schema": schema, "strict": format.strict } })
        }
    })
}

fn add_reasoning(reasoning: &Reasoning, style: ReasoningStyle, body: &mut Map<String, Value>) -> Result<(), Failure> {
    let Reasoning { effort, budget_tokens } = reasoning;
    // Of a style that only knows on and off, `none` is off and every other word on; a budget of no token is off as well.
    let on = effort.as_deref() != Some("none") && *budget_tokens != Some(0);
    let no_budget = |style: &str| match budget_tokens {
        Some(1..) => Err(Failure::unsupported(format!("this endpoint takes no budget of thinking tokens (reasoning_style is {style}), only an effort"))),
        _ => Ok(()),
    };
    match style {
        ReasoningStyle::None => {
            if on && (effort.is_some() || budget_tokens.is_some()) {
                return Err(Failure::unsupported("this endpoint cannot be told how much to think (reasoning_style is none)"));
            }
        }
        ReasoningStyle::Effort => {
            no_budget("effort")?;
            let word = effort.as_deref().or_else(|| budget_tokens.map(|_| "none"));
            body.extend(word.map(|word| ("reasoning_effort".to_owned(), json!(word))));
        }
        ReasoningStyle::OpenRouter => {
            let mut members = Map::new();
            match budget_tokens {
                Some(tokens) if *tokens > 0 => members.insert("max_tokens".to_owned(), json!(tokens)),
                Some(_) => members.insert("enabled".to_owned(), json!(false)),
                None => effort.as_ref().and_then(|word| members.insert("effort".to_owned(), json!(word))),
            };
            if !members.is_empty() {
                body.insert("reasoning".to_owned(), Value::Object(members));
            }
        }
        ReasoningStyle::EnableThinking => {
            body.insert("enable_thinking".to_owned(), json!(on));
            body.extend(budget_tokens.filter(|_| on).map(|tokens| ("thinking_budget".to_owned(), json!(tokens))));
        }
        ReasoningStyle::Thinking => {
            no_budget("thinking")?;
            body.insert("thinking".to_owned(), json!({ "type": if on { "enabled" } else { "disabled" } }));
        }
        ReasoningStyle::ChatTemplate => {
            no_budget("chat_template")?;
            body.insert("chat_template_kwargs".to_owned(), json!({ "enable_thinking": on }));
        }
    }
    Ok(())
}
