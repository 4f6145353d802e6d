//! The strategy `vote`.

use pg_llm_upstream::openai;
use serde_json::{Value, json};

use super::{Panel, each, sure};

#[test]
fn the_majority_wins_and_its_share_of_the_answers_is_the_confidence() {
    let mut panel = Panel::saying(&["Rome", "Paris", " paris. ", "**Paris**"]);
    let answer = panel.json(json!({"strategy": "vote"}));
    assert_eq!((&answer["response"], &answer["winner"]), (&json!("Paris"), &json!({"index": 2, "instance_name": "m2"})));
    assert_eq!((&answer["confidence_score"], &answer["confidence_method"]), (&json!(0.75), &json!("vote")));
    assert_eq!(each(&answer, "confidence_score"), [Value::Null, Value::Null, Value::Null, Value::Null]);
}

#[test]
fn equally_many_votes_are_decided_by_the_list_and_not_by_confidence() {
    let mut panel = Panel::of([sure("Rome", 0.1), sure("Paris", 0.9)]);
    let answer = panel.json(json!({"strategy": "vote", "logprobs": true}));
    assert_eq!((&answer["response"], &answer["confidence_score"]), (&json!("Rome"), &json!(0.5)));
}

#[test]
fn who_fails_has_no_vote() {
    let failing = || openai::error(400, "invalid", "no", "Not me.");
    let mut panel = Panel::of([failing(), openai::completion("Rome"), failing(), failing()]);
    let answer = panel.json(json!({"strategy": "vote"}));
    assert_eq!((&answer["response"], &answer["confidence_score"]), (&json!("Rome"), &json!(1.0)));
}

#[test]
fn json_is_compared_by_its_value() {
    let mut panel = Panel::saying(&[r#"{"n": 2, "l": [1]}"#, r#"{"l":[1.0],  "n": 1}"#, "Sure:\n```json\n{\"n\": 1.0, \"l\": [1]}\n```"]);
    let schema = json!({"type": "object", "properties": {"n": {"type": "number"}, "l": {"type": "array"}}, "required": ["n", "l"]});
    let answer = panel.json(json!({"strategy": "vote", "response_format": schema}));
    assert_eq!((&answer["winner"]["index"], &answer["parsed"]), (&json!(2), &json!({"n": 1, "l": [1.0]})));
    assert!((answer["confidence_score"].as_f64().unwrap() - 2.0 / 3.0).abs() < 1e-9);
}

#[test]
fn tools_that_are_asked_for_are_votes_too() {
    let mut panel = Panel::of([
        openai::tool_call("weather", r#"{"city": "Oslo"}"#),
        openai::tool_call("weather", r#"{"city": "Rome"}"#),
        openai::tool_call("weather", r#"{ "city":"Rome" }"#),
    ]);
    let tools = json!([{"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}]);
    let answer = panel.json(json!({"strategy": "vote", "tools": tools}));
    assert_eq!((&answer["winner"]["index"], &answer["tool_calls"][0]["arguments"]), (&json!(2), &json!({"city": "Rome"})));
}
