//! JSON Schema (2020-12, and what drafts 4 to 2019-09 have beside it): whether an answer is what its caller asked for.
//!
//! Why not a library: what is evaluated here was written by an SQL user and by a model, on the main thread of a backend, where a loop that nothing ends or a
//! stack that runs out is everybody's trouble. The libraries that there are take exponential time for some schemas of a few lines and cannot be stopped
//! meanwhile. Here every step is counted, a cancel is heard, the depth is bounded, patterns are matched in linear time, and numbers are compared as decimals.
//!
//! | | |
//! |---|---|
//! | `$ref`, `$anchor`, `$dynamicRef`, `$recursiveRef`, `$id` | within the schema's own document; nothing is ever fetched |
//! | `format`, `content*`, unknown keywords | annotations, as the specification has them by default: not checked |
//! | `pattern`, `patternProperties` | ECMA 262 without look-around, back references and `\p{...}` |
//! | a `$ref` beside other keywords | they count, unless `$schema` says draft 7 or older |

mod compile;
mod containers;
mod decimal;
mod document;
mod evaluate;
mod rules;
mod values;

use serde_json::Value;

pub(crate) use evaluate::{Halt, Violation};
use rules::Node;

/// Most bytes of a schema's text, and most subschemas in it.
const MOST_BYTES: usize = 256 * 1024;
const MOST_NODES: usize = 10_000;

/// A schema, understood.
#[derive(Debug)]
pub(crate) struct JsonSchema {
    /// Its root is the first.
    nodes: Vec<Node>,
    text: String,
}

/// What is wrong with a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SchemaError {
    /// JSON pointer (RFC 6901) to the place; empty for the root.
    pub(crate) place: String,
    /// What is wrong there.
    pub(crate) what: String,
}

impl JsonSchema {
    /// Reads a schema.
    ///
    /// # Errors
    /// When a keyword's value cannot be one, a reference leads nowhere, out of the document or round in a circle, or the schema is too large.
    pub(crate) fn compile(schema: &Value) -> Result<Self, SchemaError> {
        let text = schema.to_string();
        if text.len() > MOST_BYTES {
            return Err(SchemaError {
                place: String::new(),
                what: format!("the schema has {} bytes, and {MOST_BYTES} are allowed", text.len()),
            });
        }
        Ok(Self { nodes: compile::compile(schema)?, text })
    }

    /// The schema as JSON.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The first things in which `value` is not what the schema wants; none when it is. `stopped` is asked now and then.
    ///
    /// # Errors
    /// When `stopped` says so, or the value cannot be judged within the bounds.
    pub(crate) fn violations(&self, value: &Value, stopped: &dyn Fn() -> bool) -> Result<Vec<Violation>, Halt> {
        evaluate::violations(&self.nodes, value, stopped)
    }
}

/// One text for all ways to write one value: 1 and 1.0 are the same, and objects whatever the order of their members.
pub(crate) fn canonical(value: &Value) -> String {
    let mut text = String::new();
    let mut steps = evaluate::Steps { made: 0, most: u64::MAX, stopped: &|| false };
    // Without bounds nothing halts it.
    let _ = values::canonical(value, &mut text, &mut steps);
    text
}

impl PartialEq for JsonSchema {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[cfg(test)]
mod tests;
