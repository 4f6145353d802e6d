use pg_llm_upstream::{Reply, Upstream};
use serde_json::json;

use crate::client::Client;

#[test]
fn a_json_reply_has_its_status_type_and_length() {
    let upstream = Upstream::start();
    upstream.on("/a").reply(Reply::json(201, json!({"x": 1})).header("X-More", "yes"));
    let response = Client::connect(upstream.address()).get("/a?q=1");
    assert_eq!(response.head, "HTTP/1.1 201 -\r\ncontent-type: application/json\r\nX-More: yes\r\ncontent-length: 7\r\n\r\n");
    assert_eq!(response.json(), json!({"x": 1}));
}

#[test]
fn a_script_goes_on_to_its_last_reply_and_stays_there() {
    let upstream = Upstream::start();
    upstream.on("/a").reply(Reply::status(429).header("retry-after", "1")).repeat(2, Reply::status(503)).reply(Reply::text(200, "ok"));
    let mut client = Client::connect(upstream.address());
    let statuses: Vec<String> = (0..6).map(|_| client.get("/a").head[9..12].to_owned()).collect();
    assert_eq!(statuses, ["429", "503", "503", "200", "200", "200"]);
}

#[test]
fn a_path_without_a_script_is_404_and_says_so() {
    let upstream = Upstream::start();
    let response = Client::connect(upstream.address()).get("/nowhere");
    assert!(response.head.starts_with("HTTP/1.1 404"));
    assert_eq!(response.json()["error"]["message"], "nothing is scripted for GET /nowhere");
}

#[test]
fn the_next_reply_goes_to_any_path_before_its_script() {
    let upstream = Upstream::start();
    upstream.on("/a").reply(Reply::text(200, "script"));
    upstream.next(Reply::text(200, "first"));
    let mut client = Client::connect(upstream.address());
    assert_eq!([client.get("/a").text(), client.get("/a").text()], ["first", "script"]);
}

#[test]
fn a_new_script_of_a_path_replaces_the_old() {
    let upstream = Upstream::start();
    upstream.on("/a").reply(Reply::text(200, "old"));
    upstream.on("/a").reply(Reply::text(200, "new"));
    assert_eq!(Client::connect(upstream.address()).get("/a").text(), "new");
}

#[test]
fn a_handler_sees_the_request() {
    let upstream = Upstream::start();
    upstream.on("/a").handle(|received| Reply::text(200, &received.text().to_uppercase()));
    assert_eq!(Client::connect(upstream.address()).post("/a", "hello").text(), "HELLO");
}

#[test]
fn chunked_requests_pipelining_and_large_bodies_are_understood() {
    let upstream = Upstream::start();
    upstream.on("/a").handle(|received| Reply::text(200, &received.body.len().to_string()));
    let mut client = Client::connect(upstream.address());
    let chunked = "POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\na;ext=1\r\n0123456789\r\n0\r\ntrailer: x\r\n\r\n";
    client.send(format!("{chunked}{chunked}"));
    assert_eq!([client.response().text(), client.response().text()], ["13", "13"]);
    assert_eq!(client.post("/a", &"x".repeat(5_000_000)).text(), "5000000");
    assert_eq!(upstream.connections_total(), 1);
}

#[test]
fn a_client_that_asks_first_is_told_to_continue() {
    let upstream = Upstream::start();
    upstream.on("/a").handle(|received| Reply::text(200, &received.text()));
    let mut client = Client::connect(upstream.address());
    client.send("POST /a HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n");
    assert_eq!(client.response().head, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("ok");
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn connections_close_when_the_client_asks_or_speaks_http_1_0() {
    let upstream = Upstream::start();
    upstream.on("/a").reply(Reply::text(200, "bye"));
    for head in ["GET /a HTTP/1.1\r\nconnection: close\r\n\r\n", "GET /a HTTP/1.0\r\n\r\n"] {
        let mut client = Client::connect(upstream.address());
        client.send(head);
        let (all, reset) = client.rest();
        assert!(all.ends_with("bye") && !reset, "{all}");
    }
}

#[test]
fn a_head_request_gets_no_body() {
    let upstream = Upstream::start();
    upstream.on("/a").reply(Reply::text(200, "body")).reply(Reply::text(200, "body").delay_body(std::time::Duration::from_millis(1)));
    let mut client = Client::connect(upstream.address());
    for _ in 0..2 {
        client.send("HEAD /a HTTP/1.1\r\n\r\n");
        assert!(crate::client::until(&mut client.0, b"\r\n\r\n").contains("content-length: 4"));
        assert!(client.is_silent());
    }
}
