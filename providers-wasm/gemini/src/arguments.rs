//! Arguments of a function call that arrive in pieces (`partialArgs`, on Vertex AI when a request asks for `streamFunctionCallArguments`).

use pg_llm_guest::json;
use pg_llm_guest::prelude::*;

use crate::settings::copy;

/// The most that the pieces of one call may add up to, in bytes, with 64 for each step of a path.
const MAX_SIZE: usize = 4 * 1024 * 1024;

/// The deepest path.
const MAX_DEPTH: usize = 64;

/// The arguments so far.
#[derive(Debug, Default)]
pub(crate) struct PartialArguments {
    arguments: Value,
    size: usize,
}

impl PartialArguments {
    /// Begins with the arguments that came whole, if any.
    pub(crate) fn new(arguments: Option<&Value>) -> Self {
        Self { arguments: arguments.map_or_else(|| Value::Object(Map::new()), copy), size: 0 }
    }

    /// Puts a piece into its place. Pieces of one text follow each other; any other value replaces what is there.
    pub(crate) fn take(&mut self, piece: &Value) -> Result<(), Failure> {
        let path = piece.text_at("jsonPath").unwrap_or_default();
        let steps = steps(path).ok_or_else(|| wrong("a piece of a function call's arguments has a path that is not understood", piece))?;
        let text = piece.text_at("stringValue");
        self.size += 64 * (steps.len() + 1) + text.map_or(0, str::len);
        if self.size > MAX_SIZE {
            return Err(wrong("the arguments of a function call are too long", piece));
        }
        let mut place = &mut self.arguments;
        for step in steps {
            place = step.enter(place);
        }
        match (text, place) {
            (Some(text), Value::String(so_far)) => so_far.push_str(text),
            (Some(text), place) => *place = text.into(),
            (None, place) => {
                let value = ["numberValue", "boolValue"].iter().find_map(|name| piece.at(name));
                if value.is_some() || piece.get("nullValue").is_some() {
                    *place = value.map(copy).unwrap_or_default();
                }
            }
        }
        Ok(())
    }

    /// The arguments as JSON.
    pub(crate) fn into_json(self) -> String {
        json::text(&self.arguments)
    }
}

fn wrong(words: &str, piece: &Value) -> Failure {
    Failure::protocol(words, json::text(piece).as_bytes())
}

#[derive(Debug, PartialEq)]
enum Step<'a> {
    Name(&'a str),
    Index(usize),
}

impl Step<'_> {
    /// The place that this step leads to, which is made where it is missing. A list grows by one at a time.
    fn enter<'v>(&self, place: &'v mut Value) -> &'v mut Value {
        match self {
            Step::Name(name) => {
                if !place.is_object() {
                    *place = Value::Object(Map::new());
                }
                &mut place[*name]
            }
            Step::Index(index) => {
                if !place.is_array() {
                    *place = Value::Array(Vec::new());
                }
                let length = place.as_array().map_or(0, Vec::len);
                if let (Value::Array(items), true) = (&mut *place, *index >= length) {
                    items.push(Value::Null);
                }
                &mut place[(*index).min(length)]
            }
        }
    }
}

/// The steps of a path such as `$.days[0]['max temp']`: of RFC 9535 only what names one place.
fn steps(path: &str) -> Option<Vec<Step<'_>>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if steps.len() == MAX_DEPTH {
            return None;
        }
        if let Some(name) = rest.strip_prefix('.') {
            let end = name.find(['.', '[']).unwrap_or(name.len());
            steps.push(Step::Name(&name[..end]));
            rest = &name[end..];
        } else {
            let inner = rest.strip_prefix('[')?;
            let quote = inner.chars().next().filter(|first| matches!(first, '\'' | '"'));
            let (step, after) = if let Some(quote) = quote {
                let (name, after) = inner[1..].split_once(quote)?;
                (Step::Name(name), after)
            } else {
                let end = inner.find(']')?;
                (Step::Index(inner[..end].parse().ok()?), &inner[end..])
            };
            steps.push(step);
            rest = after.strip_prefix(']')?;
        }
    }
    Some(steps)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_one_place() {
        use Step::{Index, Name};
        assert_eq!(steps("$.a.b[2].c").unwrap(), [Name("a"), Name("b"), Index(2), Name("c")]);
        assert_eq!(steps("$['a.b'][\"c d\"]").unwrap(), [Name("a.b"), Name("c d")]);
        assert_eq!(steps("$").unwrap(), []);
        for nonsense in ["", "a", "$a", "$[", "$[]", "$[x]", "$['a]", "$['a'", "$[-1]", &"$.a".repeat(65)] {
            assert_eq!(steps(nonsense), None, "{nonsense}");
        }
        assert_eq!(steps(&format!("${}", ".a".repeat(65))), None);
    }

    #[test]
    fn pieces_add_up() {
        let mut arguments = PartialArguments::new(None);
        for piece in [
            json!({ "jsonPath": "$.city", "stringValue": "Kö" }),
            json!({ "jsonPath": "$.city", "stringValue": "ln" }),
            json!({ "jsonPath": "$.days[0].max", "numberValue": 21.5 }),
            json!({ "jsonPath": "$.days[0].sunny", "boolValue": true }),
            json!({ "jsonPath": "$.days[1]", "nullValue": "NULL_VALUE" }),
            json!({ "jsonPath": "$.days[900000000]", "stringValue": "late" }),
            json!({ "jsonPath": "$.nothing" }),
        ] {
            arguments.take(&piece).unwrap();
        }
        assert_eq!(arguments.into_json(), r#"{"city":"Köln","days":[{"max":21.5,"sunny":true},null,"late"],"nothing":null}"#);
    }

    #[test]
    fn pieces_do_not_add_up_for_ever() {
        let mut arguments = PartialArguments::new(None);
        let piece = json!({ "jsonPath": "$.a", "stringValue": "x".repeat(100_000) });
        assert!((0..100).any(|_| arguments.take(&piece).is_err()));
    }
}
