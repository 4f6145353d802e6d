//! Where calls go, and what comes back with a key in it.

use pg_llm_sandbox::Redactor;
use pg_llm_sandbox::egress::{AllowList, Endpoint, TokenUrl};
use pg_llm_sandbox::keys::{KeyRing, Secret};

/// An endpoint, a path and an allow-list, on a line each: what is accepted stays on its host, and is the same when it is read again.
pub fn endpoints(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else { return };
    let mut lines = input.splitn(3, '\n');
    let (endpoint, path, list) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let _ = TokenUrl::parse(endpoint);
    let list = AllowList::parse(list);
    let Ok(endpoint) = Endpoint::parse(endpoint) else { return };
    let again = Endpoint::parse(&endpoint.to_string()).expect("an endpoint reads as it is written");
    assert_eq!(again, endpoint);
    if let Ok(list) = list {
        assert_eq!(list.permits(&endpoint), list.permits(&again));
    }
    if let Ok(url) = endpoint.join(path) {
        let joined = Endpoint::parse(url.split(['?', '#']).next().unwrap_or("")).expect("a joined URL is a URL");
        assert_eq!((joined.scheme(), joined.host(), joined.port()), (endpoint.scheme(), endpoint.host(), endpoint.port()), "{url}");
        assert!(!url.contains(['\r', '\n', ' ']), "{url:?}");
    }
}

/// A size of pieces, a key, and after a line feed a text: the key is nowhere in what comes out, and it comes out the same however it is cut.
pub fn redaction(input: &[u8]) {
    let Some((size, rest)) = input.split_first() else { return };
    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return };
    let (key, text) = (&rest[..end], &rest[end + 1..]);
    if key.len() < 8 {
        return;
    }
    let mut keys = KeyRing::new();
    keys.insert("default".to_owned(), Secret::new(key.to_vec()));
    let redacted = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut redactor = Redactor::new(&keys);
        let mut out = Vec::new();
        for piece in pieces {
            out.extend(redactor.push(piece.to_vec()));
        }
        out.extend(redactor.finish());
        out
    };
    let whole = redacted(&mut std::iter::once(text));
    let cut = redacted(&mut text.chunks(usize::from(*size) + 1));
    // What stands in its place could be a part of a key that has the same letters.
    if key.iter().any(|byte| b"[redacted]".contains(byte)) {
        return;
    }
    for out in [&whole, &cut] {
        assert!(!out.windows(key.len()).any(|window| window == key), "the key is in {:?}", String::from_utf8_lossy(out));
    }
    // A key that looks the same in URLs and in JSON is looked for in one form only, and found at the same places.
    if key.iter().all(u8::is_ascii_alphanumeric) {
        assert_eq!(String::from_utf8_lossy(&cut), String::from_utf8_lossy(&whole));
    }
}
