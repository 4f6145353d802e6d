use std::{thread, time::Duration};

use pg_llm_upstream::{Reply, Upstream, openai};

use crate::client::{Client, DEADLINE};

#[test]
fn requests_are_recorded_as_they_came() {
    let upstream = Upstream::start();
    let mut client = Client::connect(upstream.address());
    client.send("POST /v1/x?y=z HTTP/1.1\r\nHost: h\r\nX-Twice: 1\r\nx-twice: 2\r\nContent-Length: 7\r\n\r\n{\"a\":1}");
    client.response();
    Client::connect(upstream.address()).get("/second");
    let requests = upstream.requests();
    assert_eq!(requests.len(), 2);
    let first = &requests[0];
    assert_eq!((first.method.as_str(), first.target.as_str(), first.path()), ("POST", "/v1/x?y=z", "/v1/x"));
    let names: Vec<&str> = first.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Host", "X-Twice", "x-twice", "Content-Length"]);
    assert_eq!(first.header("X-TWICE"), Some("1"));
    assert_eq!(first.headers_named("x-twice").collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(first.json()["a"], 1);
    assert!(first.contains("y=z") && !first.contains("sk-"));
    assert_eq!((first.connection, requests[1].connection), (1, 2));
    assert!(first.at <= requests[1].at);
    upstream.forget();
    assert!(upstream.requests().is_empty());
    assert_eq!(upstream.observe(|observed| observed.requests_total), 2);
}

#[test]
fn concurrency_is_counted_by_requests_and_by_connections() {
    let upstream = Upstream::start();
    upstream.on("/slow").reply(Reply::status(200).delay_headers(Duration::from_millis(200)));
    let address = upstream.address();
    let clients: Vec<_> = (0..5).map(|_| thread::spawn(move || Client::connect(address).get("/slow"))).collect();
    assert!(upstream.wait_for(|observed| observed.answering == 5, DEADLINE));
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(upstream.max_concurrent(), 5);
    assert!(upstream.wait_until_closed(DEADLINE));
    upstream.observe(|observed| {
        assert_eq!((observed.connections_total, observed.max_connections, observed.closed.len()), (5, 5, 5));
    });
}

#[test]
fn one_request_after_another_is_never_counted_as_two_at_once() {
    let upstream = Upstream::start();
    upstream
        .on("/")
        .reply(Reply::status(200))
        .repeat(50, openai::stream(&["a"]))
        .repeat(50, openai::completion("a").delay_body(Duration::from_micros(1)));
    for _ in 0..200 {
        Client::connect(upstream.address()).get("/");
    }
    assert_eq!(upstream.max_concurrent(), 1);
}

#[test]
fn waiting_for_what_does_not_happen_ends_at_the_deadline() {
    let upstream = Upstream::start();
    assert!(!upstream.wait_for_requests(1, Duration::from_millis(20)));
}

#[test]
fn an_unrecorded_upstream_keeps_only_the_number() {
    let upstream = Upstream::builder().unrecorded().start();
    Client::connect(upstream.address()).get("/");
    assert!(upstream.requests().is_empty());
    assert_eq!(upstream.observe(|observed| observed.requests_total), 1);
}
