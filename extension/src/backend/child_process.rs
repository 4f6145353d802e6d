//! A program that runs beside the backend for a while, and that neither harms nor outlives it.
//!
//! It inherits nothing but its three pipes: an empty environment, no descriptor, no signal disposition, a session of its own. It dies with us. The wait for it is
//! a wait like every other: a cancel ends it at once, with all its children.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use pg_llm_sandbox::interrupt::{Interest, Interrupt, Wake};
use pgrx::pg_sys;
use zeroize::Zeroizing;

/// What is kept of its standard error.
const WORDS_BYTES: usize = 1024;
/// Most bytes of one read.
const BLOCK_BYTES: usize = 64 << 10;

/// Why there is no answer.
pub(super) enum Trouble {
    /// The statement was interrupted.
    Stopped,
    /// The deadline passed.
    TimedOut,
    /// It says more than it may.
    TooLarge,
    /// A pipe broke, as when the process ends too early.
    Broken,
}

impl From<io::Error> for Trouble {
    fn from(_: io::Error) -> Self {
        Self::Broken
    }
}

/// The running program. Killed and reaped at the latest when dropped.
pub(super) struct ChildProcess {
    child: Child,
    /// The beginning of what it wrote to standard error.
    pub(super) words: Vec<u8>,
    reaped: bool,
}

impl ChildProcess {
    /// Starts a program that is given with its arguments.
    pub(super) fn start(mut command: Command) -> io::Result<Self> {
        command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let parent = std::process::id();
        // SAFETY: runs between fork and exec, and makes nothing but system calls.
        unsafe {
            command.pre_exec(move || {
                leave_the_backend_behind(parent);
                Ok(())
            });
        }
        // A FATAL ends us without unwinding.
        AT_EXIT.call_once(|| {
            // SAFETY: on the main thread; the callback lives as long as the process.
            unsafe { pg_sys::on_proc_exit(Some(kill_last), pg_sys::Datum::from(0)) }
        });
        let child = command.spawn()?;
        RUNNING.store(i32::try_from(child.id()).unwrap_or(0), Ordering::Relaxed);
        Ok(Self { child, words: Vec::new(), reaped: false })
    }

    /// Sends it its input, and reads its answer of at most this many bytes to the end. What is read is wiped wherever it is not handed on.
    pub(super) fn converse(
        &mut self,
        input: &[u8],
        most: usize,
        interrupt: &dyn Interrupt,
        deadline: Instant,
    ) -> Result<Zeroizing<Vec<u8>>, Trouble> {
        let broken = || io::Error::from(ErrorKind::BrokenPipe);
        let mut stdin = self.child.stdin.take().ok_or_else(broken)?;
        let mut stdout = self.child.stdout.take().ok_or_else(broken)?;
        let mut stderr = self.child.stderr.take().ok_or_else(broken)?;
        for fd in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
            rustix::io::ioctl_fionbio(fd, true).map_err(io::Error::from)?;
        }
        let result = (|| {
            send(&mut stdin, input, interrupt, deadline)?;
            // The end of its input.
            drop(stdin);
            // Small answers are secrets: all of their room at once, for a buffer that grows leaves copies behind.
            let mut output = Zeroizing::new(Vec::with_capacity(most.min(BLOCK_BYTES)));
            receive(&mut stdout, &mut output, most, interrupt, deadline)?;
            Ok(output)
        })();
        // What it said before it ended or gave up; without waiting for more.
        let mut words = vec![0; WORDS_BYTES];
        if let Ok(n) = stderr.read(&mut words) {
            words.truncate(n);
            self.words = words;
        }
        // The answer is complete when the process has closed its output; it then ends by itself, at once.
        while result.is_ok() && Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            if interrupt.wait(None, Instant::now() + Duration::from_millis(1)) == Wake::Stopped {
                return Err(Trouble::Stopped);
            }
        }
        result
    }

    /// Ends it where it still runs, and reaps it.
    pub(super) fn end(&mut self) -> Option<ExitStatus> {
        if !self.reaped {
            self.reaped = true;
            RUNNING.store(0, Ordering::Relaxed);
            if matches!(self.child.try_wait(), Ok(None)) {
                // Its whole session, should it have children; itself, should it not have got so far as to have one.
                if let Ok(pid) = libc::pid_t::try_from(self.child.id()) {
                    // SAFETY: a signal to the process group that the child leads and that no other can be, since the child is not reaped yet.
                    unsafe { libc::kill(-pid, libc::SIGKILL) };
                }
                let _ = self.child.kill();
            }
        }
        self.child.wait().ok()
    }
}

static AT_EXIT: Once = Once::new();

/// The one that runs, and leads a process group: there is never a second one.
static RUNNING: AtomicI32 = AtomicI32::new(0);

/// Called by Postgres when this process exits.
unsafe extern "C-unwind" fn kill_last(_: i32, _: pg_sys::Datum) {
    let pid = RUNNING.swap(0, Ordering::Relaxed);
    if pid > 0 {
        // SAFETY: signals to a child that is not reaped yet, and to the group that it leads.
        unsafe {
            libc::kill(-pid, libc::SIGKILL);
            libc::kill(pid, libc::SIGKILL);
        }
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        self.end();
    }
}

fn pause(on: BorrowedFd<'_>, interest: Interest, interrupt: &dyn Interrupt, deadline: Instant) -> Result<(), Trouble> {
    match interrupt.wait(Some((on, interest)), deadline) {
        Wake::Ready => Ok(()),
        Wake::TimedOut => Err(Trouble::TimedOut),
        Wake::Stopped => Err(Trouble::Stopped),
    }
}

fn send(to: &mut (impl Write + AsFd), mut bytes: &[u8], interrupt: &dyn Interrupt, deadline: Instant) -> Result<(), Trouble> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(e) if e.kind() == ErrorKind::WouldBlock => pause(to.as_fd(), Interest::Write, interrupt, deadline)?,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

fn receive(
    from: &mut (impl Read + AsFd),
    into: &mut Vec<u8>,
    most: usize,
    interrupt: &dyn Interrupt,
    deadline: Instant,
) -> Result<(), Trouble> {
    let mut block = Zeroizing::new(vec![0; BLOCK_BYTES.min(most + 1)]);
    loop {
        match from.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(n) if into.len() + n > most => return Err(Trouble::TooLarge),
            Ok(n) => into.extend_from_slice(&block[..n]),
            Err(e) if e.kind() == ErrorKind::WouldBlock => pause(from.as_fd(), Interest::Read, interrupt, deadline)?,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// The kernel's `sigaction`, of four words at most: no handler, no flags, nothing blocked.
const DEFAULT_ACTION: [u64; 4] = [0; 4];
/// The kernel's set of 64 signals, empty.
const NO_SIGNALS: [u64; 1] = [0];
const SIGNAL_SET_BYTES: usize = size_of_val(&NO_SIGNALS);

/// Between fork and exec: no signal disposition, process group or descriptor of the backend goes along.
fn leave_the_backend_behind(parent: u32) {
    // SAFETY: system calls only, each with valid arguments, each safe after fork. Failures leave the child less isolated and still correct, except where noted.
    unsafe {
        // Postgres signals whole process groups, and its handlers are not ours to run.
        libc::setsid();
        // By the kernel's own calls: the C library keeps two signals to itself, and a parent of the server that ignored them has left them so to us all.
        for signal in 1..=libc::SIGRTMAX() {
            libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT_ACTION.as_ptr(), std::ptr::null::<u64>(), SIGNAL_SET_BYTES);
        }
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, NO_SIGNALS.as_ptr(), std::ptr::null::<u64>(), SIGNAL_SET_BYTES);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        // The parent died before that was in force.
        if u32::try_from(libc::getppid()) != Ok(parent) {
            libc::_exit(1);
        }
        // Servers before 16 open files and sockets without close-on-exec. Marked and not closed: the standard library still needs one until exec.
        if libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) != 0 {
            let mut limit = libc::rlimit { rlim_cur: 1024, rlim_max: 1024 };
            libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
            for fd in 3..i32::try_from(limit.rlim_cur).unwrap_or(65_536).min(65_536) {
                libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
            }
        }
    }
}
