use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
};

use pg_llm_upstream::{Authority, Certificate, Reply, Upstream, openai};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use crate::client::{DEADLINE, response};

/// A client that trusts the authority of this process and no other.
fn connect(upstream: &Upstream, name: &'static str) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(Authority::process().pem().as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut session = ClientConnection::new(Arc::new(config), ServerName::try_from(name).unwrap()).unwrap();
    let mut socket = TcpStream::connect(upstream.address())?;
    socket.set_read_timeout(Some(DEADLINE))?;
    while session.is_handshaking() {
        session.complete_io(&mut socket)?;
    }
    Ok(StreamOwned::new(session, socket))
}

#[test]
fn a_trusted_upstream_speaks_https_by_all_its_names() {
    let upstream = Upstream::start_tls(Certificate::Trusted);
    assert!(upstream.url().starts_with("https://127.0.0.1:"));
    upstream.on("/").reply(openai::stream(&["a", "b"]));
    for name in ["localhost", "127.0.0.1"] {
        let mut stream = connect(&upstream, name).unwrap();
        for _ in 0..2 {
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            assert!(response(&mut stream).text().ends_with("data: [DONE]\n\n"));
        }
    }
    assert_eq!(upstream.connections_total(), 2);
}

#[test]
fn other_names_have_a_certificate_when_asked_for() {
    let upstream = Upstream::start_tls(Certificate::Named(vec!["api.example.com".into()]));
    assert!(connect(&upstream, "api.example.com").is_ok());
    assert!(connect(&upstream, "localhost").is_err());
}

#[test]
fn bad_certificates_are_refused_and_the_upstream_hears_why() {
    for (certificate, alert) in
        [(Certificate::Untrusted, "UnknownCA"), (Certificate::WrongName, "BadCertificate"), (Certificate::Expired, "CertificateExpired")]
    {
        let upstream = Upstream::start_tls(certificate.clone());
        let error = connect(&upstream, "localhost").err().map(|error| error.to_string());
        assert!(error.as_ref().is_some_and(|error| error.contains("invalid peer certificate")), "{error:?}");
        assert!(upstream.wait_until_closed(DEADLINE));
        assert!(upstream.handshake_failures()[0].contains(alert), "{:?}", upstream.handshake_failures());
    }
}

#[test]
fn a_truncated_https_body_ends_in_order_and_a_reset_one_does_not() {
    let upstream = Upstream::start_tls(Certificate::Trusted);
    upstream.on("/").reply(Reply::text(200, "0123456789").truncate(4)).reply(Reply::text(200, "0123456789").reset_after(4));
    for in_order in [true, false] {
        let mut stream = connect(&upstream, "localhost").unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let mut all = Vec::new();
        assert_eq!(stream.read_to_end(&mut all).is_ok(), in_order);
        assert!(!in_order || all.ends_with(b"0123"));
    }
}

#[test]
fn a_client_that_speaks_no_tls_is_a_failed_handshake() {
    let upstream = Upstream::start_tls(Certificate::Trusted);
    TcpStream::connect(upstream.address()).unwrap().write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(upstream.wait_for(|observed| observed.handshake_failures.len() == 1, DEADLINE));
}
