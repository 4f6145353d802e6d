//! A filter's configuration: a JSON object, of which every member is known and of the right type, or the filter says what is wrong.

use serde_json::{Map, Value};

use crate::json;

/// What the administrator gave to a filter.
#[derive(Clone, Debug)]
pub struct Config(Map<String, Value>);

impl Config {
    /// Reads a configuration that may have these members and no others. An empty text is an empty object.
    pub fn parse(text: &str, known: &[&str]) -> Result<Self, String> {
        if text.trim_ascii().is_empty() {
            return Ok(Self(Map::new()));
        }
        match json::read(text) {
            Ok(Value::Object(members)) => Self::of(members, known),
            Ok(_) => Err("the configuration must be a JSON object".to_owned()),
            Err(mistake) => Err(mistake.words("the configuration")),
        }
    }

    fn of(members: Map<String, Value>, known: &[&str]) -> Result<Self, String> {
        match members.keys().find(|name| !known.contains(&name.as_str())) {
            Some(unknown) => Err(["unknown configuration key \"", unknown, "\"; known are: ", &known.join(", ")].concat()),
            None => Ok(Self(members)),
        }
    }

    fn at(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn typed<T>(&self, name: &str, what: &str, read: impl FnOnce(&Value) -> Option<T>) -> Result<Option<T>, String> {
        self.at(name).map(|value| read(value).ok_or_else(|| ["configuration key \"", name, "\" must be ", what].concat())).transpose()
    }

    /// True or false.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, String> {
        self.typed(name, "true or false", Value::as_bool)
    }

    /// A whole number from 0.
    pub fn count(&self, name: &str) -> Result<Option<usize>, String> {
        self.typed(name, "a whole number from 0", |value| usize::try_from(value.as_u64()?).ok())
    }

    /// A number from 0 to 1.
    pub fn share(&self, name: &str) -> Result<Option<f64>, String> {
        self.typed(name, "a number from 0 to 1", |value| value.as_f64().filter(|share| (0.0..=1.0).contains(share)))
    }

    /// A text.
    pub fn text(&self, name: &str) -> Result<Option<&str>, String> {
        self.typed(name, "a text", |value| value.as_str().map(str::len))?;
        Ok(self.at(name).and_then(Value::as_str))
    }

    /// An array of texts.
    pub fn texts(&self, name: &str) -> Result<Option<Vec<String>>, String> {
        self.typed(name, "an array of texts", |value| value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect())
    }

    /// One of these words.
    pub fn word<'a>(&self, name: &str, words: &[&'a str]) -> Result<Option<&'a str>, String> {
        self.typed(name, &["one of ", &words.join(", ")].concat(), |value| {
            words.iter().find(|word| Some(**word) == value.as_str()).copied()
        })
    }

    /// An array of these words.
    pub fn words<'a>(&self, name: &str, words: &[&'a str]) -> Result<Option<Vec<&'a str>>, String> {
        let one = |item: &Value| words.iter().find(|word| Some(**word) == item.as_str()).copied();
        self.typed(name, &["an array of some of ", &words.join(", ")].concat(), |value| value.as_array()?.iter().map(one).collect())
    }

    /// An object that may have these members and no others.
    pub fn object(&self, name: &str, known: &[&str]) -> Result<Option<Self>, String> {
        let members = self.typed(name, "an object", |value| value.as_object().cloned())?;
        members.map(|members| Self::of(members, known).map_err(|reason| [name, ": ", &reason].concat())).transpose()
    }

    /// An array of objects that may have these members and no others.
    pub fn objects(&self, name: &str, known: &[&str]) -> Result<Option<Vec<Self>>, String> {
        let all = self.typed(name, "an array of objects", |value| {
            value.as_array()?.iter().map(|item| item.as_object().cloned()).collect::<Option<Vec<_>>>()
        })?;
        all.map(|all| all.into_iter().map(|members| Self::of(members, known)).collect()).transpose()
    }
}
