//! TLS is verified, by the authorities that the administrator names.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use pg_llm_tests::postgres::Client;
use pg_llm_tests::postgres::error::DbError;
use pg_llm_tests::{Backend, Cluster, DEADLINE, Running, db_error};
use pg_llm_upstream::{Certificate, Upstream, openai};
use serde_json::json;

fn add(client: &mut Client, name: &str, endpoint: &str) {
    let config = json!({ "api_endpoint": endpoint, "max_attempts": 1 });
    client.execute("SELECT pg_llm_add_model('openai-compatible', $1, 'sk-test-0123456789', $2)", &[&name, &config]).unwrap();
}

fn https(certificate: Certificate) -> Upstream {
    let upstream = Upstream::start_tls(certificate);
    upstream.on("/chat/completions").reply(openai::completion("encrypted"));
    upstream
}

fn chat(client: &mut Client, name: &str) -> Result<String, Box<DbError>> {
    client.query_one("SELECT pg_llm_chat($1, 'hi')", &[&name]).map(|row| row.get(0)).map_err(|error| Box::new(db_error::<()>(Err(error))))
}

#[test]
fn a_trusted_certificate_is_accepted_for_its_names_and_addresses() {
    let upstream = https(Certificate::Trusted);
    let mut client = Cluster::shared().database().superuser();
    for host in ["127.0.0.1", "localhost"] {
        add(&mut client, "m", &upstream.url_at(host));
        assert_eq!(chat(&mut client, "m").unwrap(), "encrypted", "{host}");
    }
    let received = upstream.last_request().unwrap();
    assert_eq!(received.header("authorization"), Some("Bearer sk-test-0123456789"));
}

#[test]
fn a_certificate_that_does_not_hold_is_no_connection_and_no_key_is_sent() {
    for (certificate, host) in [
        (Certificate::Untrusted, "127.0.0.1"),
        (Certificate::WrongName, "127.0.0.1"),
        (Certificate::WrongName, "localhost"),
        (Certificate::Expired, "127.0.0.1"),
        (Certificate::Named(vec!["127.0.0.1".to_owned()]), "localhost"),
        (Certificate::Named(vec!["*.example.com".to_owned()]), "127.0.0.1"),
    ] {
        let upstream = https(certificate.clone());
        let database = Cluster::shared().database();
        let mut client = database.superuser();
        let backend = Backend::of(&mut client);
        add(&mut client, "m", &upstream.url_at(host));
        let error = chat(&mut client, "m").unwrap_err();
        assert_eq!(error.code().code(), "08001", "{certificate:?} at {host}: {error:?}");
        assert!(error.message().contains("cannot be reached"), "{error:?}");
        assert!(error.hint().unwrap_or_default().contains("ca_file"), "{error:?}");
        assert_eq!(upstream.requests().len(), 0, "{certificate:?} at {host}");
        assert_eq!(Backend::of(&mut client), backend);
    }
}

#[test]
fn the_authorities_are_those_of_the_setting_and_change_with_it() {
    let upstream = https(Certificate::Trusted);
    let cluster = Cluster::shared();
    let mut client = cluster.database().superuser();
    add(&mut client, "m", &upstream.url());
    assert_eq!(chat(&mut client, "m").unwrap(), "encrypted");
    let connections = upstream.connections_total();

    // The system's authorities do not know ours; the open connection to it is not used any more.
    client.batch_execute("SET pg_llm.ca_file = ''").unwrap();
    assert_eq!(chat(&mut client, "m").unwrap_err().code().code(), "08001");
    let empty = cluster.lend("empty.pem", b"");
    let garbage = cluster.lend("garbage.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    for file in ["/nonexistent/ca.pem", "/", empty.to_str().unwrap(), garbage.to_str().unwrap()] {
        client.execute("SELECT set_config('pg_llm.ca_file', $1, false)", &[&file]).unwrap();
        assert_eq!(chat(&mut client, "m").unwrap_err().code().code(), "08001", "{file}");
    }
    client.batch_execute("RESET pg_llm.ca_file").unwrap();
    assert_eq!(chat(&mut client, "m").unwrap(), "encrypted");
    assert!(upstream.connections_total() > connections);
}

#[test]
fn an_http_endpoint_is_never_answered_by_a_connection_with_tls_nor_the_other_way() {
    let (plain, encrypted) = (Upstream::start(), https(Certificate::Trusted));
    plain.on("/chat/completions").reply(openai::completion("plain"));
    let mut client = Cluster::shared().database().superuser();
    add(&mut client, "plain", &plain.url());
    add(&mut client, "encrypted", &encrypted.url());
    for _ in 0..3 {
        assert_eq!(chat(&mut client, "plain").unwrap(), "plain");
        assert_eq!(chat(&mut client, "encrypted").unwrap(), "encrypted");
    }
    assert_eq!((plain.connections_total(), encrypted.connections_total()), (1, 1), "each is kept and used again");
    // The same host and port with the other scheme.
    add(&mut client, "https to http", &plain.url().replace("http:", "https:"));
    assert_eq!(chat(&mut client, "https to http").unwrap_err().code().code(), "08001");
    add(&mut client, "http to https", &encrypted.url().replace("https:", "http:"));
    assert!(chat(&mut client, "http to https").is_err());
    assert_eq!((plain.requests().len(), encrypted.requests().len()), (3, 3));
}

#[test]
fn a_handshake_that_hangs_can_be_cancelled() {
    let upstream = Upstream::builder().certificate(Certificate::Trusted).mute().start();
    let database = Cluster::shared().database();
    let mut client = database.superuser();
    add(&mut client, "m", &upstream.url());
    let running = Running::start(client, "SELECT pg_llm_chat('m', 'hi')");
    let backend = running.backend();
    assert!(upstream.wait_for(|seen| seen.open_connections > 0, DEADLINE));
    running.cancel();
    let mut outcome = running.finish(DEADLINE);
    assert_eq!(db_error(outcome.result).code().code(), "57014");
    assert!(upstream.wait_until_closed(DEADLINE));
    assert_eq!(Backend::of(&mut outcome.client), backend);
    database.cluster().assert_no_crash();
}

/// Answers a client's first message with a ServerHello of this version of TLS and a cipher suite of its time. Gives back what the client sent, from first to last.
fn outdated(version: u16) -> (u16, thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut sent = vec![0; 16 << 10];
        let length = client.read(&mut sent).unwrap();
        sent.truncate(length);
        let [high, low] = version.to_be_bytes();
        // Version, random, no session, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, no compression.
        let hello = [&[high, low][..], &[7; 32], &[0, 0xc0, 0x13, 0]].concat();
        let handshake = [&[2, 0, 0, u8::try_from(hello.len()).unwrap()][..], &hello].concat();
        let record = [&[22, high, low, 0, u8::try_from(handshake.len()).unwrap()][..], &handshake].concat();
        let _ = client.write_all(&record);
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest);
        sent.extend(rest);
        sent
    });
    (port, server)
}

#[test]
fn less_than_tls_1_2_is_no_connection_and_nothing_is_sent() {
    let mut client = Cluster::shared().database().superuser();
    for version in [0x0300_u16, 0x0301, 0x0302] {
        let (port, server) = outdated(version);
        add(&mut client, "m", &format!("https://localhost:{port}"));
        let error = chat(&mut client, "m").unwrap_err();
        assert_eq!(error.code().code(), "08001", "{version:04x}: {error:?}");
        let sent = server.join().unwrap();
        // supported_versions (43), of two bytes each: 1.3 and 1.2 are all that is offered.
        let offered = [0, 43, 0, 5, 4, 3, 4, 3, 3];
        assert!(sent.windows(offered.len()).any(|bytes| bytes == offered), "{sent:02x?}");
        assert!(!sent.windows(4).any(|bytes| bytes == b"sk-t" || bytes == b"POST"), "no request was sent");
    }
}
