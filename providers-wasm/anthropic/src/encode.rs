//! What is sent.

use pg_llm_guest::failure::words;
use pg_llm_guest::json::{object, record, set, string};
use pg_llm_guest::prelude::*;

use crate::messages;
use crate::settings::Wire;

/// The HTTP request for a chat.
pub fn encode(request: &ChatRequest, mode: Mode) -> Result<HttpRequest, Failure> {
    let wire = Wire::of(request)?;
    let accept = if mode == Mode::Stream { "text/event-stream" } else { "application/json" };
    let body = Value::Object(body(request, mode, &wire)?);
    Ok(wire.request(Method::Post, "/messages")?.header("accept", accept).json(&body))
}

fn body(request: &ChatRequest, mode: Mode, wire: &Wire) -> Result<Map<String, Value>, Failure> {
    let mut body = Map::new();
    set(&mut body, "model", string(&request.model));
    set(&mut body, "max_tokens", max_tokens(request, wire)?.into());
    let (system, messages) = messages::encode(&request.messages, wire.system_in_place()?)?;
    if let Some(system) = system {
        set(&mut body, "system", system);
    }
    set(&mut body, "messages", messages.into());
    sampling(&request.sampling, &mut body)?;
    tools(request, wire, &mut body)?;
    thinking_and_output(request, wire, &mut body)?;
    if let Some(ttl) = wire.prompt_caching()? {
        // At the top level the provider sets the breakpoint itself, on the last block that can be cached.
        set(&mut body, "cache_control", record([("type", string("ephemeral")), ("ttl", ttl.into())]));
    }
    if mode == Mode::Stream {
        set(&mut body, "stream", true.into());
    }
    if let Some(extra) = &request.extra_body {
        // What `extra-body` names replaces what stands there; it is the caller's last word.
        for (name, value) in object("extra_body", extra)? {
            set(&mut body, &name, value);
        }
    }
    Ok(body)
}

/// The budget of thinking tokens, where it is one and not a word for "off".
fn budget(request: &ChatRequest) -> Option<u64> {
    let reasoning = request.reasoning.as_ref()?;
    reasoning.budget_tokens.filter(|tokens| *tokens > 0).map(u64::from)
}

/// Thinking counts as output, so the bound has to leave room for an answer after it.
fn max_tokens(request: &ChatRequest, wire: &Wire) -> Result<u64, Failure> {
    let budget = budget(request);
    match (request.sampling.max_tokens.map(u64::from), budget) {
        (Some(tokens), Some(budget)) if tokens <= budget => {
            Err(Failure::invalid("max_tokens must be greater than the budget of thinking tokens, which is part of it"))
        }
        (Some(tokens), _) => Ok(tokens),
        (None, budget) => Ok(wire.max_tokens()?.saturating_add(budget.unwrap_or(0))),
    }
}

fn sampling(sampling: &Sampling, body: &mut Map<String, Value>) -> Result<(), Failure> {
    let absent = [
        ("a seed", sampling.seed.is_some()),
        ("a presence penalty", sampling.presence_penalty.is_some()),
        ("a frequency penalty", sampling.frequency_penalty.is_some()),
        ("log probabilities", sampling.logprobs.is_some()),
    ];
    if let Some((what, _)) = absent.iter().find(|(_, wanted)| *wanted) {
        return Err(Failure::unsupported(words(&["Anthropic's Messages API has no place for ", what])));
    }
    for (name, value) in [("temperature", sampling.temperature), ("top_p", sampling.top_p)] {
        if let Some(value) = value {
            // JSON has no NaN and no infinity.
            let number = serde_json::Number::from_f64(value).ok_or_else(|| Failure::invalid(words(&[name, " must be a finite number"])))?;
            set(body, name, Value::Number(number));
        }
    }
    if let Some(top_k) = sampling.top_k {
        set(body, "top_k", top_k.into());
    }
    if !sampling.stop.is_empty() {
        set(body, "stop_sequences", sampling.stop.as_slice().into());
    }
    Ok(())
}

fn tools(request: &ChatRequest, wire: &Wire, body: &mut Map<String, Value>) -> Result<(), Failure> {
    let mut tools = request.tools.iter().map(tool).collect::<Result<Vec<Value>, Failure>>()?;
    let mut choice = request.tool_choice.as_ref().map(|choice| match choice {
        ToolChoice::Auto => record([("type", string("auto"))]),
        ToolChoice::None => record([("type", string("none"))]),
        ToolChoice::Required => record([("type", string("any"))]),
        ToolChoice::Named(name) => record([("type", string("tool")), ("name", string(name))]),
    });
    if let Some(format) = wire.schema_tool(request)? {
        let schema = object("the schema of the response format", &format.schema)?;
        tools.push(record([
            ("name", string(&format.name)),
            ("description", string("Gives the answer. Call it once, when the answer is complete.")),
            ("input_schema", schema.into()),
        ]));
        // With tools of the caller beside it the model has to choose one of them all; alone, or where they are not to be called, it must be this one.
        choice = match &request.tool_choice {
            Some(ToolChoice::Named(_)) => choice,
            Some(ToolChoice::None) => Some(record([("type", string("tool")), ("name", string(&format.name))])),
            _ if request.tools.is_empty() => Some(record([("type", string("tool")), ("name", string(&format.name))])),
            _ => Some(record([("type", string("any"))])),
        };
    }
    if !tools.is_empty() {
        set(body, "tools", tools.into());
    }
    if let Some(choice) = choice {
        set(body, "tool_choice", choice);
    }
    Ok(())
}

fn tool(tool: &Tool) -> Result<Value, Failure> {
    let mut encoded = Map::new();
    set(&mut encoded, "name", string(&tool.name));
    if let Some(description) = &tool.description {
        set(&mut encoded, "description", string(description));
    }
    let what = words(&["the parameters of tool \"", &tool.name, "\""]);
    set(&mut encoded, "input_schema", object(&what, &tool.parameters)?.into());
    if let Some(strict) = tool.strict {
        set(&mut encoded, "strict", strict.into());
    }
    Ok(encoded.into())
}

fn thinking_and_output(request: &ChatRequest, wire: &Wire, body: &mut Map<String, Value>) -> Result<(), Failure> {
    let mut output = Map::new();
    let reasoning = request.reasoning.as_ref();
    let effort = reasoning.and_then(|reasoning| reasoning.effort.as_deref());
    let off = effort == Some("none") || reasoning.is_some_and(|reasoning| reasoning.budget_tokens == Some(0));
    let mut thinking = Map::new();
    if off {
        set(&mut thinking, "type", string("disabled"));
    } else if let Some(budget) = budget(request) {
        set(&mut thinking, "type", string("enabled"));
        set(&mut thinking, "budget_tokens", budget.into());
    } else if effort.is_some() && wire.adaptive_thinking()? {
        set(&mut thinking, "type", string("adaptive"));
    }
    if !thinking.is_empty() {
        if let Some(display) = wire.thinking_display()?.filter(|_| !off) {
            set(&mut thinking, "display", display.into());
        }
        set(body, "thinking", thinking.into());
    }
    if let Some(effort) = effort.filter(|effort| *effort != "none") {
        set(&mut output, "effort", effort.into());
    }
    match &request.response_format {
        None | Some(ResponseFormat::Text) => {}
        Some(ResponseFormat::JsonObject) => {
            return Err(Failure::unsupported("Anthropic's Messages API has no mode for any JSON object; give a JSON schema"));
        }
        Some(ResponseFormat::JsonSchema(format)) => {
            if wire.schema_tool(request)?.is_none() {
                // It has no name and is always strict.
                let schema = object("the schema of the response format", &format.schema)?;
                set(&mut output, "format", record([("type", string("json_schema")), ("schema", schema.into())]));
            }
        }
    }
    if !output.is_empty() {
        set(body, "output_config", output.into());
    }
    Ok(())
}
