//! Images and documents as they are sent: the bytes, or an address in S3.

use pg_llm_guest::json::record;
use pg_llm_guest::media::{base64, sniff};
use pg_llm_guest::prelude::*;

use crate::refusal::{Refusal, one};

/// The longest name that a document may have.
const MAX_NAME: usize = 200;

/// Media types, and the wire's names of the formats, which are file extensions too.
const IMAGES: [(&str, &str); 5] =
    [("image/png", "png"), ("image/jpeg", "jpeg"), ("image/jpg", "jpg"), ("image/gif", "gif"), ("image/webp", "webp")];
const DOCUMENTS: [(&str, &str); 9] = [
    ("application/pdf", "pdf"),
    ("text/csv", "csv"),
    ("application/msword", "doc"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"),
    ("application/vnd.ms-excel", "xls"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
    ("text/html", "html"),
    ("text/plain", "txt"),
    ("text/markdown", "md"),
];

/// An `image` block. It has no place for [`Media::detail`], which is a hint only.
pub(crate) fn image(media: &Media) -> Result<Value, Refusal> {
    let (source, media_type) = source(media)?;
    let format = match format(&IMAGES, media, media_type) {
        Some("jpg") => "jpeg",
        Some(format) => format,
        None => {
            return Err(Refusal::Unsupported(
                "Converse takes images of the types png, jpeg, gif and webp; this one is none, or its type is not known",
            ));
        }
    };
    Ok(record([("format", format.into()), ("source", source)]))
}

/// A `document` block.
pub(crate) fn document(media: &Media, names: &mut DocumentNames) -> Result<Value, Refusal> {
    let (source, media_type) = source(media)?;
    let Some(format) = format(&DOCUMENTS, media, media_type) else {
        return Err(Refusal::Unsupported(
            "Converse takes documents of the types pdf, csv, doc, docx, xls, xlsx, html, txt and md; this one is none, or its type is not known",
        ));
    };
    let name = names.unique(media.name.as_deref().unwrap_or_default());
    Ok(record([("format", format.into()), ("name", name.into()), ("source", source)]))
}

/// The `source` of a block, and the media type that it tells of itself.
fn source(media: &Media) -> Result<(Value, Option<&str>), Refusal> {
    match &media.source {
        MediaSource::Bytes(bytes) => Ok((one("bytes", base64(bytes).into()), sniff(bytes))),
        MediaSource::Url(url) if url.starts_with("s3://") => Ok((one("s3Location", one("uri", url.as_str().into())), None)),
        MediaSource::Url(url) => match url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
            Some((media_type, encoded)) => Ok((one("bytes", encoded.into()), media_type.split(';').next())),
            None => Err(Refusal::Unsupported(
                "Converse takes the bytes of images and documents, or an address that begins with s3://, and no other",
            )),
        },
    }
}

/// The format that the media type tells, else the file name, else the address.
fn format(formats: &[(&'static str, &'static str)], media: &Media, own_type: Option<&str>) -> Option<&'static str> {
    let by_type = |media_type: &str| formats.iter().find(|(known, _)| known.eq_ignore_ascii_case(media_type));
    let by_name = |name: &str| {
        let (_, extension) = name.rsplit_once('.')?;
        formats.iter().find(|(_, known)| known.eq_ignore_ascii_case(extension))
    };
    let essence = media.media_type.as_deref().and_then(|media_type| media_type.split(';').next()).map(str::trim);
    let address = match &media.source {
        MediaSource::Url(url) => Some(url.as_str()),
        MediaSource::Bytes(_) => None,
    };
    let found = essence.and_then(by_type).or_else(|| own_type.and_then(by_type));
    found.or_else(|| media.name.as_deref().and_then(by_name)).or_else(|| address.and_then(by_name)).map(|(_, format)| *format)
}

/// Names that the documents of one request have so far: two of one name are refused.
#[derive(Debug, Default)]
pub(crate) struct DocumentNames(Vec<String>);

impl DocumentNames {
    /// A name of letters, digits, single spaces, hyphens, parentheses and brackets, which the wire allows, made of a file name without its extension.
    fn unique(&mut self, file_name: &str) -> String {
        let stem = file_name.rsplit_once('.').map_or(file_name, |(stem, _)| stem);
        let mut name = String::new();
        for c in stem.trim().chars().take(MAX_NAME - 8) {
            let c = match c {
                c if c.is_ascii_alphanumeric() || "()[]".contains(c) => c,
                c if c.is_whitespace() => ' ',
                _ => '-',
            };
            if !(c == ' ' && name.ends_with(' ')) {
                name.push(c);
            }
        }
        if name.is_empty() {
            name.push_str("document");
        }
        let plain = name.len();
        let mut count = 1_u32;
        while self.0.contains(&name) {
            count += 1;
            name.truncate(plain);
            name.push('-');
            name.push_str(&count.to_string());
        }
        self.0.push(name.clone());
        name
    }
}
