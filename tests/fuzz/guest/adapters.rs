//! What the targets have in common: the adapters, and a request that they all understand.

use pg_llm_guest::Provider;
use pg_llm_guest::prelude::*;

/// Calls `visit` with the adapter that `choice` stands for.
pub fn with_adapter(choice: u8, visit: impl Visit) {
    match choice % 8 {
        0 => visit.visit::<pg_llm_provider_openai::OpenAi>(),
        1 => visit.visit::<pg_llm_provider_anthropic::Anthropic>(),
        2 => visit.visit::<pg_llm_provider_gemini::Gemini>(),
        3 => visit.visit::<pg_llm_provider_bedrock::Bedrock>(),
        4 => visit.visit::<pg_llm_provider_cohere::Cohere>(),
        5 => visit.visit::<pg_llm_provider_dashscope::DashScope>(),
        6 => visit.visit::<pg_llm_provider_hunyuan::Hunyuan>(),
        _ => visit.visit::<pg_llm_provider_ollama::Ollama>(),
    }
}

/// Something to do with any adapter.
pub trait Visit {
    /// Does it.
    fn visit<P: Provider>(self);
}

/// A chat.
pub fn request() -> ChatRequest {
    ChatRequest::new("m", vec![Message::user("hello")])
}
