//! Keys: the guest names one, the host puts it into the final bytes of a request.

use http::{HeaderName, HeaderValue};

use super::shown;
use crate::call::CallState;
use crate::keys::{KeyRing, Secret};
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

/// Applies `auth` to a request's headers.
pub(super) fn apply(auth: &Auth, keys: &KeyRing, headers: &mut http::HeaderMap) -> Result<(), Error> {
    match auth {
        Auth::Header(auth) => header(auth, keys, headers),
        Auth::AwsSigv4(_) | Auth::TencentTc3(_) | Auth::Oauth2ClientCredentials(_) | Auth::GcpJwt(_) => {
            Err(Error::Key("this version of pg_llm has only the auth scheme `header`".to_owned()))
        }
    }
}

fn header(auth: &HeaderAuth, keys: &KeyRing, headers: &mut http::HeaderMap) -> Result<(), Error> {
    let name =
        HeaderName::from_bytes(auth.name.as_bytes()).map_err(|_| Error::Refused(format!("\"{}\" is no header name", shown(&auth.name))))?;
    if super::http::is_framing(&name) {
        return Err(Error::Refused(format!("a key cannot be sent as header \"{name}\"")));
    }
    let Some(secret) = keys.get(&auth.key) else {
        return if auth.optional { Ok(()) } else { Err(Error::Key(format!("the model has no key \"{}\"", shown(&auth.key)))) };
    };
    if !super::http::is_visible(&auth.prefix) {
        return Err(Error::Refused(format!("what is to stand before the key in header \"{name}\" is not visible ASCII")));
    }
    if secret.expose().len() > SECRET_BYTES {
        return Err(Error::Key(format!("the key is longer than {SECRET_BYTES} bytes")));
    }
    headers.insert(name, value(&auth.prefix, secret)?);
    Ok(())
}

fn value(prefix: &str, secret: &Secret) -> Result<HeaderValue, Error> {
    let bytes = zeroize::Zeroizing::new([prefix.as_bytes(), secret.expose()].concat());
    let mut value = HeaderValue::from_bytes(&bytes)
        .map_err(|_| Error::Key("the key has bytes that no HTTP header can carry, such as a line break".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}
