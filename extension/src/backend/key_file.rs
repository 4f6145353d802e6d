//! The master key: where it comes from, and what is derived from it.
//!
//! By default it is 32 random bytes in `pg_llm/master.key` of the data directory, made on first use. Outside of the tables, so that neither a dump nor a
//! table's file gives the API keys away; inside the data directory, so that a base backup and a standby have it.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::data_directory::{self, DIRECTORY};
use super::errors::{SqlError, State};
use super::gucs;

/// Bytes of the key that is made here, and of every derived key.
const KEY_BYTES: usize = 32;
/// A configured key shorter than this is refused.
const FEWEST_BYTES: usize = 16;
/// A file longer than this is no key file.
const MOST_BYTES: u64 = 4096;

/// A key derived for one purpose.
pub(crate) type Derived = Zeroizing<[u8; KEY_BYTES]>;

/// The secret that everything is derived from.
pub(crate) struct MasterKey(Zeroizing<Vec<u8>>);

impl MasterKey {
    /// Reads the key that the settings name, or the one in the data directory.
    pub(crate) fn existing() -> Result<Option<Self>, SqlError> {
        match configured()? {
            Some(key) => Ok(Some(key)),
            None => read(&default_path()),
        }
    }

    /// The same; the one in the data directory is made when there is none.
    pub(crate) fn existing_or_new() -> Result<Self, SqlError> {
        match Self::existing()? {
            Some(key) => Ok(key),
            None => create(&default_path()),
        }
    }

    /// Encrypts the stored API keys.
    pub(crate) fn for_api_keys(&self) -> Result<Derived, SqlError> {
        self.derive(b"pg_llm api keys v1")
    }

    /// Tells master keys apart without giving anything away.
    pub(crate) fn id(&self) -> Result<String, SqlError> {
        let id = self.derive(b"pg_llm key id v1")?;
        Ok(pg_llm_sandbox::hex(&id[..8]))
    }

    fn derive(&self, purpose: &[u8]) -> Result<Derived, SqlError> {
        struct Bytes;
        impl KeyType for Bytes {
            fn len(&self) -> usize {
                KEY_BYTES
            }
        }
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        let derived = Salt::new(HKDF_SHA256, b"pg_llm").extract(&self.0).expand(&[purpose], Bytes).and_then(|okm| okm.fill(key.as_mut()));
        derived.map_err(|_| SqlError::new(State::Internal, "pg_llm: a key could not be derived"))?;
        Ok(key)
    }
}

/// Authenticates the files of this machine's code cache.
///
/// A key of its own, which base backups leave out as they do the cache: a standby can make one, where a master key of its own would open nothing that the
/// primary has stored; and a master key that is missing, wrong or another in each session costs no code.
pub(crate) fn code_cache_key() -> Result<Derived, SqlError> {
    let path = data_directory::path().join(DIRECTORY).join("pgsql_tmp_code.key");
    let key = match read(&path)? {
        Some(key) => key,
        None => create(&path)?,
    };
    key.derive(b"pg_llm code cache v1")
}

fn configured() -> Result<Option<MasterKey>, SqlError> {
    if let Some(key) = gucs::master_key() {
        if gucs::is_readable_by_all(&key) {
            return Err(SqlError::new(State::SetUp, "pg_llm: every role can read pg_llm.master_key")
                .detail("The library is not preloaded, and a session that has not loaded it yet shows the setting to anybody.")
                .hint("Add pg_llm to shared_preload_libraries, or use pg_llm.master_key_file. A master key for one session is set after LOAD 'pg_llm'."));
        }
        return long_enough(key, "pg_llm.master_key").map(Some);
    }
    let Some(path) = gucs::master_key_file() else { return Ok(None) };
    match read(&path)? {
        Some(key) => Ok(Some(key)),
        None => Err(SqlError::new(State::SetUp, format!("pg_llm: the master key file \"{}\" does not exist", path.display()))
            .hint("Create it with at least 16 random bytes and mode 0600, or unset pg_llm.master_key_file.")),
    }
}

fn long_enough(key: Zeroizing<Vec<u8>>, source: &str) -> Result<MasterKey, SqlError> {
    if key.len() < FEWEST_BYTES {
        return Err(SqlError::new(
            State::SetUp,
            format!("pg_llm: {source} has {} bytes, and a key needs at least {FEWEST_BYTES}", key.len()),
        )
        .hint("Use random bytes, for instance of: openssl rand -base64 32"));
    }
    Ok(MasterKey(key))
}

fn default_path() -> PathBuf {
    data_directory::path().join(DIRECTORY).join("master.key")
}

fn read(path: &Path) -> Result<Option<MasterKey>, SqlError> {
    let wrong =
        |what: &str, hint: &str| SqlError::new(State::SetUp, format!("pg_llm: the key file \"{}\" {what}", path.display())).hint(hint);
    // O_NONBLOCK: a FIFO would block before its kind can be looked at.
    let mut file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unusable(path, "read", &e)),
    };
    let metadata = file.metadata().map_err(|e| unusable(path, "read", &e))?;
    if !metadata.is_file() {
        return Err(wrong("is not a file", "It must be a plain file."));
    }
    // SAFETY: cannot fail, touches nothing.
    let us = unsafe { libc::geteuid() };
    if metadata.uid() != us {
        return Err(wrong("does not belong to the server's user", "Change its owner with chown."));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(wrong("can be read or written by others", "Change its mode: chmod 0600."));
    }
    if metadata.len() > MOST_BYTES {
        return Err(wrong("is too large to be one", "A key file has 16 to 4096 bytes."));
    }
    // At once as large as the file, so that no copy stays behind in memory that a growing buffer left.
    let mut key = Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1));
    Read::by_ref(&mut file).take(MOST_BYTES).read_to_end(&mut key).map_err(|e| unusable(path, "read", &e))?;
    long_enough(key, &format!("the file \"{}\"", path.display())).map(Some)
}

/// Makes the key. Of several backends that do so at once one wins, and all use its key.
fn create(path: &Path) -> Result<MasterKey, SqlError> {
    let failed = |e: &std::io::Error| unusable(path, "create", e);
    let directory = data_directory::ours().map_err(|e| failed(&e))?;
    let mut key = Zeroizing::new(vec![0; KEY_BYTES]);
    SystemRandom::new().fill(&mut key).map_err(|_| SqlError::new(State::SetUp, "pg_llm: the system gives no random bytes"))?;

    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = directory.join(format!("{name}.{}.new", std::process::id()));
    // Left over from a process of the same id that died here.
    let _ = fs::remove_file(&temporary);
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).and_then(|mut file| {
        file.write_all(&key)?;
        file.sync_all()
    });
    // A hard link never replaces what is there.
    let linked = written.and_then(|()| fs::hard_link(&temporary, path));
    let _ = fs::remove_file(&temporary);
    match linked {
        Ok(()) => File::open(&directory).and_then(|d| d.sync_all()).map_err(|e| failed(&e))?,
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
        Err(e) => return Err(failed(&e)),
    }
    read(path)?.ok_or_else(|| SqlError::new(State::Io, format!("pg_llm: the key file \"{}\" vanished", path.display())))
}

fn unusable(path: &Path, verb: &str, error: &std::io::Error) -> SqlError {
    SqlError::new(State::Io, format!("pg_llm: could not {verb} the key file \"{}\": {error}", path.display()))
}
