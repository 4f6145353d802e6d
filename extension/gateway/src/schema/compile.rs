//! From a schema's JSON to rules.

use std::collections::HashMap;

use regex_lite::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use super::decimal::Decimal;
use super::document::{Document, Draft, escape};
use super::rules::{Node, NodeIndex, Rule, Types};
use super::{MOST_NODES, SchemaError};

/// Most bytes of a pattern's program. Matching takes its size times that of the text.
const MOST_PATTERN_BYTES: usize = 256 * 1024;

struct Compiler<'s> {
    document: Document<'s>,
    nodes: Vec<Node>,
    places: HashMap<String, NodeIndex>,
    /// Without recursion, as schemas may refer to each other in long chains.
    left: Vec<(NodeIndex, String, &'s Value)>,
}

pub(crate) fn compile(root: &Value) -> Result<Vec<Node>, SchemaError> {
    let mut compiler = Compiler { document: Document::read(root)?, nodes: Vec::new(), places: HashMap::new(), left: Vec::new() };
    compiler.node(String::new(), root)?;
    while let Some((index, place, value)) = compiler.left.pop() {
        compiler.nodes[index] = compiler.read(&place, value)?;
    }
    let Compiler { nodes, places, .. } = compiler;
    if let Some(index) = circle(&nodes) {
        let place = places.into_iter().find(|(_, i)| *i == index).map(|(place, _)| place).unwrap_or_default();
        return Err(SchemaError { place, what: "refers back to itself without looking deeper into the value".to_owned() });
    }
    Ok(nodes)
}

impl<'s> Compiler<'s> {
    /// The node of a place, which is read later.
    fn node(&mut self, place: String, value: &'s Value) -> Result<NodeIndex, SchemaError> {
        if let Some(index) = self.places.get(&place) {
            return Ok(*index);
        }
        let index = self.nodes.len();
        if index >= MOST_NODES {
            return Err(SchemaError { place, what: format!("the schema has more than {MOST_NODES} subschemas") });
        }
        self.nodes.push(Node::default());
        self.places.insert(place.clone(), index);
        self.left.push((index, place, value));
        Ok(index)
    }

    fn read(&mut self, place: &str, value: &'s Value) -> Result<Node, SchemaError> {
        match value {
            Value::Bool(true) => Ok(Node::default()),
            Value::Bool(false) => Ok(Node { rules: vec![Rule::Never], ..Node::default() }),
            Value::Object(schema) => Keywords { compiler: self, schema, place }.read(),
            _ => Err(SchemaError { place: place.to_owned(), what: "a schema is an object or a boolean".to_owned() }),
        }
    }
}

/// The keywords of one schema.
struct Keywords<'c, 's> {
    compiler: &'c mut Compiler<'s>,
    schema: &'s Map<String, Value>,
    place: &'c str,
}

impl<'s> Keywords<'_, 's> {
    fn read(mut self) -> Result<Node, SchemaError> {
        let mut rules = Vec::new();
        for word in ["$ref", "$dynamicRef", "$recursiveRef"] {
            if let Some(reference) = self.text(word)? {
                let (pointer, target) = self.compiler.document.resolve(&format!("{}/{word}", self.place), reference)?;
                rules.push(Rule::Ref(self.compiler.node(pointer, target)?));
            }
        }
        if !rules.is_empty() && self.compiler.document.draft != Draft::Current {
            return Ok(Node { rules, ..Node::default() });
        }
        self.any_value(&mut rules)?;
        self.numbers(&mut rules)?;
        self.strings(&mut rules)?;
        self.arrays(&mut rules)?;
        self.objects(&mut rules)?;
        self.applicators(&mut rules)?;
        Ok(Node {
            rules,
            unevaluated_properties: self.subschema("unevaluatedProperties")?,
            unevaluated_items: self.subschema("unevaluatedItems")?,
        })
    }

    fn any_value(&self, rules: &mut Vec<Rule>) -> Result<(), SchemaError> {
        if let Some(value) = self.schema.get("type") {
            let mut types = Types::default();
            let names = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            if names.is_empty() || !names.iter().all(|name| name.as_str().is_some_and(|name| types.add(name))) {
                return Err(self.wrong("type", "is none of null, boolean, integer, number, string, array and object, or a list of them"));
            }
            rules.push(Rule::Type(types));
        }
        match self.schema.get("enum") {
            None => {}
            Some(Value::Array(values)) => rules.push(Rule::Enum(values.clone())),
            Some(_) => return Err(self.wrong("enum", "must be an array")),
        }
        rules.extend(self.schema.get("const").map(|value| Rule::Const(value.clone())));
        Ok(())
    }

    fn numbers(&self, rules: &mut Vec<Rule>) -> Result<(), SchemaError> {
        let bound = |word: &str| match self.schema.get(word) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(Some(Decimal::of(number))),
            Some(_) => Err(self.wrong(word, "must be a number")),
        };
        // Draft 4 has a boolean beside the bound.
        let edge = |word: &str| self.schema.get(word).and_then(Value::as_bool);
        let (lowest, highest) = (edge("exclusiveMinimum"), edge("exclusiveMaximum"));
        rules.extend(bound("minimum")?.map(|bound| Rule::Minimum { bound, exclusive: lowest == Some(true) }));
        rules.extend(bound("maximum")?.map(|bound| Rule::Maximum { bound, exclusive: highest == Some(true) }));
        if lowest.is_none() {
            rules.extend(bound("exclusiveMinimum")?.map(|bound| Rule::Minimum { bound, exclusive: true }));
        }
        if highest.is_none() {
            rules.extend(bound("exclusiveMaximum")?.map(|bound| Rule::Maximum { bound, exclusive: true }));
        }
        if let Some(unit) = bound("multipleOf")? {
            if !unit.is_positive() {
                return Err(self.wrong("multipleOf", "must be above 0"));
            }
            rules.push(Rule::MultipleOf(unit));
        }
        Ok(())
    }

    fn strings(&self, rules: &mut Vec<Rule>) -> Result<(), SchemaError> {
        rules.extend(self.count("minLength")?.map(Rule::MinLength));
        rules.extend(self.count("maxLength")?.map(Rule::MaxLength));
        if let Some(pattern) = self.text("pattern")? {
            rules.push(Rule::Pattern(self.pattern("pattern", pattern)?));
        }
        Ok(())
    }

    fn arrays(&mut self, rules: &mut Vec<Rule>) -> Result<(), SchemaError> {
        rules.extend(self.count("minItems")?.map(Rule::MinItems));
        rules.extend(self.count("maxItems")?.map(Rule::MaxItems));
        match self.schema.get("uniqueItems") {
            None | Some(Value::Bool(false)) => {}
            Some(Value::Bool(true)) => rules.push(Rule::UniqueItems),
            Some(_) => return Err(self.wrong("uniqueItems", "must be true or false")),
        }
        // Before 2020-12, `items` was also the list, and `additionalItems` the rest.
        let (prefix, rest) = if self.schema.get("items").is_some_and(Value::is_array) {
            (self.list("items")?, self.subschema("additionalItems")?)
        } else {
            (self.list("prefixItems")?, self.subschema("items")?)
        };
        if prefix.is_some() || rest.is_some() {
            rules.push(Rule::Items { prefix: prefix.unwrap_or_default(), rest });
        }
        if let Some(schema) = self.subschema("contains")? {
            rules.push(Rule::Contains { schema, least: self.count("minContains")?.unwrap_or(1), most: self.count("maxContains")? });
        }
        Ok(())
    }

    fn objects(&mut self, rules: &mut Vec<Rule>) -> Result<(), SchemaError> {
        rules.extend(self.count("minProperties")?.map(Rule::MinProperties));
        rules.extend(self.count("maxProperties")?.map(Rule::MaxProperties));
        if let Some(value) = self.schema.get("required") {
            // Draft 3 had a boolean here, which some still write: it says nothing of this object.
            if !value.is_boolean() {
                rules.push(Rule::Required(names(value).ok_or_else(|| self.wrong("required", "must be an array of strings"))?));
            }
        }
        let named = self.map("properties")?;
        let mut patterns = Vec::new();
        for (pattern, schema) in self.map("patternProperties")?.unwrap_or_default() {
            patterns.push((self.pattern("patternProperties", &pattern)?, schema));
        }
        let others = self.subschema("additionalProperties")?;
        if named.is_some() || !patterns.is_empty() || others.is_some() {
            rules.push(Rule::Properties { named: named.unwrap_or_default(), patterns, others });
        }
        rules.extend(self.subschema("propertyNames")?.map(Rule::PropertyNames));
        rules.extend(self.map("dependentSchemas")?.map(Rule::DependentSchemas));
        // Drafts before 2019-09 have both kinds in one.
        for word in ["dependentRequired", "dependencies"] {
            let Some(value) = self.schema.get(word) else { continue };
            let map = value.as_object().ok_or_else(|| self.wrong(word, "must be an object"))?;
            let (mut required, mut schemas) = (Vec::new(), Vec::new());
            for (name, value) in map {
                match (word, value) {
                    (_, Value::Array(_)) => {
                        required.push((name.clone(), names(value).ok_or_else(|| self.wrong(word, "must hold arrays of strings"))?));
                    }
                    ("dependencies", _) => {
                        schemas.push((name.clone(), self.compiler.node(format!("{}/{word}/{}", self.place, escape(name)), value)?));
                    }
                    _ => return Err(self.wrong(word, "must hold arrays of strings")),
                }
            }
            rules.extend((!required.is_empty()).then_some(Rule::DependentRequired(required)));
            rules.extend((!schemas.is_empty()).then_some(Rule::DependentSchemas(schemas)));
        }
        Ok(())
    }

    fn applicators(&mut self, rules: &mut Vec<Rule>) -> Result<(), SchemaError> {
        rules.extend(self.list("allOf")?.map(Rule::AllOf));
        rules.extend(self.list("anyOf")?.map(Rule::AnyOf));
        rules.extend(self.list("oneOf")?.map(Rule::OneOf));
        rules.extend(self.subschema("not")?.map(Rule::Not));
        let (then, otherwise) = (self.subschema("then")?, self.subschema("else")?);
        if let Some(condition) = self.subschema("if")? {
            rules.push(Rule::If { condition, then, otherwise });
        }
        // So that what nobody refers to is also read, and refused where it is wrong.
        self.map("$defs")?;
        self.map("definitions")?;
        Ok(())
    }

    fn wrong(&self, word: &str, what: &str) -> SchemaError {
        SchemaError { place: format!("{}/{}", self.place, escape(word)), what: what.to_owned() }
    }

    fn text(&self, word: &str) -> Result<Option<&'s str>, SchemaError> {
        match self.schema.get(word) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(word, "must be a string")),
        }
    }

    /// A number of things: a whole number from 0 on.
    fn count(&self, word: &str) -> Result<Option<u64>, SchemaError> {
        match self.schema.get(word) {
            None => Ok(None),
            Some(Value::Number(number)) => {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of things that fit memory")]
                let whole = number.as_u64().or_else(|| number.as_f64().filter(|n| *n >= 0.0 && n.fract() == 0.0).map(|n| n as u64));
                whole.map(Some).ok_or_else(|| self.wrong(word, "must be a whole number from 0 on"))
            }
            Some(_) => Err(self.wrong(word, "must be a whole number from 0 on")),
        }
    }

    fn subschema(&mut self, word: &str) -> Result<Option<NodeIndex>, SchemaError> {
        let Some(value) = self.schema.get(word) else { return Ok(None) };
        self.compiler.node(format!("{}/{word}", self.place), value).map(Some)
    }

    fn list(&mut self, word: &str) -> Result<Option<Vec<NodeIndex>>, SchemaError> {
        let Some(value) = self.schema.get(word) else { return Ok(None) };
        let list = value.as_array().filter(|list| !list.is_empty() || word == "items" || word == "prefixItems");
        let list = list.ok_or_else(|| self.wrong(word, "must be an array of schemas"))?;
        list.iter()
            .enumerate()
            .map(|(i, value)| self.compiler.node(format!("{}/{word}/{i}", self.place), value))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    fn map(&mut self, word: &str) -> Result<Option<Vec<(String, NodeIndex)>>, SchemaError> {
        let Some(value) = self.schema.get(word) else { return Ok(None) };
        let map = value.as_object().ok_or_else(|| self.wrong(word, "must be an object of schemas"))?;
        let node = |(name, value): (&String, &'s Value)| {
            Ok((name.clone(), self.compiler.node(format!("{}/{word}/{}", self.place, escape(name)), value)?))
        };
        map.iter().map(node).collect::<Result<_, _>>().map(Some)
    }

    fn pattern(&self, word: &str, pattern: &str) -> Result<Regex, SchemaError> {
        RegexBuilder::new(pattern).size_limit(MOST_PATTERN_BYTES).build().map_err(|e| {
            let pattern = crate::error::clip(pattern, 100);
            self.wrong(word, &format!("\"{pattern}\" is no pattern that is supported (no look-around, back references, \\p): {e}"))
        })
    }
}

fn names(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

/// A node from which a way leads back to it through nothing but schemas for the same value: evaluating it would never end.
fn circle(nodes: &[Node]) -> Option<NodeIndex> {
    const ON_THE_WAY: u8 = 1;
    const DONE: u8 = 2;
    let mut state = vec![0_u8; nodes.len()];
    let next = |index: NodeIndex| nodes[index].rules.iter().flat_map(Rule::in_place).collect::<Vec<_>>();
    for start in 0..nodes.len() {
        if state[start] != 0 {
            continue;
        }
        state[start] = ON_THE_WAY;
        let mut way = vec![(start, next(start))];
        while let Some((index, left)) = way.last_mut() {
            let index = *index;
            match left.pop() {
                None => {
                    state[index] = DONE;
                    way.pop();
                }
                Some(child) if state[child] == ON_THE_WAY => return Some(child),
                Some(child) if state[child] == 0 => {
                    state[child] = ON_THE_WAY;
                    way.push((child, next(child)));
                }
                Some(_) => {}
            }
        }
    }
    None
}
