//! The option `cache`: whether an answer may be one that was given before.

use std::time::Duration;

use serde_json::Value;

use crate::error::ConfigError;
use crate::members::Members;

/// What a call says of the response cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// Ask the model, whatever its default is, and keep nothing.
    Off,
    /// Take an answer that was kept, or keep the one that comes.
    On(CacheTerms),
}

/// On which terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheTerms {
    /// How old the answer may be, and how long it is kept; none: as the settings say.
    pub ttl: Option<Duration>,
    /// With all who may use the model and say so too; else with nobody.
    pub shared: bool,
}

/// Longest `ttl_s`: a year.
pub const MAX_TTL_S: u32 = 366 * 24 * 60 * 60;

const MEMBERS: [&str; 2] = ["ttl_s", "shared"];

/// `true`, `false`, or `{"ttl_s": n, "shared": bool}`.
pub(crate) fn parse(m: &Members<'_>) -> Result<Option<Caching>, ConfigError> {
    let Some(value) = m.raw("cache") else { return Ok(None) };
    Ok(Some(match value {
        Value::Bool(false) => Caching::Off,
        Value::Bool(true) => Caching::On(CacheTerms::default()),
        Value::Object(_) => {
            let terms = Members::of("member of \"cache\"", value)?;
            terms.check_names(MEMBERS.into_iter(), &[])?;
            let ttl = terms.get_if("ttl_s", &format!("an integer from 1 to {MAX_TTL_S}"), |s| (1..=MAX_TTL_S).contains(s))?;
            Caching::On(CacheTerms {
                ttl: ttl.map(|s| Duration::from_secs(u64::from(s))),
                shared: terms.get("shared", "true or false")?.unwrap_or(false),
            })
        }
        other => return Err(m.wrong("cache", "true, false, or an object such as {\"ttl_s\": 600}", other)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChatOptions;
    use serde_json::json;

    fn read(value: &Value) -> Result<Option<Caching>, ConfigError> {
        ChatOptions::parse(&json!({"cache": value})).map(|options| options.cache)
    }

    #[allow(clippy::unnecessary_wraps, reason = "as options have it")]
    fn on(ttl: Option<u64>, shared: bool) -> Option<Caching> {
        Some(Caching::On(CacheTerms { ttl: ttl.map(Duration::from_secs), shared }))
    }

    #[test]
    fn the_option_is_yes_no_or_terms() {
        for (value, expected) in [
            (json!(null), None),
            (json!(false), Some(Caching::Off)),
            (json!(true), on(None, false)),
            (json!({}), on(None, false)),
            (json!({"ttl_s": null, "shared": null}), on(None, false)),
            (json!({"ttl_s": 60}), on(Some(60), false)),
            (json!({"ttl_s": MAX_TTL_S, "shared": true}), on(Some(u64::from(MAX_TTL_S)), true)),
        ] {
            assert_eq!(read(&value).unwrap(), expected, "{value}");
        }
    }

    #[test]
    fn what_is_none_of_them_is_refused() {
        for value in [
            json!("yes"),
            json!(1),
            json!([]),
            json!({"ttl_s": 0}),
            json!({"ttl_s": -1}),
            json!({"ttl_s": 1.5}),
            json!({"ttl_s": "60"}),
            json!({"ttl_s": MAX_TTL_S + 1}),
            json!({"ttl_s": 1e300}),
            json!({"shared": "all"}),
            json!({"ttl": 60}),
        ] {
            assert!(read(&value).is_err(), "{value}");
        }
        assert_eq!(read(&json!({"tls_s": 1})).unwrap_err().hint.as_deref(), Some("Perhaps you meant \"ttl_s\"."));
    }

    #[test]
    fn a_calls_word_goes_before_the_models_as_a_whole() {
        let model = ChatOptions::parse(&json!({"cache": {"ttl_s": 60, "shared": true}})).unwrap();
        let merged = |call: Value| ChatOptions::parse(&call).unwrap().over(&model).cache;
        assert_eq!(merged(json!({})), on(Some(60), true));
        assert_eq!(merged(json!({"cache": true})), on(None, false));
        assert_eq!(merged(json!({"cache": false})), Some(Caching::Off));
    }
}
