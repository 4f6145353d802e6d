//! What is sent.

use pg_llm_guest::http::{Auth, TencentTc3Auth};
use pg_llm_guest::json::{object, record, set};
use pg_llm_guest::prelude::*;

use crate::messages;
use crate::settings::Wire;

/// The HTTP request for a chat.
pub fn encode(request: &ChatRequest, mode: Mode) -> Result<HttpRequest, Failure> {
    let wire = Wire::of(&request.settings)?;
    if request.response_format.as_ref().is_some_and(|format| !matches!(format, ResponseFormat::Text)) {
        return Err(Failure::unsupported(
            "Hunyuan's native API cannot be held to a format of the response; ask for it in words, or use its compatible endpoint (model type hunyuan)",
        ));
    }
    let mut body = Map::new();
    set(&mut body, "Model", request.model.as_str().into());
    set(&mut body, "Messages", messages::encode(&request.messages)?.into());
    if mode == Mode::Stream {
        set(&mut body, "Stream", true.into());
    }
    sampling(&request.sampling, &mut body)?;
    tools(request, &mut body)?;
    if let Some(reasoning) = &request.reasoning {
        if reasoning.budget_tokens.is_some_and(|tokens| tokens > 0) {
            return Err(Failure::unsupported("Hunyuan takes no budget of thinking tokens; it only thinks or does not"));
        }
        // `none`, and a budget of no token, is off; every other word is on.
        let on = reasoning.effort.as_deref() != Some("none") && reasoning.budget_tokens.is_none();
        set(&mut body, "EnableThinking", on.into());
    }
    for (name, value) in &wire.flags {
        set(&mut body, name, (*value).into());
    }
    let accept = if mode == Mode::Stream { "text/event-stream" } else { "application/json" };
    Ok(action("ChatCompletions", body, request.extra_body.as_deref(), &wire)?.header("accept", accept))
}

/// A call of an action of Hunyuan's.
pub(crate) fn action(name: &str, mut body: Map<String, Value>, extra_body: Option<&str>, wire: &Wire) -> Result<HttpRequest, Failure> {
    if let Some(extra) = extra_body {
        // What `extra-body` names replaces what stands there; it is the caller's last word.
        for (name, value) in object("extra_body", extra)? {
            set(&mut body, &name, value);
        }
    }
    let mut http = HttpRequest::post("/").json(&Value::Object(body)).header("x-tc-action", name).header("x-tc-version", "2023-09-01").auth(
        Auth::TencentTc3(TencentTc3Auth {
            secret_id: "access_key_id".to_owned(),
            secret_key: "access_key_secret".to_owned(),
            service: "hunyuan".to_owned(),
        }),
    );
    for (name, value) in &wire.headers {
        http = http.header(*name, value.as_str());
    }
    Ok(http)
}

fn sampling(sampling: &Sampling, body: &mut Map<String, Value>) -> Result<(), Failure> {
    for (name, value) in [("Temperature", sampling.temperature), ("TopP", sampling.top_p)] {
        if let Some(value) = value {
            // JSON has no NaN and no infinity.
            let number =
                serde_json::Number::from_f64(value).ok_or_else(|| Failure::invalid([name, " must be a finite number"].concat()))?;
            set(body, name, Value::Number(number));
        }
    }
    for (name, is_set) in [
        ("max_tokens", sampling.max_tokens.is_some()),
        ("top_k", sampling.top_k.is_some()),
        ("presence_penalty", sampling.presence_penalty.is_some()),
        ("frequency_penalty", sampling.frequency_penalty.is_some()),
        ("logprobs", sampling.logprobs.is_some()),
    ] {
        if is_set {
            return Err(Failure::unsupported(
                ["Hunyuan's native API has no ", name, "; its compatible endpoint (model type hunyuan) may"].concat(),
            ));
        }
    }
    if let Some(seed) = sampling.seed {
        if !(1..=10_000).contains(&seed) {
            return Err(Failure::invalid("Hunyuan takes a seed in 1..=10000"));
        }
        set(body, "Seed", seed.into());
    }
    if !sampling.stop.is_empty() {
        set(body, "Stop", sampling.stop.as_slice().into());
    }
    Ok(())
}

fn tools(request: &ChatRequest, body: &mut Map<String, Value>) -> Result<(), Failure> {
    let tools = &request.tools;
    if !tools.is_empty() {
        set(body, "Tools", tools.iter().map(tool).collect::<Result<Vec<Value>, Failure>>()?.into());
    }
    let (choice, custom) = match &request.tool_choice {
        None => return Ok(()),
        Some(ToolChoice::Auto) => ("auto", None),
        Some(ToolChoice::None) => ("none", None),
        Some(ToolChoice::Named(name)) => {
            let named = tools.iter().find(|tool| tool.name == *name);
            ("custom", Some(named.ok_or_else(|| Failure::invalid(["there is no tool ", name, " to be called"].concat()))?))
        }
        // Of one tool, at least one is that one.
        Some(ToolChoice::Required) if tools.len() == 1 => ("custom", tools.first()),
        Some(ToolChoice::Required) => {
            return Err(Failure::unsupported("Hunyuan cannot be told to call any of several tools; name one, or let it choose"));
        }
    };
    set(body, "ToolChoice", choice.into());
    if let Some(custom) = custom {
        set(body, "CustomTool", tool(custom)?);
    }
    Ok(())
}

fn tool(tool: &Tool) -> Result<Value, Failure> {
    if tool.strict == Some(true) {
        return Err(Failure::unsupported("Hunyuan does not enforce the schema of a tool (strict)"));
    }
    // Sent as the text that it is, if it is what it should be.
    object(&["the parameters of tool ", &tool.name].concat(), &tool.parameters)?;
    let mut function = Map::new();
    set(&mut function, "Name", tool.name.as_str().into());
    set(&mut function, "Parameters", tool.parameters.as_str().into());
    if let Some(description) = &tool.description {
        set(&mut function, "Description", description.as_str().into());
    }
    Ok(record([("Type", "function".into()), ("Function", function.into())]))
}
