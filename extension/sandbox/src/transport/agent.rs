//! ureq agents: a keep-alive pool each.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::transport::{Connector, RustlsConnector};

use super::dial::{Connected, Dial, NotYet};

/// Idle connections are kept this long: shorter than what servers and middle boxes keep them.
const IDLE: Duration = Duration::from_secs(20);

/// Idle connections to one host, and to all, that are kept: those of the calls that a statement has in flight at the same time, between its rows.
const IDLE_PER_HOST: usize = 64;
const IDLE_MOST: usize = 128;

/// Longest head of a response, in bytes.
const HEAD_BYTES: usize = 64 << 10;

/// The agents of one process.
///
/// Calls that may reach addresses which are not public have pools of their own, so that no other call finds such a connection open.
/// Trust anchors are read when the first encrypted connection is made.
#[derive(Debug, Default)]
pub(crate) struct Agents {
    ca_file: Option<PathBuf>,
    plain: [OnceLock<Agent>; 2],
    tls: [OnceLock<Agent>; 2],
}

impl Agents {
    /// `ca_file`: PEM certificates that are trusted instead of the system's.
    pub(crate) fn new(ca_file: Option<PathBuf>) -> Self {
        Self { ca_file, ..Self::default() }
    }

    pub(crate) fn get(&self, tls: bool, private_ok: bool) -> Result<&Agent, String> {
        let pool = usize::from(private_ok);
        if !tls {
            return Ok(self.plain[pool].get_or_init(|| agent(None)));
        }
        if let Some(agent) = self.tls[pool].get() {
            return Ok(agent);
        }
        // A failure is not kept: the next call finds what has been mended.
        let roots = trust_anchors(self.ca_file.as_deref())?;
        Ok(self.tls[pool].get_or_init(|| agent(Some(roots))))
    }
}

fn agent(roots: Option<RootCerts>) -> Agent {
    let mut tls = TlsConfig::builder().unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
    if let Some(roots) = roots {
        tls = tls.root_certs(roots);
    }
    let config = Agent::config_builder()
        .tls_config(tls.build())
        // A status is data for the adapter; a redirect would lead a key elsewhere; a proxy from the environment would see it.
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(concat!("pg_llm/", env!("CARGO_PKG_VERSION")))
        // A buffer that is full must already be too much: ureq would take the read that finds no room for the connection's end.
        .max_response_header_size(HEAD_BYTES - 1)
        .input_buffer_size(HEAD_BYTES)
        .output_buffer_size(HEAD_BYTES)
        .max_idle_connections(IDLE_MOST)
        .max_idle_connections_per_host(IDLE_PER_HOST)
        .max_idle_age(IDLE)
        .build();
    Agent::with_parts(config, Dial.chain(RustlsConnector::default()).chain(Connected), NotYet)
}

/// Whether there are certificates to trust.
pub(crate) fn check_trust_anchors(ca_file: Option<&Path>) -> Result<(), String> {
    trust_anchors(ca_file).map(drop)
}

fn trust_anchors(ca_file: Option<&Path>) -> Result<RootCerts, String> {
    let certificates: Vec<CertificateDer<'static>> = if let Some(path) = ca_file {
        CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|e| format!("cannot read the certificates in \"{}\": {e}", path.display()))?
    } else {
        rustls_native_certs::load_native_certs().certs
    };
    if certificates.is_empty() {
        return Err(match ca_file {
            Some(path) => format!("there is no certificate in \"{}\"", path.display()),
            None => "the system has no trusted certificates (Debian: package ca-certificates); set pg_llm.ca_file".to_owned(),
        });
    }
    Ok(RootCerts::from(certificates.iter().map(|c| Certificate::from_der(c).to_owned()).collect::<Vec<_>>()))
}
