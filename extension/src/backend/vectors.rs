//! Vectors as data of Postgres: pgvector's `vector`, or an array of `real`.

use pgrx::pg_sys;
use pgrx::pg_sys::{Datum, Oid};

use super::errors::{SqlError, State};

/// More dimensions than any model has; pgvector itself refuses more than 16,000.
const MOST_DIMENSIONS: usize = 1 << 20;

/// A datum of the type that SQL declares: `real[]`, else one that takes pgvector's binary form.
pub(super) fn datum(vector: &[f32], declared: Oid) -> Result<Datum, SqlError> {
    if vector.len() > MOST_DIMENSIONS {
        return Err(SqlError::new(State::TooLarge, format!("pg_llm: a vector has {} dimensions", vector.len())));
    }
    if declared == pg_sys::FLOAT4ARRAYOID { Ok(array(vector)) } else { received(vector, declared) }
}

fn array(vector: &[f32]) -> Datum {
    let mut elements: Vec<Datum> = vector.iter().map(|number| Datum::from(number.to_bits())).collect();
    let count = i32::try_from(elements.len()).unwrap_or(i32::MAX);
    // SAFETY: that many elements of a type of four bytes, passed by value; copies them.
    unsafe {
        let align = libc::c_char::try_from(pg_sys::TYPALIGN_INT).unwrap_or(0);
        Datum::from(pg_sys::construct_array(elements.as_mut_ptr(), count, pg_sys::FLOAT4OID, 4, true, align))
    }
}

/// Through the type's own receive function, which checks what it gets: two bytes of dimensions, two of zero, and the numbers, all in network order.
fn received(vector: &[f32], declared: Oid) -> Result<Datum, SqlError> {
    let dimensions = u16::try_from(vector.len()).ok().filter(|count| *count > 0);
    let dimensions = dimensions.ok_or_else(|| {
        SqlError::new(State::TooLarge, format!("pg_llm: a vector of {} dimensions does not fit pgvector's type", vector.len()))
    })?;
    let mut bytes = Vec::with_capacity(4 + 4 * vector.len());
    bytes.extend(dimensions.to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(vector.iter().flat_map(|number| number.to_bits().to_be_bytes()));
    // SAFETY: a StringInfo of its own memory, and the receive function of the type that SQL declares.
    unsafe {
        let mut message = std::mem::zeroed::<pg_sys::StringInfoData>();
        pg_sys::initStringInfo(&raw mut message);
        pg_sys::appendBinaryStringInfo(&raw mut message, bytes.as_ptr().cast(), i32::try_from(bytes.len()).unwrap_or(0));
        let (mut receive, mut parameter) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
        pg_sys::getTypeBinaryInputInfo(declared, &raw mut receive, &raw mut parameter);
        let datum = pg_sys::OidReceiveFunctionCall(receive, &raw mut message, parameter, -1);
        pg_sys::pfree(message.data.cast());
        Ok(datum)
    }
}
