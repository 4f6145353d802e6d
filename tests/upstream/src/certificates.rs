//! Certificates, made afresh in each process: an authority to be trusted, and leaves good and bad.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// Which certificate an HTTPS upstream shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certificate {
    /// By [`Authority::process`], for `localhost`, `127.0.0.1` and `::1`.
    Trusted,
    /// By [`Authority::process`], for these names (or addresses) only.
    Named(Vec<String>),
    /// For the right names, but by an authority that nobody knows.
    Untrusted,
    /// By [`Authority::process`], for `wrong-name.example` only.
    WrongName,
    /// By [`Authority::process`], for the right names, until the year 2001.
    Expired,
}

/// A certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// The authority that signs all trusted upstreams of this process.
    pub fn process() -> &'static Self {
        static PROCESS: OnceLock<Authority> = OnceLock::new();
        PROCESS.get_or_init(|| Self::new("pg_llm test authority"))
    }

    /// An authority of this name.
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = called(name);
        let key = KeyPair::generate().expect("a key pair");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("a self-signed certificate") }
    }

    /// The authority's certificate as PEM: what a `ca_file` has to contain to trust it.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Writes [`Self::pem`] to a file.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write_pem(&self, path: &Path) -> std::io::Result<()> {
        std::fs::write(path, self.pem())
    }

    fn server(&self, names: &[String], expired: bool) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new(names).expect("names that fit a certificate");
        params.distinguished_name = called("pg_llm test upstream");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if expired {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 1, 1);
        }
        let key = KeyPair::generate().expect("a key pair");
        let leaf = params.signed_by(&key, &self.issuer).expect("a signed certificate");
        let chain: Vec<CertificateDer<'static>> = vec![leaf.der().clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .expect("a TLS configuration from our own certificate");
        Arc::new(config)
    }
}

impl Certificate {
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        let here: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(String::from).into();
        match self {
            Self::Trusted => Authority::process().server(&here, false),
            Self::Named(names) => Authority::process().server(names, false),
            Self::Untrusted => Authority::new("nobody's authority").server(&here, false),
            Self::WrongName => Authority::process().server(&["wrong-name.example".into()], false),
            Self::Expired => Authority::process().server(&here, true),
        }
    }
}

fn called(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
