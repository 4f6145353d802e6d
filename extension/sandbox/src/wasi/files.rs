//! `wasi:filesystem/types`, which libraries import whether they open a file or not. A guest has no directory, so it never has a descriptor to call any of this
//! with: each function is there by name only, and a call of it is an error.

use wasmtime::component::{Linker, ResourceType};
use wasmtime_wasi::filesystem::Descriptor;

use crate::call::CallState;

/// A directory's entries. There are none.
struct Entries;

const FUNCTIONS: [&str; 29] = [
    "filesystem-error-code",
    "[method]descriptor.advise",
    "[method]descriptor.append-via-stream",
    "[method]descriptor.create-directory-at",
    "[method]descriptor.get-flags",
    "[method]descriptor.get-type",
    "[method]descriptor.is-same-object",
    "[method]descriptor.link-at",
    "[method]descriptor.metadata-hash",
    "[method]descriptor.metadata-hash-at",
    "[method]descriptor.open-at",
    "[method]descriptor.read",
    "[method]descriptor.read-directory",
    "[method]descriptor.read-via-stream",
    "[method]descriptor.readlink-at",
    "[method]descriptor.remove-directory-at",
    "[method]descriptor.rename-at",
    "[method]descriptor.set-size",
    "[method]descriptor.set-times",
    "[method]descriptor.set-times-at",
    "[method]descriptor.stat",
    "[method]descriptor.stat-at",
    "[method]descriptor.symlink-at",
    "[method]descriptor.sync",
    "[method]descriptor.sync-data",
    "[method]descriptor.unlink-file-at",
    "[method]descriptor.write",
    "[method]descriptor.write-via-stream",
    "[method]directory-entry-stream.read-directory-entry",
];

pub(super) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    let mut types = linker.instance("wasi:filesystem/types@0.2.12")?;
    types.resource("descriptor", ResourceType::host::<Descriptor>(), |_, _| Ok(()))?;
    types.resource("directory-entry-stream", ResourceType::host::<Entries>(), |_, _| Ok(()))?;
    for name in FUNCTIONS {
        types.func_new(name, |_, _, _, _| Err(wasmtime::Error::msg("it has no files")))?;
    }
    Ok(())
}
