//! Images and documents, in whatever form SQL has them at hand.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use pg_llm_sandbox::types::{Media, MediaSource};
use serde_json::Value;

use crate::error::ConfigError;

/// Padded or not; what ends in odd bits is still what it was meant to be.
const FORGIVING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, FORGIVING);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, FORGIVING);

/// What is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Image,
    Document,
}

impl Kind {
    /// The option that holds them.
    pub(crate) fn option(self) -> &'static str {
        match self {
            Self::Image => "images",
            Self::Document => "documents",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Document => "document",
        }
    }
}

/// One, or an array of them.
pub(crate) fn parse_list(value: &Value, kind: Kind) -> Result<Vec<Media>, ConfigError> {
    let list = value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
    let numbered = |(i, v)| parse(v, kind).map_err(|e| format!("option \"{}\": {} {} {e}", kind.option(), kind.word(), i + 1));
    list.iter().enumerate().map(numbered).collect::<Result<_, _>>().map_err(|message| ConfigError::invalid(message, hint(kind)))
}

fn hint(kind: Kind) -> String {
    let (sort, also) = match kind {
        Kind::Image => ("image/png", ""),
        Kind::Document => ("application/pdf", ", \"name\": \"...\"} or {\"text\": \"...\""),
    };
    format!("A URL, a data: URL, base64, a bytea, {{\"url\": \"...\"}}, or {{\"data\": ..., \"media_type\": \"{sort}\"{also}}}.")
}

/// A string or an object; the error says what is wrong with it, after its name.
pub(crate) fn parse(value: &Value, kind: Kind) -> Result<Media, String> {
    let text = |key: &str| match value.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(format!("has a {key} that is not a string")),
    };
    let given = text("media_type")?;
    if let Some(given) = given.filter(|given| !is_media_type(given)) {
        return Err(format!("has the media_type \"{}\", which is none", crate::error::clip(given, 50)));
    }
    let (source, found) = match value {
        Value::String(content) => content_of(content)?,
        Value::Object(_) => match (text("url")?, text("data")?, text("text")?) {
            (Some(url), None, None) => content_of(url)?,
            (None, Some(data), None) => content_of(data)?,
            (None, None, Some(words)) if kind == Kind::Document => {
                (MediaSource::Bytes(words.as_bytes().to_vec()), Some("text/plain".to_owned()))
            }
            _ => return Err("has not one of url and data".to_owned()),
        },
        Value::Null => return Err("is null".to_owned()),
        _ => return Err("is neither a string nor an object".to_owned()),
    };
    let media_type = given.map(str::to_owned).or(found);
    check(&source, media_type.as_deref(), kind)?;
    Ok(Media { source, media_type, name: text("name")?.map(str::to_owned), detail: text("detail")?.map(str::to_owned) })
}

/// Bytes must be of a known sort, and of the one that was asked for.
fn check(source: &MediaSource, media_type: Option<&str>, kind: Kind) -> Result<(), String> {
    let MediaSource::Bytes(bytes) = source else { return Ok(()) };
    if bytes.is_empty() {
        return Err("is empty".to_owned());
    }
    let Some(media_type) = media_type else {
        return Err(format!("has {} bytes that are of no sort that is known: say its media_type", bytes.len()));
    };
    match (kind, media_type.starts_with("image/")) {
        (Kind::Image, false) => Err(format!("is no image but {media_type}: that goes into documents")),
        (Kind::Document, true) => Err(format!("is an image ({media_type}): that goes into images")),
        _ => Ok(()),
    }
}

fn is_media_type(text: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b));
    text.len() <= 127 && text.split_once('/').is_some_and(|(kind, sub)| part(kind) && part(sub))
}

/// An address, or bytes with the media type that they show or that came with them.
fn content_of(text: &str) -> Result<(MediaSource, Option<String>), String> {
    let text = text.trim();
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some("http" | "https" | "gs" | "s3") => return Ok((MediaSource::Url(text.to_owned()), None)),
        Some(other) => {
            return Err(format!("has an address of scheme \"{}\": http, https, gs and s3 are known", crate::error::clip(other, 20)));
        }
        None => {}
    }
    let (bytes, named) = if let Some(rest) = text.strip_prefix("data:") {
        let (head, data) = rest.split_once(',').ok_or("is a data: URL without a comma")?;
        let head = head.strip_suffix(";base64").ok_or("is a data: URL that is not base64")?;
        let named = head.split(';').next().filter(|name| is_media_type(name)).map(str::to_owned);
        (base64(data)?, named)
    } else if let Some(hex) = text.strip_prefix("\\x") {
        (from_hex(hex).ok_or("begins like a bytea and goes on with what is no hexadecimal")?, None)
    } else if text.contains('\\') {
        (from_escaped(text).ok_or("is not a bytea, for all its backslashes")?, None)
    } else {
        (base64(text)?, None)
    };
    let media_type = named.or_else(|| sniff(&bytes).map(str::to_owned));
    Ok((MediaSource::Bytes(bytes), media_type))
}

/// As `encode(..., 'base64')` writes it, with line breaks, or the alphabet of URLs.
fn base64(text: &str) -> Result<Vec<u8>, String> {
    let text: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    STANDARD.decode(&text).or_else(|_| URL_SAFE.decode(&text)).map_err(|_| "is neither a URL nor base64 nor a bytea".to_owned())
}

/// `bytea_output = hex`.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// `bytea_output = escape`.
fn from_escaped(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (b'\\', [b'\\', after @ ..]) => {
                bytes.push(b'\\');
                after
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                after
            }
            (b'\\', _) => return None,
            (byte, after) => {
                bytes.push(*byte);
                after
            }
        };
    }
    Some(bytes)
}

/// The media type that the first bytes tell.
fn sniff(bytes: &[u8]) -> Option<&'static str> {
    Some(match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => "image/gif",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        // ISO base media: the brand says which.
        [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => match brand.first_chunk::<4>()? {
            b"heic" | b"heix" | b"hevc" | b"heim" | b"heis" => "image/heic",
            b"mif1" | b"msf1" => "image/heif",
            b"avif" | b"avis" => "image/avif",
            _ => return None,
        },
        [b'%', b'P', b'D', b'F', b'-', ..] => "application/pdf",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

    fn bytes(value: &Value) -> (Vec<u8>, Option<String>) {
        let media = parse(value, Kind::Image).unwrap_or_else(|e| panic!("{value}: {e}"));
        let MediaSource::Bytes(bytes) = media.source else { panic!("{value}: no bytes") };
        (bytes, media.media_type)
    }

    #[test]
    fn every_form_of_the_same_bytes_is_the_same_image() {
        for form in [
            json!("iVBORw0KGgo="),
            json!("iVBORw0KGgo"),
            json!("  iVBO\nRw0K\r\nGgo=\n"),
            json!("data:image/png;base64,iVBORw0KGgo="),
            json!("data:;base64,iVBORw0KGgo="),
            json!("\\x89504e470d0a1a0a"),
            json!("\\x89504E470D0A1A0A"),
            json!("\\211PNG\\015\\012\\032\\012"),
            json!({"data": "iVBORw0KGgo="}),
            json!({"data": "\\x89504e470d0a1a0a", "media_type": null}),
            json!({"url": "data:image/png;base64,iVBORw0KGgo="}),
        ] {
            assert_eq!(bytes(&form), (PNG.to_vec(), Some("image/png".to_owned())), "{form}");
        }
        assert_eq!(bytes(&json!({"data": "_-8=", "media_type": "image/x-ours"})).0, [0xff, 0xef], "the alphabet of URLs");
    }

    #[test]
    fn addresses_are_left_to_the_provider() {
        for url in ["https://example.com/a.png", "HTTP://example.com/a", "gs://bucket/a", "s3://bucket/a"] {
            let media = parse(&json!(url), Kind::Image).unwrap();
            assert!(matches!(&media.source, MediaSource::Url(u) if u == url));
            assert_eq!(media.media_type, None);
        }
        assert!(parse(&json!("file:///etc/passwd"), Kind::Image).unwrap_err().contains("scheme \"file\""));
    }

    #[test]
    fn the_first_bytes_tell_what_it_is() {
        let jpeg: &[u8] = b"\xff\xd8\xff\xe0";
        for (bytes, expected) in [
            (PNG, Some("image/png")),
            (jpeg, Some("image/jpeg")),
            (b"GIF89a", Some("image/gif")),
            (b"RIFF\0\0\0\0WEBPVP8 ", Some("image/webp")),
            (b"\0\0\0\x18ftypheic", Some("image/heic")),
            (b"\0\0\0\x18ftypavif", Some("image/avif")),
            (b"\0\0\0\x18ftypmp42", None),
            (b"%PDF-1.7", Some("application/pdf")),
            (b"hello", None),
            (b"", None),
        ] {
            assert_eq!(sniff(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_image_is_refused_by_its_number() {
        for (bad, words) in [
            (json!(["https://x/a.png", 7]), "image 2 is neither a string nor an object"),
            (json!([null]), "image 1 is null"),
            (json!("not base64!"), "image 1 is neither a URL nor base64"),
            (json!("aGVsbG8="), "image 1 has 5 bytes that are of no sort that is known"),
            (json!(""), "image 1 is empty"),
            (json!("\\x89504"), "no hexadecimal"),
            (json!("\\9"), "backslashes"),
            (json!("JVBERi0xLjc="), "that goes into documents"),
            (json!({}), "has not one of url and data"),
            (json!({"url": "https://x", "data": "iVBORw0KGgo="}), "has not one of url and data"),
            (json!({"data": 1}), "has a data that is not a string"),
            (json!({"data": "iVBORw0KGgo=", "media_type": "png"}), "media_type \"png\""),
            (json!({"data": "iVBORw0KGgo=", "media_type": "image/png\r\nx: y"}), "media_type"),
            (json!({"text": "words"}), "has not one of url and data"),
            (json!("data:image/png,abc"), "not base64"),
        ] {
            let e = parse_list(&bad, Kind::Image).unwrap_err();
            assert!(e.message.contains(words), "{bad}: {}", e.message);
            assert!(e.hint.is_some());
        }
    }

    #[test]
    fn documents_are_bytes_addresses_or_text_and_may_have_a_name() {
        let list = parse_list(
            &json!(["JVBERi0xLjc=", {"text": "Grüße", "name": "a.txt"}, {"url": "https://example.com/a.pdf", "name": "a.pdf"}]),
            Kind::Document,
        )
        .unwrap();
        assert_eq!(list[0].media_type.as_deref(), Some("application/pdf"));
        assert!(matches!(&list[1].source, MediaSource::Bytes(b) if b == "Grüße".as_bytes()));
        assert_eq!((list[1].media_type.as_deref(), list[1].name.as_deref()), (Some("text/plain"), Some("a.txt")));
        assert_eq!(list[2].name.as_deref(), Some("a.pdf"));
        assert!(parse_list(&json!("iVBORw0KGgo="), Kind::Document).unwrap_err().message.contains("that goes into images"));
    }
}
