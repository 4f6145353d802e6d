//! Temporary folders that never stay behind.

use std::{
    fs, io,
    os::unix::{
        fs::{DirBuilderExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::account::Account;

/// The longest path of a folder: `sockaddr_un` takes 107 bytes, and the socket's name some of them.
const LONGEST: usize = 80;

/// A temporary folder. When it is dropped, or when this process ends in whatever way (SIGKILL too), a process of its own
/// ends all that runs in the folder and removes it.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    reaper: Child,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let path = unique_folder();
        let mut reaper = Command::new("/bin/sh");
        reaper.args(["-c", include_str!("reaper.sh"), "reaper"]).arg(&path).current_dir("/");
        // A process group of its own: an interrupt from the terminal is for us.
        reaper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let reaper = reaper.spawn().expect("/bin/sh");
        Self { path, reaper }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A folder in it that belongs to the server's account.
    pub(crate) fn private(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        fs::DirBuilder::new().mode(0o700).create(&path).expect("a folder in a new folder");
        Account::of_servers().own(&path);
        path
    }

    /// A file in it that the server may read.
    pub(crate) fn lend(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path.join(name);
        fs::write(&path, bytes).expect("a file in our own folder");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a mode for our own file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.reaper.stdin.take());
        let _ = self.reaper.wait();
    }
}

fn unique_folder() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let parents = [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()];
    let parent = parents.iter().filter_map(|path| path.canonicalize().ok()).find(|path| suits(path));
    let parent = parent.expect("a folder for temporary files that other users may pass through");
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("pg_llm-{}-{number}", std::process::id()));
        match fs::DirBuilder::new().mode(0o755).create(&path) {
            Ok(()) => {
                // Whatever the umask says.
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode for our own folder");
                return path;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }
}

fn suits(parent: &Path) -> bool {
    let passable = |path: &Path| fs::metadata(path).is_ok_and(|folder| folder.permissions().mode() & 0o001 != 0);
    parent.as_os_str().len() < LONGEST - 25 && (Account::of_servers() == Account::Ourselves || parent.ancestors().all(passable))
}
