//! What the specification's own suite does not ask: hostile schemas and values, and words for people.

use serde_json::{Map, Value, json};

use super::*;

fn refused(schema: &Value) -> String {
    let e = JsonSchema::compile(schema).map(|_| ()).unwrap_err();
    format!("{} {}", e.place, e.what)
}

fn judged(schema: &Value, value: &Value) -> Result<Vec<String>, Halt> {
    let schema = JsonSchema::compile(schema).unwrap_or_else(|e| panic!("{}: {}", e.place, e.what));
    Ok(schema.violations(value, &|| false)?.iter().map(ToString::to_string).collect())
}

#[test]
fn violations_say_where_and_what() {
    let schema = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 2}, "age": {"type": "integer", "minimum": 0}, "kind": {"enum": ["a", "b"]},
            "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": true}, "price": {"multipleOf": 0.01},
        },
        "required": ["name", "age"],
        "additionalProperties": false,
    });
    assert_eq!(judged(&schema, &json!({"name": "Ann", "age": 3, "kind": "a", "tags": ["x"], "price": 19.99})), Ok(vec![]));
    assert_eq!(
        judged(&schema, &json!({"name": "A", "age": -1, "kind": "c", "tags": ["x", 7, "x"], "more": 1, "price": 0.001})).unwrap(),
        [
            "/age: -1 is too small",
            "/kind: must be one of \"a\", \"b\", not \"c\"",
            "/name: must have at least 2 characters, not 1",
            "/price: 0.001 is not a multiple of what \"multipleOf\" says",
            "/tags: has \"x\" twice",
            "/tags/1: must be string, not the number 7",
            "/more: must not be there",
        ]
    );
    assert_eq!(
        judged(&schema, &json!({"age": 1.5})).unwrap(),
        ["the whole: must have the property \"name\"", "/age: must be integer, not the number 1.5"]
    );
    assert_eq!(judged(&schema, &json!("x")).unwrap(), ["the whole: must be object, not the string \"x\""]);
}

#[test]
fn of_alternatives_the_one_that_was_meant_is_explained() {
    let nullable = json!({"anyOf": [{"type": "object", "properties": {"a": {"type": "integer"}}}, {"type": "null"}]});
    assert_eq!(judged(&nullable, &json!({"a": "x"})).unwrap(), ["/a: must be integer, not the string \"x\""]);
    assert_eq!(
        judged(&nullable, &json!(7)).unwrap(),
        ["the whole: fits none of 2 alternatives of \"anyOf\": must be object, not the number 7; or must be null, not the number 7"]
    );
}

#[test]
fn as_much_is_said_as_helps() {
    let many: Value = (0..100_000).map(|_| json!("x".repeat(10))).collect();
    let said = judged(&json!({"items": {"type": "integer"}}), &many).unwrap();
    assert_eq!(said.len(), 8);
    let long = judged(&json!({"const": 1}), &json!("y".repeat(1_000_000))).unwrap();
    assert!(long[0].len() < 200, "{}", long[0].len());
}

#[test]
fn a_schema_that_is_none_is_refused_with_its_place() {
    for (schema, words) in [
        (json!({"properties": {"a": 7}}), "/properties/a a schema is an object or a boolean"),
        (json!({"type": "strin"}), "/type is none of"),
        (json!({"type": []}), "/type is none of"),
        (json!({"required": [1]}), "/required must be an array of strings"),
        (json!({"anyOf": []}), "/anyOf must be an array of schemas"),
        (json!({"multipleOf": 0}), "/multipleOf must be above 0"),
        (json!({"minLength": -1}), "/minLength must be a whole number"),
        (json!({"maxItems": 1.5}), "/maxItems must be a whole number"),
        (json!({"pattern": "("}), "/pattern \"(\" is no pattern"),
        (json!({"pattern": "a(?=b)"}), "/pattern \"a(?=b)\" is no pattern"),
        (json!({"$defs": {"unused": {"type": 1}}}), "/$defs/unused/type is none of"),
        (json!({"$ref": "#/$defs/none"}), "/$ref refers to \"#/$defs/none\", where nothing is"),
        (json!({"$schema": "https://example.com/own"}), "/$schema \"https://example.com/own\" is no version"),
    ] {
        let said = refused(&schema);
        assert!(said.contains(words), "{schema}: {said}");
    }
}

#[test]
fn nothing_is_fetched() {
    for reference in [
        "http://127.0.0.1:1/x.json",
        "https://json-schema.org/draft/2020-12/schema",
        "file:///etc/passwd",
        "other.json",
        "//host/x",
        "urn:x:y",
    ] {
        let said = refused(&json!({"$ref": reference}));
        assert!(said.contains("which is not in this schema, and nothing is fetched"), "{said}");
    }
}

#[test]
fn circles_are_refused_and_recursion_into_the_value_is_not() {
    for schema in [
        json!({"$ref": "#"}),
        json!({"anyOf": [{"type": "string"}, {"$ref": "#"}]}),
        json!({"not": {"$ref": "#"}}),
        json!({"if": true, "then": {"$ref": "#"}}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/b"}]}, "b": {"$ref": "#/$defs/a"}}}),
        json!({"$dynamicAnchor": "x", "allOf": [{"$dynamicRef": "#x"}]}),
    ] {
        assert!(refused(&schema).contains("refers back to itself"), "{schema}");
    }
    let tree = json!({"type": "object", "properties": {"next": {"$ref": "#"}, "n": {"type": "integer"}}, "required": ["n"]});
    assert_eq!(judged(&tree, &json!({"n": 1, "next": {"n": 2, "next": {"n": 3}}})), Ok(vec![]));
    assert_eq!(judged(&tree, &json!({"n": 1, "next": {"n": 2, "next": {}}})).unwrap(), ["/next/next: must have the property \"n\""]);
}

/// Each of 60 schemas names the next one twice: 2 to the 60 ways.
fn doubling(word: &str) -> Value {
    let mut definitions: Map<String, Value> = (0..60)
        .map(|i| {
            let next = json!({"$ref": format!("#/$defs/s{}", i + 1)});
            (format!("s{i}"), json!({word: [next, next]}))
        })
        .collect();
    definitions.insert("s60".to_owned(), json!({"type": "integer"}));
    json!({"$ref": "#/$defs/s0", "$defs": definitions})
}

#[test]
fn a_schema_that_would_take_for_ever_is_given_up() {
    for (word, value) in [("allOf", json!(1)), ("anyOf", json!("x")), ("oneOf", json!("x")), ("oneOf", json!(1))] {
        assert_eq!(judged(&doubling(word), &value), Err(Halt::TooMuch), "{word}");
    }
}

#[test]
fn a_stop_is_heard_in_the_middle() {
    let schema = JsonSchema::compile(&doubling("anyOf")).unwrap();
    let asked = std::cell::Cell::new(0);
    let stopped = || {
        asked.set(asked.get() + 1);
        asked.get() == 3
    };
    assert_eq!(schema.violations(&json!("x"), &stopped), Err(Halt::Stopped));
    assert_eq!(asked.get(), 3);
}

/// Half a megabyte is what a call leaves for everything below it; main threads of backends have more.
#[test]
fn nesting_ends_before_the_stack_does() {
    let mut inner = json!({"$ref": "#"});
    for _ in 0..50 {
        inner = json!({"anyOf": [inner], "unevaluatedItems": false});
    }
    let nested = json!({"items": inner});
    let chain: Map<String, Value> = (0..2000)
        .map(|i| (format!("s{i}"), json!({"$ref": format!("#/$defs/s{}", i + 1)})))
        .chain([("s2000".to_owned(), json!({"type": "null"}))])
        .collect();
    let chain = json!({"$ref": "#/$defs/s0", "$defs": chain});
    let mut value = json!(1);
    for _ in 0..120 {
        value = json!([value]);
    }
    let verdicts = std::thread::Builder::new()
        .stack_size(512 * 1024)
        .spawn(move || (judged(&nested, &value), judged(&chain, &json!(null))))
        .unwrap()
        .join()
        .unwrap();
    assert_eq!(verdicts, (Err(Halt::TooDeep), Err(Halt::TooDeep)));
}

#[test]
fn patterns_take_linear_time_or_are_refused() {
    assert_eq!(judged(&json!({"pattern": "^(a+)+$"}), &json!("a".repeat(50_000) + "b")).unwrap().len(), 1);
    assert!(refused(&json!({"pattern": "((a{1000}){1000}){1000}"})).contains("size limit"));
    assert_eq!(judged(&json!({"pattern": "a"}), &json!("a".repeat(100_000))), Err(Halt::LongText));
    assert_eq!(judged(&json!({"pattern": "^\\d{3}-\\w+$"}), &json!("123-ab_c")), Ok(vec![]));
    assert_eq!(judged(&json!({"pattern": "^\\d$"}), &json!("٣")).unwrap().len(), 1, "digits are those of ASCII");
}

#[test]
fn large_schemas_and_values_are_bounded() {
    let names: Map<String, Value> = (0..40_000).map(|i| (format!("property {i}"), json!(true))).collect();
    assert!(refused(&json!({"properties": names})).contains("bytes, and 262144 are allowed"));
    let many: Vec<Value> = (0..15_000).map(|_| json!({})).collect();
    assert!(refused(&json!({"anyOf": many})).contains("more than 10000 subschemas"));
    let unique: Value = (0..100_000).collect();
    assert_eq!(judged(&json!({"uniqueItems": true}), &unique), Ok(vec![]));
}

#[test]
fn numbers_are_compared_with_all_their_digits() {
    let value: Value = serde_json::from_str("9007199254740993").unwrap();
    assert_eq!(judged(&json!({"maximum": 9_007_199_254_740_992_u64}), &value).unwrap(), ["the whole: 9007199254740993 is too large"]);
    let long: Value = serde_json::from_str("123456789012345678901234567890").unwrap();
    assert_eq!(judged(&json!({"type": "integer", "minimum": 0}), &long), Ok(vec![]));
    let other: Value = serde_json::from_str("123456789012345678901234567891").unwrap();
    assert_eq!(judged(&json!({"const": long}), &other).unwrap().len(), 1);
    assert_eq!(judged(&json!({"enum": [1.0]}), &json!(1)), Ok(vec![]));
}

#[test]
fn draft_7_ignores_what_stands_beside_a_reference() {
    let schema = |version: &str| json!({"$schema": version, "properties": {"a": {"$ref": "#/definitions/s", "maxLength": 1}}, "definitions": {"s": {"type": "string"}}});
    let value = json!({"a": "long"});
    assert_eq!(judged(&schema("http://json-schema.org/draft-07/schema#"), &value), Ok(vec![]));
    assert_eq!(judged(&schema("https://json-schema.org/draft/2020-12/schema"), &value).unwrap().len(), 1);
}
