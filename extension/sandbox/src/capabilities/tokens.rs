//! Access tokens: fetched by the host from where the model's owner and the administrator let it, kept, and put into requests.

use std::io::{ErrorKind, Read};
use std::time::Instant;

use http::HeaderMap;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use zeroize::Zeroizing;

use super::http::host_cause;
use super::keys::{secret, unix_now, value};
use super::shown;
use crate::call::CallState;
use crate::egress::TokenUrl;
use crate::keys::{KeyRing, Secret};
use crate::signing::SigningError;
use crate::signing::gcp_jwt::ServiceAccount;
use crate::signing::oauth2::{ClientCredentials, NoToken, Token, TokenRequest, read_answer};
use crate::signing::token_cache::Binding;
use crate::wit::pg_llm::guest::http::Error;
use crate::wit::pg_llm::guest::keys::{GcpJwtAuth, Oauth2ClientCredentialsAuth};

/// An access token that a request carries.
pub(super) struct Bearer {
    binding: Binding,
    token: Secret,
    /// It was not fetched for this request.
    kept: bool,
}

/// Most bytes of a token endpoint's answer.
const ANSWER_BYTES: usize = 64 << 10;

impl CallState {
    /// OAuth 2.0 client credentials. The guest only repeats a URL that the model's configuration names: it cannot choose who gets the client's secret.
    pub(super) fn client_credentials(
        &mut self,
        auth: &Oauth2ClientCredentialsAuth,
        keys: &KeyRing,
        headers: &mut HeaderMap,
    ) -> Result<Bearer, Error> {
        let refused = |what: &str| Error::Refused(format!("the token URL \"{}\" {what}", shown(&auth.token_url)));
        let url = TokenUrl::parse(&auth.token_url).map_err(|_| refused("is none"))?;
        if !self.token_hosts.configured.contains(&url) {
            return Err(refused("is not one that the model's configuration names"));
        }
        let asking = ClientCredentials {
            url: &url,
            client_id: secret(keys, &auth.client_id)?.expose(),
            client_secret: secret(keys, &auth.client_secret)?.expose(),
            scopes: &auth.scopes,
        };
        self.bearer(&url, asking.binding()?, || asking.request(), headers)
    }

    /// A Google service account's assertion. Its key says where it goes.
    pub(super) fn service_account(&mut self, auth: &GcpJwtAuth, keys: &KeyRing, headers: &mut HeaderMap) -> Result<Bearer, Error> {
        let account = ServiceAccount::new(secret(keys, &auth.service_account)?.expose(), &auth.scopes)?;
        self.bearer(&account.url, account.binding(), || account.request(unix_now()), headers)
    }

    /// Forgets a token that the model's endpoint refused, and says whether another one may do better.
    pub(super) fn is_refused(&self, bearer: &Bearer) -> bool {
        self.tokens.forget(&bearer.binding, &bearer.token);
        bearer.kept
    }

    fn bearer(
        &mut self,
        url: &TokenUrl,
        binding: Binding,
        request: impl FnOnce() -> Result<TokenRequest, SigningError>,
        headers: &mut HeaderMap,
    ) -> Result<Bearer, Error> {
        // Asked for a kept token too: what is not allowed any more is not used any more.
        let Some(private_ok) = self.token_hosts.private_ok(url) else {
            return Err(Error::Refused(format!(
                "an access token may not be fetched from host \"{}:{}\"",
                url.origin().host(),
                url.origin().port()
            )));
        };
        let bearer = if let Some(token) = self.tokens.get(&binding, Instant::now()) {
            Bearer { binding, token, kept: true }
        } else {
            let Token { secret, lifetime } = self.fetch(url, private_ok, &request()?)?;
            self.tokens.put(binding.clone(), secret.clone(), lifetime, Instant::now());
            Bearer { binding, token: secret, kept: false }
        };
        self.remember(&bearer.token);
        headers.insert(AUTHORIZATION, value("Bearer ", &bearer.token)?);
        Ok(bearer)
    }

    /// What is looked for in everything that comes back from here on.
    fn remember(&mut self, issued: &Secret) {
        if !self.issued.iter().any(|known| known.expose() == issued.expose()) {
            self.issued.push(issued.clone());
            self.needles.take();
        }
    }

    fn fetch(&mut self, url: &TokenUrl, private_ok: bool, request: &TokenRequest) -> Result<Token, Error> {
        if let Some(assertion) = &request.assertion {
            self.remember(assertion);
        }
        let place = format!("token endpoint {}", url.origin());
        let message = http::Request::post(url.to_string())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(Some(request.body.as_slice()))
            .map_err(|e| Error::Refused(format!("{place}: {e}")))?;
        // The model's request was not sent yet: whatever went wrong here, it may be tried again.
        let failed = |error| match error {
            Error::Connect(why) | Error::Broken(why) => Error::Connect(format!("{place}: {why}")),
            Error::Refused(why) => Error::Refused(format!("{place}: {why}")),
            Error::TooLarge(why) => Error::TooLarge(format!("{place}: {why}")),
            other => other,
        };
        let answer = self.transmit(url.origin().is_tls(), private_ok, message, request.body.len()).map_err(failed)?;
        let (status, mut body) = (answer.status().as_u16(), answer.into_body().into_reader());
        let bytes = self.read_answer(&mut body).map_err(failed)?;
        let redactor = self.redactor();
        read_answer(status, &bytes, |words| redactor.whole(words)).map_err(|e| match e {
            NoToken::Unavailable(said) => Error::Connect(format!("{place} gave no token: {said}")),
            NoToken::Refused(said) => Error::Key(format!("{place} gave no token: {said}")),
        })
    }

    fn read_answer(&mut self, body: &mut impl Read) -> Result<Zeroizing<Vec<u8>>, Error> {
        // Of its full size at once: a buffer that grows leaves copies behind.
        let mut bytes = Zeroizing::new(vec![0; ANSWER_BYTES + 1]);
        let mut end = 0;
        while end < bytes.len() {
            let read = self.ticker.pause(|| body.read(&mut bytes[end..]));
            match (read, host_cause(self.patience.cause())) {
                (Err(e), _) if e.kind() == ErrorKind::Interrupted => {}
                (_, Some(error)) => return Err(error),
                (Err(e), None) => return Err(Error::Broken(e.to_string())),
                (Ok(0), None) => {
                    self.usage.response_bytes += end as u64;
                    bytes.truncate(end);
                    return Ok(bytes);
                }
                (Ok(n), None) => end += n,
            }
        }
        Err(Error::TooLarge(format!("its answer is larger than {ANSWER_BYTES} bytes")))
    }
}
