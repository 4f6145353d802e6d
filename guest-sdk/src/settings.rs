//! An adapter's settings: a JSON object that begins as the profile's and is overlaid with the model's own.

use serde_json::{Map, Value};

use crate::failure::words;
use crate::json;
use crate::types::{ChatRequest, Failure};

/// The settings of one call. A setting of the wrong type is a failure of kind `invalid-request` that names it; null is as if it were absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings(Map<String, Value>);

impl Settings {
    /// The settings of a request.
    pub fn of(request: &ChatRequest) -> Result<Self, Failure> {
        Self::parse(&request.settings)
    }

    /// Settings from a JSON text; an empty text is an empty object.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        if text.trim_ascii().is_empty() { Ok(Self::default()) } else { json::object("settings", text).map(Self) }
    }

    /// A setting of any type.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A setting that is a string.
    pub fn text(&self, name: &str) -> Result<Option<&str>, SettingError> {
        self.typed(name, "a string", Value::as_str)
    }

    /// A setting that is true or false.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, SettingError> {
        self.typed(name, "true or false", Value::as_bool)
    }

    /// A setting that is a number.
    pub fn number(&self, name: &str) -> Result<Option<f64>, SettingError> {
        self.typed(name, "a number", Value::as_f64)
    }

    /// A setting that is a whole number from 0.
    pub fn count(&self, name: &str) -> Result<Option<u64>, SettingError> {
        self.typed(name, "a whole number from 0", Value::as_u64)
    }

    /// A setting that is an object.
    pub fn object(&self, name: &str) -> Result<Option<&Map<String, Value>>, SettingError> {
        self.typed(name, "an object", Value::as_object)
    }

    /// A setting that is a list.
    pub fn list(&self, name: &str) -> Result<Option<&[Value]>, SettingError> {
        self.typed(name, "a list", |value| value.as_array().map(Vec::as_slice))
    }

    fn typed<'a, T>(&'a self, name: &str, what: &str, read: impl FnOnce(&'a Value) -> Option<T>) -> Result<Option<T>, SettingError> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| SettingError::new(name, &["must be ", what])),
        }
    }
}

/// A setting that cannot be; as a [`Failure`], of kind `invalid-request`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError(String);

impl SettingError {
    /// What is wrong with the setting of this name, in pieces that are joined.
    #[inline(never)]
    pub fn new(name: &str, wrong: &[&str]) -> Self {
        Self(words(&["setting \"", name, "\" ", &words(wrong)]))
    }
}

impl From<SettingError> for Failure {
    #[inline(never)]
    fn from(error: SettingError) -> Self {
        Self::invalid(error.0)
    }
}
