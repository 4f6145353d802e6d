//! The option `response_format`.

use std::sync::Arc;

use serde_json::Value;

use crate::error::ConfigError;
use crate::schema::JsonSchema;
use crate::structured::{AnswerFormat, SchemaFormat};

/// `"text"`, `"json"`, a JSON schema, or OpenAI's `{"type": ...}` forms.
pub(crate) fn parse(value: &Value) -> Result<AnswerFormat, ConfigError> {
    let kind = value.as_str().or_else(|| value.get("type").and_then(Value::as_str));
    let form = match kind {
        Some("text") => return Ok(AnswerFormat::Text),
        Some("json" | "json_object") => return Ok(AnswerFormat::Json),
        // Its members one level down, or, as newer APIs have them, here.
        Some("json_schema") => Some(value.get("json_schema").unwrap_or(value)),
        _ => None,
    };
    if let Some(form) = form {
        let name = form.get("name").and_then(Value::as_str).unwrap_or("answer");
        let strict = form.get("strict").and_then(Value::as_bool);
        return form.get("schema").filter(|schema| schema.is_object()).map_or_else(|| Err(no_format()), |s| schema(s, name, strict));
    }
    if is_schema(value) { schema(value, "answer", None) } else { Err(no_format()) }
}

/// An object with a keyword by which a schema is known.
fn is_schema(value: &Value) -> bool {
    const KEYWORDS: [&str; 11] =
        ["$schema", "$ref", "type", "properties", "items", "prefixItems", "enum", "const", "anyOf", "oneOf", "allOf"];
    value.as_object().is_some_and(|object| KEYWORDS.iter().any(|keyword| object.contains_key(*keyword)))
}

fn schema(value: &Value, name: &str, strict: Option<bool>) -> Result<AnswerFormat, ConfigError> {
    let schema = JsonSchema::compile(value).map_err(|e| {
        let place =
            if e.place.is_empty() { "the schema".to_owned() } else { format!("the schema at {}", crate::error::clip(&e.place, 200)) };
        ConfigError::invalid(
            format!("option \"response_format\": {place} {}", e.what),
            "JSON Schema 2020-12, or as $schema says, from draft 4 on.".to_owned(),
        )
    })?;
    let strict = strict.unwrap_or_else(|| can_be_strict(value));
    Ok(AnswerFormat::Schema(Arc::new(SchemaFormat { name: name.to_owned(), strict, schema })))
}

/// Whether the schema is one that providers' strict modes take: every object closed, and every property of it required. Others they refuse, while without
/// that mode they take them as advice; our own check is the same for both.
fn can_be_strict(schema: &Value) -> bool {
    let Value::Object(members) = schema else { return true };
    if let Some(Value::Object(properties)) = members.get("properties") {
        let required = members.get("required").and_then(Value::as_array);
        let is_required = |name: &str| required.is_some_and(|list| list.iter().any(|r| r == name));
        if !properties.keys().all(|name| is_required(name)) || !properties.values().all(can_be_strict) {
            return false;
        }
    }
    let is_object = members.contains_key("properties")
        || members.get("type").is_some_and(|t| t == "object" || t.as_array().is_some_and(|t| t.iter().any(|t| t == "object")));
    if is_object && members.get("additionalProperties") != Some(&Value::Bool(false)) {
        return false;
    }
    let within = |word: &str| match members.get(word) {
        Some(Value::Object(map)) if word != "items" => map.values().all(can_be_strict),
        Some(Value::Array(list)) => list.iter().all(can_be_strict),
        Some(one) => can_be_strict(one),
        None => true,
    };
    ["items", "anyOf", "$defs", "definitions"].into_iter().all(within)
}

fn no_format() -> ConfigError {
    ConfigError::invalid(
        "option \"response_format\" must be \"text\", \"json\", a JSON schema, or {\"type\": \"json_schema\", \"json_schema\": {\"name\": ..., \"schema\": {...}}}",
        None,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_schema_may_stand_alone_or_in_the_forms_of_openai() {
        let plain = json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": false});
        for form in [
            plain.clone(),
            json!({"type": "json_schema", "json_schema": {"schema": plain}}),
            json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": plain, "strict": true}}),
            json!({"type": "json_schema", "schema": plain}),
        ] {
            let AnswerFormat::Schema(format) = parse(&form).unwrap() else { panic!("{form}") };
            assert_eq!((format.name.as_str(), format.strict, format.schema.text()), ("answer", true, plain.to_string().as_str()));
        }
        for schema in [
            json!({"enum": ["a", "b"]}),
            json!({"type": "string"}),
            json!({"type": ["object", "null"]}),
            json!({"anyOf": [{"type": "null"}]}),
        ] {
            assert!(matches!(parse(&schema), Ok(AnswerFormat::Schema(_))), "{schema}");
        }
    }

    #[test]
    fn strictness_is_asked_for_where_providers_would_take_it() {
        let strict = |schema: Value| {
            let AnswerFormat::Schema(format) = parse(&schema).unwrap() else { panic!("{schema}") };
            format.strict
        };
        let closed = json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": false});
        assert!(strict(json!({"type": "array", "items": closed})));
        assert!(strict(json!({"anyOf": [closed, {"type": "null"}]})));
        for open in [
            json!({"type": "object"}),
            json!({"type": "object", "properties": {"a": {}}, "required": ["a"]}),
            json!({"type": "object", "properties": {"a": {}}, "additionalProperties": false}),
            json!({"type": "array", "items": {"type": ["object", "null"]}}),
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"properties": {}}}}),
        ] {
            assert!(!strict(open.clone()), "{open}");
            assert!(strict(json!({"type": "json_schema", "json_schema": {"schema": open, "strict": true}})), "who says so gets it");
        }
    }

    #[test]
    fn what_is_no_form_is_refused_and_a_wrong_schema_with_its_place() {
        for bad in [
            json!(7),
            json!("xml"),
            json!([]),
            json!({}),
            json!({"type": "json_schema"}),
            json!({"type": "json_schema", "json_schema": {"schema": 1}}),
        ] {
            assert!(parse(&bad).unwrap_err().message.contains("must be"), "{bad}");
        }
        for (bad, words) in [
            (json!({"type": "strin"}), "at /type is none of"),
            (json!({"type": "object", "properties": {"a/b": {"minimum": "1"}}}), "at /properties/a~1b/minimum must be a number"),
            (json!({"$ref": "https://example.com/schema.json"}), "at /$ref refers to \"https://example.com/schema.json\""),
        ] {
            let message = parse(&bad).unwrap_err().message;
            assert!(message.contains(words), "{bad}: {message}");
        }
    }
}
