//! Another master key, while all sessions go on.
//!
//! The new key is on the disk before it encrypts anything, and the old one is kept: at every moment, and after a crash at any, each row's key is there. A rollback
//! leaves rows that the old key opens; the new one stays in use for what is set from then on.

use pgrx::pg_sys;

use super::{MasterKey, configured};
use crate::backend::errors::{Failure, SqlError, State};
use crate::backend::key_file;

/// The lock of rotations, in Postgres's table of locks: of no database, where no `pg_advisory_lock` reaches.
const LOCK: [u32; 3] = [0, 0x7067_5f6c, 0x6c6d_6b65];

/// Waits until no other session of this server rotates, in whichever database, and keeps the others waiting until this transaction ends.
pub(crate) fn begin_rotation() -> Result<(), SqlError> {
    // SAFETY: on the main thread, in a transaction; a NUL-terminated name. What Postgres raises unwinds us.
    let snapshot_is_old = unsafe {
        pg_sys::PreventCommandIfReadOnly(c"pg_llm_rotate_master_key()".as_ptr());
        pg_sys::XactIsoLevel >= i32::try_from(pg_sys::XACT_REPEATABLE_READ).unwrap_or(i32::MAX)
    };
    if snapshot_is_old {
        return Err(SqlError::new(State::SetUp, "pg_llm: the master key can be rotated in a READ COMMITTED transaction only")
            .detail("In this one, keys that others have just set would not be seen.")
            .hint("SET TRANSACTION ISOLATION LEVEL READ COMMITTED"));
    }
    let tag = pg_sys::LOCKTAG {
        locktag_field1: LOCK[0],
        locktag_field2: LOCK[1],
        locktag_field3: LOCK[2],
        locktag_field4: 1,
        locktag_type: u8::try_from(pg_sys::LockTagType::LOCKTAG_ADVISORY).unwrap_or(u8::MAX),
        locktag_lockmethodid: u8::try_from(pg_sys::USER_LOCKMETHOD).unwrap_or(u8::MAX),
    };
    let mode = i32::try_from(pg_sys::ExclusiveLock).unwrap_or(i32::MAX);
    // SAFETY: a valid tag, which Postgres copies. It waits like every lock, and gives it back when the transaction ends.
    unsafe { pg_sys::LockAcquire(&raw const tag, mode, false, false) };
    Ok(())
}

/// The key that rows are to be encrypted with from now on: the one that a setting names, else the one in the data directory, where another is put in its place
/// first unless `replace` is false. After [`begin_rotation`].
pub(crate) fn rotate(replace: bool) -> Result<MasterKey, Failure> {
    match configured() {
        Some(source) => source.key(),
        None if replace => Ok(key_file::replace_master_key()?),
        None => Ok(key_file::master_key_or_new()?),
    }
}
