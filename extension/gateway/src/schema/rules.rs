//! What a schema is made of, once it is understood.

use regex_lite::Regex;
use serde_json::Value;

use super::decimal::Decimal;

/// Where a subschema stands in the list of all.
pub(crate) type NodeIndex = usize;

/// A subschema.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) rules: Vec<Rule>,
    /// For what no other keyword has looked at.
    pub(crate) unevaluated_properties: Option<NodeIndex>,
    pub(crate) unevaluated_items: Option<NodeIndex>,
}

/// A keyword, with those whose meaning depends on each other as one.
#[derive(Debug)]
pub(crate) enum Rule {
    /// The schema `false`.
    Never,
    Type(Types),
    Enum(Vec<Value>),
    Const(Value),
    Minimum {
        bound: Decimal,
        exclusive: bool,
    },
    Maximum {
        bound: Decimal,
        exclusive: bool,
    },
    MultipleOf(Decimal),
    MinLength(u64),
    MaxLength(u64),
    Pattern(Regex),
    MinItems(u64),
    MaxItems(u64),
    UniqueItems,
    Items {
        prefix: Vec<NodeIndex>,
        rest: Option<NodeIndex>,
    },
    Contains {
        schema: NodeIndex,
        least: u64,
        most: Option<u64>,
    },
    MinProperties(u64),
    MaxProperties(u64),
    Required(Vec<String>),
    DependentRequired(Vec<(String, Vec<String>)>),
    DependentSchemas(Vec<(String, NodeIndex)>),
    PropertyNames(NodeIndex),
    Properties {
        named: Vec<(String, NodeIndex)>,
        patterns: Vec<(Regex, NodeIndex)>,
        others: Option<NodeIndex>,
    },
    Ref(NodeIndex),
    AllOf(Vec<NodeIndex>),
    AnyOf(Vec<NodeIndex>),
    OneOf(Vec<NodeIndex>),
    Not(NodeIndex),
    If {
        condition: NodeIndex,
        then: Option<NodeIndex>,
        otherwise: Option<NodeIndex>,
    },
}

impl Rule {
    /// The subschemas that it holds against the very same value.
    pub(crate) fn in_place(&self) -> Vec<NodeIndex> {
        match self {
            Self::Ref(node) | Self::Not(node) => vec![*node],
            Self::AllOf(nodes) | Self::AnyOf(nodes) | Self::OneOf(nodes) => nodes.clone(),
            Self::If { condition, then, otherwise } => [Some(*condition), *then, *otherwise].into_iter().flatten().collect(),
            Self::DependentSchemas(list) => list.iter().map(|(_, node)| *node).collect(),
            _ => Vec::new(),
        }
    }
}

/// A set of JSON's types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Types(u8);

const NAMES: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];

impl Types {
    /// Adds a type by its name; false when there is none of that name.
    pub(crate) fn add(&mut self, name: &str) -> bool {
        let Some(bit) = NAMES.iter().position(|n| *n == name) else { return false };
        self.0 |= 1 << bit;
        true
    }

    pub(crate) fn has(self, name: &str) -> bool {
        NAMES.iter().position(|n| *n == name).is_some_and(|bit| self.0 & (1 << bit) != 0)
    }

    /// Whether a value is of one of them.
    pub(crate) fn fit(self, value: &Value) -> bool {
        match value {
            Value::Number(number) => self.has("number") || (self.has("integer") && Decimal::of(number).is_integer()),
            other => self.has(type_name(other)),
        }
    }

    /// Their names, for people.
    pub(crate) fn names(self) -> String {
        NAMES.iter().filter(|name| self.has(name)).copied().collect::<Vec<_>>().join(" or ")
    }
}

/// The type of a value, as `type` names it; numbers are all `number`.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
