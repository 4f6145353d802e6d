//! What the tests ask.

use pg_llm_sandbox::types::{ChatRequest, Message, Part, Role, Sampling};

/// A prompt, and nothing else.
pub(crate) fn request(model: &str, prompt: &str) -> ChatRequest {
    ChatRequest {
        model: model.into(),
        settings: "{}".into(),
        messages: vec![Message { role: Role::User, parts: vec![Part::Text(prompt.into())] }],
        sampling: Sampling {
            temperature: None,
            top_p: None,
            top_k: None,
            max_tokens: None,
            stop: vec![],
            seed: None,
            presence_penalty: None,
            frequency_penalty: None,
            logprobs: None,
        },
        tools: vec![],
        tool_choice: None,
        response_format: None,
        reasoning: None,
        extra_body: None,
    }
}
