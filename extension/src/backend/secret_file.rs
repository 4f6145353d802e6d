//! Reading a file that holds a secret: master keys, and API keys by reference.
//!
//! Who may read it besides us is asked of the open file, not of its name. The rule is Postgres's own for `ssl_key_file`: a file of the server's user that nobody
//! else can read, or one of root's that its group can read.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use super::errors::{SqlError, State};

/// Why a file of a secret is not used.
pub(crate) enum Unfit {
    Missing,
    Unreadable(io::Error),
    NoFile,
    OtherOwner,
    Open,
    TooLarge(u64),
}

/// Reads a file of at most this many bytes.
pub(crate) fn read(path: &Path, most: u64) -> Result<Zeroizing<Vec<u8>>, Unfit> {
    // O_NONBLOCK: a FIFO would block before its kind can be looked at.
    let mut file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Err(Unfit::Missing),
        Err(e) => return Err(Unfit::Unreadable(e)),
    };
    let metadata = file.metadata().map_err(Unfit::Unreadable)?;
    if !metadata.is_file() {
        return Err(Unfit::NoFile);
    }
    // SAFETY: cannot fail, touches nothing.
    let us = unsafe { libc::geteuid() };
    let forbidden = match metadata.uid() {
        owner if owner == us => 0o077,
        0 => 0o037,
        _ => return Err(Unfit::OtherOwner),
    };
    if metadata.mode() & forbidden != 0 {
        return Err(Unfit::Open);
    }
    if metadata.len() > most {
        return Err(Unfit::TooLarge(most));
    }
    // At once as large as the file, so that no copy stays behind in memory that a growing buffer left.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1));
    Read::by_ref(&mut file).take(metadata.len()).read_to_end(&mut bytes).map_err(Unfit::Unreadable)?;
    Ok(bytes)
}

impl Unfit {
    /// An error about a file that `what` names in words.
    pub(crate) fn error(&self, what: &str) -> SqlError {
        let wrong = |why: &str, hint: &str| SqlError::new(State::SetUp, format!("pg_llm: {what} {why}")).hint(hint);
        match self {
            Self::Missing => wrong("does not exist", "Create it, owned by the server's user and with mode 0600."),
            Self::Unreadable(e) => SqlError::new(State::Io, format!("pg_llm: could not read {what}: {e}")),
            Self::NoFile => wrong("is not a file", "It must be a plain file."),
            Self::OtherOwner => wrong("does not belong to the server's user", "Change its owner with chown."),
            Self::Open => wrong("can be read or written by others", "Change its mode: chmod 0600, or 0640 where it belongs to root."),
            Self::TooLarge(most) => wrong("is too large to be one", &format!("It has at most {most} bytes.")),
        }
    }
}
