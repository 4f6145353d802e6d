//! Entries that no worker has written by the time that the server stops: kept in a file of our directory until it starts again.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use pgrx::PgLogLevel;

use super::{data_directory, errors, ledger};

/// Its name.
const NAME: &str = "ledger.rest";

fn path() -> std::io::Result<PathBuf> {
    Ok(data_directory::ours()?.join(NAME))
}

/// Writes what is left: each record after its database and length, 4 bytes each.
pub(super) fn save() {
    let rest = ledger::rest();
    if rest.is_empty() {
        return;
    }
    let mut bytes = Vec::new();
    for (database, record) in &rest {
        bytes.extend_from_slice(&database.to_ne_bytes());
        bytes.extend_from_slice(&u32::try_from(record.len()).unwrap_or(0).to_ne_bytes());
        bytes.extend_from_slice(record);
    }
    let written = path().and_then(|path| {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(&bytes)?;
        file.sync_all()
    });
    if let Err(error) = written {
        errors::emit(
            PgLogLevel::LOG,
            &format!("pg_llm: {} entries of the ledger are lost, their file cannot be written: {error}", rest.len()),
        );
    }
}

/// Puts them into memory again. The file goes first: an entry may be lost in a crash at this moment, and none is written twice.
pub(super) fn load() {
    let taken = path().and_then(|path| {
        let bytes = fs::read(&path)?;
        fs::remove_file(&path)?;
        Ok(bytes)
    });
    let mut bytes = match &taken {
        Ok(bytes) => bytes.as_slice(),
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        Err(error) => {
            errors::emit(PgLogLevel::LOG, &format!("pg_llm: the ledger's file cannot be read: {error}"));
            return;
        }
    };
    while let Some((database, rest)) = number(bytes)
        && let Some((length, rest)) = number(rest)
        && let Some((record, rest)) = rest.split_at_checked(length as usize)
    {
        ledger::put_again(database, record);
        bytes = rest;
    }
}

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_ne_bytes(*number), rest))
}
