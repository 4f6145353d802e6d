//! Images and documents as they are sent.

use pg_llm_guest::json::{record, set};
use pg_llm_guest::media::{base64, sniff};
use pg_llm_guest::prelude::*;

/// Bytes go inline; an address is fetched by the provider. A document's name has no place in the Gemini API, and the model does without.
pub(crate) fn media_part(media: &Media, is_document: bool) -> Result<Value, Failure> {
    let said = media.media_type.as_deref().filter(|media_type| !media_type.is_empty());
    match &media.source {
        MediaSource::Bytes(bytes) => {
            let text = || (is_document && std::str::from_utf8(bytes).is_ok()).then_some("text/plain");
            let media_type = said.or_else(|| sniff(bytes)).or_else(text).ok_or_else(unknown_type)?;
            Ok(inline(media_type, base64(bytes)))
        }
        MediaSource::Url(url) => match url.strip_prefix("data:") {
            Some(data) => data_url(data, said),
            None => Ok(file(url, said.or_else(|| type_of_name(url)))),
        },
    }
}

fn unknown_type() -> Failure {
    Failure::invalid("the media type of an image or document is not known; say it")
}

fn inline(media_type: &str, data: String) -> Value {
    record([("inlineData", record([("mimeType", media_type.into()), ("data", data.into())]))])
}

fn file(url: &str, media_type: Option<&str>) -> Value {
    let mut file = Map::new();
    if let Some(media_type) = media_type {
        set(&mut file, "mimeType", media_type.into());
    }
    set(&mut file, "fileUri", url.into());
    record([("fileData", file.into())])
}

/// The bytes in an address (RFC 2397): nobody can fetch that.
fn data_url(data: &str, said: Option<&str>) -> Result<Value, Failure> {
    let parsed = data.split_once(',').and_then(|(head, base64)| Some((head.strip_suffix(";base64")?, base64)));
    let (head, base64) = parsed.ok_or_else(|| Failure::unsupported("of data: addresses only those in base64 can be sent"))?;
    let media_type = said.or_else(|| head.split(';').next().filter(|media_type| !media_type.is_empty())).ok_or_else(unknown_type)?;
    Ok(inline(media_type, base64.to_owned()))
}

/// The media type that an address ends in. Vertex AI fetches nothing whose type it is not told.
fn type_of_name(url: &str) -> Option<&'static str> {
    const TYPES: [(&str, &str); 16] = [
        ("png", "image/png"),
        ("jpg", "image/jpeg"),
        ("jpeg", "image/jpeg"),
        ("gif", "image/gif"),
        ("webp", "image/webp"),
        ("heic", "image/heic"),
        ("pdf", "application/pdf"),
        ("txt", "text/plain"),
        ("md", "text/markdown"),
        ("csv", "text/csv"),
        ("html", "text/html"),
        ("json", "application/json"),
        ("mp3", "audio/mpeg"),
        ("wav", "audio/wav"),
        ("mp4", "video/mp4"),
        ("webm", "video/webm"),
    ];
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let (_, extension) = path.rsplit('/').next()?.rsplit_once('.')?;
    TYPES.iter().find(|(known, _)| extension.eq_ignore_ascii_case(known)).map(|(_, media_type)| *media_type)
}
