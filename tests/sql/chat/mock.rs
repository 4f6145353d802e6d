//! The offline provider.

use pg_llm_tests::{Asked, db_error};
use serde_json::{Value, json};

/// A session whose model `m` is a mock, at an upstream that would notice.
fn mock(settings: &Value) -> Asked {
    let mut asked = Asked::echo();
    asked.add("mock", "m", settings);
    asked
}

#[test]
fn the_mock_answers_as_it_is_told() {
    let sql = json!({"system": "You write PostgreSQL."});
    for (settings, options, expected) in [
        (json!({}), json!({}), "You said: Hello there"),
        (json!({"mock_response": "süß 🦀"}), json!({}), "süß 🦀"),
        (json!({"mock_response": ""}), json!({}), ""),
        (json!({"mock_response": "text", "mock_sql_response": "SELECT 1"}), sql.clone(), "SELECT 1"),
        (json!({"mock_response": "text", "mock_sql_response": "SELECT 1"}), json!({}), "text"),
        (json!({"mock_sql_response": "SELECT 1", "system": "Answer in SQL."}), json!({}), "SELECT 1"),
        (json!({"mock_response": "one two three four", "mock_chunks": 2}), json!({"max_tokens": 2}), "one two"),
        (json!({"mock_response": "one two three four", "max_tokens": 3}), json!({}), "one two three"),
        (json!({}), json!({"messages": [{"role": "user", "content": "earlier"}]}), "You said: Hello there"),
    ] {
        let mut asked = mock(&settings);
        let said: Option<String> = asked.value("SELECT pg_llm_chat('m', 'Hello there', $1)", &[&options]).unwrap();
        assert_eq!(said.as_deref(), Some(expected), "{settings} {options}");
        assert_eq!(asked.upstream.connections_total(), 0, "it makes no connection");
    }
}

#[test]
fn the_mocks_answer_has_usage_and_a_confidence_when_told() {
    let mut asked = mock(&json!({"mock_response": "one two three", "mock_confidence": 0.8, "model_name": "pretender"}));
    let answer = asked.chat_json("a b", &json!({})).unwrap().unwrap();
    assert!((answer["confidence_score"].as_f64().unwrap() - 0.8).abs() < 1e-9, "{answer}");
    assert_eq!(answer["confidence_method"], "logprobs");
    assert_eq!((&answer["model_name"], &answer["finish_reason"], &answer["attempts"]), (&json!("pretender"), &json!("stop"), &json!(1)));
    assert_eq!(
        (&answer["usage"]["input_tokens"], &answer["usage"]["output_tokens"], &answer["usage"]["total_tokens"]),
        (&json!(2), &json!(3), &json!(5))
    );
    let cut = asked.chat_json("a b", &json!({"max_tokens": 1})).unwrap().unwrap();
    assert_eq!((&cut["response"], &cut["finish_reason"]), (&json!("one"), &json!("length")));
    let mut plain = mock(&json!({}));
    let answer = plain.chat_json("a b", &json!({})).unwrap().unwrap();
    assert_eq!((&answer["confidence_score"], &answer["confidence_method"]), (&Value::Null, &Value::Null));
}

#[test]
fn the_mock_fails_in_every_way_with_the_ways_sqlstate() {
    let mut asked = mock(&json!({}));
    for (kind, state) in [
        ("invalid-request", "38000"),
        ("authentication", "38000"),
        ("permission", "38000"),
        ("not-found", "38000"),
        ("context-length", "38000"),
        ("content-filter", "38000"),
        ("rate-limit", "53400"),
        ("quota", "38000"),
        ("overloaded", "38000"),
        ("server", "38000"),
        ("timeout", "08006"),
        ("connect", "08001"),
        ("broken", "08006"),
        ("protocol", "38000"),
        ("unsupported", "0A000"),
        ("refused", "42501"),
        ("too-large", "54000"),
        // A guest cannot say that the statement was cancelled.
        ("cancelled", "38001"),
    ] {
        asked.add("mock", "m", &json!({"mock_error": kind, "max_attempts": 1}));
        let error = db_error(asked.chat("Hello", &json!({})));
        assert_eq!(error.code().code(), state, "{kind}: {error:?}");
        assert!(error.message().contains(&format!("the mock was asked to fail: {kind}")), "{error:?}");
    }
    assert_eq!(asked.upstream.connections_total(), 0);
}

#[test]
fn settings_of_the_mock_are_checked_when_it_is_added() {
    let mut asked = mock(&json!({}));
    for (config, hint) in [
        (json!({"mock_respnse": "x"}), "mock_response"),
        (json!({"mock_response": 1}), ""),
        (json!({"mock_confidence": "high"}), ""),
        (json!({"mock_chunks": 1.5}), ""),
        (json!({"mock_error": "boredom"}), "rate-limit"),
        (json!({"chat_path": "/x"}), "mock"),
    ] {
        let error = db_error(asked.client.execute("SELECT pg_llm_add_model('mock', 'n', NULL, $1)", &[&config]));
        assert_eq!(error.code().code(), "22023", "{config}: {error:?}");
        assert!(error.hint().unwrap_or_default().contains(hint), "{config}: {error:?}");
    }
}
