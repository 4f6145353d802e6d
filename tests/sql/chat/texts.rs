//! Texts of every kind, there and back, in every encoding of a database.

use pg_llm_tests::{Asked, Cluster, db_error, postgres::Client};
use pg_llm_upstream::{Upstream, openai};
use serde_json::{Value, json};

#[test]
fn text_of_every_plane_goes_there_and_back() {
    let mut asked = Asked::echo();
    for text in [
        "grüße aus Köln",
        "🦀🦀🦀 four bytes, \u{10ffff} the last of them",
        "e\u{301} ﷽ \u{200d}\u{202e} \u{feff}",
        "quotes ' \" \\ ` $$ and { \"json\": [1] }",
        "line\nbreaks\r\nand\ttabs \u{1} \u{7f} \u{85} \u{2028}",
        "C:\\u0041 \\n stays as it is",
        "   ",
    ] {
        assert_eq!(asked.says(text), format!("You said: {text}"), "{text:?}");
        assert_eq!(asked.sent()["messages"][0]["content"], *text);
        let json = asked.chat_json(text, &json!({"system": text})).unwrap().unwrap();
        assert_eq!(json["response"], format!("You said: {text}"));
        assert_eq!(asked.sent()["messages"][0]["content"], *text, "the system's words");
    }
}

#[test]
fn a_code_point_may_straddle_two_chunks() {
    let mut asked = Asked::echo();
    let text = "🦀 über 𝔘";
    for bytes in [1, 2, 3, 5] {
        asked.upstream.next(openai::completion(text).chunked().split(bytes));
        assert_eq!(asked.says("Hello"), text, "{bytes}");
    }
}

#[test]
fn a_prompt_and_an_answer_of_a_megabyte_arrive_whole() {
    let mut asked = Asked::echo();
    let prompt = "über 🦀 ".repeat(100_000);
    assert!(prompt.len() > 1 << 20);
    assert_eq!(asked.says(&prompt), format!("You said: {prompt}"));
    assert_eq!(asked.sent()["messages"][0]["content"], *prompt);
    let length: i32 = asked.value("SELECT octet_length(pg_llm_chat_json('m', $1) ->> 'response')", &[&prompt]).unwrap();
    assert_eq!(usize::try_from(length).unwrap(), prompt.len() + "You said: ".len());
}

/// Neither text nor jsonb can hold U+0000, and an answer is better with a mark in its place than lost.
#[test]
fn a_nul_in_an_answer_becomes_a_replacement_character() {
    let mut asked = Asked::at(Upstream::start(), json!({}));
    asked.upstream.on(Asked::PATH).reply(openai::completion("a\0b\0"));
    assert_eq!(asked.says("Hello"), "a\u{fffd}b\u{fffd}");
    assert_eq!(asked.chat_json("Hello", &json!({})).unwrap().unwrap()["response"], "a\u{fffd}b\u{fffd}");
    asked.upstream.on(Asked::PATH).reply(openai::completion("{\"k\\u0000\": \"v\\u0000\"}"));
    let json = asked.chat_json("Hello", &json!({"response_format": "json"})).unwrap().unwrap();
    assert_eq!(json["parsed"], json!({"k\u{fffd}": "v\u{fffd}"}));
    asked.upstream.on(Asked::PATH).reply(openai::tool_call("f", "{\"x\": \"\\u0000\"}"));
    let json = asked.chat_json("Hello", &json!({})).unwrap().unwrap();
    assert_eq!(json["tool_calls"][0]["arguments"], json!({"x": "\u{fffd}"}));
    // Not a NUL, but the six characters that JSON writes one with.
    asked.upstream.on(Asked::PATH).reply(openai::completion("\\u0000"));
    assert_eq!(asked.says("Hello"), "\\u0000");
    assert_eq!(asked.chat_json("Hello", &json!({})).unwrap().unwrap()["response"], "\\u0000");
}

/// A database of another encoding than UTF-8 with the extension in it, a model `m` at this upstream, and a session.
fn in_encoding(encoding: &str, upstream: &Upstream) -> Client {
    let cluster = Cluster::shared();
    let name = format!("in_{}", encoding.to_lowercase());
    cluster.execute(&format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"));
    let mut client = cluster.connect("postgres", &name);
    client.batch_execute("CREATE EXTENSION pg_llm").unwrap();
    let config = json!({"api_endpoint": format!("{}/v1", upstream.url()), "system": "ü"});
    client.execute("SELECT pg_llm_add_model('openai-compatible', 'm', NULL, $1)", &[&config]).unwrap();
    client
}

#[test]
fn in_a_latin1_database_the_model_still_speaks_utf8() {
    let upstream = Upstream::start_echo();
    let mut client = in_encoding("LATIN1", &upstream);
    let said: String = client.query_one("SELECT pg_llm_chat('m', 'grüße', '{\"stop\": \"ß\"}')", &[]).unwrap().get(0);
    assert_eq!(said, "You said: grüße");
    let sent = upstream.last_request().unwrap().json();
    assert_eq!(sent["messages"], json!([{"role": "system", "content": "ü"}, {"role": "user", "content": "grüße"}]));
    assert_eq!(sent["stop"], json!(["ß"]));
    let json: Value = client.query_one("SELECT pg_llm_chat_json('m', 'grüße')", &[]).unwrap().get(0);
    assert_eq!(json["response"], "You said: grüße");

    upstream.next(openai::completion("🦀 has no place in LATIN1"));
    let lost = db_error(client.query_one("SELECT pg_llm_chat('m', 'Hello')", &[]));
    assert_eq!(lost.code().code(), "22P05", "{lost:?}");
    upstream.next(openai::completion("🦀 has no place in LATIN1"));
    let lost = db_error(client.query_one("SELECT pg_llm_chat_json('m', 'Hello')", &[]));
    assert_eq!(lost.code().code(), "22P05", "{lost:?}");

    // Names and errors are text, too.
    let unknown = db_error(client.query_one("SELECT pg_llm_chat('mödel', 'Hello')", &[]));
    assert_eq!((unknown.code().code(), unknown.message()), ("42704", "pg_llm: model \"m?del\" does not exist"));
    assert!(client.query_one("SELECT pg_llm_add_model('mock', 'mödel', NULL, '{\"mock_response\": \"süß\"}')", &[]).is_ok());
    let said: String = client.query_one("SELECT pg_llm_chat('mödel', 'Hello')", &[]).unwrap().get(0);
    assert_eq!(said, "süß");
    let listed: String = client.query_one("SELECT instance_name FROM pg_llm_models WHERE model_type = 'mock'", &[]).unwrap().get(0);
    assert_eq!(listed, "mödel");
    upstream.next(openai::error(400, "invalid_request_error", "bad", "über 🦀"));
    let refused = db_error(client.query_one("SELECT pg_llm_chat('m', 'Hello')", &[]));
    assert_eq!((refused.code().code(), refused.message()), ("38000", "pg_llm: model \"m\" failed: ?ber ?"));
    assert_eq!(client.query_one("SELECT 1", &[]).unwrap().get::<_, i32>(0), 1);
}

#[test]
fn in_an_sql_ascii_database_what_is_not_utf8_is_refused_and_not_sent() {
    let upstream = Upstream::start_echo();
    let mut client = in_encoding("SQL_ASCII", &upstream);
    let said: String = client.query_one("SELECT pg_llm_chat('m', 'grüße 🦀')", &[]).unwrap().get(0);
    assert_eq!(said, "You said: grüße 🦀", "bytes are bytes");
    let sent = upstream.requests().len();
    let refused = db_error(client.query_one("SELECT pg_llm_chat('m', convert_from('\\xff', 'SQL_ASCII'))", &[]));
    assert_eq!(refused.code().code(), "22021", "{refused:?}");
    assert_eq!(upstream.requests().len(), sent);
}
