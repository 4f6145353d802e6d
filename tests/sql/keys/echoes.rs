//! What errors and answers say of a key: nothing.

use std::fmt::Write as _;

use pg_llm_tests::{Asked, Cluster, db_error};
use pg_llm_upstream::{Reply, Upstream, openai};
use serde_json::json;

use super::{KEY, add_model, chat, echoing, words};

#[test]
fn a_key_that_the_upstream_echoes_is_redacted_wherever_it_stands() {
    let mut asked = Asked::at(Upstream::start(), json!({"max_attempts": 1}));
    let key = Asked::KEY;
    let echo = |text: &str| openai::completion(text);
    for reply in [
        echo(&format!("Your key is {key}, I believe.")),
        echo(&format!("{key}{key}")),
        echo(&format!("Your key is {key}")).split(3).chunked(),
        echo(&format!("Your key is {key}")).split(1),
        echo(&format!("Your key is {key}")).gzip(),
        echo("x").header("x-request-id", key).header("openai-model", key),
        openai::tool_call(key, &json!({"key": key}).to_string()),
        openai::refusal(key),
    ] {
        asked.upstream.on(Asked::PATH).reply(reply.clone());
        let answer = asked.chat_json("x", &json!({})).unwrap().unwrap();
        assert!(!answer.to_string().contains(key), "{answer}");
        asked.upstream.on(Asked::PATH).reply(reply);
        let text = asked.chat("x", &json!({})).unwrap().unwrap_or_default();
        assert!(!text.contains(key), "{text}");
    }
    asked.upstream.on(Asked::PATH).reply(echo(&format!("Your key is {key}, I believe.")));
    assert_eq!(asked.says("x"), "Your key is [redacted], I believe.");

    for reply in [
        Reply::echo_headers(401),
        Reply::echo_headers(429).header("retry-after", key),
        Reply::echo_headers(500).split(1),
        Reply::echo_headers(200),
        openai::error(401, key, key, &format!("Incorrect API key provided: {key}.")).header("x-request-id", key),
        openai::error(400, "invalid", "bad", key).gzip(),
        openai::html(502).header("server", key),
        Reply::redirect(307, &format!("https://evil.example/{key}")),
        Reply::status(503).reason(key),
        Reply::raw(format!("HTTP/1.1 {key}\r\n\r\n")),
        Reply::raw(format!("HTTP/1.1 200 OK\r\n{key}\r\n\r\n")),
        Reply::raw(format!("HTTP/1.1 200 OK\r\ncontent-length: {key}\r\n\r\n")),
        Reply::raw(format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{key}\r\n")),
        Reply::bytes(200, "application/json", format!("{{\"{key}\": {key}")),
        Reply::json(200, json!({"error": {"message": key, "code": key, "type": key}})),
    ] {
        asked.upstream.on(Asked::PATH).reply(reply.clone());
        let error = db_error(asked.chat("x", &json!({})));
        assert!(!words(&error).contains(key), "{error:?}");
        asked.upstream.on(Asked::PATH).reply(reply);
        let object = asked.chat_json("x", &json!({"on_error": "object"})).unwrap().unwrap();
        assert!(!object.to_string().contains(key), "{object}");
    }
    asked.database.cluster().assert_no_crash();
}

/// Bytes as base64, and as hexadecimal digits.
fn encoded(bytes: &[u8]) -> [String; 2] {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut base64 = String::new();
    for three in bytes.chunks(3) {
        let bits = u32::from_be_bytes([0, three[0], *three.get(1).unwrap_or(&0), *three.get(2).unwrap_or(&0)]);
        (0..4).for_each(|i| base64.push(if i <= three.len() { char::from(ALPHABET[(bits >> (18 - 6 * i)) as usize & 63]) } else { '=' }));
    }
    let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    [base64, hex]
}

#[test]
fn a_key_that_comes_back_in_another_form_is_redacted_in_answers_errors_and_streams() {
    let database = Cluster::shared().database();
    let (upstream, mut client) = (echoing(), database.superuser());
    let key = "sk-a/b+c&d?e~Qx7Zk9Wv3Jq8";
    add_model(&mut client, "m", key, &upstream);
    let [base64, hex] = encoded(key.as_bytes());
    let [of_user, _] = encoded(format!("user:{key}").as_bytes());
    let [of_more, _] = encoded(format!("{{\"key\": \"{key}\"}}").as_bytes());
    let forms = [
        key.to_owned(),
        "sk-a%2Fb%2Bc%26d%3Fe~Qx7Zk9Wv3Jq8".to_owned(),
        "sk-a%2fb%2bc%26d%3fe~Qx7Zk9Wv3Jq8".to_owned(),
        hex.to_uppercase(),
        hex,
        base64.replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned(),
        base64,
        of_user,
        of_more,
    ];
    for form in &forms {
        // Of base64, whose ends may hold a few bits of what stands beside the key, the middle.
        let middle = &form[form.len() / 2 - 6..form.len() / 2 + 6];
        let text = format!("Your key is {form}, I believe.");
        let as_json = |options: &str| format!("SELECT pg_llm_chat_json('m', 'x', '{options}')::text");
        for (reply, sql) in [
            (openai::completion(&text), "SELECT pg_llm_chat('m', 'x')".to_owned()),
            (openai::completion(&text).split(1), as_json("{\"include_raw\": true}")),
            (openai::stream(&[&text]).split(1), "SELECT string_agg(chunk, '') FROM pg_llm_chat_stream('m', 'x')".to_owned()),
            (openai::completion("x").header("x-request-id", form), as_json("{}")),
            (openai::error(400, "bad", form, &text), as_json("{\"on_error\": \"object\"}")),
        ] {
            upstream.on("/chat/completions").reply(reply);
            let said: String = client.query_one(&sql, &[]).unwrap_or_else(|error| panic!("{form}: {sql}: {error:?}")).get(0);
            assert!(!said.contains(form.as_str()) && !said.contains(middle), "{form}: {said}");
        }
        upstream.on("/chat/completions").reply(openai::error(400, "bad", form, &text).split(3));
        let error = chat(&mut client, "m").unwrap_err();
        assert!(!words(&error).contains(middle), "{form}: {error:?}");
    }
    // As writers of JSON escape it: PHP, Go, .NET.
    for escaped in [r"sk-a\/b+c&d?e~Qx7Zk9Wv3Jq8", r"sk-a/b+c\u0026d?e~Qx7Zk9Wv3Jq8", r"sk-a/b\u002Bc\u0026d?e~Qx7Zk9Wv3Jq8"] {
        let body = openai::completion_body("<KEY>").to_string().replace("KEY", escaped);
        upstream.on("/chat/completions").reply(Reply::bytes(200, "application/json", body).split(1));
        assert_eq!(chat(&mut client, "m").unwrap(), "<[redacted]>", "{escaped}");
    }
}

/// What is shorter than eight bytes is found in innocent text, and is no secret: so says the documentation.
#[test]
fn a_key_of_seven_bytes_is_not_looked_for_and_one_of_eight_is() {
    let database = Cluster::shared().database();
    let (upstream, mut client) = (echoing(), database.superuser());
    for (key, expected) in [("sevenby", "It is sevenby."), ("eightbyt", "It is [redacted].")] {
        add_model(&mut client, "m", key, &upstream);
        upstream.on("/chat/completions").reply(openai::completion(&format!("It is {key}.")));
        assert_eq!(chat(&mut client, "m").unwrap(), expected);
    }
}

#[test]
fn an_error_about_a_key_does_not_repeat_it() {
    let database = Cluster::shared().database();
    let (upstream, mut client) = (echoing(), database.superuser());
    for config in [
        json!({"api_endpoint": upstream.url(), "api_key": [KEY]}),
        json!({"api_endpoint": upstream.url(), "api_key": {"key": KEY}}),
        json!({"api_endpoint": upstream.url(), "keys": KEY}),
        json!({"api_endpoint": upstream.url(), "keys": {"a": [KEY]}}),
        json!({"api_endpoint": upstream.url(), "keys": [KEY]}),
        json!({"api_endpoint": upstream.url(), "api_keys": KEY}),
        json!({"api_endpoint": upstream.url(), "access_key_secret": [KEY]}),
        json!({"api_endpoint": format!("http://user:{KEY}@127.0.0.1:1")}),
        json!({"api_endpoint": upstream.url(), "api_key": "x", "keys": {"default": KEY}, "temperature": "warm"}),
    ] {
        let error = db_error(client.query("SELECT pg_llm_add_model('openai-compatible', 'm', NULL, $1)", &[&config]));
        assert_eq!(error.code().code(), "22023", "{config}: {error:?}");
        assert!(!words(&error).contains(KEY), "{error:?}");
    }
    for unfit in [format!("{KEY}\nx-injected: yes"), format!("{KEY}\r\n\r\n"), format!("{KEY}\u{7f}")] {
        add_model(&mut client, "m", &unfit, &upstream);
        let error = chat(&mut client, "m").unwrap_err();
        assert!(!words(&error).contains(KEY), "{error:?}");
    }
    assert!(upstream.requests().is_empty());
    client.batch_execute(&format!("SELECT pg_llm_set_key('m', 'default', '{KEY}')")).unwrap();
    let error = db_error(client.query("SELECT pg_llm_set_key('no such model', 'default', $1)", &[&KEY]));
    assert!(error.code().code() == "42704" && !words(&error).contains(KEY), "{error:?}");
    let error = db_error(client.query("SELECT pg_llm_set_key('m', 'bad\nname', $1)", &[&KEY]));
    assert!(error.code().code() == "22023" && !words(&error).contains(KEY), "{error:?}");
}
