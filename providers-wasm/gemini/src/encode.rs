//! What is sent.

use pg_llm_guest::failure::words;
use pg_llm_guest::json::{object, record, set};
use pg_llm_guest::prelude::*;

use crate::contents;
use crate::settings::{ThinkingStyle, Wire};

/// The HTTP request for a chat.
pub fn encode(request: &ChatRequest, mode: Mode) -> Result<HttpRequest, Failure> {
    let mut wire = Wire::of(&request.settings)?;
    let body = Value::Object(body(request, &mut wire)?);
    let http = if mode == Mode::Stream {
        // Without `alt=sse` the stream is one JSON array.
        HttpRequest::post(wire.path(&request.model, "streamGenerateContent")).query("alt", "sse").header("accept", "text/event-stream")
    } else {
        HttpRequest::post(wire.path(&request.model, "generateContent")).header("accept", "application/json")
    };
    Ok(wire.with_auth(http.json(&body)))
}

fn body(request: &ChatRequest, wire: &mut Wire) -> Result<Map<String, Value>, Failure> {
    let mut body = Map::new();
    if let Some(system) = contents::system(&request.messages)? {
        set(&mut body, "systemInstruction", system);
    }
    set(&mut body, "contents", contents::encode(&request.messages, wire.call_ids)?.into());
    if !request.tools.is_empty() {
        let functions = request.tools.iter().map(function).collect::<Result<Vec<Value>, Failure>>()?;
        set(&mut body, "tools", vec![record([("functionDeclarations", functions.into())])].into());
    }
    if let Some(choice) = tool_choice(request) {
        set(&mut body, "toolConfig", record([("functionCallingConfig", choice)]));
    }
    if !wire.safety_settings.is_empty() {
        set(&mut body, "safetySettings", std::mem::take(&mut wire.safety_settings).into());
    }
    let mut config = Map::new();
    sampling(&request.sampling, &mut config)?;
    if let Some(format) = &request.response_format {
        response_format(format, &mut config)?;
    }
    if let Some(thinking) = thinking(request, wire)? {
        set(&mut config, "thinkingConfig", thinking.into());
    }
    if let Some(resolution) = media_resolution(&request.messages)? {
        set(&mut config, "mediaResolution", resolution.into());
    }
    if !config.is_empty() {
        set(&mut body, "generationConfig", config.into());
    }
    if let Some(extra) = &request.extra_body {
        merge(object("extra_body", extra)?, &mut body);
    }
    Ok(body)
}

/// The caller's last word: a member replaces what stands there; of two objects, such as `generationConfig`, the members do.
pub(crate) fn merge(extra: Map<String, Value>, body: &mut Map<String, Value>) {
    for (name, value) in extra {
        match (body.get_mut(&name), value) {
            (Some(Value::Object(known)), Value::Object(members)) => {
                for (name, value) in members {
                    set(known, &name, value);
                }
            }
            (_, value) => set(body, &name, value),
        }
    }
}

fn sampling(sampling: &Sampling, config: &mut Map<String, Value>) -> Result<(), Failure> {
    for (name, value) in [
        ("temperature", sampling.temperature),
        ("topP", sampling.top_p),
        ("presencePenalty", sampling.presence_penalty),
        ("frequencyPenalty", sampling.frequency_penalty),
    ] {
        if let Some(value) = value {
            // JSON has no NaN and no infinity.
            let number = serde_json::Number::from_f64(value).ok_or_else(|| Failure::invalid("a sampling parameter is not finite"))?;
            set(config, name, Value::Number(number));
        }
    }
    for (name, value) in [
        ("topK", sampling.top_k.map(i64::from)),
        ("maxOutputTokens", sampling.max_tokens.map(i64::from)),
        ("seed", sampling.seed),
        // The number of alternatives begins at 1; without it there are none.
        ("logprobs", sampling.logprobs.filter(|alternatives| *alternatives > 0).map(i64::from)),
    ] {
        if let Some(value) = value {
            set(config, name, value.into());
        }
    }
    if sampling.logprobs.is_some() {
        set(config, "responseLogprobs", true.into());
    }
    if !sampling.stop.is_empty() {
        set(config, "stopSequences", sampling.stop.as_slice().into());
    }
    Ok(())
}

fn function(tool: &Tool) -> Result<Value, Failure> {
    let mut function = Map::new();
    set(&mut function, "name", tool.name.as_str().into());
    if let Some(description) = &tool.description {
        set(&mut function, "description", description.as_str().into());
    }
    // `parameters`, the older member, takes only a part of OpenAPI's schemas.
    let schema = object(&words(&["the schema of tool ", &tool.name]), &tool.parameters)?;
    set(&mut function, "parametersJsonSchema", schema.into());
    Ok(function.into())
}

fn tool_choice(request: &ChatRequest) -> Option<Value> {
    // There is no word for one tool alone: a schema is enforced for all of them.
    let strict = request.tools.iter().any(|tool| tool.strict == Some(true));
    let mode = match &request.tool_choice {
        None if !strict => return None,
        None | Some(ToolChoice::Auto) if strict => "VALIDATED",
        None | Some(ToolChoice::Auto) => "AUTO",
        Some(ToolChoice::None) => "NONE",
        Some(ToolChoice::Required | ToolChoice::Named(_)) => "ANY",
    };
    let mut choice = Map::new();
    set(&mut choice, "mode", mode.into());
    if let Some(ToolChoice::Named(name)) = &request.tool_choice {
        set(&mut choice, "allowedFunctionNames", vec![Value::from(name.as_str())].into());
    }
    Some(choice.into())
}

/// A schema has no name here, and is always enforced.
fn response_format(format: &ResponseFormat, config: &mut Map<String, Value>) -> Result<(), Failure> {
    if *format != ResponseFormat::Text {
        set(config, "responseMimeType", "application/json".into());
    }
    if let ResponseFormat::JsonSchema(format) = format {
        set(config, "responseJsonSchema", object("the schema of the response format", &format.schema)?.into());
    }
    Ok(())
}

fn thinking(request: &ChatRequest, wire: &Wire) -> Result<Option<Map<String, Value>>, Failure> {
    let effort = request.reasoning.as_ref().and_then(|reasoning| reasoning.effort.as_deref());
    let budget = request.reasoning.as_ref().and_then(|reasoning| reasoning.budget_tokens);
    let mut config = Map::new();
    match (budget, effort) {
        // Of both, which the wire does not take, the number says more.
        (Some(tokens), _) => set(&mut config, "thinkingBudget", tokens.into()),
        (None, Some("none")) => set(&mut config, "thinkingBudget", 0.into()),
        (None, Some(word)) if wire.thinking_style(&request.model) == ThinkingStyle::Level => set(&mut config, "thinkingLevel", word.into()),
        (None, Some(word)) => set(&mut config, "thinkingBudget", budget_of(word)?.into()),
        (None, None) => {}
    }
    // A model that is told not to think cannot be asked for its thoughts.
    let is_off = config.get("thinkingBudget").and_then(Value::as_u64) == Some(0);
    if let Some(include) = wire.include_thoughts.or((!config.is_empty()).then_some(true)).filter(|_| !is_off) {
        set(&mut config, "includeThoughts", include.into());
    }
    Ok((!config.is_empty()).then_some(config))
}

/// Tokens that an effort stands for, as Google's own OpenAI-compatible endpoint has it for Gemini 2.5.
fn budget_of(effort: &str) -> Result<u32, Failure> {
    Ok(match effort {
        "minimal" | "low" => 1024,
        "medium" => 8192,
        "high" => 24576,
        _ => return Err(Failure::unsupported("this model's thinking takes the efforts none, minimal, low, medium and high, or a budget")),
    })
}

/// The finest resolution that any image or document asks for: the wire has one for all.
fn media_resolution(messages: &[Message]) -> Result<Option<&'static str>, Failure> {
    const LEVELS: [(&str, &str); 3] =
        [("low", "MEDIA_RESOLUTION_LOW"), ("medium", "MEDIA_RESOLUTION_MEDIUM"), ("high", "MEDIA_RESOLUTION_HIGH")];
    let mut finest = None;
    for part in messages.iter().flat_map(|message| &message.parts) {
        let (Part::Image(media) | Part::Document(media)) = part else { continue };
        let Some(detail) = media.detail.as_deref().filter(|detail| *detail != "auto") else { continue };
        let level = LEVELS.iter().position(|(word, _)| *word == detail);
        finest = finest.max(Some(level.ok_or_else(|| Failure::unsupported("detail is one of low, medium, high and auto"))?));
    }
    Ok(finest.map(|level| LEVELS[level].1))
}
