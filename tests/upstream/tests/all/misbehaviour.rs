use std::{
    io::{ErrorKind, Read},
    net::TcpStream,
    time::{Duration, Instant},
};

use pg_llm_upstream::{
    Ending, Gate, Reply, Upstream, openai,
    silence::{Refusing, Unaccepting},
};

use crate::client::{Client, DEADLINE};

fn upstream(reply: Reply) -> (Upstream, Client) {
    let upstream = Upstream::start();
    upstream.on("/").reply(reply);
    let client = Client::connect(upstream.address());
    (upstream, client)
}

fn ask(client: &mut Client) {
    client.send("GET / HTTP/1.1\r\n\r\n");
}

#[test]
fn a_gate_lets_pass_what_it_is_told_to_and_closes_with_its_client() {
    let gate = Gate::new();
    let (upstream, mut client) = upstream(Reply::chunks("x/y", ["a", "b"]).gated(&gate));
    ask(&mut client);
    crate::client::until(&mut client.0, b"\r\n\r\n");
    for end in ["1\r\na\r\n", "1\r\nb\r\n", "0\r\n\r\n"] {
        client.0.set_nonblocking(true).unwrap();
        assert_eq!(client.0.peek(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "nothing has been let pass");
        client.0.set_nonblocking(false).unwrap();
        gate.pass(1);
        crate::client::until(&mut client.0, end.as_bytes());
    }
    ask(&mut client);
    crate::client::until(&mut client.0, b"\r\n\r\n");
    drop(client);
    assert!(upstream.wait_until_closed(crate::client::DEADLINE));
}

#[test]
fn delays_come_where_they_are_put() {
    let (_upstream, mut client) = upstream(
        Reply::chunks("x/y", ["a", "b", "c"])
            .delay_headers(Duration::from_millis(40))
            .delay_body(Duration::from_millis(40))
            .delay_chunks(Duration::from_millis(40)),
    );
    let start = Instant::now();
    ask(&mut client);
    let mut times = Vec::new();
    for end in ["\r\n\r\n", "1\r\na\r\n", "1\r\nb\r\n", "1\r\nc\r\n0\r\n\r\n"] {
        crate::client::until(&mut client.0, end.as_bytes());
        times.push(start.elapsed().as_millis());
    }
    // Later than the sum of the pauses so far, never earlier.
    assert!(times.iter().zip([40, 80, 120, 160]).all(|(time, least)| *time >= least), "{times:?}");
}

#[test]
fn a_drip_comes_in_pieces_that_make_the_whole() {
    let (_upstream, mut client) = upstream(Reply::text(200, "0123456789").drip(3, Duration::from_millis(1)));
    assert_eq!(client.get("/").text(), "0123456789");
}

#[test]
fn a_split_may_cut_a_code_point() {
    let (_upstream, mut client) = upstream(Reply::text(200, "aé€😀").chunked().split(1));
    ask(&mut client);
    let response = client.response();
    assert_eq!(response.text(), "aé€😀");
}

#[test]
fn a_truncated_body_ends_in_order_in_its_middle() {
    for (reply, expected) in [
        (Reply::text(200, "0123456789").truncate(4), "content-length: 10\r\n\r\n0123"),
        (Reply::chunks("x/y", ["01234", "56789"]).truncate(7), "\r\n\r\n5\r\n01234\r\n5\r\n56"),
        (Reply::chunks("x/y", ["01234", "56789"]).truncate(5), "\r\n\r\n5\r\n01234"),
        (Reply::text(200, "0123456789").truncate(0), "content-length: 10\r\n\r\n"),
    ] {
        let (_upstream, mut client) = upstream(reply);
        ask(&mut client);
        let (all, reset) = client.rest();
        assert!(all.ends_with(expected) && !reset, "{all}");
    }
}

#[test]
fn a_reset_is_a_reset_before_and_within_the_body() {
    for reply in [Reply::reset(), Reply::text(200, "0123456789").reset_after(3), Reply::text(200, "x").ending(Ending::Reset)] {
        let (_upstream, mut client) = upstream(reply);
        ask(&mut client);
        assert!(client.rest().1);
    }
}

#[test]
fn a_hang_is_silent_and_ends_when_the_client_leaves() {
    for (reply, end) in [
        (Reply::hang(), ""),
        (Reply::text(200, "0123456789").hang_after(0), "content-length: 10\r\n\r\n"),
        (Reply::text(200, "0123456789").hang_after(4), "content-length: 10\r\n\r\n0123"),
        (Reply::chunks("x/y", ["01234", "56789"]).hang_after(5), "5\r\n01234"),
        (Reply::text(200, "whole").ending(Ending::Hang), "whole"),
    ] {
        let (upstream, mut client) = upstream(reply);
        ask(&mut client);
        assert!(upstream.wait_for_requests(1, DEADLINE));
        if !end.is_empty() {
            crate::client::until(&mut client.0, end.as_bytes());
        }
        assert!(client.is_silent());
        assert_eq!(upstream.open_connections(), 1);
        drop(client);
        assert!(upstream.wait_until_closed(DEADLINE));
    }
}

#[test]
fn a_pause_ends_when_the_client_leaves() {
    let (upstream, mut client) = upstream(Reply::status(200).delay_headers(Duration::from_hours(1)));
    ask(&mut client);
    assert!(upstream.wait_for_requests(1, DEADLINE));
    drop(client);
    assert!(upstream.wait_until_closed(DEADLINE));
}

#[test]
fn a_flood_has_no_end_until_the_client_leaves() {
    let (upstream, mut client) = upstream(Reply::endless("x/y", vec![b'x'; 65536]));
    ask(&mut client);
    client.0.read_exact(&mut vec![0; 20_000_000]).unwrap();
    drop(client);
    assert!(upstream.wait_until_closed(DEADLINE));
    assert!(upstream.bytes_sent() >= 20_000_000);
}

#[test]
fn gzip_bodies_decode_to_what_was_meant() {
    let plain = openai::completion("a text that is compressed, compressed, compressed");
    for reply in [plain.clone().gzip(), plain.clone().gzip().chunked(), plain.split(5).chunked().gzip()] {
        let (_upstream, mut client) = upstream(reply);
        let response = client.get("/");
        assert!(response.head.contains("content-encoding: gzip"));
        let body: serde_json::Value = serde_json::from_reader(flate2::read::GzDecoder::new(response.body.as_slice())).unwrap();
        assert_eq!(body["choices"][0]["message"]["content"], "a text that is compressed, compressed, compressed");
    }
}

#[test]
fn a_gzip_bomb_starts_at_once_however_large_it_is() {
    let (upstream, mut client) = upstream(Reply::gzip_bomb(1 << 40));
    ask(&mut client);
    crate::client::until(&mut client.0, b"\r\n\r\n");
    client.0.read_exact(&mut vec![0; 100_000]).unwrap();
    drop(client);
    assert!(upstream.wait_until_closed(DEADLINE));
}

#[test]
fn a_whole_gzip_bomb_is_a_valid_completion() {
    let (_upstream, mut client) = upstream(Reply::gzip_bomb(3));
    let response = client.get("/");
    assert!(response.body.len() < 10_000);
    let body: serde_json::Value = serde_json::from_reader(flate2::read::GzDecoder::new(response.body.as_slice())).unwrap();
    assert_eq!(body["choices"][0]["message"]["content"].as_str().unwrap().len(), 3 << 20);
}

#[test]
fn lengths_can_lie_both_ways() {
    let (_longer, mut client) = upstream(Reply::text(200, "short").claim_length(1_000_000_000_000));
    ask(&mut client);
    assert!(client.rest().0.ends_with("content-length: 1000000000000\r\n\r\nshort"));
    let (_shorter, mut client) = upstream(Reply::text(200, "too long").claim_length(3).ending(Ending::KeepAlive));
    assert_eq!(client.get("/").text(), "too");
}

#[test]
fn heads_can_be_malformed_oversized_or_a_redirect() {
    let (_upstream, mut client) = upstream(Reply::malformed_status_line());
    ask(&mut client);
    assert!(client.rest().0.starts_with("HTTP/1.1 two-hundred"));
    let (_upstream, mut client) = upstream(Reply::oversized_header(300_000));
    assert!(client.get("/").head.len() > 300_000);
    let (_upstream, mut client) = upstream(Reply::redirect(307, "http://127.0.0.1:1/x"));
    assert!(client.get("/").head.contains("location: http://127.0.0.1:1/x\r\n"));
}

#[test]
fn an_upstream_can_tell_what_key_it_was_sent() {
    let (_upstream, mut client) = upstream(Reply::echo_headers(401));
    client.send("GET / HTTP/1.1\r\nAuthorization: Bearer sk-123\r\n\r\n");
    let response = client.response();
    assert!(response.head.starts_with("HTTP/1.1 401"));
    assert_eq!(response.text(), "GET /\nAuthorization: Bearer sk-123\n");
}

#[test]
fn a_body_can_end_with_the_connection() {
    let (_upstream, mut client) = upstream(Reply::text(200, "to the end").until_close());
    ask(&mut client);
    let (all, reset) = client.rest();
    assert!(all.ends_with("connection: close\r\n\r\nto the end") && !reset);
}

#[test]
fn a_full_backlog_lets_a_connect_hang_and_a_refusing_port_refuses() {
    let unaccepting = Unaccepting::start();
    let error = TcpStream::connect_timeout(&unaccepting.address(), Duration::from_millis(200)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let refusing = Refusing::start();
    assert_eq!(TcpStream::connect(refusing.address()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_mute_upstream_accepts_and_says_nothing() {
    let upstream = Upstream::builder().mute().start();
    let mut client = Client::connect(upstream.address());
    ask(&mut client);
    assert!(client.is_silent());
    assert_eq!(upstream.open_connections(), 1);
    drop(client);
    assert!(upstream.wait_until_closed(DEADLINE));
}

#[test]
fn a_dropped_upstream_breaks_off_what_hangs_and_frees_its_port() {
    let (upstream, mut client) = upstream(Reply::hang());
    ask(&mut client);
    assert!(upstream.wait_for_requests(1, DEADLINE));
    let address = upstream.address();
    drop(upstream);
    client.rest();
    let until = Instant::now() + DEADLINE;
    while Upstream::builder().port(address.port()).try_start().is_err() {
        assert!(Instant::now() < until, "the port stays taken");
        std::thread::sleep(Duration::from_millis(5));
    }
}
