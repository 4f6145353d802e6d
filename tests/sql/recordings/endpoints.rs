//! How each provider's endpoint is set up as a model, so that what is sent goes where the recorded request went.

use serde_json::{Value, json};

use super::corpus::Recording;

/// What stands for the endpoint of a recording.
pub(super) struct Endpoint {
    pub(super) model_type: &'static str,
    /// Of `api_endpoint`.
    pub(super) base_path: String,
    pub(super) config: Value,
    pub(super) key: Option<&'static str>,
}

/// Provider and kind of recordings, the model type that speaks it, what it adds to its endpoint (none: what it adds has the model in it, and the
/// endpoint is without a path), and settings that it needs beside.
type Row = (&'static str, &'static [&'static str], &'static str, Option<&'static str>, &'static str);

const CHAT: &[&str] = &["chat"];
const RESPONSES: &[&str] = &["responses"];
const EMBEDDINGS: &[&str] = &["embeddings"];
const AS_RESPONSES: &str = r#"{"api": "responses"}"#;

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("anthropic",      &["messages"],               "anthropic",         Some("/v1/messages"),      "{}"),
    ("azure",          CHAT,                        "azure-openai",      None,                      "{}"),
    ("azure",          RESPONSES,                   "azure-openai",      Some("/openai/v1/responses"),  AS_RESPONSES),
    ("azure",          EMBEDDINGS,                  "azure-openai",      Some("/openai/v1/embeddings"), r#"{"embeddings_path": "/openai/v1/embeddings"}"#),
    ("bedrock",        &["converse"],               "bedrock",           None,                      r#"{"region": "us-east-1"}"#),
    ("bedrock-mantle", CHAT,                        "openai-compatible", Some("/chat/completions"), "{}"),
    ("bedrock-mantle", RESPONSES,                   "openai-compatible", Some("/responses"),        AS_RESPONSES),
    // Version 1 has errors in common with version 2, and nothing else.
    ("cohere",         &["v2chat", "v1chat"],       "cohere",            Some("/v2/chat"),          "{}"),
    ("cohere",         &["v2embed", "embed"],       "cohere",            Some("/v2/embed"),         "{}"),
    ("cohere",         &["rerank"],                 "cohere",            Some("/v2/rerank"),        "{}"),
    ("cohere",         &["models"],                 "cohere",            Some("/v1/models"),        "{}"),
    ("dashscope",      &["generation"],             "dashscope",         Some("/api/v1/services/aigc/text-generation/generation"), "{}"),
    ("dashscope",      &["multimodal"],             "dashscope",         Some("/api/v1/services/aigc/multimodal-generation/generation"), r#"{"multimodal": true}"#),
    ("dashscope",      EMBEDDINGS,                  "dashscope",         Some("/api/v1/services/embeddings/text-embedding/text-embedding"), "{}"),
    ("dashscope",      &["rerank"],                 "dashscope",         Some("/api/v1/services/rerank/text-rerank/text-rerank"), "{}"),
    ("gemini",         &["generateContent", "streamGenerateContent", "embeddings"], "gemini", None,  "{}"),
    ("gemini",         &["models"],                 "gemini",            Some("/v1beta/models"),    "{}"),
    ("hunyuan",        &["chat", "embeddings"],     "hunyuan-native",    Some("/"),                 "{}"),
    ("ollama",         &["api_chat"],               "ollama",            Some("/api/chat"),         "{}"),
    // What is asked by /api/chat alone is read in the older form too.
    ("ollama",         &["api_generate"],           "ollama",            Some("/api/chat"),         "{}"),
    ("ollama",         &["api_embed"],              "ollama",            Some("/api/embed"),        "{}"),
    ("vertex",         &["generateContent", "streamGenerateContent", "predict", "embeddings"], "vertex", None, "{}"),
    // Everybody else speaks OpenAI's format.
    ("*",              CHAT,                        "*",                 Some("/chat/completions"), "{}"),
    ("*",              RESPONSES,                   "*",                 Some("/responses"),        AS_RESPONSES),
    ("*",              EMBEDDINGS,                  "*",                 Some("/embeddings"),       "{}"),
    ("*",              &["rerank"],                 "*",                 Some("/rerank"),           "{}"),
    ("*",              &["models"],                 "*",                 Some("/models"),           "{}"),
];

/// Model types of their own among those that speak OpenAI's format; the others are `openai-compatible`.
const OPENAI_LIKE: &[(&str, &str)] = &[
    ("openai", "openai"),
    ("deepseek", "deepseek"),
    ("groq", "groq"),
    ("mistral", "mistral"),
    ("moonshot", "moonshot"),
    ("openrouter", "openrouter"),
    ("qwen-compat", "qwen"),
    ("vllm", "vllm"),
    ("llamacpp", "llamacpp"),
    ("xai", "xai"),
    ("zai", "zhipu"),
];

/// What no adapter of ours is for.
const NOT_SPOKEN: &[(&str, &str)] = &[
    ("batches", "jobs are not offered"),
    ("completions", "the interface before chats"),
    ("count_tokens", "tokens are counted by the call itself"),
    ("invoke", "a format of each model family's own; Bedrock's chats go through Converse"),
    ("moderations", "no model that chats"),
];

impl Recording {
    /// Why no model is for it, if none is.
    pub(super) fn not_spoken(&self) -> Option<&'static str> {
        NOT_SPOKEN.iter().find(|(kind, _)| *kind == self.kind).map(|(_, why)| *why)
    }

    fn row(&self) -> Option<&'static Row> {
        let fits = |row: &&Row| [self.provider.as_str(), "*"].contains(&row.0) && row.1.contains(&self.kind.as_str());
        ROWS.iter().find(fits).filter(|_| self.not_spoken().is_none())
    }

    /// The model that is to be asked; none where nothing of ours is for it.
    pub(super) fn endpoint(&self) -> Option<Endpoint> {
        let (_, _, model_type, own, settings) = self.row()?;
        let mut config: Value = serde_json::from_str(settings).unwrap();
        let own_type = OPENAI_LIKE.iter().find(|(provider, _)| *provider == self.provider);
        let model_type = if *model_type == "*" { own_type.map_or("openai-compatible", |(_, own)| *own) } else { *model_type };
        let body = &self.request["json"];
        let named = body["model"].as_str().or_else(|| body["Model"].as_str()).map(str::to_owned);
        config["model_name"] = json!(named.or_else(|| self.model_in_path()).unwrap_or_else(|| "m".to_owned()));
        let mut base_path = own.map_or(String::new(), |own| self.path().strip_suffix(own).unwrap_or_default().to_owned());
        match model_type {
            "azure-openai" if self.kind == "chat" && !self.path().contains("/deployments/") => {
                // Models that are no deployments of OpenAI's.
                config["chat_path"] = json!("/chat/completions");
                self.path().strip_suffix("/chat/completions").unwrap_or_default().clone_into(&mut base_path);
            }
            "vertex" => {
                for (name, before) in [("api_version", ""), ("project", "projects"), ("location", "locations")] {
                    config[name] = json!(self.segment_after(before));
                }
            }
            "bedrock" | "hunyuan-native" => {
                config["access_key_id"] = json!("AKIDEXAMPLE0123456789");
                config["access_key_secret"] = json!("wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY");
            }
            _ => {}
        }
        let key = (!["bedrock", "hunyuan-native"].contains(&model_type)).then_some("sk-recorded-0123456789");
        Some(Endpoint { model_type, base_path, config, key })
    }

    fn segment_after(&self, before: &str) -> Option<String> {
        let mut segments = self.path().split('/');
        segments.find(|segment| *segment == before)?;
        segments.next().map(decoded)
    }

    fn model_in_path(&self) -> Option<String> {
        let segment = ["model", "models", "deployments"].iter().find_map(|before| self.segment_after(before))?;
        // Google's methods stand behind a colon; a model's version does so too.
        let google = ["gemini", "vertex"].contains(&self.provider.as_str());
        Some(if google { segment.rsplit_once(':').map_or(segment.clone(), |(model, _)| model.to_owned()) } else { segment })
    }

    /// Whether what we ask goes where the recorded request went.
    pub(super) fn is_asked_in_its_place(&self) -> bool {
        !["v1chat", "api_generate"].contains(&self.kind.as_str())
    }
}

/// A path with what is percent-encoded in it decoded.
pub(super) fn decoded(path: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), path.as_bytes());
    while let Some((byte, others)) = rest.split_first() {
        let code = others.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match code.filter(|_| *byte == b'%') {
            Some(code) => (bytes.push(code), rest = &others[2..]),
            None => (bytes.push(*byte), rest = others),
        };
    }
    String::from_utf8(bytes).unwrap()
}
