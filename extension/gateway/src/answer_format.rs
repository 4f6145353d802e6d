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
    Ok(AnswerFormat::Schema(Arc::new(SchemaFormat { name: name.to_owned(), strict: strict.unwrap_or(true), schema })))
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
        let plain = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
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
