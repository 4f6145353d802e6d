//! Where secrets stand in a piece of text.

use pg_llm_guest::base64::Engine as _;
use pg_llm_guest::base64::engine::general_purpose::STANDARD;
use pg_llm_guest::filter::{Found, IDEOGRAPH, Scan};

use crate::{assignment, shapes};

/// Finds the kinds that it is made for; private keys are not its business.
#[derive(Clone, Debug)]
pub struct SecretScan {
    pub(crate) kinds: Vec<&'static str>,
}

impl Scan for SecretScan {
    const PIECE: usize = 8192;
    const MATCH: usize = 4096;

    fn cuts(&self, piece: &[u8], next: u8) -> bool {
        let Some(last) = piece.last().copied() else { return false };
        if last == b'\n' || last == IDEOGRAPH || next == IDEOGRAPH {
            return true;
        }
        if next.is_ascii_whitespace() || !last.is_ascii_whitespace() {
            return false;
        }
        // The value of a secret may stand apart from its name.
        let left = piece.trim_ascii_end();
        let token = &left[left.iter().rposition(u8::is_ascii_whitespace).map_or(0, |at| at + 1)..];
        let ends = |word: &str| token.len() >= word.len() && token[token.len() - word.len()..].eq_ignore_ascii_case(word.as_bytes());
        let names = [
            "=", ":", ">", "bearer", "basic", "is", "ist", "api", "access", "secret", "account", "key", "password", "token", "pwd", "\"",
            "'",
        ];
        !(matches!(next, b'=' | b':') || names.iter().any(|name| ends(name)))
    }

    fn scan(&self, _before: &str, piece: &[u8], found: &mut Vec<Found>) {
        let has = |kind: &str| self.kinds.contains(&kind);
        let (api_keys, tokens, passwords) = (has("api_key"), has("token"), has("password"));
        let mut at = 0;
        let mut free = true;
        while at < piece.len() {
            let byte = piece[at];
            let mut hit = None;
            if free && byte.is_ascii_alphabetic() {
                hit = Some("api_key").filter(|_| api_keys).and_then(|kind| Some((at, shapes::api_key(piece, at)?, kind)));
                if hit.is_none() && tokens {
                    let token = shapes::json_web_token(piece, at).map(|end| (at, end)).or_else(|| credentials(piece, at));
                    hit = token.map(|(start, end)| (start, end, "token"));
                }
            }
            if hit.is_none() && passwords {
                let value = match byte {
                    b':' if piece[at..].starts_with(b"://") => url_password(piece, at + 3),
                    b'=' | b':' => assignment::value(piece, at, at + 1),
                    b'i' if piece[at..].starts_with(b"is ") && at > 0 && piece[at - 1] == b' ' => assignment::value(piece, at, at + 3),
                    _ => None,
                };
                hit = value.map(|(start, end)| (start, end, "password"));
            }
            match hit {
                Some((start, end, kind)) if end > start => {
                    found.push(Found { start, end, kind });
                    at = end;
                    free = true;
                }
                _ => {
                    free = !(byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
                    at += 1;
                }
            }
        }
    }
}

/// What an `Authorization` header carries (RFC 6750, RFC 7617), after its scheme.
fn credentials(piece: &[u8], at: usize) -> Option<(usize, usize)> {
    let rest = &piece[at..];
    let scheme = |word: &[u8]| rest.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
    let (start, basic) = if scheme(b"bearer ") {
        (7, false)
    } else if scheme(b"basic ") {
        (6, true)
    } else {
        return None;
    };
    let signs = |byte: &&u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    let mut length = rest[start..].iter().take_while(signs).count();
    while length > 0 && rest[start + length - 1] == b'.' {
        length -= 1;
    }
    let value = &rest[start..start + length];
    let secret = if basic {
        length >= 12 && STANDARD.decode(value).is_ok_and(|plain| plain.contains(&b':') && plain.is_ascii())
    } else {
        length >= 16 && shapes::is_random(value)
    };
    secret.then_some((at + start, at + start + length))
}

/// The password in `scheme://user:password@host`; `at` is behind the slashes.
fn url_password(piece: &[u8], at: usize) -> Option<(usize, usize)> {
    let rest = piece.get(at..)?;
    let authority = rest.iter().take(512).take_while(|byte| !byte.is_ascii_whitespace() && !b"/?#\"'<>`".contains(byte)).count();
    let host = rest[..authority].iter().rposition(|byte| *byte == b'@')?;
    let colon = rest[..host].iter().position(|byte| *byte == b':')?;
    let password = &rest[colon + 1..host];
    let lower = password.to_ascii_lowercase();
    // What manuals put there.
    let filler = password.first().is_none_or(|first| b"$%{[<*".contains(first))
        || ["password", "pass", "passwd", "pwd", "secret", "xxx", "xxxx", "your_password", "yourpassword", "your-password", "redacted"]
            .iter()
            .any(|word| lower == word.as_bytes());
    (!filler).then_some((at + colon + 1, at + host))
}
