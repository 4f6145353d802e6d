//! Between Postgres's function call interface and Rust: arguments as typed, NULL-aware values, results back, and every error through one door.
//!
//! SQL is hand-written here, so that functions are bound by name (`AS 'MODULE_PATHNAME', 'pg_llm_chat_wrapper'`) and decode their own arguments: a value
//! that does not decode is an ERROR with its SQLSTATE, not a panic.

use std::ffi::{CStr, CString};
use std::{ptr, slice};

use pgrx::pg_sys::{Datum, Oid};
use pgrx::{FromDatum, IntoDatum, pg_sys};
use serde_json::Value;
use zeroize::{Zeroize, Zeroizing};

use super::errors::{Failure, SqlError, State, or_raise};
use super::{encoding, vectors};

/// The arguments of a call, as SQL declares them.
pub(crate) struct Args<'a> {
    values: &'a [pg_sys::NullableDatum],
    /// Lives as long as the arguments do: for a set-returning function until the last row.
    pub(super) memory: pg_sys::MemoryContext,
}

/// The result of a call.
#[derive(Debug)]
pub(crate) enum Returned {
    Null,
    /// Of a function that is declared to return void.
    Void,
    Bool(bool),
    Int(i32),
    /// A bigint, or the microseconds of a timestamptz.
    Long(i64),
    Float(f64),
    Text(String),
    Uuid([u8; 16]),
    Json(Value),
    /// The bytes of a jsonb as Postgres keeps it.
    Jsonb(Vec<u8>),
    /// pgvector's type or an array of `real`, whichever SQL declares.
    Vector(Vec<f32>),
}

impl Args<'_> {
    /// The arguments of the call that `fcinfo` stands for.
    ///
    /// # Safety
    /// `fcinfo` must be Postgres's, and live during the call; `memory` as long.
    pub(super) unsafe fn of(fcinfo: pg_sys::FunctionCallInfo, memory: pg_sys::MemoryContext) -> Self {
        // SAFETY: Postgres keeps the arguments alive and in place during the call.
        let values = unsafe { (*fcinfo).args.as_slice(usize::try_from((*fcinfo).nargs).unwrap_or(0)) };
        Self { values, memory }
    }

    /// None for NULL, and for an argument that this SQL signature of the function does not have.
    pub(super) fn datum(&self, index: usize) -> Option<Datum> {
        self.values.get(index).filter(|d| !d.isnull).map(|d| d.value)
    }

    /// Memory that lives as long as the arguments do: for a set-returning function until its last row.
    pub(crate) fn memory(&self) -> pg_sys::MemoryContext {
        self.memory
    }

    /// A boolean.
    pub(crate) fn boolean(&self, index: usize) -> Option<bool> {
        self.datum(index).map(|d| d.value() & 1 != 0)
    }

    /// An integer.
    pub(crate) fn int(&self, index: usize) -> Option<i32> {
        // SAFETY: SQL declares this argument integer, which is passed by value.
        self.datum(index).and_then(|d| unsafe { i32::from_datum(d, false) })
    }

    /// A bigint.
    pub(crate) fn long(&self, index: usize) -> Option<i64> {
        // SAFETY: SQL declares this argument bigint, which is passed by value on the machines that Postgres is built for here.
        self.datum(index).and_then(|d| unsafe { i64::from_datum(d, false) })
    }

    /// A uuid.
    pub(crate) fn uuid(&self, index: usize) -> Option<[u8; 16]> {
        // SAFETY: SQL declares this argument uuid: 16 bytes, by reference.
        self.datum(index).map(|d| unsafe { *d.cast_mut_ptr::<[u8; 16]>() })
    }

    /// An oid, such as a `regclass`.
    pub(crate) fn oid(&self, index: usize) -> Option<Oid> {
        self.datum(index).and_then(|d| u32::try_from(d.value() & 0xffff_ffff).ok()).map(Oid::from)
    }

    /// An array of oids, such as `regclass[]`, without its NULLs; empty for NULL.
    pub(crate) fn oids(&self, index: usize) -> Vec<Oid> {
        let Some(datum) = self.datum(index) else { return Vec::new() };
        // SAFETY: SQL declares this argument as an array of a type that is laid out as oid is. What is deconstructed lives in the current memory context.
        unsafe {
            let array = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast();
            let (mut values, mut nulls, mut count) = (ptr::null_mut(), ptr::null_mut(), 0);
            let align = libc::c_char::try_from(pg_sys::TYPALIGN_INT).unwrap_or(0);
            pg_sys::deconstruct_array(array, pg_sys::REGCLASSOID, 4, true, align, &raw mut values, &raw mut nulls, &raw mut count);
            let count = usize::try_from(count).unwrap_or(0);
            if count == 0 {
                return Vec::new();
            }
            let elements: (&[Datum], &[bool]) = (slice::from_raw_parts(values, count), slice::from_raw_parts(nulls, count));
            let there = elements.0.iter().zip(elements.1).filter(|(_, null)| !**null);
            there.filter_map(|(datum, _)| u32::try_from(datum.value() & 0xffff_ffff).ok()).map(Oid::from).collect()
        }
    }

    /// A text, in UTF-8 whatever the database's encoding is.
    pub(crate) fn text(&self, index: usize) -> Result<Option<String>, SqlError> {
        self.datum(index).map(|d| encoding::from_server(detoasted(d).bytes())).transpose()
    }

    /// A value as it came, of the type that SQL declares. It lives as long as the call.
    pub(crate) fn as_it_came(&self, index: usize) -> Option<Datum> {
        self.datum(index)
    }

    /// A bytea.
    pub(crate) fn bytes(&self, index: usize) -> Option<Vec<u8>> {
        self.datum(index).map(|d| detoasted(d).bytes().to_vec())
    }

    /// An array of text; none for NULL. Of more than one dimension, element after element.
    pub(crate) fn texts(&self, index: usize) -> Result<Option<Vec<Option<String>>>, SqlError> {
        let Some(datum) = self.datum(index) else { return Ok(None) };
        // SAFETY: SQL declares this argument text[]. The elements point into the array or a detoasted copy of it, in the current memory context.
        let elements = unsafe {
            let array = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast();
            let (mut values, mut nulls, mut count) = (ptr::null_mut(), ptr::null_mut(), 0);
            let align = libc::c_char::try_from(pg_sys::TYPALIGN_INT).unwrap_or(0);
            pg_sys::deconstruct_array(array, pg_sys::TEXTOID, -1, false, align, &raw mut values, &raw mut nulls, &raw mut count);
            let count = usize::try_from(count).unwrap_or(0);
            if count == 0 {
                return Ok(Some(Vec::new()));
            }
            slice::from_raw_parts(values, count).iter().zip(slice::from_raw_parts(nulls, count))
        };
        elements
            .map(|(datum, null)| if *null { Ok(None) } else { encoding::from_server(detoasted(*datum).bytes()).map(Some) })
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// A jsonb.
    pub(crate) fn json(&self, index: usize) -> Result<Option<Value>, SqlError> {
        let Some(datum) = self.datum(index) else { return Ok(None) };
        // SAFETY: SQL declares this argument jsonb. The result is a NUL-terminated string in the current memory context.
        let text = unsafe {
            let text = pg_sys::OidOutputFunctionCall(pg_sys::Oid::from(pg_sys::F_JSONB_OUT), datum);
            let copied = encoding::from_server(CStr::from_ptr(text).to_bytes()).map(Zeroizing::new);
            // Configurations hold keys.
            slice::from_raw_parts_mut(text.cast::<u8>(), CStr::from_ptr(text).count_bytes()).zeroize();
            pg_sys::pfree(text.cast());
            copied?
        };
        serde_json::from_str(&text).map(Some).map_err(|e| {
            SqlError::new(State::InvalidArgument, format!("pg_llm: this JSON cannot be used: {e}")).hint("Nesting ends at 127 levels.")
        })
    }
}

pub(super) struct Detoasted {
    varlena: *mut pg_sys::varlena,
    /// It is a copy of ours.
    copied: bool,
}

pub(super) fn detoasted(datum: Datum) -> Detoasted {
    let given = datum.cast_mut_ptr();
    // SAFETY: SQL declares the argument as a variable-length type.
    let varlena = unsafe { pg_sys::pg_detoast_datum_packed(given) };
    Detoasted { varlena, copied: varlena != given }
}

impl Detoasted {
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: a detoasted varlena; its header says how long it is.
        unsafe { slice::from_raw_parts(pgrx::vardata_any(self.varlena).cast(), pgrx::varsize_any_exhdr(self.varlena)) }
    }
}

impl Drop for Detoasted {
    fn drop(&mut self) {
        if self.copied {
            // SAFETY: made by pg_detoast_datum_packed and not used any more.
            unsafe { pg_sys::pfree(self.varlena.cast()) }
        }
    }
}

impl Returned {
    /// The datum, of the type that SQL declares; none for NULL.
    pub(super) fn into_datum(self, declared: Oid) -> Result<Option<Datum>, SqlError> {
        match self {
            Self::Null => Ok(None),
            Self::Void => Ok(Some(Datum::null())),
            Self::Bool(value) => Ok(Some(Datum::from(value))),
            Self::Int(value) => Ok(Some(Datum::from(value))),
            Self::Long(value) => Ok(Some(Datum::from(value))),
            Self::Float(value) => Ok(value.into_datum()),
            Self::Vector(vector) => vectors::datum(&vector, declared).map(Some),
            Self::Text(text) => Ok(Some(text_datum(&encoding::to_server(&text)))),
            Self::Uuid(bytes) => Ok(Some(by_reference(&bytes))),
            Self::Jsonb(bytes) => Ok(Some(by_reference(&bytes))),
            Self::Json(value) => {
                let text = storable(value).to_string();
                let bytes = encoding::to_server(&text);
                let text = CString::new(bytes.into_owned()).map_err(|_| SqlError::new(State::Internal, "pg_llm: JSON with a NUL byte"))?;
                // SAFETY: jsonb's input function on a NUL-terminated string in the server's encoding. It copies.
                Ok(Some(unsafe {
                    pg_sys::OidInputFunctionCall(pg_sys::Oid::from(pg_sys::F_JSONB_IN), text.as_ptr().cast_mut(), pg_sys::JSONBOID, -1)
                }))
            }
        }
    }
}

/// A value that is passed by reference: these bytes, in the current memory context.
pub(crate) fn by_reference(bytes: &[u8]) -> Datum {
    // SAFETY: palloc gives that many bytes, aligned for any type.
    unsafe {
        let copy: *mut u8 = pg_sys::palloc(bytes.len()).cast();
        copy.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        Datum::from(copy)
    }
}

/// A `text` datum in the current memory context.
pub(crate) fn text_datum(bytes: &[u8]) -> Datum {
    // SAFETY: copies that many bytes. A text longer than 1 GB is Postgres's own ERROR.
    unsafe { Datum::from(pg_sys::cstring_to_text_with_len(bytes.as_ptr().cast(), i32::try_from(bytes.len()).unwrap_or(i32::MAX))) }
}

/// As jsonb can hold it: not U+0000, and an answer that has one is better with a mark in its place than lost.
pub(crate) fn storable(value: Value) -> Value {
    if has_nul(&value) { replace_nul(value) } else { value }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(s) => s.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(members) => members.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

fn replace_nul(value: Value) -> Value {
    match value {
        Value::String(s) => Value::String(s.replace('\0', "\u{fffd}")),
        Value::Array(items) => Value::Array(items.into_iter().map(replace_nul).collect()),
        Value::Object(members) => Value::Object(members.into_iter().map(|(k, v)| (k.replace('\0', "\u{fffd}"), replace_nul(v))).collect()),
        other => other,
    }
}

/// Runs an SQL function's body: decode, call, encode.
///
/// # Safety
/// `fcinfo` must be Postgres's.
pub(crate) unsafe fn serve(fcinfo: pg_sys::FunctionCallInfo, body: fn(&Args<'_>) -> Result<Returned, Failure>) -> Datum {
    // SAFETY: the caller's promise; the current memory context outlives the call.
    let args = unsafe { Args::of(fcinfo, pg_sys::CurrentMemoryContext) };
    let datum = or_raise(|| {
        let value = body(&args)?;
        let declared = match value {
            // SAFETY: Postgres has set flinfo.
            Returned::Vector(_) => unsafe { pg_sys::get_func_rettype((*(*fcinfo).flinfo).fn_oid) },
            _ => pg_sys::InvalidOid,
        };
        Ok(value.into_datum(declared)?)
    });
    // SAFETY: as above.
    unsafe { (*fcinfo).isnull = datum.is_none() };
    datum.unwrap_or(Datum::null())
}

/// Makes C functions that `CREATE FUNCTION ... LANGUAGE c` can bind: `symbol, info => body`.
macro_rules! sql_functions {
    ($($symbol:ident, $info:ident => $body:path;)*) => {$(
        /// Bound by `sql/`.
        ///
        /// # Safety
        /// For Postgres's function manager.
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C-unwind" fn $symbol(fcinfo: ::pgrx::pg_sys::FunctionCallInfo) -> ::pgrx::pg_sys::Datum {
            // SAFETY: there is nothing with a destructor above this frame, and Postgres's fcinfo is handed on as it came.
            unsafe { ::pgrx::pgrx_extern_c_guard(move || $crate::backend::calls::serve(fcinfo, $body)) }
        }

        /// Says which calling convention the function has.
        #[unsafe(no_mangle)]
        pub(crate) extern "C" fn $info() -> &'static ::pgrx::pg_sys::Pg_finfo_record {
            const VERSION_1: ::pgrx::pg_sys::Pg_finfo_record = ::pgrx::pg_sys::Pg_finfo_record { api_version: 1 };
            &VERSION_1
        }
    )*};
}
pub(crate) use sql_functions;
