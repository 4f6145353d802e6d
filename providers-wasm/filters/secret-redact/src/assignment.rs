//! Values that are called a password, a secret, a token or a key: `password = "..."`, `"api_key": "..."`, `Password=...;`, `the password is ...`.

use crate::shapes::entropy;

/// Names end in one of these. People choose passwords; keys and tokens are drawn by lot.
const CHOSEN: [&str; 8] = ["password", "passwd", "pwd", "passphrase", "passwort", "motdepasse", "contrasena", "senha"];
const DRAWN: [&str; 22] = [
    "secret",
    "token",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "accountkey",
    "sharedkey",
    "sharedaccesskey",
    "masterkey",
    "signingkey",
    "encryptionkey",
    "authkey",
    "credential",
    "credentials",
    "accesskeyid",
    "secretid",
    "storagekey",
    "licensekey",
    "servicekey",
    "subscriptionkey",
    "sas",
];
/// Longest part of a value that is judged.
const JUDGED: usize = 256;

/// Where the value begins and ends that is given to the name of a secret; the name ends at `name_end`, its sign (`=`, `:`, `is`) at `from`.
pub(crate) fn value(piece: &[u8], name_end: usize, from: usize) -> Option<(usize, usize)> {
    let chosen = name(&piece[..name_end])?;
    // `==` compares, `=>` and `:=` assign.
    if piece[name_end] == b'=' && piece.get(from) == Some(&b'=') {
        return None;
    }
    let mut start = from + piece[from..].iter().take(1).take_while(|byte| matches!(byte, b'=' | b'>')).count();
    start += piece[start..].iter().take(8).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let quotes = piece[start..].iter().take(2).take_while(|byte| matches!(byte, b'"' | b'\'' | b'`' | b'\\')).count();
    start += quotes;
    let ends = |byte: u8| byte.is_ascii_whitespace() || b"\"'`\\,;&)]}<>|".contains(&byte) || byte >= 0x80;
    let judged = piece[start..].iter().take(JUDGED).take_while(|byte| !ends(**byte)).count();
    let body = trimmed(&piece[start..start + judged]);
    if !is_secret(body, chosen, quotes > 0, piece.get(start + judged).copied()) {
        return None;
    }
    let more = if judged == JUDGED { piece[start + judged..].iter().take_while(|byte| !ends(**byte)).count() } else { 0 };
    Some((start, start + body.len().max(if more > 0 { judged + more } else { 0 })))
}

/// Whether the name before a sign is one of a secret, and of a chosen one.
fn name(before: &[u8]) -> Option<bool> {
    let before = before.trim_ascii_end();
    let before = before.strip_suffix(b"\"").or_else(|| before.strip_suffix(b"'")).unwrap_or(before);
    let before = before.strip_suffix(b"\\").unwrap_or(before);
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.".contains(byte);
    let length = before.iter().rev().take(64).take_while(|byte| part(byte)).count();
    let mut name: Vec<u8> =
        before[before.len() - length..].iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase).collect();
    // `Account Key`, `API key`.
    if name == b"key" || name == b"id" {
        let words = before[..before.len() - length].trim_ascii_end();
        let word = words.iter().rev().take(24).take_while(|byte| part(byte)).count();
        let mut both: Vec<u8> = words[words.len() - word..].to_ascii_lowercase();
        both.extend(&name);
        name = both;
    }
    let is = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending.as_bytes()));
    let short = name == b"pass" || name == b"dbpass" || before.ends_with(b"_pass") || before.ends_with(b"_PASS") || name == b"pin";
    if is(&CHOSEN) || short {
        Some(true)
    } else if is(&DRAWN) || before.ends_with(b"_KEY") || before.ends_with(b"_key") {
        Some(false)
    } else {
        None
    }
}

/// Without the stop or the mark at the end of a sentence.
fn trimmed(value: &[u8]) -> &[u8] {
    let end = value.iter().rposition(|byte| !matches!(byte, b'.' | b'?' | b':')).map_or(0, |last| last + 1);
    &value[..end]
}

fn is_secret(value: &[u8], chosen: bool, quoted: bool, next: Option<u8>) -> bool {
    let lower = value.to_ascii_lowercase();
    let contains = |word: &str| lower.windows(word.len()).any(|window| window == word.as_bytes());
    // `get_token(user)`.
    let function = value.iter().take_while(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'.')).count();
    let call = !quoted && value.get(function) == Some(&b'(');
    // A reference to a secret, or what a manual puts in its place.
    let reference = matches!(value.first(), Some(b'$' | b'%' | b'{' | b'[' | b'(' | b'/' | b'@' | b'*' | b'#'))
        && !(chosen && quoted && value.len() >= 8 && value[0] != b'$')
        || contains("env.")
        || contains("environ")
        || contains("getenv")
        || contains("secrets.")
        || contains("vault:")
        || contains("://")
        || call
        || next == Some(b'<');
    let filler = contains("xxxx")
        || contains("****")
        || contains("...")
        || contains("your")
        || contains("example")
        || contains("placeholder")
        || contains("redacted")
        || contains("changeme");
    let placeholder = value.first() == Some(&b'[') && value[1..].iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_');
    if reference || filler || placeholder {
        return false;
    }
    let classes = [
        value.iter().any(u8::is_ascii_lowercase),
        value.iter().any(u8::is_ascii_uppercase),
        value.iter().any(u8::is_ascii_digit),
        value.iter().any(|byte| !byte.is_ascii_alphanumeric() && !b"_-./".contains(byte)),
    ];
    let mixed = classes.iter().filter(|class| **class).count();
    let has_digit = classes[2];
    if chosen {
        // `password_hash: ...` has another name; a plain word is rather prose or a type.
        let words = value.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b'_' || *byte == b'-' || *byte == b'.');
        value.len() >= 6
            && (has_digit || classes[3] || mixed >= 2 && quoted && !words || words && quoted && value.len() >= 8 && value.contains(&b'-'))
    } else {
        value.len() >= 16 && has_digit && (classes[0] || classes[1]) && entropy(value) >= 3.0
    }
}
