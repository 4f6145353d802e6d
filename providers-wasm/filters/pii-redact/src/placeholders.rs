//! Which placeholder stands for which value, in one prompt.

use std::collections::{BTreeMap, BTreeSet};

use pg_llm_guest::filter::change_texts;
use pg_llm_guest::json;
use pg_llm_guest::prelude::*;

/// Longest placeholder, in bytes: a kind and twenty digits.
pub(crate) const LONGEST: usize = 40;

/// The placeholders of a prompt, numbered in the order of first appearance, so that a conversation that goes on gets the same ones again.
#[derive(Debug, Default)]
pub(crate) struct Placeholders {
    of_value: BTreeMap<(&'static str, String), String>,
    next: BTreeMap<&'static str, u64>,
    /// What looks like a placeholder in the prompt itself: these must not be restored to a value.
    taken: BTreeSet<String>,
    memo: Map<String, Value>,
}

impl Placeholders {
    pub(crate) fn beside(messages: &mut [Message]) -> Result<Self, String> {
        let mut taken = BTreeSet::new();
        change_texts(messages, &mut |_, text| {
            for (at, _) in text.match_indices('[') {
                if let Some(end) = placeholder_end(&text[at..]) {
                    taken.insert(text[at..at + end].to_owned());
                }
            }
            Ok(None)
        })?;
        Ok(Self { taken, ..Self::default() })
    }

    /// The placeholder of a value.
    pub(crate) fn of(&mut self, kind: &'static str, value: &str) -> String {
        let key = (kind, value.to_owned());
        if let Some(known) = self.of_value.get(&key) {
            return known.clone();
        }
        let next = self.next.entry(kind).or_insert(0);
        let placeholder = loop {
            *next += 1;
            let candidate = ["[", &name(kind), "_", &next.to_string(), "]"].concat();
            if !self.taken.contains(&candidate) {
                break candidate;
            }
        };
        json::set(&mut self.memo, &placeholder, json::string(value));
        self.of_value.insert(key, placeholder.clone());
        placeholder
    }

    /// Placeholders and their values, as a JSON object.
    pub(crate) fn memo(self) -> String {
        json::text(&Value::Object(self.memo))
    }
}

/// A kind as it stands in a placeholder.
pub(crate) fn name(kind: &str) -> String {
    kind.to_ascii_uppercase()
}

/// Where a placeholder that begins the text ends, if one does.
pub(crate) fn placeholder_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let end = bytes.iter().take(LONGEST).position(|byte| *byte == b']')?;
    let (name, number) = text.get(1..end)?.rsplit_once('_')?;
    let is_placeholder =
        name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_placeholder && !name.is_empty() && !number.is_empty()).then_some(end + 1)
}

/// Whether the text, which begins with a bracket, could become a placeholder when more comes.
pub(crate) fn could_become_placeholder(text: &str) -> bool {
    text.len() < LONGEST && text.bytes().skip(1).all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}
