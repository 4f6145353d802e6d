//! The response cache: an answer that was given before is given again to who asks for that, and to nobody else.

mod batch;
mod bound;
mod fallback;
mod isolation;
mod kept;
mod parallel;
mod requests;
mod roles;
mod streams;
mod survival;

use pg_llm_tests::postgres::Client;
use pg_llm_tests::postgres::types::{FromSqlOwned, ToSql};
use pg_llm_tests::{Asked, db_error};
use serde_json::{Value, json};

/// Calls that the upstream has seen.
fn asked_for(asked: &Asked) -> u64 {
    asked.upstream.observe(|seen| seen.requests_total)
}

#[track_caller]
fn value<T: FromSqlOwned>(client: &mut Client, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> T {
    client.query_one(sql, parameters).unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

/// `pg_llm_chat_json` of model `m`.
#[track_caller]
fn ask(client: &mut Client, prompt: &str, options: &Value) -> Value {
    value(client, "SELECT pg_llm_chat_json('m', $1, $2)", &[&prompt, options])
}

#[track_caller]
fn entries(client: &mut Client) -> i64 {
    value(client, "SELECT count(*) FROM _pg_llm_catalog.response_cache", &[])
}

#[test]
fn a_second_call_is_answered_without_the_model() {
    let mut asked = Asked::echo();
    let cached = json!({"cache": true});
    let first = ask(&mut asked.client, "Hello", &cached);
    assert_eq!((&first["response"], &first["cached"], &first["cost"]), (&json!("You said: Hello"), &json!(false), &json!(null)));
    let second = ask(&mut asked.client, "Hello", &cached);
    assert_eq!(asked_for(&asked), 1);
    assert_eq!((&second["cached"], &second["cost"], &second["attempts"]), (&json!(true), &json!(0), &json!(0)));
    assert_ne!(first["request_id"], second["request_id"]);
    assert!(second["latency_ms"].is_number());
    let mut same = first.clone();
    for (name, value) in second.as_object().unwrap() {
        if ["request_id", "latency_ms", "attempts", "cached", "cost"].contains(&name.as_str()) {
            same[name] = value.clone();
        }
    }
    assert_eq!(same, second, "everything else is as it was");
    assert_eq!(asked.chat("Hello", &cached).unwrap().as_deref(), Some("You said: Hello"));
    let mut other = asked.database.superuser();
    assert_eq!(ask(&mut other, "Hello", &cached)["cached"], json!(true), "in another session too");
    assert_eq!(asked_for(&asked), 1);
}

#[test]
fn who_does_not_ask_for_it_is_answered_by_the_model_and_leaves_nothing() {
    let mut asked = Asked::echo();
    for options in [json!({}), json!({"cache": false}), json!({"cache": null})] {
        assert_eq!(ask(&mut asked.client, "Hello", &options)["cached"], json!(false));
    }
    assert_eq!(asked.says("Hello"), "You said: Hello");
    assert_eq!((asked_for(&asked), entries(&mut asked.client)), (4, 0));
    ask(&mut asked.client, "Hello", &json!({"cache": true}));
    assert_eq!(ask(&mut asked.client, "Hello", &json!({}))["cached"], json!(false), "nor is it given what others kept");
    assert_eq!(asked_for(&asked), 6);
}

#[test]
fn a_models_configuration_can_ask_for_it_and_a_call_can_decline() {
    let mut asked = Asked::at(pg_llm_upstream::Upstream::start_echo(), json!({"cache": {"ttl_s": 60}}));
    assert_eq!(asked.says("Hello"), "You said: Hello");
    assert_eq!(ask(&mut asked.client, "Hello", &json!({}))["cached"], json!(true));
    assert_eq!(ask(&mut asked.client, "Hello", &json!({"cache": false}))["cached"], json!(false));
    assert_eq!(asked_for(&asked), 2);
    let left: bool = value(
        &mut asked.client,
        "SELECT expires_at - created_at BETWEEN interval '60 s' AND interval '61 s' FROM _pg_llm_catalog.response_cache",
        &[],
    );
    assert!(left);
    assert!(asked.client.execute("SELECT pg_llm_add_model('mock', 'bad', config => '{\"cache\": \"yes\"}')", &[]).is_err());
}

#[test]
fn what_is_no_option_is_22023_and_no_call() {
    let mut asked = Asked::echo();
    for bad in [
        json!("yes"),
        json!(1),
        json!([true]),
        json!({"ttl_s": 0}),
        json!({"ttl_s": -5}),
        json!({"ttl_s": 1e30}),
        json!({"ttl_s": "1; DROP TABLE x"}),
        json!({"shared": 1}),
        json!({"tls_s": 1}),
    ] {
        let error = db_error(asked.chat_json("Hello", &json!({"cache": bad})));
        assert_eq!(error.code().code(), "22023", "{bad}: {error:?}");
    }
    for sql in [
        "SELECT pg_llm_get_embedding('m', 'x', '{\"cache\": true}')::text",
        "SELECT document FROM pg_llm_rerank('m', 'x', '{y}', '{\"cache\": true}')",
    ] {
        assert!(["22023", "0A000"].contains(&db_error(asked.value::<String>(sql, &[])).code().code()), "{sql}");
    }
    assert_eq!(asked_for(&asked), 0);
    for null in [json!({"cache": {"ttl_s": null, "shared": null}}), json!({"cache": {}})] {
        assert_eq!(ask(&mut asked.client, "Hello", &null)["response"], json!("You said: Hello"));
    }
    assert_eq!(asked_for(&asked), 1);
}

#[test]
fn the_same_prompt_in_many_rows_of_one_statement_is_one_call() {
    let mut asked = Asked::echo();
    let rows =
        asked.client.query("SELECT pg_llm_chat('m', 'row ' || i % 3, '{\"cache\": true}') FROM generate_series(1, 30) AS i", &[]).unwrap();
    assert_eq!((rows.len(), asked_for(&asked)), (30, 3));
    assert_eq!(rows[29].get::<_, String>(0), "You said: row 0");
}
