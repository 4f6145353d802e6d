//! Key files in the data directory: made once, replaced whole, never lost.
//!
//! | file of `pg_llm/` | what |
//! |---|---|
//! | `master.key` | the master key that is in use where no setting names another |
//! | `master.key.next` | the one that a rotation takes, where the administrator has put it there |
//! | `master.key.ID` | former ones, kept for the rows that they have encrypted |
//! | `pgsql_tmp_code.key` | authenticates this machine's code cache; base backups leave it out |

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::data_directory::{self, DIRECTORY};
use super::errors::{SqlError, State};
use super::master_key::{Derived, FEWEST_BYTES, MOST_BYTES, MasterKey};
use super::secret_file::{self, Unfit};

/// Bytes of a key that is made here.
const KEY_BYTES: usize = 32;
const MASTER_KEY: &str = "master.key";
const NEXT: &str = "master.key.next";
/// How the name of a file ends that is being written.
const UNFINISHED: &str = ".new";

/// Authenticates the files of this machine's code cache.
///
/// A key of its own, which base backups leave out as they do the cache: a standby can make one, where a master key of its own would open nothing that the
/// primary has stored; and a master key that is missing, wrong or another in each session costs no code.
pub(crate) fn code_cache_key() -> Result<Derived, SqlError> {
    let path = path_of("pgsql_tmp_code.key");
    let key = match read(&path)? {
        Some(key) => key,
        None => create(&path)?,
    };
    key.for_code_cache()
}

/// The master key of the data directory.
pub(super) fn master_key() -> Result<Option<MasterKey>, SqlError> {
    read(&path_of(MASTER_KEY))
}

/// The same; made when there is none.
pub(super) fn master_key_or_new() -> Result<MasterKey, SqlError> {
    match master_key()? {
        Some(key) => Ok(key),
        None => create(&path_of(MASTER_KEY)),
    }
}

/// All files of the data directory that may hold a master key, whichever is in use.
pub(super) fn master_key_files() -> Result<Vec<PathBuf>, SqlError> {
    let directory = data_directory::path().join(DIRECTORY);
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(unusable(&directory, "read", &e)),
    };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.strip_prefix(MASTER_KEY).is_some_and(|rest| rest.is_empty() || (rest.starts_with('.') && !rest.ends_with(UNFINISHED)))
        })
        .map(|entry| entry.path())
        .collect();
    files.sort();
    Ok(files)
}

/// Puts another key in the place of `master.key`, which stays under its id. Whoever comes between two of the steps finds all keys, and so does who comes after a
/// crash there. Under the rotation's lock.
pub(super) fn replace_master_key() -> Result<MasterKey, SqlError> {
    let (path, next) = (path_of(MASTER_KEY), path_of(NEXT));
    let failed = |e: &io::Error| unusable(&path, "replace", e);
    let directory = data_directory::ours().map_err(|e| failed(&e))?;
    remove_unfinished(&directory);
    let Some(former) = read(&path)? else {
        // The administrator's, or the very first.
        return match read(&next)? {
            Some(key) => fs::rename(&next, &path).and_then(|()| sync(&directory)).map_err(|e| failed(&e)).map(|()| key),
            None => create(&path),
        };
    };
    let retired = path_of(&format!("{MASTER_KEY}.{}", former.id()?));
    match fs::hard_link(&path, &retired) {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            if read(&retired)?.is_none_or(|kept| !kept.is(&former)) {
                return Err(SqlError::new(
                    State::SetUp,
                    format!("pg_llm: the key file \"{}\" holds another key than its name says", retired.display()),
                )
                .hint("Rename it: nothing else could keep the key that is in use now."));
            }
        }
        Err(e) => return Err(failed(&e)),
    }
    // Before the key is replaced, it must be certain that it is kept.
    sync(&directory).map_err(|e| failed(&e))?;
    let key = if let Some(key) = read(&next)? {
        fs::rename(&next, &path).map_err(|e| failed(&e))?;
        key
    } else {
        let temporary = write_new(&path).map_err(|e| failed(&e))?;
        fs::rename(&temporary, &path).map_err(|e| failed(&e))?;
        read(&path)?.ok_or_else(|| vanished(&path))?
    };
    // Before a row is encrypted with it.
    sync(&directory).map_err(|e| failed(&e))?;
    Ok(key)
}

/// Reads a file of at least as many bytes as a key needs; none where there is no file.
pub(super) fn read(path: &Path) -> Result<Option<MasterKey>, SqlError> {
    match secret_file::read(path, MOST_BYTES) {
        Ok(key) => MasterKey::new(key, &format!("the file \"{}\"", path.display())).map(Some),
        Err(Unfit::Missing) => Ok(None),
        Err(Unfit::TooLarge(_)) => {
            Err(SqlError::new(State::SetUp, format!("pg_llm: the key file \"{}\" is too large to be one", path.display()))
                .hint(format!("A key file has {FEWEST_BYTES} to {MOST_BYTES} bytes.")))
        }
        Err(unfit) => Err(unfit.error(&format!("the key file \"{}\"", path.display()))),
    }
}

/// Makes the key. Of several backends that do so at once one wins, and all use its key.
fn create(path: &Path) -> Result<MasterKey, SqlError> {
    let failed = |e: &io::Error| unusable(path, "create", e);
    let directory = data_directory::ours().map_err(|e| failed(&e))?;
    let temporary = write_new(path).map_err(|e| failed(&e))?;
    // A hard link never replaces what is there.
    let linked = fs::hard_link(&temporary, path);
    let _ = fs::remove_file(&temporary);
    match linked {
        Ok(()) => sync(&directory).map_err(|e| failed(&e))?,
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
        Err(e) => return Err(failed(&e)),
    }
    read(path)?.ok_or_else(|| vanished(path))
}

/// Writes random bytes to a file of another name, to the disk.
fn write_new(path: &Path) -> io::Result<PathBuf> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    SystemRandom::new().fill(key.as_mut()).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!("{name}.{}{UNFINISHED}", std::process::id()));
    // Left over from a process of the same id that died here.
    let _ = fs::remove_file(&temporary);
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).and_then(|mut file| {
        file.write_all(key.as_ref())?;
        file.sync_all()
    });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.map(|()| temporary)
}

/// Removes what processes left that died while they wrote a key. It encrypts nothing yet.
fn remove_unfinished(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let writer = name.strip_prefix(MASTER_KEY).and_then(|rest| rest.strip_prefix('.')?.strip_suffix(UNFINISHED)?.parse::<i32>().ok());
        if let Some(writer) = writer.and_then(rustix::process::Pid::from_raw)
            && rustix::process::test_kill_process(writer) == Err(rustix::io::Errno::SRCH)
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn path_of(name: &str) -> PathBuf {
    data_directory::path().join(DIRECTORY).join(name)
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn vanished(path: &Path) -> SqlError {
    SqlError::new(State::Io, format!("pg_llm: the key file \"{}\" vanished", path.display()))
}

fn unusable(path: &Path, verb: &str, error: &io::Error) -> SqlError {
    SqlError::new(State::Io, format!("pg_llm: could not {verb} the key file \"{}\": {error}", path.display()))
}
