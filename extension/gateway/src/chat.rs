//! One chat: a request, attempts, an answer.

use std::sync::Arc;

use pg_llm_sandbox::interrupt::Interrupt;
use pg_llm_sandbox::types::{Answer, ChatRequest, Message, Part, Role};
use uuid::Uuid;

use crate::attempts::Attempts;
use crate::error::CallError;
use crate::options::ChatOptions;
use crate::outcome::ChatOutcome;
use crate::route::Route;

/// Asks a model and waits for its whole answer.
///
/// # Errors
/// When the provider fails for good, the guest misbehaves, time is over, or the interrupt ends the call. Then nothing is tried any more.
pub fn chat(route: &Route, prompt: &str, options: ChatOptions, interrupt: &Arc<dyn Interrupt>) -> Result<ChatOutcome, CallError> {
    let options = options.over(&route.spec.defaults);
    let mut attempts = Attempts::begin(route, &options);
    let request = request(route, prompt, &options);
    let answer = attempts.run(route, interrupt, |grant| {
        let outcome = route.provider.complete(grant, &request);
        (outcome.result, outcome.log)
    })?;
    Ok(ChatOutcome::new(route, &options, answer, &mut attempts))
}

/// What the provider is asked.
pub(crate) fn request(route: &Route, prompt: &str, options: &ChatOptions) -> ChatRequest {
    let mut messages = Vec::with_capacity(options.messages.len() + 2);
    // A call's empty instructions take its model's away.
    if let Some(system) = options.system.as_ref().filter(|s| !s.is_empty()) {
        messages.push(Message { role: Role::System, parts: vec![Part::Text(system.clone())] });
    }
    messages.extend(options.messages.iter().cloned());
    let mut parts = vec![Part::Text(prompt.to_owned())];
    parts.extend(options.images.iter().cloned().map(Part::Image));
    messages.push(Message { role: Role::User, parts });
    ChatRequest {
        model: route.spec.model_name.clone(),
        settings: route.spec.settings_text(),
        messages,
        sampling: options.sampling.to_wire(),
        tools: options.tools.clone().unwrap_or_default(),
        tool_choice: options.tool_choice.clone(),
        response_format: options.response_format.clone(),
        reasoning: options.reasoning.clone(),
        extra_body: options.extra_body.as_ref().map(|b| serde_json::Value::Object(b.clone()).to_string()),
    }
}

impl ChatOutcome {
    pub(crate) fn new(route: &Route, options: &ChatOptions, answer: Answer, attempts: &mut Attempts) -> Self {
        Self {
            request_id: Uuid::now_v7(),
            instance: route.instance.clone(),
            model_name: answer.model.clone().unwrap_or_else(|| route.spec.model_name.clone()),
            wants_json: matches!(
                options.response_format,
                Some(pg_llm_sandbox::types::ResponseFormat::JsonObject | pg_llm_sandbox::types::ResponseFormat::JsonSchema(_))
            ),
            answer,
            attempts: attempts.made(),
            latency: attempts.elapsed(),
            log: attempts.take_log(),
        }
    }
}
