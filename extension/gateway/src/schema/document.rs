//! A schema's document: which parts of it are schemas, and where its references lead.

use std::collections::HashMap;

use serde_json::{Map, Value};
use url::Url;

use super::SchemaError;

/// Versions of the specification that differ in more than in keywords that others do not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Draft {
    /// Draft 4, where `$id` is called `id`.
    Four,
    /// Drafts 6 and 7: nothing counts beside a `$ref`.
    Seven,
    /// 2019-09 and 2020-12.
    Current,
}

/// What names nothing else, so that relative references have something to be relative to.
const NOWHERE: &str = "https://schema.invalid/";

pub(crate) struct Document<'s> {
    root: &'s Value,
    pub(crate) draft: Draft,
    /// Schemas with an address of their own: pointer and address; the first is the whole document.
    resources: Vec<(String, Url)>,
    /// By resource and name.
    anchors: HashMap<(String, String), String>,
}

impl<'s> Document<'s> {
    pub(crate) fn read(root: &'s Value) -> Result<Self, SchemaError> {
        let draft = draft(root)?;
        let nowhere = Url::parse(NOWHERE).map_err(|e| wrong("", &e.to_string()))?;
        let mut document = Self { root, draft, resources: vec![(String::new(), nowhere)], anchors: HashMap::new() };
        let mut dynamic: HashMap<String, String> = HashMap::new();
        let mut recursive = None;
        let mut left = vec![(String::new(), root, 0)];
        while let Some((place, value, mut resource)) = left.pop() {
            let Value::Object(schema) = value else { continue };
            let word = if draft == Draft::Four { "id" } else { "$id" };
            if let Some(id) = schema.get(word).and_then(Value::as_str).filter(|_| draft == Draft::Current || !schema.contains_key("$ref")) {
                if let Some(anchor) = id.strip_prefix('#').filter(|name| !name.is_empty()) {
                    document.anchors.insert((document.resources[resource].0.clone(), anchor.to_owned()), place.clone());
                } else {
                    let id = id.trim_end_matches('#');
                    let address = document.resources[resource]
                        .1
                        .join(id)
                        .map_err(|e| wrong(&format!("{place}/{word}"), &format!("\"{id}\" is no address: {e}")))?;
                    if place.is_empty() {
                        document.resources[0].1 = address;
                    } else {
                        resource = document.resources.len();
                        document.resources.push((place.clone(), address));
                    }
                }
            }
            if schema.get("$recursiveAnchor") == Some(&Value::Bool(true)) {
                recursive = Some(place.clone());
            }
            for word in ["$anchor", "$dynamicAnchor"] {
                if let Some(name) = schema.get(word).and_then(Value::as_str) {
                    let own = document.resources[resource].0.clone();
                    // One name in two resources would make the meaning of a dynamic reference depend on the way to it.
                    if word == "$dynamicAnchor" && dynamic.insert(name.to_owned(), own.clone()).is_some_and(|other| other != own) {
                        return Err(wrong(
                            &format!("{place}/{word}"),
                            &format!("\"{name}\" is a dynamic anchor of two schemas in this document, which is not supported"),
                        ));
                    }
                    document.anchors.insert((own, name.to_owned()), place.clone());
                }
            }
            left.extend(subschemas(schema).into_iter().map(|(step, value)| (format!("{place}{step}"), value, resource)));
        }
        match recursive {
            Some(place) if document.resources.len() > 1 => {
                Err(wrong(&format!("{place}/$recursiveAnchor"), "is not supported in a document of several schemas"))
            }
            _ => Ok(document),
        }
    }

    /// Where the reference at `place` leads, as a pointer, and what is there.
    pub(crate) fn resolve(&self, place: &str, reference: &str) -> Result<(String, &'s Value), SchemaError> {
        let (base, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let within = |place: &str, pointer: &str| place.strip_prefix(pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let own = self.resources.iter().filter(|(pointer, _)| within(place, pointer)).max_by_key(|(pointer, _)| pointer.len());
        let (own, address) = own.unwrap_or(&self.resources[0]);
        let resource = if base.is_empty() {
            own
        } else {
            let wanted = address.join(base).ok();
            let found = self.resources.iter().find(|(_, address)| Some(address) == wanted.as_ref());
            let (pointer, _) = found.ok_or_else(|| {
                wrong(
                    place,
                    &format!("refers to \"{}\", which is not in this schema, and nothing is fetched", crate::error::clip(base, 200)),
                )
            })?;
            pointer
        };
        let fragment = percent_decoded(fragment);
        let target = if fragment.is_empty() {
            Some(resource.clone())
        } else if fragment.starts_with('/') {
            Some(format!("{resource}{fragment}"))
        } else {
            self.anchors.get(&(resource.clone(), fragment.clone())).cloned()
        };
        let found = target.and_then(|pointer| self.root.pointer(&pointer).map(|value| (pointer, value)));
        found.ok_or_else(|| wrong(place, &format!("refers to \"{}\", where nothing is", crate::error::clip(reference, 200))))
    }
}

fn wrong(place: &str, what: &str) -> SchemaError {
    SchemaError { place: place.to_owned(), what: what.to_owned() }
}

fn draft(root: &Value) -> Result<Draft, SchemaError> {
    let Some(named) = root.get("$schema").and_then(Value::as_str) else { return Ok(Draft::Current) };
    let name = named.trim_end_matches('#').trim_start_matches("https://").trim_start_matches("http://");
    match name {
        "json-schema.org/draft/2020-12/schema" | "json-schema.org/draft/2019-09/schema" | "json-schema.org/schema" => Ok(Draft::Current),
        "json-schema.org/draft-07/schema" | "json-schema.org/draft-06/schema" => Ok(Draft::Seven),
        "json-schema.org/draft-04/schema" => Ok(Draft::Four),
        _ => {
            Err(wrong("/$schema", &format!("\"{}\" is no version of JSON Schema from draft 4 to 2020-12", crate::error::clip(named, 200))))
        }
    }
}

/// The schemas directly within one, with the end of their pointers.
fn subschemas(schema: &Map<String, Value>) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    for (keyword, value) in schema {
        let escaped = || escape(keyword);
        match (keyword.as_str(), value) {
            (
                "not"
                | "if"
                | "then"
                | "else"
                | "items"
                | "additionalItems"
                | "contains"
                | "additionalProperties"
                | "propertyNames"
                | "unevaluatedItems"
                | "unevaluatedProperties"
                | "contentSchema",
                Value::Object(_),
            ) => found.push((format!("/{}", escaped()), value)),
            ("allOf" | "anyOf" | "oneOf" | "prefixItems" | "items", Value::Array(list)) => {
                found.extend(list.iter().enumerate().map(|(i, value)| (format!("/{keyword}/{i}"), value)));
            }
            ("properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas" | "dependencies", Value::Object(map)) => {
                found.extend(map.iter().map(|(name, value)| (format!("/{keyword}/{}", escape(name)), value)));
            }
            _ => {}
        }
    }
    found
}

/// A name as a step of a JSON pointer.
pub(crate) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = match rest {
            [b'%', high, low, ..] => std::str::from_utf8(&[*high, *low]).ok().and_then(|code| u8::from_str_radix(code, 16).ok()),
            _ => None,
        };
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &rest[3..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
