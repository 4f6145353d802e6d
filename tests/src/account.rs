//! Who runs the servers: Postgres refuses to be root.

use std::{fs, os::unix::process::CommandExt, path::Path, process::Command, sync::OnceLock};

/// Ourselves, or when we are root an unprivileged account that the machine has already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Account {
    Ourselves,
    Other { uid: u32, gid: u32 },
}

impl Account {
    pub(crate) fn of_servers() -> Self {
        static ACCOUNT: OnceLock<Account> = OnceLock::new();
        *ACCOUNT.get_or_init(|| {
            if !rustix::process::geteuid().is_root() {
                return Self::Ourselves;
            }
            let accounts = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
            let found = ["nobody", "postgres", "daemon"].iter().find_map(|name| unprivileged(&accounts, name));
            let (uid, gid) = found.expect("root needs an unprivileged account (nobody, postgres, daemon) for the server to run as");
            Self::Other { uid, gid }
        })
    }

    /// A program to be run as this account, with an environment that holds nothing of ours: no proxy, no
    /// `RUST_BACKTRACE`, no `PG*`.
    pub(crate) fn command(self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        // What a wheel's or a sanitizer's build may need.
        for kept in ["LD_LIBRARY_PATH", "LLVM_PROFILE_FILE", "ASAN_OPTIONS"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        if let Self::Other { uid, gid } = self {
            // This drops the supplementary groups, too.
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Gives a file or folder to the account.
    pub(crate) fn own(self, path: &Path) {
        if let Self::Other { uid, gid } = self {
            std::os::unix::fs::chown(path, Some(uid), Some(gid)).expect("root may give files away");
        }
    }

    /// Whether the account may read all of these, and run the programs among them.
    pub(crate) fn reaches(self, paths: &[&Path]) -> bool {
        let mut test = self.command("/bin/sh");
        test.args(["-c", "for path; do [ -r \"$path\" ] || exit 1; done", "sh"]).args(paths).current_dir("/");
        test.status().is_ok_and(|status| status.success())
    }
}

fn unprivileged(accounts: &str, name: &str) -> Option<(u32, u32)> {
    let mut fields = accounts.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?.split(':').skip(1);
    let uid = fields.next()?.parse().ok().filter(|uid| *uid != 0)?;
    Some((uid, fields.next()?.parse().ok()?))
}
