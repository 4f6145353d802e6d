//! Executable memory, also where wasmtime does not own it.
//!
//! Built-in code is part of the server's library and is run where the loader mapped it: every backend shares those pages with all others, and nothing is
//! copied. wasmtime makes only memory of its own executable, so it is told how.

use std::io;

use wasmtime::CustomCodeMemory;

/// What code must be aligned to. Larger pages than this do not occur on the processors that code is compiled for, but for some ARM servers: see [`page_bytes`].
pub(crate) const ALIGNMENT: usize = 4096;

/// mprotect(2).
pub(crate) struct Protect;

impl CustomCodeMemory for Protect {
    fn required_alignment(&self) -> usize {
        ALIGNMENT
    }

    fn publish_executable(&self, ptr: *const u8, len: usize) -> wasmtime::Result<()> {
        protect(ptr, len, libc::PROT_READ | libc::PROT_EXEC)
    }

    fn unpublish_executable(&self, ptr: *const u8, len: usize) -> wasmtime::Result<()> {
        protect(ptr, len, libc::PROT_READ)
    }
}

fn protect(ptr: *const u8, len: usize, protection: libc::c_int) -> wasmtime::Result<()> {
    // SAFETY: wasmtime hands over the page-aligned text of code that it holds; giving up write access, or the right to execute what no longer runs, harms nobody.
    if unsafe { libc::mprotect(ptr.cast_mut().cast(), len.next_multiple_of(ALIGNMENT), protection) } != 0 {
        return Err(wasmtime::Error::from(io::Error::last_os_error()));
    }
    Ok(())
}

/// Whether `artefact` can be run where it is.
pub(crate) fn runs_in_place(artefact: &[u8]) -> bool {
    (artefact.as_ptr() as usize).is_multiple_of(ALIGNMENT) && page_bytes() == ALIGNMENT
}

fn page_bytes() -> usize {
    rustix::param::page_size()
}
