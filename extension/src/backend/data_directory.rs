//! Our directory in the server's data directory: the master key and the code cache.

use std::ffi::CStr;
use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::PathBuf;

use pgrx::pg_sys;

/// Its name.
pub(crate) const DIRECTORY: &str = "pg_llm";

/// The server's data directory.
pub(crate) fn path() -> PathBuf {
    // SAFETY: set at start-up to a NUL-terminated path, and never changed.
    let directory = unsafe { CStr::from_ptr(pg_sys::DataDir) };
    PathBuf::from(std::ffi::OsStr::from_bytes(directory.to_bytes()))
}

/// Our directory; made when it is missing, for the server's user alone.
pub(crate) fn ours() -> io::Result<PathBuf> {
    let ours = path().join(DIRECTORY);
    match DirBuilder::new().mode(0o700).create(&ours) {
        Ok(()) => fs::File::open(path())?.sync_all()?,
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
        Err(e) => return Err(e),
    }
    let metadata = fs::symlink_metadata(&ours)?;
    // SAFETY: cannot fail, touches nothing.
    let us = unsafe { libc::geteuid() };
    if !metadata.is_dir() || metadata.uid() != us || metadata.mode() & 0o077 != 0 {
        return Err(io::Error::new(ErrorKind::PermissionDenied, "the directory pg_llm must belong to the server's user, with mode 0700"));
    }
    Ok(ours)
}

/// Where the server's loadable libraries are, and the compiler program beside them.
pub(crate) fn library_directory() -> PathBuf {
    // SAFETY: a NUL-terminated buffer in the server, set at start-up; bindgen does not know its length.
    let directory = unsafe { CStr::from_ptr((&raw const pg_sys::pkglib_path).cast()) };
    PathBuf::from(std::ffi::OsStr::from_bytes(directory.to_bytes()))
}
