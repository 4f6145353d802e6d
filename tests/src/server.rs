//! The postmaster of one data directory.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    net::{Ipv4Addr, TcpListener},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{DEADLINE, Installation, account::Account, eventually};

/// How to end a server.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shutdown {
    Fast,
    Immediate,
}

/// A server that runs, or ran.
#[derive(Debug)]
pub(crate) struct Server {
    data: PathBuf,
    log: PathBuf,
    pub(crate) sockets: PathBuf,
    pub(crate) port: u16,
    environment: Vec<(String, String)>,
    postmaster: Mutex<Option<Child>>,
}

impl Server {
    /// For a data directory that exists; `sockets` belongs to the server's account. Starts it.
    pub(crate) fn start(data: PathBuf, log: PathBuf, sockets: PathBuf, environment: Vec<(String, String)>) -> Self {
        let mut server = Self { data, log, sockets, port: 0, environment, postmaster: Mutex::default() };
        // Between finding a port free and using it, somebody else may.
        for _ in 0..10 {
            server.port = free_port();
            let placement = format!("port = {}\nunix_socket_directories = '{}'\n", server.port, server.sockets.display());
            server.configure(&placement);
            if server.try_start() {
                return server;
            }
            assert!(server.log().contains("Address already in use"), "the server does not start:\n{}", server.log());
        }
        panic!("no free port:\n{}", server.log());
    }

    /// Adds to `postgresql.conf`.
    pub(crate) fn configure(&self, lines: &str) {
        configure(&self.data, lines);
    }

    fn postmaster(&self) -> MutexGuard<'_, Option<Child>> {
        self.postmaster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Starts what is stopped, on the same port.
    pub(crate) fn start_again(&self) {
        assert!(self.try_start(), "the server does not start:\n{}", self.log());
    }

    fn try_start(&self) -> bool {
        let mut postmaster = self.postmaster();
        assert!(postmaster.is_none(), "the server runs already");
        let log = open_log(&self.log);
        let mut command = Account::of_servers().command(Installation::of_tests().program("postgres"));
        command.arg("-D").arg(&self.data).current_dir(&self.data).process_group(0);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle of the log")).stderr(log);
        let mut child = command.spawn().expect("the server's program");
        let mut ended = false;
        let ready = eventually(DEADLINE, || {
            ended = child.try_wait().is_ok_and(|status| status.is_some());
            ended || is_ready(&self.data, child.id())
        });
        if ended {
            return false;
        }
        *postmaster = Some(child);
        assert!(ready, "the server is not ready in time:\n{}", self.log());
        true
    }

    /// The postmaster's process, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.postmaster().as_ref().map(Child::id)
    }

    pub(crate) fn stop(&self, shutdown: Shutdown) {
        let mut postmaster = self.postmaster();
        let Some(mut child) = postmaster.take() else { return };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let signal = |signal| pid.map(|pid| kill_process(pid, signal));
        let ended = |child: &mut Child, deadline| eventually(deadline, || child.try_wait().is_ok_and(|status| status.is_some()));
        match shutdown {
            Shutdown::Fast => {
                signal(Signal::INT);
                if ended(&mut child, DEADLINE) {
                    return;
                }
                drop(postmaster);
                panic!("the server does not stop:\n{}", self.log());
            }
            Shutdown::Immediate => {
                signal(Signal::QUIT);
                if !ended(&mut child, Duration::from_secs(10)) {
                    let _ = child.kill();
                    let _ = child.wait();
                }
            }
        }
    }
}

/// Adds to the `postgresql.conf` of a data directory.
pub(crate) fn configure(data: &Path, lines: &str) {
    let mut file = OpenOptions::new().append(true).open(data.join("postgresql.conf")).expect("postgresql.conf");
    file.write_all(lines.as_bytes()).expect("our own file");
}

pub(crate) fn open_log(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).expect("a log in our own folder")
}

/// The eighth line of the lock file is the postmaster's own word.
fn is_ready(data: &Path, pid: u32) -> bool {
    let lock = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let mut lines = lock.lines().map(str::trim);
    lines.next() == Some(&pid.to_string()) && lines.nth(6) == Some("ready")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port on loopback");
    listener.local_addr().expect("a bound socket has an address").port()
}
