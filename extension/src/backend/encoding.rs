//! Text between the database's encoding and UTF-8, which everything beyond Postgres speaks.

#![allow(
    clippy::cast_possible_wrap,
    clippy::cast_possible_truncation,
    reason = "Postgres's small constants, in the type that bindgen gives them"
)]

use std::borrow::Cow;
use std::ffi::CStr;

use pgrx::pg_sys;

use super::errors::{SqlError, State};

const UTF8: i32 = pg_sys::pg_enc::PG_UTF8 as i32;
const SQL_ASCII: i32 = pg_sys::pg_enc::PG_SQL_ASCII as i32;

fn server() -> i32 {
    // SAFETY: reads a setting of the backend.
    unsafe { pg_sys::GetDatabaseEncoding() }
}

/// Whether the database's text is UTF-8, or bytes that nobody checks.
pub(crate) fn is_utf8() -> bool {
    matches!(server(), UTF8 | SQL_ASCII)
}

/// Text of the database as UTF-8.
pub(crate) fn from_server(bytes: &[u8]) -> Result<String, SqlError> {
    let converted = if is_utf8() {
        None
    } else {
        // SAFETY: reads that many bytes; gives back either the same pointer or a NUL-terminated copy in UTF-8. What cannot be converted is Postgres's ERROR.
        unsafe {
            let given = bytes.as_ptr().cast();
            let made = pg_sys::pg_server_to_any(given, i32::try_from(bytes.len()).unwrap_or(i32::MAX), UTF8);
            (made.cast_const() != given).then(|| CStr::from_ptr(made).to_bytes())
        }
    };
    String::from_utf8(converted.unwrap_or(bytes).to_vec()).map_err(|_| {
        SqlError::new(State::NotInEncoding, "pg_llm: this text is not valid UTF-8")
            .hint("The database's encoding is SQL_ASCII, which checks nothing; models are sent UTF-8.")
    })
}

/// UTF-8 as text of the database. Text cannot hold U+0000: U+FFFD stands in its place.
pub(crate) fn to_server(text: &str) -> Cow<'_, [u8]> {
    let text = if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) };
    if is_utf8() {
        return match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
    }
    // SAFETY: as above, the other way. A character that the encoding lacks is Postgres's ERROR 22P05.
    let converted = unsafe {
        let given = text.as_ptr().cast();
        let made = pg_sys::pg_any_to_server(given, i32::try_from(text.len()).unwrap_or(i32::MAX), UTF8);
        (made.cast_const() != given).then(|| CStr::from_ptr(made).to_bytes().to_vec())
    };
    Cow::Owned(converted.unwrap_or_else(|| text.as_bytes().to_vec()))
}
