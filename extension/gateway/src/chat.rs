//! One chat: a request, attempts, an answer.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use pg_llm_sandbox::interrupt::Interrupt;
use pg_llm_sandbox::types::{Answer, ChatRequest, Message, Part, Role};

use crate::admission::estimate;
use crate::attempts::Attempts;
use crate::error::CallError;
use crate::fallback;
use crate::filters::{Acted, Passage, Surroundings};
use crate::fingerprint::{Deciding, Fingerprint};
use crate::ledger;
use crate::options::ChatOptions;
use crate::outcome::ChatOutcome;
use crate::route::Route;
use crate::structured::{self, AnswerFormat};

/// A chat that is to be had: all of it is known, nothing has been sent.
#[derive(Clone)]
pub struct ChatCall {
    route: Route,
    /// Over the model's defaults.
    options: ChatOptions,
    request: ChatRequest,
    /// Of all three, once somebody wants to know.
    fingerprint: OnceLock<Fingerprint>,
    /// Where another model may answer.
    original: Option<Box<Original>>,
}

/// What a call asks for, whichever model answers.
#[derive(Clone)]
pub(crate) struct Original {
    pub(crate) prompt: String,
    /// The call's own, over no model's defaults.
    pub(crate) options: ChatOptions,
}

impl Original {
    /// Kept only for a route that leads to several models.
    pub(crate) fn of(route: &Route, prompt: &str, options: &ChatOptions) -> Option<Box<Self>> {
        (!route.fallbacks.is_empty()).then(|| Box::new(Self { prompt: prompt.to_owned(), options: options.clone() }))
    }
}

impl ChatCall {
    /// Asks `route`'s model for an answer to `prompt`.
    pub fn new(mut route: Route, prompt: &str, options: ChatOptions) -> Self {
        route.origin = route.origin.another();
        let original = Original::of(&route, prompt, &options);
        let options = options.over(&route.spec.defaults);
        let request = request(&route, prompt, &options);
        Self { route, options, request, original, fingerprint: OnceLock::new() }
    }

    /// The model.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// Its options, over the model's defaults.
    pub fn options(&self) -> &ChatOptions {
        &self.options
    }

    /// What decides its answer, as one number.
    pub fn fingerprint(&self) -> &Fingerprint {
        let Self { route, options, request, fingerprint, .. } = self;
        fingerprint.get_or_init(|| {
            let deciding = Deciding {
                instance: &route.instance,
                component: &route.component,
                endpoint: route.spec.endpoint.as_ref().map(ToString::to_string),
                request,
                format: options.response_format.as_ref(),
                include_raw: options.include_raw == Some(true),
                filters: &route.filters,
            };
            deciding.fingerprint()
        })
    }

    /// Asks and waits for the whole answer: the called model, and those that it falls back to. The call's time runs from here.
    ///
    /// # Errors
    /// When the provider fails for good, the guest misbehaves, time is over, or the interrupt ends the call. Then nothing is tried any more.
    pub fn run(&self, interrupt: &Arc<dyn Interrupt>) -> Result<ChatOutcome, CallError> {
        match &self.original {
            Some(original) => fallback::run(self, original, interrupt),
            None => self.ask(&mut Attempts::begin(&self.route, &self.options.call), interrupt),
        }
    }

    /// Below it, a known confidence is too low: what the call says, else the model, else the setting; 0: none is.
    pub(crate) fn confidence_threshold(&self) -> f64 {
        self.options.confidence_threshold.unwrap_or(self.route.confidence_threshold)
    }

    /// Whether an answer of the called model is enough: its confidence is not known, or high enough, or there is nobody else to ask.
    pub(crate) fn is_sure(&self, outcome: &ChatOutcome) -> bool {
        self.original.is_none() || outcome.confidence().is_none_or(|confidence| confidence >= self.confidence_threshold())
    }

    /// Asks the called model alone.
    pub(crate) fn ask(&self, attempts: &mut Attempts, interrupt: &Arc<dyn Interrupt>) -> Result<ChatOutcome, CallError> {
        ask(&self.route, &self.options, &self.request, attempts, interrupt)
    }
}

/// Asks one model for a whole answer.
pub(crate) fn ask(
    route: &Route,
    options: &ChatOptions,
    request: &ChatRequest,
    attempts: &mut Attempts,
    interrupt: &Arc<dyn Interrupt>,
) -> Result<ChatOutcome, CallError> {
    let answered = complete(route, request, attempts, interrupt)?;
    outcome(route, options, answered, attempts, interrupt, Some(request))
}

/// An answer, and what filters did on the way to it.
pub(crate) struct Answered {
    pub(crate) answer: Answer,
    pub(crate) acted: Vec<Acted>,
}

/// One request and its answer, through the model's filters.
pub(crate) fn complete(
    route: &Route,
    request: &ChatRequest,
    attempts: &mut Attempts,
    interrupt: &Arc<dyn Interrupt>,
) -> Result<Answered, CallError> {
    let Some(mut passage) = Passage::begin(route) else {
        let answer = send(route, request, attempts, interrupt)?;
        attempts.account().says(|| ledger::answer_text(&answer.parts));
        return Ok(Answered { answer, acted: Vec::new() });
    };
    let began = Instant::now();
    let request = passage.request(request, &mut Surroundings { route, attempts, interrupt });
    attempts.account().add_filtering(began.elapsed());
    let answer = send(route, &*request?, attempts, interrupt)?;
    let began = Instant::now();
    let answer = passage.answer(answer, &mut Surroundings { route, attempts, interrupt });
    attempts.account().add_filtering(began.elapsed());
    let answer = answer?;
    attempts.account().says(|| ledger::answer_text(&answer.parts));
    Ok(Answered { answer, acted: passage.take_acted() })
}

fn send(route: &Route, request: &ChatRequest, attempts: &mut Attempts, interrupt: &Arc<dyn Interrupt>) -> Result<Answer, CallError> {
    attempts.expect_tokens(|| estimate::chat(request));
    attempts.account().asks(|| ledger::conversation(&request.messages));
    let answer = attempts.run(route, interrupt, |grant| route.provider.complete(grant, request))?;
    attempts.answered(answer.usage.as_ref());
    attempts.account().describe(&answer);
    Ok(answer)
}

/// What came of an answer. With `request` it may be asked for once more, where it does not fit its schema.
pub(crate) fn outcome(
    route: &Route,
    options: &ChatOptions,
    answered: Answered,
    attempts: &mut Attempts,
    interrupt: &Arc<dyn Interrupt>,
    request: Option<&ChatRequest>,
) -> Result<ChatOutcome, CallError> {
    let (Answered { answer, acted }, structured) = match &options.response_format {
        Some(AnswerFormat::Schema(format)) => structured::settle(route, format, answered, attempts, interrupt, request)?,
        _ => (answered, None),
    };
    attempts.account().filtered(acted.iter().map(Acted::to_json));
    Ok(ChatOutcome {
        request_id: attempts.origin().request_id,
        instance: route.instance.clone(),
        model_name: answer.model.clone().unwrap_or_else(|| route.spec.model_name.clone()),
        format: options.response_format.clone(),
        structured,
        include_raw: options.include_raw == Some(true),
        answer,
        acted,
        cached: false,
        fallback_used: false,
        passed: Vec::new(),
        attempts: attempts.made(),
        latency: attempts.elapsed(),
        log: attempts.take_log(),
    })
}

/// What the provider is asked.
pub(crate) fn request(route: &Route, prompt: &str, options: &ChatOptions) -> ChatRequest {
    let mut messages = Vec::with_capacity(options.messages.len() + 2);
    // A call's empty instructions take its model's away.
    let system = options.system.clone().filter(|s| !s.is_empty());
    let form = options.response_format.as_ref().and_then(|format| format.instructions(route.spec.json_schema));
    let instructions: Vec<String> = [system, form].into_iter().flatten().collect();
    if !instructions.is_empty() {
        messages.push(Message { role: Role::System, parts: vec![Part::Text(instructions.join("\n\n"))] });
    }
    messages.extend(options.messages.iter().cloned());
    messages.extend(user_message(prompt, options));
    ChatRequest {
        model: route.spec.model_name.clone(),
        settings: route.spec.settings_text(),
        messages,
        sampling: options.sampling.to_wire(),
        tools: options.tools.clone().unwrap_or_default(),
        // Who takes a model's tools away with an empty list, takes the choice of them away too.
        tool_choice: options.tool_choice.clone().filter(|_| options.tools.as_ref().is_none_or(|tools| !tools.is_empty())),
        response_format: options.response_format.as_ref().and_then(|format| format.to_wire(route.spec.json_schema)),
        reasoning: options.reasoning.clone(),
        extra_body: options.call.extra_body_text(),
    }
}

/// The prompt and what goes with it.
pub(crate) fn user_message(prompt: &str, options: &ChatOptions) -> Option<Message> {
    let mut parts = Vec::new();
    let attached = options.images.len() + options.documents.len() > 0;
    // With a conversation or something to look at, an empty prompt is none.
    if !prompt.is_empty() || (options.messages.is_empty() && !attached) {
        parts.push(Part::Text(prompt.to_owned()));
    }
    parts.extend(options.images.iter().cloned().map(Part::Image));
    parts.extend(options.documents.iter().cloned().map(Part::Document));
    (!parts.is_empty()).then_some(Message { role: Role::User, parts })
}
