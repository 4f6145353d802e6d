//! A Google service account's signed assertion: a JWT (RFC 7523, 2.1) signed with RS256 (RFC 7515, RFC 7518 3.3), exchanged for an access token
//! (<https://developers.google.com/identity/protocols/oauth2/service-account#httprest>).

use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::SigningError;
use super::encoding::base64url;
use super::oauth2::{TokenRequest, scope};
use super::token_cache::Binding;
use crate::egress::TokenUrl;
use crate::keys::Secret;

/// Seconds that an assertion is good for: the most that Google takes.
const LIFETIME: u64 = 3600;

/// Google's own, where the key does not say another.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

/// The JSON that Google gives out as a service account's key. Whoever sets the key says with it where its tokens come from.
pub(crate) struct ServiceAccount<'a> {
    pub(crate) url: TokenUrl,
    json: &'a [u8],
    scope: String,
}

#[derive(Deserialize)]
struct Address {
    token_uri: Option<String>,
}

#[derive(Deserialize)]
struct Signer {
    client_email: String,
    #[serde(deserialize_with = "secret")]
    private_key: Zeroizing<String>,
    private_key_id: Option<String>,
}

fn secret<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(from).map(Zeroizing::new)
}

impl<'a> ServiceAccount<'a> {
    /// Reads of the key only where it leads.
    pub(crate) fn new(json: &'a [u8], scopes: &[String]) -> Result<Self, SigningError> {
        let address: Address = serde_json::from_slice(json).map_err(|_| unfit("is not the JSON of a service account"))?;
        let url = TokenUrl::parse(address.token_uri.as_deref().unwrap_or(TOKEN_URI))
            .map_err(|e| unfit(&format!("has a token_uri that cannot be used: {e}")))?;
        Ok(Self { url, json, scope: scope(scopes)? })
    }

    pub(crate) fn binding(&self) -> Binding {
        Binding::new([b"gcp-jwt", self.json, self.scope.as_bytes()])
    }

    /// A request with an assertion made at `unix` seconds since 1970.
    pub(crate) fn request(&self, unix: u64) -> Result<TokenRequest, SigningError> {
        let signer: Signer = serde_json::from_slice(self.json).map_err(|_| unfit("has no client_email and private_key"))?;
        let mut header = serde_json::json!({"alg": "RS256", "typ": "JWT"});
        if let Some(id) = signer.private_key_id {
            header["kid"] = id.into();
        }
        let claims = serde_json::json!({
            "iss": signer.client_email,
            "scope": self.scope,
            "aud": self.url.to_string(),
            "iat": unix,
            "exp": unix + LIFETIME,
        });
        let input = format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()));
        let assertion = Zeroizing::new(format!("{input}.{}", base64url(&rs256(&signer.private_key, input.as_bytes())?)));
        let fields = [("grant_type", &b"urn:ietf:params:oauth:grant-type:jwt-bearer"[..]), ("assertion", assertion.as_bytes())];
        Ok(TokenRequest { assertion: Some(Secret::new(assertion.as_bytes().to_vec())), ..TokenRequest::new(&fields) })
    }
}

/// RSASSA-PKCS1-v1_5 with SHA-256, by a key in PEM (PKCS #8).
fn rs256(pem: &str, text: &[u8]) -> Result<Vec<u8>, SigningError> {
    let der =
        PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map(Zeroizing::new).map_err(|_| unfit("has no private_key in PEM (PKCS #8)"))?;
    let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|e| unfit(&format!("has a private_key that cannot be used: {e}")))?;
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature).map_err(|_| unfit("has a private_key that does not sign"))?;
    Ok(signature)
}

fn unfit(what: &str) -> SigningError {
    SigningError::Credentials(format!("the service account's key {what}"))
}

#[cfg(test)]
#[path = "gcp_jwt_tests.rs"]
mod tests;
