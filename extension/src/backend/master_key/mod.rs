//! The master key: where it comes from, what is derived from it, and which others may still be needed.
//!
//! The one in use is, in this order, the setting `master_key`, what `master_key_command` prints, the file that `master_key_file` names, or `pg_llm/master.key`
//! of the data directory, which is made on first use: outside of the tables, so that neither a dump nor a table's file gives the API keys away; inside
//! the data directory, so that a base backup has it. What is encrypted says with which master key, so that rows of several can be opened at the same time.

mod command;
mod rotation;

use std::path::PathBuf;

use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

use super::errors::{Failure, SqlError, State};
use super::{gucs, key_file};

pub(crate) use rotation::{begin_rotation, rotate};

/// Bytes of every derived key.
const KEY_BYTES: usize = 32;
/// A key shorter than this is refused.
pub(super) const FEWEST_BYTES: usize = 16;
/// What is longer is no key.
pub(super) const MOST_BYTES: u64 = 4096;

/// A key derived for one purpose.
pub(crate) type Derived = Zeroizing<[u8; KEY_BYTES]>;

/// The secret that everything is derived from.
pub(crate) struct MasterKey(Zeroizing<Vec<u8>>);

/// A master key that this server has, or why it cannot have it.
pub(crate) struct Known {
    /// Where it is, in words.
    pub(crate) source: String,
    pub(crate) is_current: bool,
    pub(crate) key: Result<MasterKey, SqlError>,
}

impl MasterKey {
    /// Takes the bytes of `source` as a key.
    pub(super) fn new(key: Zeroizing<Vec<u8>>, source: &str) -> Result<Self, SqlError> {
        if key.len() < FEWEST_BYTES {
            return Err(SqlError::new(
                State::SetUp,
                format!("pg_llm: {source} has {} bytes, and a master key needs at least {FEWEST_BYTES}", key.len()),
            )
            .hint("Use random bytes, for instance of: openssl rand -base64 32"));
        }
        Ok(Self(key))
    }

    /// The key in use, asked for anew.
    pub(crate) fn current() -> Result<Option<Self>, Failure> {
        match configured() {
            Some(source) => source.key().map(Some),
            None => Ok(key_file::master_key()?),
        }
    }

    /// The same; the one in the data directory is made when there is none.
    pub(crate) fn current_or_new() -> Result<Self, Failure> {
        match configured() {
            Some(source) => source.key(),
            None => Ok(key_file::master_key_or_new()?),
        }
    }

    /// The key of this id, be it in use or a former one. An error where none is found and one of the places could not be looked into.
    pub(crate) fn of(id: &str) -> Result<Option<Self>, Failure> {
        let mut trouble = None;
        let mut is_wanted = |key: Result<MasterKey, SqlError>| match key.and_then(|key| Ok((key.id()? == id).then_some(key))) {
            Ok(found) => found,
            Err(error) => {
                trouble.get_or_insert(error);
                None
            }
        };
        match Self::current() {
            Ok(key) => {
                if let Some(key) = key.and_then(|key| is_wanted(Ok(key))) {
                    return Ok(Some(key));
                }
            }
            Err(Failure::Sql(error)) => {
                is_wanted(Err(error));
            }
            Err(raised @ Failure::Postgres(_)) => return Err(raised),
        }
        for path in former_files()? {
            if let Some(key) = is_wanted(read_former(&path)) {
                return Ok(Some(key));
            }
        }
        trouble.map_or(Ok(None), |error| Err(error.into()))
    }

    /// Encrypts the stored API keys.
    pub(crate) fn for_api_keys(&self) -> Result<Derived, SqlError> {
        self.derive(b"pg_llm api keys v1")
    }

    /// Authenticates the code cache.
    pub(super) fn for_code_cache(&self) -> Result<Derived, SqlError> {
        self.derive(b"pg_llm code cache v1")
    }

    /// Tells master keys apart without giving anything away.
    pub(crate) fn id(&self) -> Result<String, SqlError> {
        let id = self.derive(b"pg_llm key id v1")?;
        Ok(pg_llm_sandbox::hex(&id[..8]))
    }

    /// Whether both are the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        *self.0 == *other.0
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

/// All master keys that this server has: the one in use first, each once.
pub(crate) fn known() -> Result<Vec<Known>, Failure> {
    let mut all = Vec::new();
    let (source, key) = match configured() {
        Some(source) => (source.words(), source.key().map(Some)),
        None => ("pg_llm/master.key".to_owned(), key_file::master_key().map_err(Failure::from)),
    };
    match key {
        Ok(Some(key)) => all.push(Known { source, is_current: true, key: Ok(key) }),
        Ok(None) => {}
        Err(Failure::Sql(error)) => all.push(Known { source, is_current: true, key: Err(error) }),
        Err(raised @ Failure::Postgres(_)) => return Err(raised),
    }
    for path in former_files()? {
        let key = read_former(&path);
        let has = |known: &Known| matches!((&known.key, &key), (Ok(one), Ok(other)) if one.is(other));
        if !all.iter().any(has) {
            all.push(Known { source: path.display().to_string(), is_current: false, key });
        }
    }
    Ok(all)
}

/// A setting that names the key in use.
enum Configured {
    Setting(Zeroizing<Vec<u8>>),
    Command(String),
    File(PathBuf),
}

fn configured() -> Option<Configured> {
    gucs::master_key()
        .map(Configured::Setting)
        .or_else(|| gucs::master_key_command().map(Configured::Command))
        .or_else(|| gucs::master_key_file().map(Configured::File))
}

impl Configured {
    fn words(&self) -> String {
        match self {
            Self::Setting(_) => "pg_llm.master_key".to_owned(),
            Self::Command(_) => "pg_llm.master_key_command".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }

    fn key(self) -> Result<MasterKey, Failure> {
        match self {
            Self::Setting(key) => {
                if gucs::is_readable_by_all(&key) {
                    return Err(SqlError::new(State::SetUp, "pg_llm: every role can read pg_llm.master_key")
                        .detail("The library is not preloaded, and a session that has not loaded it yet shows the setting to anybody.")
                        .hint("Add pg_llm to shared_preload_libraries, or use pg_llm.master_key_file. A master key for one session is set after LOAD 'pg_llm'.")
                        .into());
                }
                Ok(MasterKey::new(key, "pg_llm.master_key")?)
            }
            Self::Command(line) => Ok(MasterKey::new(command::output(&line)?, "what pg_llm.master_key_command prints")?),
            Self::File(path) => key_file::read(&path)?.ok_or_else(|| {
                SqlError::new(State::SetUp, format!("pg_llm: the master key file \"{}\" does not exist", path.display()))
                    .hint("Create it with at least 16 random bytes and mode 0600, or unset pg_llm.master_key_file.")
                    .into()
            }),
        }
    }
}

/// Where former keys may be: as the administrator says, and in the data directory.
fn former_files() -> Result<Vec<PathBuf>, SqlError> {
    let mut files = gucs::former_master_key_files();
    files.extend(key_file::master_key_files()?);
    Ok(files)
}

fn read_former(path: &std::path::Path) -> Result<MasterKey, SqlError> {
    key_file::read(path)?.ok_or_else(|| {
        SqlError::new(State::SetUp, format!("pg_llm: the former master key file \"{}\" does not exist", path.display()))
            .hint("Bring it back, or take it out of pg_llm.former_master_key_files.")
    })
}
