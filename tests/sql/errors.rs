//! What an upstream can do wrong: each is one ERROR with its SQLSTATE and the provider's words, and never text in the answer.

mod retries;

use std::time::Duration;

use pg_llm_tests::{Asked, Backend, DbError, db_error};
use pg_llm_upstream::{Ending, Reply, Upstream, openai, silence::Refusing};
use serde_json::json;

/// A model that is called once only.
fn asked() -> Asked {
    Asked::at(Upstream::start(), json!({"max_attempts": 1}))
}

/// What is the same for all errors of all upstreams.
#[track_caller]
fn check(what: &str, error: &DbError, state: &str) {
    assert_eq!(error.code().code(), state, "{what}: {error:?}");
    assert!(error.message().starts_with("pg_llm: model \"m\" "), "{what}: {error:?}");
    assert!(error.message().len() < 600, "{what}: {error:?}");
    assert!(error.detail().unwrap_or_default().len() <= 1024, "{what}: {} bytes of detail", error.detail().unwrap_or_default().len());
    assert!(!format!("{error:?}").contains(Asked::KEY), "{what}: {error:?}");
}

/// Fails with this reply, in both forms; then the same backend answers again.
#[track_caller]
fn fails(asked: &mut Asked, what: &str, reply: Reply, state: &str) -> DbError {
    let backend = Backend::of(&mut asked.client);
    asked.upstream.on(Asked::PATH).reply(reply);
    asked.upstream.forget();
    let error = db_error(asked.chat("Hello", &json!({})));
    check(what, &error, state);
    assert_eq!(asked.upstream.requests().len(), 1, "{what}: asked once");
    let object = db_error(asked.chat_json("Hello", &json!({})));
    assert_eq!(object.code(), error.code(), "{what}: {object:?}");
    assert_eq!(asked.chat("Hello", &json!({"on_error": "null"})).unwrap(), None, "{what}");
    asked.upstream.on(Asked::PATH).reply(openai::completion("Fine."));
    assert_eq!(asked.says("Hello"), "Fine.", "after {what}");
    assert_eq!(Backend::of(&mut asked.client), backend, "{what}");
    error
}

#[test]
fn an_error_status_is_38000_with_the_providers_words_in_detail() {
    let mut asked = asked();
    for (status, code, kind, state, hint) in [
        (400, "bad_request", "invalid_request", "38000", ""),
        (400, "context_length_exceeded", "context_length", "38000", "Shorten the prompt"),
        (400, "content_policy_violation", "content_filter", "38000", ""),
        (401, "invalid_api_key", "authentication", "38000", "pg_llm_set_key('m', 'default'"),
        (402, "payment", "quota", "38000", "credit"),
        (403, "forbidden", "permission", "38000", "pg_llm_set_key('m', 'default'"),
        (404, "model_not_found", "not_found", "38000", "model_name"),
        (408, "slow", "timeout", "38000", ""),
        (409, "conflict", "invalid_request", "38000", ""),
        (413, "too_big", "invalid_request", "38000", ""),
        (418, "teapot", "invalid_request", "38000", ""),
        (422, "unprocessable", "invalid_request", "38000", ""),
        (429, "too_many_requests", "rate_limit", "53400", "max_attempts"),
        (429, "insufficient_quota", "quota", "38000", "credit"),
        (500, "internal", "server", "38000", ""),
        (501, "not_implemented", "server", "38000", ""),
        (502, "bad_gateway", "server", "38000", ""),
        (503, "unavailable", "overloaded", "38000", ""),
        (504, "gateway_timeout", "server", "38000", ""),
        (529, "overloaded", "overloaded", "38000", ""),
        (599, "unknown", "server", "38000", ""),
    ] {
        let what = format!("{status} {code}");
        let error = fails(&mut asked, &what, openai::error(status, "some_error", code, "Words of the provider: grün 🦀."), state);
        assert_eq!(error.message(), "pg_llm: model \"m\" failed: Words of the provider: grün 🦀.", "{what}");
        let detail = error.detail().unwrap();
        let head = format!("Kind: {kind}, status: {status}, code: {code}, provider's request id: req_test.");
        assert!(detail.starts_with(&head), "{what}: {detail}");
        assert!(detail.contains("\nBody: {") && detail.contains("\"type\":\"some_error\""), "{what}: {detail}");
        assert!(error.hint().unwrap_or_default().contains(hint), "{what}: {error:?}");
        assert_eq!(error.hint().is_some(), !hint.is_empty(), "{what}: {error:?}");
    }
    asked.database.cluster().assert_no_crash();
}

#[test]
fn the_providers_words_are_found_wherever_providers_put_them() {
    let mut asked = asked();
    for (body, words) in [
        (json!({"error": "Plain words."}), "Plain words."),
        (json!({"message": "Words beside."}), "Words beside."),
        (json!({"detail": "Words of FastAPI."}), "Words of FastAPI."),
        (json!({"detail": [{"loc": ["body", "model"], "msg": "field required"}]}), "field required"),
        (json!({"errors": [{"message": "The first."}]}), "The first."),
        (json!([{"error": {"message": "In a list."}}]), "In a list."),
        (json!({"error": {"message": ""}}), "400"),
        (json!({}), "HTTP status 400"),
        (json!(7), "HTTP status 400"),
    ] {
        let error = fails(&mut asked, &body.to_string(), Reply::json(400, body.clone()), "38000");
        assert!(error.message().contains(words), "{body}: {error:?}");
    }
    for (what, reply) in [
        ("nothing", Reply::status(500)),
        ("a page", openai::html(502)),
        ("text", Reply::text(500, "the machine is on fire")),
        ("bytes", Reply::bytes(500, "application/octet-stream", [0_u8, 255, 254, 0x80, 1])),
        ("half of an error", openai::error(500, "x", "y", &"z".repeat(500)).cut(100, Ending::Close)),
        ("an error that is cut by a reset", openai::error(500, "x", "y", &"z".repeat(500)).cut(100, Ending::Reset)),
    ] {
        let error = fails(&mut asked, what, reply, "38000");
        assert!(error.message().contains("HTTP status 50"), "{what}: {error:?}");
    }
    let error = fails(&mut asked, "a page", openai::html(503), "38000");
    assert!(error.detail().is_some_and(|detail| detail.contains("<h1>Bad Gateway</h1>")), "{error:?}");
}

#[test]
fn what_a_provider_says_is_cut_to_a_kilobyte_between_characters() {
    let mut asked = asked();
    for words in ["🦀".repeat(50_000), "über ".repeat(20_000), "\u{1}\u{2}\u{7f}\r\n\t".repeat(1000), "a\0b".repeat(1000)] {
        let error = fails(&mut asked, "long words", openai::error(400, "x", &words, &words), "38000");
        let detail = error.detail().unwrap();
        assert!(detail.len() > 500 && !detail.contains('\u{fffd}') | words.contains('\0'), "{detail}");
        assert!(!detail.chars().any(|c| c.is_control() && c != '\n'), "{detail:?}");
        assert!(!error.message().chars().any(|c| c.is_control() && c != '\n'), "{error:?}");
    }
}

#[test]
fn an_answer_that_is_none_is_38000() {
    let mut asked = asked();
    for (what, reply, words) in [
        ("JSON that breaks off", openai::malformed(), "gave no valid answer"),
        ("nothing", openai::empty(), "gave no valid answer"),
        ("204", Reply::status(204), "gave no valid answer"),
        ("a page", openai::html(200), "gave no valid answer"),
        ("text", Reply::text(200, "Paris"), "gave no valid answer"),
        ("JSON text", Reply::json(200, json!("Paris")), "gave no valid answer"),
        ("no choices", openai::no_choices(), "no choices"),
        ("choices of another type", Reply::json(200, json!({"choices": "none"})), "no choices"),
        ("a choice that is none", Reply::json(200, json!({"choices": [7]})), "gave no valid answer"),
        ("another shape", openai::wrong_shape(), "no choices"),
        ("null", Reply::json(200, json!(null)), "no choices"),
        ("an event stream", openai::stream(&["Pa", "ris"]), "gave no valid answer"),
        ("a length that is a lie: less", openai::completion("Paris").claim_length(20), "gave no valid answer"),
        ("bytes that are not UTF-8", Reply::bytes(200, "application/json", [b'"', 0xff, b'"']), "gave no valid answer"),
        ("nesting without end", Reply::bytes(200, "application/json", "[".repeat(1 << 20)), "gave no valid answer"),
    ] {
        let error = fails(&mut asked, what, reply, "38000");
        assert!(error.message().contains(words), "{what}: {error:?}");
        assert!(error.detail().is_some_and(|detail| detail.starts_with("Kind: protocol, status: 20")), "{what}: {error:?}");
        assert!(error.hint().is_some_and(|hint| hint.contains("api_endpoint")), "{what}: {error:?}");
    }
    asked.database.cluster().assert_no_crash();
}

#[test]
fn half_a_surrogate_pair_is_a_mark_in_the_answer_and_costs_no_more_of_it() {
    let mut asked = asked();
    asked.upstream.next(Reply::bytes(
        200,
        "application/json",
        r#"{"choices":[{"message":{"content":"a\ud800b"},"finish_reason":"stop"}]}"#,
    ));
    assert_eq!(asked.says("Hello"), "a\u{fffd}b");
}

#[test]
fn an_error_under_the_status_200_is_an_error() {
    let mut asked = asked();
    for (body, state) in [
        (json!({"error": {"message": "Words.", "type": "server_error", "code": "boom"}}), "38000"),
        (json!({"error": {"message": "Words.", "code": 429}}), "53400"),
        (json!({"error": "Words."}), "38000"),
        (json!({"object": "error", "message": "Words.", "type": "BadRequestError", "code": 400}), "38000"),
        (json!({"choices": [{"error": {"message": "Words.", "code": 502}, "message": {"content": ""}}]}), "38000"),
    ] {
        let error = fails(&mut asked, &body.to_string(), Reply::json(200, body.clone()), state);
        assert!(error.message().contains("Words."), "{body}: {error:?}");
        assert!(error.detail().is_some_and(|detail| detail.contains("Words.")), "{body}: {error:?}");
    }
}

#[test]
fn a_connection_that_breaks_off_is_08006() {
    let mut asked = asked();
    for (what, reply) in [
        ("closed before the answer", Reply::close()),
        ("reset before the answer", Reply::reset()),
        ("closed in the head", Reply::raw("HTTP/1.1 200 OK\r\ncontent-le")),
        ("closed in the body", openai::completion("Paris").truncate(30)),
        ("closed between chunks", openai::completion("Paris").chunked().split(10).truncate(30)),
        ("reset in the body", openai::completion("Paris").reset_after(30)),
        ("a length that is a lie: more", openai::completion("Paris").claim_length(1_000_000)),
        ("no HTTP", Reply::raw("SSH-2.0-OpenSSH_9.2\r\n")),
        ("no status", Reply::malformed_status_line()),
        ("a chunk's size that is none", Reply::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nParis\r\n0\r\n\r\n")),
    ] {
        let error = fails(&mut asked, what, reply, "08006");
        assert!(error.message().contains("broke off"), "{what}: {error:?}");
    }
    asked.database.cluster().assert_no_crash();
}

#[test]
fn nobody_there_is_08001() {
    let mut asked = asked();
    let refusing = Refusing::start();
    for endpoint in [refusing.url(), "http://no-such-host.invalid/v1".to_owned(), "http://[::1]:9/v1".to_owned()] {
        let config = json!({"api_endpoint": endpoint, "max_attempts": 1});
        asked.client.execute("SELECT pg_llm_add_model('openai-compatible', 'm', NULL, $1)", &[&config]).unwrap();
        let error = db_error(asked.chat("Hello", &json!({})));
        check(&endpoint, &error, "08001");
        assert!(error.message().contains("cannot be reached"), "{error:?}");
        assert!(error.hint().is_some_and(|hint| hint.contains("api_endpoint")), "{error:?}");
    }
}

#[test]
fn more_than_the_limit_is_54000_whatever_form_it_takes() {
    let mut asked = asked();
    asked.client.batch_execute("SET pg_llm.max_response_bytes = '1MB'").unwrap();
    for (what, reply) in [
        ("an endless body", Reply::endless("application/json", "x".repeat(10_000))),
        ("an endless error", Reply::endless("application/json", "x".repeat(10_000))),
        ("a gzip bomb", Reply::gzip_bomb(64)),
        ("a long answer", openai::completion(&"x".repeat(2 << 20))),
        ("an oversized header", Reply::oversized_header(1 << 20)),
    ] {
        let error = fails(&mut asked, what, reply, "54000");
        assert!(error.message().contains("size limit"), "{what}: {error:?}");
    }
    assert!(asked.upstream.wait_for(|observed| observed.answering == 0, Duration::from_mins(1)), "and nothing is read any more");
    asked.client.batch_execute("SET pg_llm.max_request_bytes = '10kB'").unwrap();
    let error = db_error(asked.chat(&"x".repeat(20_000), &json!({})));
    check("a long request", &error, "54000");
    asked.database.cluster().assert_no_crash();
}

/// Which of the two limits it meets first, bytes or the guest's memory, is a matter of how the guest keeps them.
#[test]
fn a_gzip_bomb_does_not_take_the_backends_memory_with_it() {
    let mut asked = asked();
    let backend = Backend::of(&mut asked.client);
    let before = backend.rss_anon_kb();
    asked.upstream.on(Asked::PATH).reply(Reply::gzip_bomb(1024));
    for _ in 0..3 {
        let error = db_error(asked.chat("Hello", &json!({})));
        assert!(["54000", "38001"].contains(&error.code().code()), "{error:?}");
    }
    assert_eq!(Backend::of(&mut asked.client), backend);
    assert!(backend.rss_anon_kb() < before + 64 * 1024, "{before} kB, then {} kB", backend.rss_anon_kb());
    asked.database.cluster().assert_no_crash();
}

#[test]
fn a_redirect_is_not_followed() {
    let mut asked = asked();
    let elsewhere = Upstream::start_echo();
    for status in [301, 302, 303, 307, 308, 300, 304] {
        let location = format!("{}/v1/chat/completions", elsewhere.url());
        let error = fails(&mut asked, &status.to_string(), Reply::redirect(status, &location), "38000");
        assert!(error.message().contains(&format!("HTTP status {status}: a redirect to {location}, which is not followed")), "{error:?}");
    }
    assert_eq!(elsewhere.connections_total(), 0);
}

#[test]
fn content_null_without_a_tool_call_is_no_answer() {
    let mut asked = asked();
    let error = fails(&mut asked, "null content", openai::null_content(), "38000");
    assert!(error.detail().is_some_and(|detail| detail.contains("\"content\":null")), "{error:?}");
    // What has used up its tokens by thinking has said so.
    let cut = openai::message_body(json!({"role": "assistant", "content": null}), "length", openai::usage(7, 100));
    asked.upstream.on(Asked::PATH).reply(Reply::json(200, cut));
    assert_eq!(asked.says("Hello"), "");
}

/// Strict in what is sent, lenient in what is read.
#[test]
fn odd_but_legal_responses_are_read() {
    let mut asked = asked();
    let body = openai::completion_body("Fine.").to_string();
    // These heads say that the connection ends here, as it does.
    let length = format!("content-length: {}\r\nconnection: close\r\n", body.len());
    let mut many = openai::completion("Fine.");
    for i in 0..60 {
        many = many.header(&format!("x-header-{i}"), "value");
    }
    for (what, reply) in [
        (
            "hints before the answer",
            Reply::raw(format!("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n{length}\r\n{body}")),
        ),
        ("100 without having been asked", Reply::raw(format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n{length}\r\n{body}"))),
        ("HTTP/1.0 until the end of the connection", Reply::raw(format!("HTTP/1.0 200 OK\r\n\r\n{body}"))),
        ("no reason phrase", Reply::raw(format!("HTTP/1.1 200\r\n{length}\r\n{body}"))),
        ("headers in capitals", Reply::raw(format!("HTTP/1.1 200 OK\r\n{}\r\n{body}", length.to_uppercase()))),
        (
            "chunks with extensions and trailers",
            Reply::raw(format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{:x};a=b\r\n{body}\r\n0\r\nx-trailer: y\r\n\r\n",
                body.len()
            )),
        ),
        (
            "bytes in a header that are not UTF-8",
            Reply::raw([b"HTTP/1.1 200 OK\r\nx-odd: \xff\xfe\r\n", length.as_bytes(), b"\r\n", body.as_bytes()].concat()),
        ),
        ("sixty headers", many),
        ("201", openai::completion("Fine.").with_status(201)),
        ("another content type", Reply::bytes(200, "text/plain", body.clone())),
        ("white space around", Reply::bytes(200, "application/json", format!("\r\n\n  {body}\n\n"))),
        ("a byte order mark", Reply::bytes(200, "application/json", format!("\u{feff}{body}"))),
        ("compressed without need", openai::completion("Fine.").gzip()),
        ("compressed in chunks", openai::completion("Fine.").chunked().split(7).gzip()),
    ] {
        asked.upstream.on(Asked::PATH).reply(reply);
        let said = asked.chat("Hello", &json!({}));
        assert_eq!(said.unwrap_or_else(|error| panic!("{what}: {error:?}")).as_deref(), Some("Fine."), "{what}");
    }
}

#[test]
fn what_is_compressed_and_cannot_be_unpacked_is_an_error() {
    let mut asked = asked();
    for (what, reply, state) in [
        ("no gzip at all", openai::completion("Paris").header("content-encoding", "gzip"), "08006"),
        ("a gzip that breaks off", openai::completion(&"Paris ".repeat(1000)).gzip().cut(40, Ending::Close), "08006"),
        ("another encoding", openai::completion("Paris").header("content-encoding", "br").split(1), "38000"),
    ] {
        asked.upstream.on(Asked::PATH).reply(reply);
        match asked.chat("Hello", &json!({})) {
            // An encoding that is only claimed does no harm.
            Ok(said) => assert_eq!((said.as_deref(), state), (Some("Paris"), "38000"), "{what}"),
            Err(error) => check(what, &db_error::<()>(Err(error)), state),
        }
    }
    let mut many = openai::completion("Fine.");
    for i in 0..1000 {
        many = many.header(&format!("x-header-{i}"), "value");
    }
    asked.upstream.on(Asked::PATH).reply(many);
    let error = db_error(asked.chat("Hello", &json!({})));
    assert!(["54000", "08006", "38000"].contains(&error.code().code()), "{error:?}");
    asked.upstream.on(Asked::PATH).reply(openai::completion("Fine."));
    assert_eq!(asked.says("Hello"), "Fine.");
}

/// A kept-alive connection on which an upstream has said more than it was asked: the next call, of another role or model perhaps, must not take that
/// for its answer.
#[test]
fn what_an_upstream_says_too_much_answers_no_later_call() {
    let forged = openai::completion_body("Forged.").to_string();
    let forged = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{forged}", forged.len());
    let body = openai::completion_body("True.").to_string();
    let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    for (what, head, body) in [
        ("after a body of a length", format!("content-length: {}", body.len()), body.clone()),
        ("after chunks", "transfer-encoding: chunked".to_owned(), chunks),
        ("after nothing", "content-length: 0".to_owned(), String::new()),
    ] {
        for status in ["200 OK", "503 Busy"] {
            let mut asked = asked();
            let reply = Reply::raw(format!("HTTP/1.1 {status}\r\n{head}\r\n\r\n{body}{forged}")).ending(Ending::KeepAlive);
            asked.upstream.on(Asked::PATH).reply(reply).reply(openai::completion("Next."));
            let first = asked.chat("Hello", &json!({"on_error": "null"})).unwrap();
            assert_ne!(first.as_deref(), Some("Forged."), "{what} of {status}");
            assert_eq!(asked.says("Hello"), "Next.", "{what} of {status}");
        }
    }
}
