//! Compiled code in files that only the server's user can touch.
//!
//! A file is the artefact, a keyed hash over it, the component's digest and the engine's name, and a magic word. wasmtime trusts what it deserialises,
//! so nothing is handed to it whose hash does not hold. A file that is missing, damaged or of another engine is simply not there.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use ring::hmac;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::code_memory::runs_in_place;
use crate::engine::ENGINE_ID;

/// SHA-256 of a component.
pub type Digest = [u8; 32];

const MAGIC: &[u8; 8] = b"pgllmc01";
const TRAILER: usize = 32 + MAGIC.len();

/// Files up to this length are copied into memory. A mapped file that somebody truncates or overwrites in place, as cp(1) does, brings down every backend that
/// runs it, and with it the server. Larger ones, which hold a JavaScript or Python engine, are mapped all the same: each backend would need as much memory.
const COPIED_BYTES: u64 = 4 << 20;

const DAY: Duration = Duration::from_hours(24);
/// Code that was loaded within this time stays.
const UNUSED: Duration = Duration::from_hours(30 * 24);

/// A directory of compiled components.
#[derive(Debug)]
pub struct CodeCache {
    dir: PathBuf,
    key: hmac::Key,
}

impl CodeCache {
    /// `key` should be known to this server alone.
    pub fn new(dir: impl Into<PathBuf>, key: &[u8; 32]) -> Self {
        Self { dir: dir.into(), key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// Where the code of a component is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(format!("{}-{ENGINE_ID}.cwasm", hex(digest)))
    }

    /// Whether its directory is there, or can be made, and takes files.
    pub fn check(&self) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.dir) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        let probe = self.dir.join(format!(".{}-check.tmp", std::process::id()));
        let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&probe);
        let _ = fs::remove_file(&probe);
        made.map(drop)
    }

    /// Writes a component's code, atomically. Two writers at once do no harm.
    pub fn store(&self, digest: &Digest, artefact: &[u8]) -> io::Result<()> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        match DirBuilder::new().mode(0o700).create(&self.dir) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        let temporary = self.dir.join(format!(".{}-{}.tmp", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(artefact)?;
            file.write_all(self.mac(digest, &mut &artefact[..], artefact.len() as u64)?.as_ref())?;
            file.write_all(MAGIC)?;
            file.sync_all()?;
            fs::rename(&temporary, self.path(digest))
        })();
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        self.sweep(SystemTime::now());
        written
    }

    /// Removes what nobody needs: code that no process has loaded for long, code for another engine, and what a process that died was writing. All of it can be
    /// made again, and a process that has loaded a file keeps it.
    fn sweep(&self, now: SystemTime) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let most = match name.strip_suffix(".cwasm") {
                Some(code) if code.ends_with(ENGINE_ID) => UNUSED,
                // Servers of two versions may share the directory while one takes the other's place.
                Some(_) => DAY,
                None if name.starts_with('.') && name.strip_suffix(".tmp").is_some() => DAY,
                None => continue,
            };
            let used = entry.metadata().and_then(|meta| meta.modified());
            if used.is_ok_and(|used| now.duration_since(used).is_ok_and(|age| age > most)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// A component's code, if there is a sound file of it.
    pub(crate) fn load(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        let (mut file, length) = open(&self.path(digest)).ok()?;
        tell_of_use(&file);
        if length <= COPIED_BYTES {
            let mut bytes = Vec::with_capacity(usize::try_from(length).ok()?);
            file.take(length).read_to_end(&mut bytes).ok()?;
            let code = &bytes[..bytes.len().checked_sub(TRAILER)?];
            self.verify(digest, &mut &bytes[..], code.len() as u64).ok()?;
            // SAFETY: these very bytes are our own compiler's output, as the hash under this server's key proves.
            return unsafe { deserialize(engine, code) }.ok();
        }
        self.verify(digest, &mut file, length.checked_sub(TRAILER as u64)?).ok()?;
        // The file by its descriptor, so that it is the one that was verified.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        // SAFETY: we wrote these bytes from our own compiler's output, as the hash under this server's key proves, and the directory is closed to others.
        unsafe { Component::deserialize_file(engine, Path::new(&path)) }.ok()
    }

    /// Reads code of so many bytes, and what stands behind it.
    fn verify(&self, digest: &Digest, from: &mut impl Read, code: u64) -> io::Result<()> {
        let mac = self.mac(digest, from, code)?;
        let mut trailer = [0; TRAILER];
        from.read_exact(&mut trailer)?;
        if trailer[..32] == *mac.as_ref() && trailer[32..] == *MAGIC { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    fn mac(&self, digest: &Digest, from: &mut impl Read, mut left: u64) -> io::Result<hmac::Tag> {
        let mut mac = hmac::Context::with_key(&self.key);
        mac.update(ENGINE_ID.as_bytes());
        mac.update(digest);
        let mut block = vec![0; 64 << 10];
        while left > 0 {
            let most = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let n = from.read(&mut block[..most])?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            mac.update(&block[..n]);
            left -= n as u64;
        }
        Ok(mac.sign())
    }
}

/// Sets a file's time to now, once a day: by it [`CodeCache::sweep`] knows what is used.
fn tell_of_use(file: &File) {
    let now = SystemTime::now();
    let used = file.metadata().and_then(|meta| meta.modified());
    if used.is_ok_and(|used| now.duration_since(used).is_ok_and(|age| age > DAY)) {
        let _ = file.set_modified(now);
    }
}

/// A plain file and its length.
fn open(path: &Path) -> io::Result<(File, u64)> {
    // O_NONBLOCK: a FIFO would block before its kind can be looked at.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let meta = file.metadata()?;
    if meta.is_file() { Ok((file, meta.len())) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Code that is part of this program, or that was compiled a moment ago.
///
/// # Safety
/// `artefact` must be the output of [`crate::compile`], unchanged.
pub(crate) unsafe fn deserialize(engine: &Engine, artefact: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the caller's promise.
    unsafe { Component::deserialize(engine, artefact) }
}

/// Code that is part of this program, run where it is if it is aligned to a page, else from a copy.
///
/// # Safety
/// As [`deserialize`].
pub(crate) unsafe fn deserialize_in_place(engine: &Engine, artefact: &'static [u8]) -> wasmtime::Result<Component> {
    // SAFETY: the caller's promise; static memory that is read-only outlives every use.
    unsafe {
        if runs_in_place(artefact) {
            Component::deserialize_raw(engine, NonNull::from(artefact))
        } else {
            Component::deserialize(engine, artefact)
        }
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, b| {
        let _ = write!(text, "{b:02x}");
        text
    })
}

/// A digest from its hexadecimal form; none for anything else.
pub fn unhex(text: &str) -> Option<Digest> {
    let digits = text.as_bytes();
    let mut digest = Digest::default();
    if digits.len() != 2 * digest.len() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> Digest {
    let mut digest = [0; 32];
    digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    digest
}
