//! One chat: a request, attempts, an answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pg_llm_sandbox::interrupt::{Interrupt, Wake};
use pg_llm_sandbox::types::{Answer, ChatRequest, Message, Part, Role};
use pg_llm_sandbox::{CallError as SandboxCallError, LogLine};
use uuid::Uuid;

use crate::error::CallError;
use crate::options::ChatOptions;
use crate::outcome::ChatOutcome;
use crate::retry::{DEFAULT_ATTEMPTS, wait_before_retry};
use crate::route::Route;

/// Asks a model and waits for its whole answer.
///
/// # Errors
/// When the provider fails for good, the guest misbehaves, time is over, or the interrupt ends the call. Then nothing is tried any more.
pub fn chat(route: &Route, prompt: &str, options: ChatOptions, interrupt: &Arc<dyn Interrupt>) -> Result<ChatOutcome, CallError> {
    let started = Instant::now();
    let options = options.over(&route.spec.defaults);
    let timeout = options.timeout.unwrap_or(route.timeout).min(route.timeout_ceiling);
    let deadline = started + timeout;
    let most = options.max_attempts.unwrap_or(DEFAULT_ATTEMPTS);
    let request = request(route, prompt, &options);

    let mut log = Vec::new();
    let mut attempt = 0;
    loop {
        attempt += 1;
        let outcome = route.provider.complete(route.grant(deadline, interrupt), &request);
        log.extend(outcome.log);
        let error = match outcome.result {
            Ok(answer) => return Ok(ChatOutcome::new(route, &options, answer, attempt, started.elapsed(), log)),
            Err(error) => error,
        };
        let give_up = |error: &SandboxCallError, log: Vec<LogLine>| {
            let mut e = CallError::new(&route.instance, timeout.as_millis(), error);
            e.attempts = attempt;
            e.log = log;
            e
        };
        let wait = match &error {
            SandboxCallError::Failed(failure) if attempt < most => {
                wait_before_retry(failure, attempt, jitter(), deadline.saturating_duration_since(Instant::now()))
            }
            _ => None,
        };
        let Some(wait) = wait else { return Err(give_up(&error, log)) };
        if interrupt.wait(None, Instant::now() + wait) == Wake::Stopped {
            return Err(give_up(&SandboxCallError::Stopped, log));
        }
    }
}

fn request(route: &Route, prompt: &str, options: &ChatOptions) -> ChatRequest {
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
        settings: serde_json::Value::Object(route.spec.settings.clone()).to_string(),
        messages,
        sampling: options.sampling.to_wire(),
        tools: options.tools.clone().unwrap_or_default(),
        tool_choice: options.tool_choice.clone(),
        response_format: options.response_format.clone(),
        reasoning: options.reasoning.clone(),
        extra_body: options.extra_body.as_ref().map(|b| serde_json::Value::Object(b.clone()).to_string()),
    }
}

/// Evenly in 0..1.
fn jitter() -> f64 {
    let random = Uuid::new_v4().into_bytes();
    f64::from(u16::from_be_bytes([random[14], random[15]])) / 65536.0
}

impl ChatOutcome {
    fn new(route: &Route, options: &ChatOptions, answer: Answer, attempts: u32, latency: Duration, log: Vec<LogLine>) -> Self {
        Self {
            request_id: Uuid::now_v7(),
            instance: route.instance.clone(),
            model_name: answer.model.clone().unwrap_or_else(|| route.spec.model_name.clone()),
            wants_json: matches!(
                options.response_format,
                Some(pg_llm_sandbox::types::ResponseFormat::JsonObject | pg_llm_sandbox::types::ResponseFormat::JsonSchema(_))
            ),
            answer,
            attempts,
            latency,
            log,
        }
    }
}
