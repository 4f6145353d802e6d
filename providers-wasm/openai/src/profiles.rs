//! Endpoints that speak this wire format, as data.

use pg_llm_guest::prelude::*;

use crate::settings::SETTINGS_SCHEMA;

/// One row a `model_type`.
struct Row {
    name: &'static str,
    aliases: &'static [&'static str],
    endpoint: Option<&'static str>,
    key: Key,
    can: &'static [Capabilities],
    /// A JSON object.
    settings: &'static str,
}

enum Key {
    /// Where one gets it.
    Required(&'static str),
    Optional(&'static str),
}

const TOOLS: Capabilities = Capabilities::TOOLS;
const SCHEMA: Capabilities = Capabilities::JSON_SCHEMA;
const VISION: Capabilities = Capabilities::VISION;
const DOCUMENTS: Capabilities = Capabilities::DOCUMENTS;
const THINKING: Capabilities = Capabilities::THINKING;
const LOGPROBS: Capabilities = Capabilities::LOGPROBS;
const EMBEDDINGS: Capabilities = Capabilities::EMBEDDINGS;
const RERANK: Capabilities = Capabilities::RERANK;
const LIST: Capabilities = Capabilities::LIST_MODELS;

const ROWS: [Row; 14] = [
    Row {
        name: "openai",
        aliases: &["chatgpt"],
        endpoint: Some("https://api.openai.com/v1"),
        key: Key::Required("API key, from https://platform.openai.com/api-keys"),
        can: &[TOOLS, SCHEMA, VISION, DOCUMENTS, LOGPROBS, EMBEDDINGS, LIST],
        settings: "{}",
    },
    Row {
        name: "openai-compatible",
        aliases: &[],
        endpoint: None,
        key: Key::Optional("API key, if the server wants one"),
        // Most such servers know a schema in response_format; for one that does not, the model's configuration says "json_schema": false.
        can: &[TOOLS, SCHEMA, EMBEDDINGS, LIST],
        settings: r#"{"key_optional":true,"max_tokens_field":"max_tokens"}"#,
    },
    Row {
        name: "azure-openai",
        aliases: &[],
        endpoint: None,
        key: Key::Optional("key of the Azure resource; or the keys client_id and client_secret with the setting oauth2_token_url"),
        can: &[TOOLS, SCHEMA, VISION, LOGPROBS, EMBEDDINGS],
        settings: r#"{"auth_header":"api-key","chat_path":"/openai/deployments/{model}/chat/completions","embeddings_path":"/openai/deployments/{model}/embeddings","responses_path":"/openai/v1/responses","models_path":"/openai/models","api_version":"2024-10-21"}"#,
    },
    Row {
        name: "deepseek",
        aliases: &[],
        endpoint: Some("https://api.deepseek.com"),
        key: Key::Required("API key, from https://platform.deepseek.com/api_keys"),
        can: &[TOOLS, THINKING, LOGPROBS, LIST],
        settings: r#"{"max_tokens_field":"max_tokens","reasoning_style":"thinking","reasoning_replay":true,"document_style":"none"}"#,
    },
    Row {
        name: "mistral",
        aliases: &[],
        endpoint: Some("https://api.mistral.ai/v1"),
        key: Key::Required("API key, from https://console.mistral.ai/api-keys"),
        can: &[TOOLS, SCHEMA, VISION, DOCUMENTS, THINKING, EMBEDDINGS, LIST],
        settings: r#"{"max_tokens_field":"max_tokens","stream_usage":false,"seed_field":"random_seed","document_style":"document_url","tool_result_name":true}"#,
    },
    Row {
        name: "groq",
        aliases: &[],
        endpoint: Some("https://api.groq.com/openai/v1"),
        key: Key::Required("API key, from https://console.groq.com/keys"),
        can: &[TOOLS, SCHEMA, VISION, THINKING, LIST],
        settings: r#"{"document_style":"none"}"#,
    },
    Row {
        name: "xai",
        aliases: &[],
        endpoint: Some("https://api.x.ai/v1"),
        key: Key::Required("API key, from https://console.x.ai"),
        can: &[TOOLS, SCHEMA, VISION, THINKING, LOGPROBS, LIST],
        settings: r#"{"document_style":"none"}"#,
    },
    Row {
        name: "openrouter",
        aliases: &[],
        endpoint: Some("https://openrouter.ai/api/v1"),
        key: Key::Required("API key, from https://openrouter.ai/settings/keys"),
        can: &[TOOLS, SCHEMA, VISION, DOCUMENTS, THINKING, LOGPROBS, EMBEDDINGS, RERANK, LIST],
        settings: r#"{"max_tokens_field":"max_tokens","reasoning_style":"openrouter","document_style":"file_url"}"#,
    },
    Row {
        name: "vllm",
        aliases: &[],
        endpoint: Some("http://127.0.0.1:8000/v1"),
        key: Key::Optional("what the server was started with as --api-key"),
        can: &[TOOLS, SCHEMA, VISION, THINKING, LOGPROBS, EMBEDDINGS, RERANK, LIST],
        settings: r#"{"key_optional":true,"max_tokens_field":"max_tokens","reasoning_style":"chat_template","document_style":"none"}"#,
    },
    Row {
        name: "llamacpp",
        aliases: &[],
        endpoint: Some("http://127.0.0.1:8080/v1"),
        key: Key::Optional("what the server was started with as --api-key"),
        can: &[TOOLS, SCHEMA, VISION, THINKING, LOGPROBS, EMBEDDINGS, RERANK, LIST],
        settings: r#"{"key_optional":true,"max_tokens_field":"max_tokens","reasoning_style":"chat_template","document_style":"none"}"#,
    },
    Row {
        name: "qwen",
        aliases: &[],
        endpoint: Some("https://dashscope.aliyuncs.com/compatible-mode/v1"),
        key: Key::Required("API key of Model Studio, from https://bailian.console.aliyun.com"),
        can: &[TOOLS, SCHEMA, VISION, THINKING, LOGPROBS, EMBEDDINGS],
        settings: r#"{"max_tokens_field":"max_tokens","reasoning_style":"enable_thinking","document_style":"none","embedding_inputs":10,"quota_is_throttle":true}"#,
    },
    Row {
        name: "hunyuan",
        aliases: &[],
        endpoint: Some("https://api.hunyuan.cloud.tencent.com/v1"),
        key: Key::Required("API key, from https://console.cloud.tencent.com/hunyuan"),
        can: &[TOOLS, VISION, THINKING, EMBEDDINGS],
        settings: r#"{"max_tokens_field":"max_tokens","reasoning_style":"enable_thinking","document_style":"none"}"#,
    },
    Row {
        name: "moonshot",
        aliases: &["kimi"],
        endpoint: Some("https://api.moonshot.cn/v1"),
        key: Key::Required("API key, from https://platform.moonshot.cn/console/api-keys"),
        can: &[TOOLS, SCHEMA, VISION, THINKING, LIST],
        settings: r#"{"max_tokens_field":"max_tokens","reasoning_style":"thinking","reasoning_replay":true,"document_style":"none"}"#,
    },
    Row {
        name: "zhipu",
        aliases: &["zai"],
        endpoint: Some("https://open.bigmodel.cn/api/paas/v4"),
        key: Key::Required("API key, from https://open.bigmodel.cn/usercenter/apikeys"),
        can: &[TOOLS, VISION, THINKING, EMBEDDINGS],
        settings: r#"{"max_tokens_field":"max_tokens","reasoning_style":"thinking","reasoning_replay":true,"document_style":"none"}"#,
    },
];

/// What the adapter says of itself.
pub fn describe() -> Description {
    let mut description =
        Description::new("openai", env!("CARGO_PKG_VERSION"), "OpenAI's Chat Completions, and everything that speaks it.")
            .settings_schema(SETTINGS_SCHEMA);
    description.profiles = ROWS.iter().map(profile).collect();
    description
}

fn profile(row: &Row) -> Profile {
    let (required, words) = match row.key {
        Key::Required(words) => (true, words),
        Key::Optional(words) => (false, words),
    };
    let capabilities = row.can.iter().copied().fold(Capabilities::STREAM, |all, one| all | one);
    let mut profile = Profile::new(row.name).key("default", required, words).capabilities(capabilities);
    profile.aliases = row.aliases.iter().map(|alias| (*alias).to_owned()).collect();
    profile.default_endpoint = row.endpoint.map(str::to_owned);
    row.settings.clone_into(&mut profile.settings);
    if row.name == "azure-openai" {
        profile = profile.key("client_id", false, "application (client) ID in Entra, with the setting oauth2_token_url").key(
            "client_secret",
            false,
            "its client secret",
        );
    }
    profile
}
