//! OAuth 2.0: the client credentials grant (RFC 6749, 4.4), and what a token endpoint answers (5).

use std::time::Duration;

use serde::Deserialize;
use zeroize::Zeroizing;

use super::SigningError;
use super::encoding::{is_unreserved, percent_encode};
use super::token_cache::Binding;
use crate::egress::TokenUrl;
use crate::keys::Secret;

/// What is posted to a token endpoint: `application/x-www-form-urlencoded`.
pub(crate) struct TokenRequest {
    pub(crate) body: Zeroizing<Vec<u8>>,
    /// What of it is as good as a key, and on no ring.
    pub(crate) assertion: Option<Secret>,
}

impl TokenRequest {
    /// The fields in their order. The client's secret is among them and not in a header: Entra documents it so, and in base64 an echo of it would not be
    /// recognised.
    pub(super) fn new(fields: &[(&str, &[u8])]) -> Self {
        let mut body = Zeroizing::new(Vec::with_capacity(fields.iter().map(|(name, value)| name.len() + 3 * value.len() + 2).sum()));
        for (name, value) in fields {
            if !body.is_empty() {
                body.push(b'&');
            }
            body.extend_from_slice(name.as_bytes());
            body.push(b'=');
            percent_encode(value, is_unreserved, &mut body);
        }
        Self { body, assertion: None }
    }
}

/// Who asks for a token, where, and for what.
pub(crate) struct ClientCredentials<'a> {
    pub(crate) url: &'a TokenUrl,
    pub(crate) client_id: &'a [u8],
    pub(crate) client_secret: &'a [u8],
    pub(crate) scopes: &'a [String],
}

impl ClientCredentials<'_> {
    pub(crate) fn binding(&self) -> Result<Binding, SigningError> {
        let (url, scope) = (self.url.to_string(), scope(self.scopes)?);
        Ok(Binding::new([b"oauth2", url.as_bytes(), scope.as_bytes(), self.client_id, self.client_secret]))
    }

    pub(crate) fn request(&self) -> Result<TokenRequest, SigningError> {
        let scope = scope(self.scopes)?;
        let mut fields: Vec<(&str, &[u8])> =
            vec![("grant_type", b"client_credentials"), ("client_id", self.client_id), ("client_secret", self.client_secret)];
        if !scope.is_empty() {
            fields.push(("scope", scope.as_bytes()));
        }
        Ok(TokenRequest::new(&fields))
    }
}

/// Most bytes of all scopes of a token.
const SCOPE_BYTES: usize = 4096;

/// RFC 6749, 3.3.
pub(super) fn scope(scopes: &[String]) -> Result<String, SigningError> {
    let fits = |scope: &String| !scope.is_empty() && scope.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
    if !scopes.iter().all(fits) {
        return Err(SigningError::Request("a scope is empty, or has a character that no scope has".to_owned()));
    }
    let scope = scopes.join(" ");
    if scope.len() > SCOPE_BYTES {
        return Err(SigningError::Request(format!("scopes of more than {SCOPE_BYTES} bytes")));
    }
    Ok(scope)
}

/// An access token, as it was given.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) secret: Secret,
    pub(crate) lifetime: Duration,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoToken {
    /// The endpoint could not say; it may another time.
    Unavailable(String),
    /// It said no, or nothing of use.
    Refused(String),
}

/// Where the answer does not say how long a token lives. Most live for an hour.
const UNKNOWN_LIFETIME: Duration = Duration::from_mins(5);

/// Longest token: it must fit a header.
const TOKEN_BYTES: usize = 16 << 10;

/// Longest quotation of an error's words, in characters.
const QUOTED: usize = 300;

#[derive(Deserialize)]
struct Answer {
    #[serde(default, deserialize_with = "secret")]
    access_token: Option<Zeroizing<String>>,
    token_type: Option<String>,
    /// A number; some write it as a string.
    expires_in: Option<serde_json::Value>,
    error: Option<serde_json::Value>,
    error_description: Option<String>,
}

fn secret<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Zeroizing<String>>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(Zeroizing::new))
}

/// Reads what a token endpoint answered. Nothing of a token is in the error. `redact` takes the secrets out of its words: before they are cut, for of a
/// secret that is cut nothing would be recognised.
pub(crate) fn read_answer(status: u16, body: &[u8], redact: impl Fn(&str) -> String) -> Result<Token, NoToken> {
    // serde's own words may quote what it read.
    let answer: Option<Answer> = serde_json::from_slice(body).ok();
    if status != 200 {
        let said = answer.as_ref().and_then(|answer| Some(redact(&words(answer.error.as_ref()?, answer.error_description.as_deref()))));
        let text = match said {
            Some(said) => format!("status {status}: {}", quoted(&said)),
            None => format!("status {status}"),
        };
        return Err(if matches!(status, 408 | 429 | 500..) { NoToken::Unavailable(text) } else { NoToken::Refused(text) });
    }
    let nothing = |why: &str| NoToken::Refused(format!("an answer that holds no access token: {why}"));
    let answer = answer.ok_or_else(|| nothing("it is not the JSON of RFC 6749"))?;
    let token = answer.access_token.ok_or_else(|| nothing("\"access_token\" is missing"))?;
    if !answer.token_type.as_deref().unwrap_or("Bearer").eq_ignore_ascii_case("bearer") {
        return Err(nothing("its \"token_type\" is not Bearer"));
    }
    if token.is_empty() || token.len() > TOKEN_BYTES || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(nothing("\"access_token\" is nothing that a header can carry"));
    }
    let seconds = answer.expires_in.as_ref().and_then(|value| match value {
        serde_json::Value::String(text) => text.parse().ok(),
        other => other.as_f64(),
    });
    let lifetime = seconds.and_then(|s: f64| Duration::try_from_secs_f64(s).ok()).unwrap_or(UNKNOWN_LIFETIME);
    Ok(Token { secret: Secret::new(token.as_bytes().to_vec()), lifetime })
}

fn words(error: &serde_json::Value, description: Option<&str>) -> String {
    // Not every server keeps to the string of RFC 6749.
    let code = error.as_str().map_or_else(|| error.to_string(), str::to_owned);
    match description {
        Some(description) => format!("{code}: {description}"),
        None => code,
    }
}

fn quoted(said: &str) -> String {
    said.chars().take(QUOTED).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(body: &str) -> Result<(String, u64), NoToken> {
        read_answer(200, body.as_bytes(), str::to_owned)
            .map(|t| (String::from_utf8(t.secret.expose().to_vec()).unwrap(), t.lifetime.as_secs()))
    }

    #[test]
    fn a_request_is_a_form_with_everything_encoded() {
        let url = TokenUrl::parse("https://login.example/token").unwrap();
        let scopes = ["https://a.example/.default".to_owned(), "openid".to_owned()];
        let asking = ClientCredentials { url: &url, client_id: b"me & you", client_secret: b"s3cr~t+/=%&\xff", scopes: &scopes };
        assert_eq!(
            std::str::from_utf8(&asking.request().unwrap().body).unwrap(),
            "grant_type=client_credentials&client_id=me%20%26%20you&client_secret=s3cr~t%2B%2F%3D%25%26%FF\
             &scope=https%3A%2F%2Fa.example%2F.default%20openid"
        );
        let plain = ClientCredentials { scopes: &[], ..asking };
        assert!(!std::str::from_utf8(&plain.request().unwrap().body).unwrap().contains("scope"));
    }

    #[test]
    fn scopes_are_what_rfc_6749_calls_scopes() {
        for bad in ["", "a b", "a\nb", "a\"", "a\\", "ä", &"x".repeat(5000)] {
            assert!(matches!(scope(&[bad.to_owned()]), Err(SigningError::Request(_))), "{bad}");
        }
        assert_eq!(scope(&["a/b:c".to_owned(), "d".to_owned()]).unwrap(), "a/b:c d");
    }

    #[test]
    fn a_token_is_read_with_its_lifetime() {
        for (body, lifetime) in [
            (r#"{"access_token": "tok-en", "token_type": "Bearer", "expires_in": 3599}"#, 3599),
            (r#"{"access_token": "tok-en", "token_type": "bearer", "expires_in": "3599", "ext": [1]}"#, 3599),
            (r#"{"access_token": "tok-en", "expires_in": 12.7}"#, 12),
            (r#"{"access_token": "tok-en", "expires_in": 0}"#, 0),
            (r#"{"access_token": "tok-en"}"#, 300),
            (r#"{"access_token": "tok-en", "expires_in": null}"#, 300),
            (r#"{"access_token": "tok-en", "expires_in": -1}"#, 300),
            (r#"{"access_token": "tok-en", "expires_in": 1e300}"#, 300),
            (r#"{"access_token": "tok-en", "expires_in": "soon"}"#, 300),
        ] {
            assert_eq!(token(body), Ok(("tok-en".to_owned(), lifetime)), "{body}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused_and_not_quoted() {
        let long = format!(r#"{{"access_token": "s3cr3t{}"}}"#, "x".repeat(TOKEN_BYTES));
        for body in [
            "",
            "<html>s3cr3t</html>",
            "[]",
            "{}",
            r#"{"access_token": null}"#,
            r#"{"access_token": ""}"#,
            r#"{"access_token": 1}"#,
            r#"{"access_token": {"s3cr3t": 1}}"#,
            r#"{"access_token": "s3cr3t\r\nx-injected: yes"}"#,
            r#"{"access_token": "s3cr3t ä"}"#,
            r#"{"access_token": "s3cr3t", "token_type": "mac"}"#,
            r#"{"access_token": "s3cr3t""#,
            &long,
        ] {
            let Err(NoToken::Refused(why)) = token(body) else { panic!("{body}") };
            assert!(!why.contains("s3cr3t"), "{why}");
        }
    }

    #[test]
    fn an_error_is_told_in_the_servers_words() {
        let read = |status, body: &str| read_answer(status, body.as_bytes(), str::to_owned).unwrap_err();
        assert_eq!(
            read(401, r#"{"error": "invalid_client", "error_description": "AADSTS7000215:\r\nInvalid client secret provided."}"#),
            NoToken::Refused("status 401: invalid_client: AADSTS7000215:  Invalid client secret provided.".to_owned())
        );
        assert_eq!(read(302, "moved"), NoToken::Refused("status 302".to_owned()));
        assert_eq!(read(201, r#"{"access_token": "x"}"#), NoToken::Refused("status 201".to_owned()));
        for status in [408, 429, 500, 503, 529] {
            assert!(matches!(read(status, "{}"), NoToken::Unavailable(_)), "{status}");
        }
        let NoToken::Refused(long) = read(400, &format!(r#"{{"error": {{"message": "{}"}}}}"#, "ä".repeat(9000))) else { panic!() };
        assert!(long.chars().count() < 400);
    }

    #[test]
    fn words_are_redacted_before_they_are_cut() {
        let body = format!(r#"{{"error": "invalid", "error_description": "{}s3cr3t"}}"#, "x".repeat(QUOTED - 13));
        let said = read_answer(400, body.as_bytes(), |words| words.replace("s3cr3t", "[redacted]")).unwrap_err();
        let NoToken::Refused(said) = said else { panic!("{said:?}") };
        assert!(!said.contains("s3") && said.ends_with("x[red"), "{said}");
    }
}
