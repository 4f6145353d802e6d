//! A key that is not given but pointed at.

use serde_json::{Map, Value, json};

use crate::error::ConfigError;

/// Where the server finds a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyReference {
    /// A variable of the environment that the server was started with.
    Env(String),
    /// A file on the server: an absolute path.
    File(String),
}

/// Longest name of a variable, and longest path, in bytes.
const NAME_BYTES: usize = 255;
const PATH_BYTES: usize = 4096;

const HINT: &str = "{\"env\": \"NAME\"} or {\"file\": \"/absolute/path\"}";

impl KeyReference {
    /// Reads `{"env": "NAME"}` or `{"file": "/path"}`.
    ///
    /// # Errors
    /// For anything else, which is not quoted: it may be a key.
    pub fn parse(value: &Value) -> Result<Self, ConfigError> {
        let wrong = |why: &str| ConfigError::invalid(format!("a key's reference {why}"), HINT.to_owned());
        let Some((name, text)) = value.as_object().and_then(only_member) else {
            return Err(wrong("has one member, which is \"env\" or \"file\""));
        };
        match (name, text) {
            ("env", name) if is_variable(name) => Ok(Self::Env(name.to_owned())),
            ("env", _) => Err(wrong("names no environment variable")),
            ("file", path) if is_path(path) => Ok(Self::File(path.to_owned())),
            ("file", _) => Err(wrong("names no absolute path")),
            _ => Err(wrong("has one member, which is \"env\" or \"file\"")),
        }
    }

    /// As it is stored and shown.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Env(name) => json!({"env": name}),
            Self::File(path) => json!({"file": path}),
        }
    }

    /// Whether a text that was given as a key was meant as a reference.
    pub fn is_meant_by(text: &str) -> bool {
        text.trim_start().starts_with('{')
            && serde_json::from_str::<Value>(text).is_ok_and(|value| {
                value.as_object().is_some_and(|members| members.len() == 1 && members.keys().all(|name| name == "env" || name == "file"))
            })
    }
}

fn only_member(members: &Map<String, Value>) -> Option<(&str, &str)> {
    match (members.len(), members.iter().next()) {
        (1, Some((name, Value::String(text)))) => Some((name, text)),
        _ => None,
    }
}

/// POSIX's names.
fn is_variable(name: &str) -> bool {
    name.len() <= NAME_BYTES
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn is_path(path: &str) -> bool {
    path.len() <= PATH_BYTES && path.starts_with('/') && !path.ends_with('/') && !path.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_one_of_two_and_is_stored_as_it_was_given() {
        for reference in [json!({"env": "OPENAI_API_KEY"}), json!({"env": "_x1"}), json!({"file": "/run/secrets/a key"})] {
            assert_eq!(KeyReference::parse(&reference).unwrap().to_json(), reference);
        }
    }

    #[test]
    fn what_is_none_is_refused_and_not_quoted() {
        let long = "x".repeat(5000);
        for bad in [
            json!("s3cr3t"),
            json!(null),
            json!({}),
            json!(["s3cr3t"]),
            json!({"key": "s3cr3t"}),
            json!({"env": null}),
            json!({"env": 1}),
            json!({"env": ""}),
            json!({"env": "s3cr3t="}),
            json!({"env": "1s3cr3t"}),
            json!({"env": "A\u{0}B"}),
            json!({"env": long}),
            json!({"file": "s3cr3t"}),
            json!({"file": "../s3cr3t"}),
            json!({"file": "/s3cr3t\n"}),
            json!({"file": "/s3cr3t\u{0}"}),
            json!({"file": "/s3cr3t/"}),
            json!({"file": ""}),
            json!({"file": format!("/{long}")}),
            json!({"env": "A", "file": "/s3cr3t"}),
            json!({"env": {"env": "A"}}),
        ] {
            let error = KeyReference::parse(&bad).unwrap_err();
            assert!(error.hint.is_some() && !error.message.contains("s3cr3t"), "{error:?}");
        }
    }

    #[test]
    fn a_reference_that_was_given_as_text_is_told_from_a_key() {
        for meant in [r#"{"env": "A"}"#, r#" {"file": "x"} "#, r#"{"env": 1}"#] {
            assert!(KeyReference::is_meant_by(meant), "{meant}");
        }
        for key in ["sk-1", "{", "{}", r#"{"type": "service_account"}"#, r#"{"env": "A", "b": 1}"#, r#"["env"]"#] {
            assert!(!KeyReference::is_meant_by(key), "{key}");
        }
    }
}
