//! Comparing with files.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use serde_json::Value;

use crate::http::{Auth, HttpRequest};

/// Compares `actual` with the file; with `UPDATE_GOLDEN=1` in the environment, writes it. Give a path under `env!("CARGO_MANIFEST_DIR")`.
///
/// # Panics
/// When they differ, or when the file cannot be read or written.
#[allow(clippy::panic)] // this is how a test fails
#[track_caller]
pub fn golden(path: impl AsRef<Path>, actual: &str) {
    let path = path.as_ref();
    let actual = format!("{}\n", actual.trim_end());
    if env::var_os("UPDATE_GOLDEN").is_some() {
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, &actual));
        return written.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }
    let expected =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {} ({error}); UPDATE_GOLDEN=1 writes it", path.display()));
    if expected != actual {
        let line = expected.lines().zip(actual.lines()).take_while(|(one, other)| one == other).count() + 1;
        panic!("{} differs, first in line {line}; this is what came:\n{actual}\nUPDATE_GOLDEN=1 writes it", path.display());
    }
}

/// A request as text for a golden file: request line, headers, key, and the body as indented JSON where it is JSON.
pub fn pretty(request: &HttpRequest) -> String {
    let mut text = format!("{} {}\n", format!("{:?}", request.method).replace("Method::", "").to_uppercase(), request.path_with_query);
    for header in &request.headers {
        let _ = writeln!(text, "{}: {}", header.name, header.value);
    }
    match &request.auth {
        None => {}
        Some(Auth::Header(auth)) => {
            let optional = if auth.optional { ", optional" } else { "" };
            let _ = writeln!(text, "{}: {}<key \"{}\"{optional}>", auth.name, auth.prefix, auth.key);
        }
        Some(auth) => {
            let _ = writeln!(text, "<{auth:?}>");
        }
    }
    text.push('\n');
    match serde_json::from_slice::<Value>(&request.body) {
        Ok(body) => text + &format!("{body:#}"),
        Err(_) => text + &String::from_utf8_lossy(&request.body),
    }
}
