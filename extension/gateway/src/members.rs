//! Reading a JSON object member by member, with errors that help.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{ConfigError, ConfigErrorKind};

/// An object whose members are taken one after another.
pub(crate) struct Members<'a> {
    what: &'static str,
    map: &'a Map<String, Value>,
}

impl<'a> Members<'a> {
    /// `what` names the object in errors: "option", "config key".
    pub(crate) fn of(what: &'static str, value: &'a Value) -> Result<Self, ConfigError> {
        match value {
            Value::Object(map) => Ok(Self { what, map }),
            other => Err(ConfigError::invalid(format!("{what}s must be a JSON object, not {}", type_name(other)), None)),
        }
    }

    /// Refuses members that are neither `known` nor `later`, and those that are only `later`.
    pub(crate) fn check_names<'k>(&self, known: impl Iterator<Item = &'k str> + Clone, later: &[&str]) -> Result<(), ConfigError> {
        for name in self.map.keys() {
            if known.clone().any(|k| k == name) {
                continue;
            }
            if later.contains(&name.as_str()) {
                return Err(ConfigError {
                    kind: ConfigErrorKind::NotSupported,
                    message: format!("{} \"{name}\" is not supported by this version of pg_llm", self.what),
                    hint: Some("It is refused rather than ignored.".to_owned()),
                });
            }
            let hint = match nearest(name, known.clone()) {
                Some(near) => format!("Perhaps you meant \"{near}\"."),
                None => format!("Known {}s: {}.", self.what, known.collect::<Vec<_>>().join(", ")),
            };
            return Err(ConfigError::invalid(format!("unknown {} \"{}\"", self.what, crate::error::clip(name, 100)), hint));
        }
        Ok(())
    }

    /// A member, if it is there and not null. `expected` says what it has to be.
    pub(crate) fn get<T: DeserializeOwned>(&self, name: &str, expected: &str) -> Result<Option<T>, ConfigError> {
        match self.map.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::deserialize(value).map(Some).map_err(|_| self.wrong(name, expected, value)),
        }
    }

    /// A member that must also satisfy `valid`.
    pub(crate) fn get_if<T: DeserializeOwned>(
        &self,
        name: &str,
        expected: &str,
        valid: impl Fn(&T) -> bool,
    ) -> Result<Option<T>, ConfigError> {
        match self.get(name, expected)? {
            Some(value) if !valid(&value) => Err(self.wrong(name, expected, &self.map[name])),
            other => Ok(other),
        }
    }

    /// A member as it is.
    pub(crate) fn raw(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|v| !v.is_null())
    }

    /// All of them.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
        self.map.iter()
    }

    pub(crate) fn wrong(&self, name: &str, expected: &str, value: &Value) -> ConfigError {
        let got = match value {
            Value::Number(n) => n.to_string(),
            Value::Bool(b) => b.to_string(),
            other => type_name(other).to_owned(),
        };
        ConfigError::invalid(format!("{} \"{name}\" must be {expected}, not {got}", self.what), None)
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The known name that a misspelt one is closest to, when it is close enough to be meant.
pub(crate) fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let name = name.to_lowercase();
    known.map(|k| (distance(&name, k), k)).filter(|(d, k)| *d <= 1 + k.len() / 4).min().map(|(_, k)| k)
}

/// Levenshtein distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().take(100).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_finds_its_neighbour() {
        let known = ["temperature", "top_p", "max_tokens", "stop"];
        assert_eq!(nearest("temprature", known.into_iter()), Some("temperature"));
        assert_eq!(nearest("maxTokens", known.into_iter()), Some("max_tokens"));
        assert_eq!(nearest("banana", known.into_iter()), None);
    }
}
