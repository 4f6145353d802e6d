//! Keys: the guest names one, the host puts it into the final bytes of a request, or signs them with it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::request::Parts;
use http::{HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::shown;
use super::tokens::Bearer;
use crate::call::CallState;
use crate::keys::{KeyRing, Secret};
use crate::signing::{SigningError, aws_sigv4, secret_value, tencent_tc3};
use crate::wit::pg_llm::guest::http::Error;
use crate::wit::pg_llm::guest::keys::{Auth, HeaderAuth, Host, KeyName};

impl Host for CallState {
    fn available(&mut self) -> wasmtime::Result<Vec<KeyName>> {
        Ok(self.keys.names().map(str::to_owned).collect())
    }
}

/// Longest key that a header can carry.
const SECRET_BYTES: usize = 16 << 10;

/// Bytes of what the guest wants put before its key.
pub(super) fn prefix(auth: Option<&Auth>) -> usize {
    match auth {
        Some(Auth::Header(auth)) => auth.prefix.len(),
        _ => 0,
    }
}

impl CallState {
    /// Applies `auth` to a request that is otherwise as it will be sent. Gives back the access token, where it carries one.
    pub(super) fn authorize(&mut self, auth: &Auth, head: &mut Parts, body: &[u8]) -> Result<Option<Bearer>, Error> {
        let keys = Arc::clone(&self.keys);
        match auth {
            Auth::Header(auth) => header(auth, &keys, &mut head.headers)?,
            Auth::AwsSigv4(auth) => {
                let signer = aws_sigv4::Signer {
                    access_key_id: secret(&keys, &auth.access_key_id)?.expose(),
                    secret_access_key: secret(&keys, &auth.secret_access_key)?.expose(),
                    // Lasting credentials have none: the guest names it, and the model decides.
                    session_token: auth.session_token.as_deref().and_then(|name| keys.get(name)).map(Secret::expose),
                    region: &auth.region,
                    service: &auth.service,
                };
                signer.sign(head, body, unix_now())?;
            }
            Auth::TencentTc3(auth) => {
                let signer = tencent_tc3::Signer {
                    secret_id: secret(&keys, &auth.secret_id)?.expose(),
                    secret_key: secret(&keys, &auth.secret_key)?.expose(),
                    service: &auth.service,
                };
                signer.sign(head, body, unix_now())?;
            }
            Auth::Oauth2ClientCredentials(auth) => return self.client_credentials(auth, &keys, &mut head.headers).map(Some),
            Auth::GcpJwt(auth) => return self.service_account(auth, &keys, &mut head.headers).map(Some),
        }
        Ok(None)
    }
}

/// Seconds since 1970, by the server's clock: signatures and assertions hold for minutes.
pub(super) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The key of this name.
pub(super) fn secret<'a>(keys: &'a KeyRing, name: &str) -> Result<&'a Secret, Error> {
    keys.get(name).ok_or_else(|| Error::Key(format!("the model has no key \"{}\"", shown(name))))
}

impl From<SigningError> for Error {
    fn from(error: SigningError) -> Self {
        match error {
            SigningError::Request(why) => Self::Refused(why),
            SigningError::Credentials(why) => Self::Key(why),
        }
    }
}

fn header(auth: &HeaderAuth, keys: &KeyRing, headers: &mut http::HeaderMap) -> Result<(), Error> {
    let name =
        HeaderName::from_bytes(auth.name.as_bytes()).map_err(|_| Error::Refused(format!("\"{}\" is no header name", shown(&auth.name))))?;
    if super::http::is_framing(&name) {
        return Err(Error::Refused(format!("a key cannot be sent as header \"{name}\"")));
    }
    if auth.optional && keys.get(&auth.key).is_none() {
        return Ok(());
    }
    let secret = secret(keys, &auth.key)?;
    if !super::http::is_visible(&auth.prefix) {
        return Err(Error::Refused(format!("what is to stand before the key in header \"{name}\" is not visible ASCII")));
    }
    if secret.expose().len() > SECRET_BYTES {
        return Err(Error::Key(format!("the key is longer than {SECRET_BYTES} bytes")));
    }
    headers.insert(name, value(&auth.prefix, secret)?);
    Ok(())
}

/// `prefix` and a secret, as a header's value.
pub(super) fn value(prefix: &str, secret: &Secret) -> Result<HeaderValue, Error> {
    secret_value(Zeroizing::new([prefix.as_bytes(), secret.expose()].concat()))
        .ok_or_else(|| Error::Key("the key has bytes that no HTTP header can carry, such as a line break".to_owned()))
}
