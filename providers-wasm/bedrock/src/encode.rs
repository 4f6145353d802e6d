//! What is sent.

use pg_llm_guest::json::{record, set, text};
use pg_llm_guest::prelude::*;

use crate::messages::{self, Conversation};
use crate::refusal::{Refusal, add_extra, object, one};
use crate::settings::{Family, Wire};

/// The HTTP request for a chat.
pub fn encode(request: &ChatRequest, mode: Mode) -> Result<HttpRequest, Failure> {
    let wire = Wire::parse(&request.settings)?;
    let body = Value::Object(body(request, mode, &wire)?);
    let (operation, accept) = match mode {
        Mode::Whole => ("/converse", "application/json"),
        Mode::Stream => ("/converse-stream", "application/vnd.amazon.eventstream"),
    };
    Ok(wire.request(&request.model, operation, &body)?.header("accept", accept))
}

fn body(request: &ChatRequest, mode: Mode, wire: &Wire) -> Result<Map<String, Value>, Refusal> {
    let mut body = Map::new();
    let mut conversation = messages::encode(&request.messages)?;
    if let Some(time) = wire.prompt_caching()? {
        conversation.cache(time);
    }
    let as_tool = wire.schema_as_tool()?;
    let tools = tool_config(request, as_tool, &conversation)?;
    set(&mut body, "messages", conversation.messages());
    if !conversation.system.is_empty() {
        set(&mut body, "system", conversation.system.into());
    }
    let family = wire.family(&request.model)?;
    let mut additional = Map::new();
    sampling(&request.sampling, family, &mut body, &mut additional)?;
    if let Some(tools) = tools {
        set(&mut body, "toolConfig", tools);
    }
    if let Some(format) = response_format(request, as_tool)? {
        set(&mut body, "outputConfig", one("textFormat", format));
    }
    if let Some(reasoning) = &request.reasoning {
        add_reasoning(reasoning, family, wire, &mut additional)?;
    }
    if !additional.is_empty() {
        set(&mut body, "additionalModelRequestFields", additional.into());
    }
    if let Some(guardrail) = wire.guardrail()? {
        let mut guardrail = guardrail.clone();
        if mode == Mode::Whole {
            // Only a stream has it, and a whole answer's request may not say it.
            guardrail.shift_remove("streamProcessingMode");
        }
        set(&mut body, "guardrailConfig", guardrail.into());
    }
    if let Some(latency) = wire.latency()? {
        set(&mut body, "performanceConfig", one("latency", latency.into()));
    }
    if let Some(tier) = wire.service_tier()? {
        set(&mut body, "serviceTier", one("type", tier.into()));
    }
    add_extra(request.extra_body.as_deref(), &mut body)?;
    Ok(body)
}

/// The parameters of all models, and `top_k`, which goes to the model under its own name.
fn sampling(
    sampling: &Sampling,
    family: Family,
    body: &mut Map<String, Value>,
    additional: &mut Map<String, Value>,
) -> Result<(), Refusal> {
    if sampling.seed.is_some() || sampling.presence_penalty.is_some() || sampling.frequency_penalty.is_some() || sampling.logprobs.is_some()
    {
        return Err(Refusal::Unsupported(
            "Converse has no seed, no presence_penalty or frequency_penalty and no logprobs; a model that has one takes it by its own name in extra_body, in additionalModelRequestFields",
        ));
    }
    let mut config = Map::new();
    if let Some(tokens) = sampling.max_tokens {
        set(&mut config, "maxTokens", tokens.into());
    }
    for (name, value) in [("temperature", sampling.temperature), ("topP", sampling.top_p)] {
        if let Some(value) = value {
            // JSON has no NaN and no infinity.
            let number = serde_json::Number::from_f64(value)
                .ok_or_else(|| Refusal::Invalid("a sampling parameter must be a finite number".to_owned()))?;
            set(&mut config, name, Value::Number(number));
        }
    }
    if !sampling.stop.is_empty() {
        set(&mut config, "stopSequences", sampling.stop.as_slice().into());
    }
    if !config.is_empty() {
        set(body, "inferenceConfig", config.into());
    }
    if let Some(tokens) = sampling.top_k {
        match family {
            Family::Nova => set(additional, "inferenceConfig", one("topK", tokens.into())),
            Family::Cohere => set(additional, "k", tokens.into()),
            _ => set(additional, "top_k", tokens.into()),
        }
    }
    Ok(())
}

fn tool_config(request: &ChatRequest, schema_as_tool: bool, conversation: &Conversation) -> Result<Option<Value>, Refusal> {
    if let (Some(ResponseFormat::JsonSchema(format)), true) = (&request.response_format, schema_as_tool) {
        if !request.tools.is_empty() || conversation.has_tools {
            return Err(Refusal::Unsupported("a schema that is asked for as a tool (schema_style) cannot be combined with tools"));
        }
        let schema = object("the schema of the response format", "", &format.schema)?;
        let tool = tool_spec(&format.name, Some("Takes the answer."), schema, None);
        return Ok(Some(record([("tools", vec![tool].into()), ("toolChoice", named(&format.name))])));
    }
    let choice = match &request.tool_choice {
        // The wire has no word for it, and a model that is told of no tools calls none.
        Some(ToolChoice::None) if !conversation.has_tools => return Ok(None),
        Some(ToolChoice::None) => {
            return Err(Refusal::Unsupported(
                "Converse cannot forbid tools (tool_choice none) in a conversation that has tool calls: it wants their tools told",
            ));
        }
        _ if request.tools.is_empty() => return Ok(None),
        None => None,
        Some(ToolChoice::Auto) => Some(one("auto", Map::new().into())),
        Some(ToolChoice::Required) => Some(one("any", Map::new().into())),
        Some(ToolChoice::Named(name)) => Some(named(name)),
    };
    let mut tools = Vec::with_capacity(request.tools.len());
    for tool in &request.tools {
        tools.push(tool_spec(
            &tool.name,
            tool.description.as_deref(),
            object("the parameters of tool ", &tool.name, &tool.parameters)?,
            tool.strict,
        ));
    }
    let mut config = Map::new();
    set(&mut config, "tools", tools.into());
    if let Some(choice) = choice {
        set(&mut config, "toolChoice", choice);
    }
    Ok(Some(config.into()))
}

fn tool_spec(name: &str, description: Option<&str>, schema: Map<String, Value>, strict: Option<bool>) -> Value {
    let mut spec = Map::new();
    set(&mut spec, "name", name.into());
    // An empty one is refused.
    if let Some(description) = description.filter(|description| !description.is_empty()) {
        set(&mut spec, "description", description.into());
    }
    set(&mut spec, "inputSchema", one("json", schema.into()));
    if let Some(strict) = strict {
        set(&mut spec, "strict", strict.into());
    }
    one("toolSpec", spec.into())
}

fn named(tool: &str) -> Value {
    one("tool", one("name", tool.into()))
}

/// A schema is always enforced: the wire has no word for `strict`.
fn response_format(request: &ChatRequest, schema_as_tool: bool) -> Result<Option<Value>, Refusal> {
    match &request.response_format {
        None | Some(ResponseFormat::Text) => Ok(None),
        Some(ResponseFormat::JsonObject) => Err(Refusal::Unsupported("Converse answers in JSON only by a schema, and none was given")),
        Some(ResponseFormat::JsonSchema(_)) if schema_as_tool => Ok(None),
        Some(ResponseFormat::JsonSchema(format)) => {
            // The schema is a text inside the JSON.
            let schema = text(&object("the schema of the response format", "", &format.schema)?.into());
            let described = record([("schema", schema.into()), ("name", format.name.as_str().into())]);
            Ok(Some(record([("type", "json_schema".into()), ("structure", one("jsonSchema", described))])))
        }
    }
}

/// How much to think, in the words of the model's family.
fn add_reasoning(reasoning: &Reasoning, family: Family, wire: &Wire, additional: &mut Map<String, Value>) -> Result<(), Refusal> {
    let Reasoning { effort, budget_tokens } = reasoning;
    if effort.is_none() && budget_tokens.is_none() {
        return Ok(());
    }
    let off = effort.as_deref() == Some("none") || *budget_tokens == Some(0);
    let budget = budget_tokens.filter(|_| !off);
    let effort = effort.as_deref().filter(|_| !off);
    let typed = |kind: &str| one("type", kind.into());
    if family == Family::Claude {
        return claude_thinking(effort, budget, off, wire, additional);
    }
    if budget.is_some() {
        return Err(Refusal::Unsupported("this model takes no budget of thinking tokens, only an effort (see the setting model_family)"));
    }
    // Without an effort it can only be off: a budget was refused.
    let word = effort.unwrap_or("none");
    match family {
        Family::Nova if off => set(additional, "reasoningConfig", typed("disabled")),
        Family::Nova => set(additional, "reasoningConfig", record([("type", "enabled".into()), ("maxReasoningEffort", word.into())])),
        Family::Gpt => set(additional, "reasoning", one("effort", word.into())),
        Family::GptOss => set(additional, "reasoning_effort", word.into()),
        _ if off => {}
        _ => {
            return Err(Refusal::Unsupported(
                "this model is not known to take an effort or a budget of thinking; set model_family, or send its own parameter in extra_body, in additionalModelRequestFields",
            ));
        }
    }
    Ok(())
}

fn claude_thinking(
    effort: Option<&str>,
    budget: Option<u32>,
    off: bool,
    wire: &Wire,
    additional: &mut Map<String, Value>,
) -> Result<(), Refusal> {
    let mut thinking = Map::new();
    if off {
        set(&mut thinking, "type", "disabled".into());
    } else if let Some(tokens) = budget {
        set(&mut thinking, "type", "enabled".into());
        set(&mut thinking, "budget_tokens", tokens.into());
    } else if wire.adaptive_thinking()? {
        set(&mut thinking, "type", "adaptive".into());
    }
    if let Some(display) = wire.thinking_display()?.filter(|_| !off && !thinking.is_empty()) {
        set(&mut thinking, "display", display.into());
    }
    if !thinking.is_empty() {
        set(additional, "thinking", thinking.into());
    }
    if let Some(effort) = effort {
        set(additional, "output_config", one("effort", effort.into()));
    }
    Ok(())
}
