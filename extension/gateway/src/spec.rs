//! A model's configuration.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use pg_llm_sandbox::egress::{Endpoint, TokenUrl};
use pg_llm_sandbox::keys::{DEFAULT_KEY, Secret};
use pg_llm_sandbox::report::{Description, Profile};
use serde_json::{Map, Value};
use zeroize::Zeroize;

use crate::admission::{BreakerPolicy, Limits as AdmissionLimits};
use crate::budget;
use crate::error::ConfigError;
use crate::fallback::FallbackChoice;
use crate::filters::{self, OnFilterError};
use crate::key_reference::KeyReference;
use crate::members::Members;
use crate::options::{ChatOptions, DEFAULTABLE};
use crate::price::Price;

/// A model, as its configuration and its provider's profile describe it.
#[derive(Clone, Debug)]
pub struct ModelSpec {
    /// The provider's name of the model.
    pub model_name: String,
    /// Where it is; none for providers without a network.
    pub endpoint: Option<Endpoint>,
    /// Defaults of its calls.
    pub defaults: ChatOptions,
    /// The profile's settings, overlaid with the model's.
    pub settings: Map<String, Value>,
    /// The same as a guest takes them: JSON.
    settings_text: String,
    /// Dimensions of its embeddings where a call says none.
    pub embedding_dimensions: Option<u32>,
    /// Where its access tokens may come from: what the configuration's own settings `*token_url` say. A profile's default is the word of whoever wrote the
    /// provider, and no permission.
    pub token_urls: Vec<TokenUrl>,
    /// The endpoint can be told a JSON schema that its answer must fit. Where not, the model is told, in words.
    pub json_schema: bool,
    /// Limits of its own, below the server's.
    pub limits: ModelLimits,
    /// Most requests that are in flight at the same time, of all sessions together; 1..=10 000. None: as many as come.
    pub max_concurrency: Option<u32>,
    /// Requests and tokens a minute, of all sessions together.
    pub rate_limit: RateLimit,
    /// What its requests cost; none: nobody knows.
    pub price: Option<Arc<Price>>,
    /// What may be spent on it, by all who use it together.
    pub budgets: Vec<budget::Terms>,
    /// When it is left alone for a while because it fails.
    pub circuit_breaker: BreakerPolicy,
    /// Tells what is asked under this name from what was asked under it before a change of its endpoint.
    pub generation: u64,
    /// Names of the filters that all of its calls go through, in the order of prompts.
    pub filters: Vec<String>,
    /// What becomes of a call when one of them fails.
    pub on_filter_error: OnFilterError,
    /// Tokens that a prompt with its history and the answer may have together; 256..=1 000 000 000. None: not bounded here.
    pub context_tokens: Option<u32>,
}

/// How much a model may be asked in a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests.
    pub rpm: Option<u32>,
    /// Tokens, of prompts and answers together.
    pub tpm: Option<u32>,
}

/// What a model's configuration says of limits; each can only lower the server's setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelLimits {
    /// MiB of guest memory.
    pub memory_mb: Option<u32>,
    /// Milliseconds of CPU time.
    pub cpu_ms: Option<u32>,
    /// Bytes of a response.
    pub response_bytes: Option<u64>,
}

/// A configuration just read: what may be stored in clear, and what may not.
#[derive(Debug)]
pub struct ParsedConfig {
    /// The model.
    pub spec: ModelSpec,
    /// The configuration without its secrets.
    pub stored: Value,
    /// The keys that stood in it, by name.
    pub keys: Vec<(String, GivenKey)>,
}

/// A key as a configuration gives it.
#[derive(Debug)]
pub enum GivenKey {
    /// The key itself.
    Secret(Secret),
    /// Where the server finds it.
    Reference(KeyReference),
}

/// `is_local_fallback` is a mark of the older form of `pg_llm_add_model`: kept, and without effect. `pg_llm.default_local_fallback` names the model.
const OWN: &[&str] = &[
    "model_name",
    "api_endpoint",
    "limits",
    "is_local_fallback",
    "embedding_dimensions",
    "json_schema",
    "max_concurrency",
    "rate_limit",
    "circuit_breaker",
    "price",
    "budget",
    "filters",
    "on_filter_error",
    "context_tokens",
];
/// Taken out of the configuration and encrypted.
const SECRET: &[&str] = &["api_key", "keys", "access_key_id", "access_key_secret", "session_token"];
/// How the names of settings end that say where access tokens come from.
const TOKEN_URL: &str = "token_url";
const LIMITS: [&str; 3] = ["memory_mb", "cpu_ms", "response_bytes"];

impl ModelSpec {
    /// The settings as a guest takes them.
    pub(crate) fn settings_text(&self) -> String {
        self.settings_text.clone()
    }

    /// How much it may be asked, whatever the server's own limit is.
    pub fn admission_limits(&self) -> AdmissionLimits {
        AdmissionLimits {
            max_concurrency: self.max_concurrency.unwrap_or(0),
            rpm: self.rate_limit.rpm.unwrap_or(0),
            tpm: self.rate_limit.tpm.unwrap_or(0),
            server: 0,
            breaker: self.circuit_breaker,
            generation: self.generation,
        }
    }

    /// Reads the configuration of a model named `instance`, for a profile of the provider that `description` is of.
    ///
    /// # Errors
    /// For unknown keys, wrong types, and an endpoint that is missing or cannot be one.
    pub fn parse(instance: &str, description: &Description, profile: &Profile, config: &Value) -> Result<ParsedConfig, ConfigError> {
        let m = Members::of("config key", config)?;
        let schema = description.settings_schema.get("properties").and_then(Value::as_object);
        let settings_names = schema.into_iter().flat_map(Map::keys).map(String::as_str);
        m.check_names(OWN.iter().chain(SECRET).chain(DEFAULTABLE).copied().chain(settings_names.clone()), &[])?;

        let mut settings = profile.settings.clone();
        let mut token_urls = Vec::new();
        for name in settings_names {
            if let Some(value) = m.raw(name) {
                let expected = schema.and_then(|s| s[name].get("type")).and_then(Value::as_str);
                if let Some(expected) = expected.filter(|t| !has_type(value, t)) {
                    return Err(m.wrong(name, &format!("of type {expected}"), value));
                }
                check_one_of(name, value, schema.and_then(|s| s[name].get("enum")))?;
                if let (true, Some(text)) = (name.ends_with(TOKEN_URL), value.as_str()) {
                    token_urls.push(token_url(name, text)?);
                }
                settings.insert(name.to_owned(), value.clone());
            }
        }
        let endpoint = match m.get::<String>("api_endpoint", "a string")?.or_else(|| profile.default_endpoint.clone()) {
            Some(text) => Some(Endpoint::parse(&text).map_err(|e| {
                ConfigError::invalid(
                    format!("api_endpoint \"{}\" cannot be used: {e}", crate::error::clip(&without_userinfo(&text), 200)),
                    None,
                )
            })?),
            None if profile.keys.is_empty() && !profile.settings.contains_key("endpoint_required") => None,
            None => {
                return Err(ConfigError::invalid(
                    format!("model type \"{}\" needs an api_endpoint", profile.name),
                    Some("{\"api_endpoint\": \"https://host/v1\", \"model_name\": \"...\"}".to_owned()),
                ));
            }
        };
        let model_name = m.get("model_name", "a string")?.unwrap_or_else(|| instance.to_owned());
        let price = Price::read(&m)?;
        let spec = Self {
            budgets: budget::read(&m, price.as_ref())?,
            price: price.map(Arc::new),
            generation: generation(endpoint.as_ref(), &model_name),
            circuit_breaker: circuit_breaker(&m)?,
            model_name,
            endpoint,
            defaults: ChatOptions::read(&m)?,
            settings_text: Value::Object(settings.clone()).to_string(),
            settings,
            token_urls,
            embedding_dimensions: crate::embeddings::dimensions(&m, "embedding_dimensions")?,
            json_schema: m.get("json_schema", "true or false")?.unwrap_or_else(|| profile.capabilities.iter().any(|c| c == "json_schema")),
            limits: m.raw("limits").map_or(Ok(ModelLimits::default()), ModelLimits::parse)?,
            max_concurrency: m.get_if("max_concurrency", "an integer from 1 to 10000", |v| (1..=10_000).contains(v))?,
            rate_limit: rate_limit(&m)?,
            filters: filters::names(&m)?,
            on_filter_error: filters::on_error(&m)?,
            context_tokens: m
                .get_if("context_tokens", "a number of tokens from 256 to 1000000000", |v| (256..=1_000_000_000).contains(v))?,
        };
        if spec.defaults.fallback.as_ref().and_then(FallbackChoice::name) == Some(instance) {
            return Err(ConfigError::invalid("config key \"fallback_instance\" names the model itself", "Name another model.".to_owned()));
        }
        m.get::<bool>("is_local_fallback", "a boolean")?;
        let keys = secrets(&m)?;
        let stored = m.members().filter(|(name, value)| !SECRET.contains(&name.as_str()) && !value.is_null());
        let stored = Value::Object(stored.map(|(name, value)| (name.clone(), value.clone())).collect());
        Ok(ParsedConfig { spec, stored, keys })
    }
}

/// Wipes the keys that stand in a configuration, once they are read.
pub fn wipe_keys(config: &mut Value) {
    if let Value::Object(members) = config {
        members.iter_mut().filter(|(name, _)| SECRET.contains(&name.as_str())).for_each(|(_, value)| wipe(value));
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        _ => true,
    }
}

/// A value that the schema lists none of is refused here: an adapter would meet it only in a call, or send it.
fn check_one_of(name: &str, value: &Value, listed: Option<&Value>) -> Result<(), ConfigError> {
    match listed.and_then(Value::as_array) {
        Some(listed) if !listed.contains(value) => {
            let listed = listed.iter().map(Value::to_string).collect::<Vec<_>>().join(", ");
            let value = crate::error::clip(&value.to_string(), 100);
            Err(ConfigError::invalid(format!("config key \"{name}\" cannot be {value}"), format!("It is one of {listed}.")))
        }
        _ => Ok(()),
    }
}

fn token_url(name: &str, text: &str) -> Result<TokenUrl, ConfigError> {
    TokenUrl::parse(text).map_err(|e| {
        let text = crate::error::clip(&without_userinfo(text), 200);
        ConfigError::invalid(format!("{name} \"{text}\" cannot be used: {e}"), None)
    })
}

/// An endpoint for an error message: a password in it is not repeated.
fn without_userinfo(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, rest)) => format!("...@{rest}"),
        None => text.to_owned(),
    }
}

impl ModelLimits {
    /// Reads an object of limits, a model's or a module's.
    ///
    /// # Errors
    /// When it is none, has other members, or numbers that are no limits.
    pub fn parse(value: &Value) -> Result<Self, ConfigError> {
        let l = Members::of("limit", value)?;
        l.check_names(LIMITS.into_iter(), &[])?;
        Ok(Self {
            memory_mb: l.get_if("memory_mb", "a number of MiB from 1 to 4096", |v| (1..=4096).contains(v))?,
            cpu_ms: l.get_if("cpu_ms", "a positive number of milliseconds", |v| *v > 0)?,
            response_bytes: l.get_if("response_bytes", "a positive number of bytes", |v| *v > 0)?,
        })
    }
}

/// The same in every process of a server.
fn generation(endpoint: Option<&Endpoint>, model_name: &str) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    (endpoint.map(ToString::to_string), model_name).hash(&mut hasher);
    hasher.finish()
}

fn circuit_breaker(m: &Members<'_>) -> Result<BreakerPolicy, ConfigError> {
    let default = BreakerPolicy::default();
    let Some(value) = m.raw("circuit_breaker") else { return Ok(default) };
    if let Some(on) = value.as_bool() {
        return Ok(if on { default } else { BreakerPolicy { failures: 0, ..default } });
    }
    let b = Members::of("circuit_breaker member", value)?;
    b.check_names(["failures", "pause_ms"].into_iter(), &[])?;
    let failures = b.get_if("failures", "a number of failures in a row from 1 to 1000000", |v| (1..=1_000_000).contains(v))?;
    let pause_ms: Option<u64> = b.get_if("pause_ms", "a number of milliseconds from 1 to 120000", |v| (1..=120_000).contains(v))?;
    Ok(BreakerPolicy { failures: failures.unwrap_or(default.failures), pause: pause_ms.map_or(default.pause, |ms| ms * 1_000_000) })
}

fn rate_limit(m: &Members<'_>) -> Result<RateLimit, ConfigError> {
    let Some(value) = m.raw("rate_limit") else { return Ok(RateLimit::default()) };
    let l = Members::of("rate_limit member", value)?;
    l.check_names(["rpm", "tpm"].into_iter(), &[])?;
    let number =
        |name, what| l.get_if(name, &format!("a number of {what} a minute from 1 to 1000000000"), |v| (1..=1_000_000_000).contains(v));
    Ok(RateLimit { rpm: number("rpm", "requests")?, tpm: number("tpm", "tokens")? })
}

fn secrets(m: &Members<'_>) -> Result<Vec<(String, GivenKey)>, ConfigError> {
    let mut keys = Vec::new();
    for (member, name) in [
        ("api_key", DEFAULT_KEY),
        ("access_key_id", "access_key_id"),
        ("access_key_secret", "access_key_secret"),
        ("session_token", "session_token"),
    ] {
        if let Some(value) = m.raw(member) {
            keys.push((name.to_owned(), given(value, || m.wrong(member, KEY, value))?));
        }
    }
    if let Some(value) = m.raw("keys") {
        let wrong = || m.wrong("keys", "an object of strings and references", value);
        for (name, value) in value.as_object().ok_or_else(wrong)? {
            keys.push((name.clone(), given(value, wrong)?));
        }
    }
    let empty = |given: &GivenKey| matches!(given, GivenKey::Secret(secret) if secret.expose().is_empty());
    if let Some((name, _)) = keys.iter().find(|(name, given)| name.is_empty() || empty(given)) {
        return Err(ConfigError::invalid(format!("key \"{name}\" has an empty name or value"), None));
    }
    Ok(keys)
}

const KEY: &str = "a string, or a reference such as {\"env\": \"NAME\"} or {\"file\": \"/path\"}";

fn given(value: &Value, wrong: impl Fn() -> ConfigError) -> Result<GivenKey, ConfigError> {
    match value {
        Value::String(text) => Ok(GivenKey::Secret(Secret::new(text.as_bytes().to_vec()))),
        Value::Object(_) => KeyReference::parse(value).map(GivenKey::Reference),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn description() -> Description {
        serde_json::from_value(json!({
            "name": "openai", "version": "1", "summary": "",
            "settings_schema": {"properties": {"api_version": {"type": "string"}, "stream_usage": {"type": "boolean"}, "role": {"enum": ["system", "user"]}}},
            "profiles": [
                {"name": "openai", "aliases": ["chatgpt"], "default_endpoint": "https://api.openai.com/v1", "keys": [{"name": "default", "required": true, "description": ""}],
                 "capabilities": [], "settings": {"stream_usage": true}},
                {"name": "openai-compatible", "aliases": [], "default_endpoint": null, "keys": [{"name": "default", "required": false, "description": ""}],
                 "capabilities": [], "settings": {}}]
        }))
        .unwrap()
    }

    fn parse(model_type: &str, config: &Value) -> Result<ParsedConfig, ConfigError> {
        let description = description();
        ModelSpec::parse("m", &description, description.profile(model_type).unwrap(), config)
    }

    #[test]
    fn secrets_never_stand_in_what_is_stored() {
        let parsed = parse(
            "chatgpt",
            &json!({"api_key": "sk-1", "keys": {"org": "sk-2"}, "access_key_id": "id", "access_key_secret": "sk-3", "session_token": "sk-4", "temperature": 1}),
        )
        .unwrap();
        assert_eq!(parsed.stored, json!({"temperature": 1}));
        assert_eq!(
            parsed.keys.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(),
            ["default", "access_key_id", "access_key_secret", "session_token", "org"]
        );
    }

    #[test]
    fn a_key_is_a_text_or_a_reference_and_wiping_leaves_neither() {
        let mut config =
            json!({"api_key": {"env": "A"}, "keys": {"org": {"file": "/k"}, "b": "sk-2"}, "session_token": "sk-3", "temperature": 1});
        let keys = parse("openai", &config).unwrap().keys;
        let sources: Vec<String> = keys
            .iter()
            .map(|(name, given)| match given {
                GivenKey::Secret(secret) => format!("{name}={}", String::from_utf8_lossy(secret.expose())),
                GivenKey::Reference(reference) => format!("{name}={}", reference.to_json()),
            })
            .collect();
        assert_eq!(sources, [r#"default={"env":"A"}"#, "session_token=sk-3", "b=sk-2", r#"org={"file":"/k"}"#]);
        wipe_keys(&mut config);
        assert!(!config.to_string().contains("sk-") && config["temperature"] == 1, "{config}");
    }

    #[test]
    fn a_models_settings_stand_over_its_profiles() {
        let spec = parse("openai", &json!({"stream_usage": false, "api_version": "1"})).unwrap().spec;
        assert_eq!(Value::Object(spec.settings), json!({"stream_usage": false, "api_version": "1"}));
        assert_eq!(spec.model_name, "m");
        assert_eq!(spec.endpoint.unwrap().to_string(), "https://api.openai.com/v1");
    }

    #[test]
    fn token_urls_are_those_that_the_configuration_itself_says() {
        let mut description = description();
        description.settings_schema["properties"]["oauth2_token_url"] = json!({"type": "string"});
        description.profiles[0].settings.insert("oauth2_token_url".to_owned(), json!("https://login.example/guests-own"));
        let urls =
            |config: &Value| ModelSpec::parse("m", &description, description.profile("openai").unwrap(), config).map(|p| p.spec.token_urls);
        assert_eq!(urls(&json!({})).unwrap(), []);
        let url = "https://login.example/token";
        assert_eq!(urls(&json!({"oauth2_token_url": url})).unwrap(), [TokenUrl::parse(url).unwrap()]);
        let message = urls(&json!({"oauth2_token_url": "https://user:hunter2@login.example/token"})).unwrap_err().message;
        assert!(message.contains("oauth2_token_url") && !message.contains("hunter2"), "{message}");
    }

    #[test]
    fn a_setting_with_a_list_of_values_takes_no_other() {
        assert!(parse("openai", &json!({"role": "user"})).is_ok());
        for bad in [json!("king"), json!(1)] {
            assert_eq!(parse("openai", &json!({"role": bad})).unwrap_err().hint.as_deref(), Some("It is one of \"system\", \"user\"."));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(parse("openai-compatible", &json!({})).unwrap_err().message.contains("needs an api_endpoint"));
        assert_eq!(parse("openai", &json!({"modelname": "x"})).unwrap_err().hint.as_deref(), Some("Perhaps you meant \"model_name\"."));
        for bad in [
            json!({"api_endpoint": "ftp://x"}),
            json!({"api_endpoint": 7}),
            json!({"stream_usage": "yes"}),
            json!({"limits": {"memory_mb": 0}}),
            json!({"keys": {"x": 1}}),
            json!({"max_concurrency": 0}),
            json!({"max_concurrency": 10_001}),
            json!({"max_concurrency": 1.5}),
            json!({"rate_limit": 60}),
            json!({"rate_limit": {"rpm": 0}}),
            json!({"rate_limit": {"tpm": 1_000_000_001}}),
            json!({"rate_limit": {"rpd": 1}}),
            json!({"circuit_breaker": 3}),
            json!({"circuit_breaker": {"failures": 0}}),
            json!({"circuit_breaker": {"pause_ms": 120_001}}),
            json!({"context_tokens": 255}),
            json!({"context_tokens": "8k"}),
        ] {
            assert!(parse("openai", &bad).is_err(), "{bad}");
        }
        assert!(parse("openai", &json!({"fallback_instance": "m"})).unwrap_err().message.contains("names the model itself"));
        let message = parse("openai", &json!({"api_endpoint": "https://user:hunter2@x/"})).unwrap_err().message;
        assert!(!message.contains("hunter2"), "{message}");
    }
}
