//! What the rows say.

use pg_llm_tests::postgres::types::FromSql;
use pg_llm_tests::{Asked, db_error};
use pg_llm_upstream::{Reply, Upstream, openai};
use serde_json::{Value, json};

use super::{PIECES, rows_and_error, texts};

/// A uuid, whose type the client library does not know by itself.
#[derive(Debug, PartialEq, Clone)]
struct Uuid(Vec<u8>);

impl<'a> FromSql<'a> for Uuid {
    fn from_sql(_: &pg_llm_tests::postgres::types::Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(ty: &pg_llm_tests::postgres::types::Type) -> bool {
        *ty == pg_llm_tests::postgres::types::Type::UUID
    }
}

fn saying(reply: Reply) -> Asked {
    let upstream = Upstream::start();
    upstream.on(Asked::PATH).reply(reply);
    Asked::at(upstream, json!({"model_name": "as-configured"}))
}

fn events(asked: &mut Asked) -> Vec<Value> {
    let rows = asked.client.query("SELECT pg_llm_chat_stream_json('m', 'Hello')", &[]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn a_row_for_each_piece_and_a_last_one_that_says_so() {
    let mut asked = saying(openai::stream(&PIECES));
    let rows = asked.client.query("SELECT * FROM pg_llm_chat_stream('m', 'Hello')", &[]).unwrap();
    let columns: Vec<&str> = rows[0].columns().iter().map(pg_llm_tests::postgres::Column::name).collect();
    assert_eq!(columns, ["seq_no", "chunk", "is_final", "model_name", "confidence_score", "request_id"]);
    let request_id: Uuid = rows[0].get("request_id");
    assert_eq!(request_id.0[6] >> 4, 7, "a time-ordered uuid");
    for (at, (row, chunk)) in rows.iter().zip(PIECES.into_iter().chain([""])).enumerate() {
        assert_eq!(row.get::<_, i32>("seq_no"), i32::try_from(at).unwrap() + 1);
        assert_eq!(row.get::<_, String>("chunk"), chunk);
        assert_eq!(row.get::<_, bool>("is_final"), at == PIECES.len());
        assert_eq!(row.get::<_, String>("model_name"), openai::MODEL, "as the provider names it");
        assert_eq!(row.get::<_, Option<f64>>("confidence_score"), None);
        assert_eq!(row.get::<_, Uuid>("request_id"), request_id);
    }
    assert_eq!(rows.len(), PIECES.len() + 1);
    let again = asked.client.query("SELECT * FROM pg_llm_chat_stream('m', 'Hello')", &[]).unwrap();
    assert_ne!(again[0].get::<_, Uuid>("request_id"), request_id, "each call has its own");
    let sent = asked.sent();
    assert_eq!((&sent["stream"], &sent["stream_options"]["include_usage"]), (&json!(true), &json!(true)), "usage is always asked for");
    assert_eq!((asked.upstream.requests().len(), asked.upstream.connections_total()), (2, 1), "and the connection is kept");
}

#[test]
fn the_last_row_has_the_confidence_where_there_is_one() {
    let mut asked = Asked::echo();
    asked.client.execute("SELECT pg_llm_add_model('mock', 'sure', config => '{\"mock_confidence\": 0.8}')", &[]).unwrap();
    let rows = asked.client.query("SELECT confidence_score FROM pg_llm_chat_stream('sure', 'one two')", &[]).unwrap();
    let (last, others) = rows.split_last().unwrap();
    assert!((last.get::<_, f64>(0) - 0.8).abs() < 1e-9);
    assert!(!others.is_empty() && others.iter().all(|row| row.get::<_, Option<f64>>(0).is_none()));
}

#[test]
fn null_is_no_row_and_no_call_and_no_model_is_the_default_one() {
    let mut asked = Asked::echo();
    for call in ["('m', NULL)", "(NULL, NULL)", "('m', NULL, NULL)", "('no such model', NULL)"] {
        for function in ["pg_llm_chat_stream", "pg_llm_chat_stream_json"] {
            for sql in [format!("SELECT 1 FROM {function}{call}"), format!("SELECT {function}{call} IS NULL")] {
                assert_eq!(asked.client.query(&sql, &[]).unwrap().len(), 0, "{sql}");
            }
        }
    }
    assert_eq!(asked.upstream.connections_total(), 0);
    let unnamed = db_error(asked.client.query("SELECT * FROM pg_llm_chat_stream(NULL, 'Hello')", &[]));
    assert_eq!(unnamed.code().code(), "22023");
    asked.client.batch_execute("SET pg_llm.default_model = 'm'").unwrap();
    let said: String =
        asked.value("SELECT string_agg(chunk, '' ORDER BY seq_no) FROM pg_llm_chat_stream(NULL, 'Hello', NULL)", &[]).unwrap();
    assert_eq!(said, "You said: Hello");
}

#[test]
fn an_answer_without_text_has_its_last_row_alone() {
    let mut asked = saying(openai::stream(&[]));
    let rows = asked.client.query("SELECT chunk FROM pg_llm_chat_stream('m', 'Hello') WHERE is_final AND seq_no = 1", &[]).unwrap();
    assert_eq!(texts(&rows), [""]);
}

#[test]
fn characters_are_whole_wherever_the_network_cuts_them() {
    let pieces = ["Grüße ", "🦀", "e\u{301}", "日本語", "\u{10ffff}", " end"];
    for bytes in [1, 2, 3, 5, 64] {
        let mut asked = saying(openai::stream(&pieces).split(bytes));
        let rows = asked.client.query("SELECT chunk FROM pg_llm_chat_stream('m', 'Hello') WHERE NOT is_final", &[]).unwrap();
        assert_eq!(texts(&rows), pieces, "in pieces of {bytes} bytes");
    }
    let mut asked = saying(openai::stream(&["a\u{0}b"]));
    let rows = asked.client.query("SELECT chunk FROM pg_llm_chat_stream('m', 'Hello') LIMIT 1", &[]).unwrap();
    assert_eq!(texts(&rows), ["a\u{fffd}b"], "what text cannot hold");
}

#[test]
fn large_pieces_and_many_small_ones_come_whole() {
    let large = "0123456789".repeat(30_000);
    let mut asked = saying(openai::stream(&[&large, "end"]));
    let rows = asked.client.query("SELECT chunk FROM pg_llm_chat_stream('m', 'Hello')", &[]).unwrap();
    assert_eq!(texts(&rows), [&large, "end", ""]);
    let small = vec!["word "; 20_000];
    let mut asked = saying(openai::stream(&small));
    let (count, bytes): (i64, i64) = {
        let row = asked.client.query_one("SELECT count(*), sum(length(chunk)) FROM pg_llm_chat_stream('m', 'Hello')", &[]).unwrap();
        (row.get(0), row.get(1))
    };
    assert_eq!((count, bytes), (20_001, 100_000));
}

#[test]
fn the_last_object_has_what_a_whole_answer_has_and_the_streams_times() {
    let mut asked = Asked::echo();
    let whole = asked.chat_json("Hello", &json!({})).unwrap().unwrap();
    let events = events(&mut asked);
    let (last, others) = events.split_last().unwrap();
    assert_eq!(others.iter().map(|e| e["type"].as_str().unwrap()).collect::<Vec<_>>(), ["started", "text", "text", "text"]);
    assert_eq!(others[0]["model_name"], last["model_name"]);
    assert_eq!((&others[0]["request_id"], &others[0]["instance_name"]), (&last["request_id"], &json!("m")));
    for (key, value) in whole.as_object().unwrap() {
        match key.as_str() {
            // Each call's own.
            "request_id" | "latency_ms" => assert!(last[key].to_string().len() > 1, "{key}"),
            "usage" => assert_eq!(last["usage"]["total_tokens"], value["total_tokens"]),
            key => assert_eq!(&last[key], value, "{key}"),
        }
    }
    assert_eq!((&last["type"], &last["response"], &last["finish_reason"]), (&json!("final"), &json!("You said: Hello"), &json!("stop")));
    let (first_token, all) = (last["ttft_ms"].as_f64().unwrap(), last["latency_ms"].as_f64().unwrap());
    assert!(first_token > 0.0 && first_token <= all, "{first_token} of {all} ms");
    assert!(last.as_object().unwrap().contains_key("tokens_per_second"));
}

#[test]
fn tokens_per_second_are_counted_where_pieces_come_apart() {
    let mut asked = saying(openai::stream(&["a", "b", "c"]).delay_chunks(std::time::Duration::from_millis(10)));
    let last = events(&mut asked).pop().unwrap();
    let rate = last["tokens_per_second"].as_f64().unwrap();
    assert!(rate > 0.0 && rate < 200.0, "two tokens after the first, twenty milliseconds or more after it: {rate}");
}

#[test]
fn tool_calls_and_thinking_are_objects_and_no_text() {
    let call = |delta: Value| openai::chunk(json!({"tool_calls": [delta]}), None);
    let reply = openai::stream_of(&[
        openai::chunk(json!({"role": "assistant", "reasoning_content": "Let me "}), None),
        openai::chunk(json!({"reasoning_content": "see."}), None),
        call(json!({"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}})),
        call(json!({"index": 0, "function": {"arguments": "{\"city\":"}})),
        call(json!({"index": 0, "function": {"arguments": " \"Köln\"}"}})),
        openai::chunk(json!({}), Some("tool_calls")),
        json!("[DONE]"),
    ]);
    let mut asked = saying(reply);
    let rows = asked.client.query("SELECT chunk FROM pg_llm_chat_stream('m', 'Hello') WHERE is_final", &[]).unwrap();
    assert_eq!(texts(&rows), [""], "no text was said");
    let events = events(&mut asked);
    let of_type = |kind: &str| events.iter().filter(|e| e["type"] == kind).cloned().collect::<Vec<_>>();
    assert_eq!(of_type("thinking").iter().map(|e| e["text"].as_str().unwrap()).collect::<String>(), "Let me see.");
    let calls = of_type("tool_call");
    assert_eq!((&calls[0]["index"], &calls[0]["id"], &calls[0]["name"]), (&json!(0), &json!("call_1"), &json!("weather")));
    assert_eq!(calls.iter().map(|e| e["arguments"].as_str().unwrap()).collect::<String>(), "{\"city\": \"Köln\"}");
    let last = events.last().unwrap();
    assert_eq!(last["finish_reason"], "tool_calls");
    assert_eq!((&last["tool_calls"][0]["name"], &last["tool_calls"][0]["arguments"]), (&json!("weather"), &json!({"city": "Köln"})));
    assert_eq!(last["thinking"][0]["text"], "Let me see.");
}

#[test]
fn options_are_those_of_chat() {
    let mut asked = Asked::echo();
    let options = "'{\"max_tokens\": 7, \"system\": \"Be brief.\", \"response_format\": \"json\"}'";
    let last: Value = asked
        .value(&format!("SELECT e FROM pg_llm_chat_stream_json('m', 'Hello', {options}) e WHERE e ->> 'type' = 'final'"), &[])
        .unwrap();
    assert_eq!(last["parsed"], json!({"you_said": "Hello"}));
    assert_eq!((&asked.sent()["messages"][0]["content"], asked.upstream.requests().len()), (&json!("Be brief."), 1));
    let misspelt = rows_and_error(&mut asked.client, "SELECT chunk FROM pg_llm_chat_stream('m', 'Hello', '{\"maxTokens\": 5}')");
    assert_eq!(db_error::<()>(Err(misspelt.1.unwrap())).code().code(), "22023");
}

#[test]
fn who_may_use_the_model_may_stream_and_nobody_else() {
    let mut asked = Asked::echo();
    let role = asked.database.create_role();
    let mut user = asked.database.connect_as(&role);
    for sql in [
        "SELECT * FROM pg_llm_chat_stream('m', 'Hello')",
        "SELECT pg_llm_chat_stream('m', 'Hello')",
        "SELECT pg_llm_chat_stream_json('m', 'Hello')",
    ] {
        assert_eq!(db_error(user.query(sql, &[])).code().code(), "42501", "{sql}");
    }
    assert_eq!(asked.upstream.connections_total(), 0);
    asked.client.execute("SELECT pg_llm_grant_model('m', $1)", &[&role]).unwrap();
    for sql in ["SELECT chunk FROM pg_llm_chat_stream('m', 'Hello')", "SELECT (pg_llm_chat_stream('m', 'Hello')).chunk"] {
        assert_eq!(texts(&user.query(sql, &[]).unwrap()).concat(), "You said: Hello");
    }
    user.batch_execute("SET search_path = pg_temp").unwrap();
    let sql = "SELECT chunk FROM public.pg_llm_chat_stream('m', 'Hello')";
    assert_eq!(texts(&user.query(sql, &[]).unwrap()).concat(), "You said: Hello", "whatever is searched");
    let denied = db_error(user.query("SELECT _pg_llm_catalog.chat_stream('m', 'Hello', '{}')", &[]));
    assert_eq!(denied.code().code(), "42501", "the catalog is nobody's");
    asked.client.batch_execute("REVOKE EXECUTE ON FUNCTION pg_llm_chat_stream FROM PUBLIC").unwrap();
    assert_eq!(db_error(user.query(sql, &[])).code().code(), "42501", "the wrapper's right counts though it is inlined");
}
