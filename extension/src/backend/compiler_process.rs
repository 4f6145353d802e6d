//! Runs `pg_llm_compiler`, the program that checks and compiles an uploaded component.
//!
//! A process of its own, because compiling hostile input must not be able to crash, bloat or wedge a backend. It inherits nothing but its three pipes and
//! dies with us. The wait for it is a wait like every other: a cancel ends it at once.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use pg_llm_sandbox::interrupt::{Interest, Interrupt, Wake};
use pg_llm_sandbox::report::{Report, Verdict};

use super::data_directory;
use super::errors::{Failure, SqlError, State};
use super::gucs;
use super::interrupts::MainThread;

/// Beside our library.
const PROGRAM: &str = "pg_llm_compiler";
/// Most bytes of a verdict.
const VERDICT_BYTES: usize = 4 << 20;
/// Most bytes of compiled code.
const ARTEFACT_BYTES: usize = 1 << 30;
/// What of its standard error goes into DETAIL.
const STDERR_BYTES: usize = 1024;

/// A component that was accepted.
pub(crate) struct Compiled {
    pub(crate) report: Report,
    /// As it came from the compiler, for the code cache and for loading.
    pub(crate) artefact: Vec<u8>,
}

/// Compiles `wasm`. Ends with the statement's interrupts and with `pg_llm.compile_timeout_ms`.
pub(crate) fn compile(wasm: &[u8]) -> Result<Compiled, Failure> {
    let timeout = gucs::compile_timeout();
    let interrupt = MainThread::new();
    let mut compiler = Compiler::start(timeout)?;
    let answer = compiler.converse(wasm, &*interrupt, Instant::now() + timeout);
    // Reaps it, and kills it first where it still runs.
    let ended = compiler.end();
    interrupt.settle()?;
    match answer {
        Ok(output) if ended.as_ref().is_some_and(ExitStatus::success) => Ok(understand(&output)?),
        Ok(_) | Err(Trouble::Broken) => Err(broke(&compiler, ended).into()),
        Err(Trouble::TimedOut) => {
            Err(SqlError::new(State::Guest, format!("pg_llm: compiling the module took longer than {} ms", timeout.as_millis()))
                .hint("A superuser can raise pg_llm.compile_timeout_ms.")
                .into())
        }
        Err(Trouble::TooLarge) => Err(SqlError::new(State::TooLarge, "pg_llm: the compiled module is too large").into()),
        Err(Trouble::Stopped) => Err(SqlError::new(State::Internal, "pg_llm: internal error: stopped without a cause").into()),
    }
}

fn understand(output: &[u8]) -> Result<Compiled, SqlError> {
    let garbled = || {
        SqlError::new(State::Guest, "pg_llm: the compiler's answer cannot be understood")
            .hint("Is pg_llm_compiler of the same version as the library?")
    };
    let (length, rest) = output.split_first_chunk::<4>().ok_or_else(garbled)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| garbled())?;
    let (verdict, artefact) = rest.split_at_checked(length).filter(|_| length <= VERDICT_BYTES).ok_or_else(garbled)?;
    match serde_json::from_slice(verdict).map_err(|_| garbled())? {
        Verdict::Accepted(report) => Ok(Compiled { report, artefact: artefact.to_vec() }),
        // Not what was asked for.
        Verdict::AcceptedFilter(_) => Err(garbled()),
        Verdict::Refused(refusal) => {
            let error = SqlError::new(State::InvalidArgument, format!("pg_llm: the module was refused: {}", refusal.reason));
            Err(match refusal.hint {
                Some(hint) => error.hint(hint),
                None => error,
            })
        }
    }
}

fn broke(compiler: &Compiler, ended: Option<ExitStatus>) -> SqlError {
    let mut detail = match ended {
        Some(status) => match status.signal() {
            Some(libc::SIGXCPU) => "It needed too much processor time.".to_owned(),
            _ => format!("It ended with {status}."),
        },
        None => String::new(),
    };
    if !compiler.stderr.is_empty() {
        let _ = write!(detail, " It said: {}", String::from_utf8_lossy(&compiler.stderr).trim());
    }
    SqlError::new(State::Guest, "pg_llm: the module could not be compiled: the compiler process broke down")
        .detail(detail)
        .hint("Components that hold an interpreter may need more than pg_llm.compile_memory_mb.")
}

enum Trouble {
    Stopped,
    TimedOut,
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
struct Compiler {
    child: Child,
    stderr: Vec<u8>,
    reaped: bool,
}

impl Compiler {
    fn start(timeout: Duration) -> Result<Self, SqlError> {
        let program = data_directory::library_directory().join(PROGRAM);
        let mut command = Command::new(&program);
        command
            .arg((gucs::compile_memory_bytes() >> 20).to_string())
            .arg((timeout.as_secs() + 1).to_string())
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let parent = std::process::id();
        // SAFETY: runs between fork and exec, and makes nothing but system calls.
        unsafe {
            command.pre_exec(move || {
                leave_the_backend_behind(parent);
                Ok(())
            });
        }
        let child = command.spawn().map_err(|e| {
            SqlError::new(State::SetUp, format!("pg_llm: the compiler program \"{}\" could not be started: {e}", program.display()))
                .hint("It is installed beside the extension's library.")
        })?;
        Ok(Self { child, stderr: Vec::new(), reaped: false })
    }

    /// Sends the component, and reads the answer to its end.
    fn converse(&mut self, wasm: &[u8], interrupt: &dyn Interrupt, deadline: Instant) -> Result<Vec<u8>, Trouble> {
        let broken = || io::Error::from(ErrorKind::BrokenPipe);
        let mut stdin = self.child.stdin.take().ok_or_else(broken)?;
        let mut stdout = self.child.stdout.take().ok_or_else(broken)?;
        let mut stderr = self.child.stderr.take().ok_or_else(broken)?;
        for fd in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
            rustix::io::ioctl_fionbio(fd, true).map_err(io::Error::from)?;
        }
        let result = (|| {
            send(&mut stdin, wasm, interrupt, deadline)?;
            // The end of its input.
            drop(stdin);
            let mut output = Vec::new();
            receive(&mut stdout, &mut output, 4 + VERDICT_BYTES + ARTEFACT_BYTES, interrupt, deadline)?;
            Ok(output)
        })();
        // What it said before it ended or gave up; without waiting for more.
        let mut words = vec![0; STDERR_BYTES];
        if let Ok(n) = stderr.read(&mut words) {
            words.truncate(n);
            self.stderr = words;
        }
        // The answer is complete when the process has closed its output; it then ends by itself, at once.
        while result.is_ok() && Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            if interrupt.wait(None, Instant::now() + Duration::from_millis(1)) == Wake::Stopped {
                return Err(Trouble::Stopped);
            }
        }
        result
    }

    fn end(&mut self) -> Option<ExitStatus> {
        if !self.reaped {
            self.reaped = true;
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

impl Drop for Compiler {
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
    let mut block = vec![0; 64 << 10];
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

/// Between fork and exec: no signal disposition, process group or descriptor of the backend goes along.
fn leave_the_backend_behind(parent: u32) {
    // SAFETY: system calls only, each with valid arguments, each safe after fork. Failures leave the child less isolated and still correct, except where noted.
    unsafe {
        // Postgres signals whole process groups, and its handlers are not ours to run.
        libc::setsid();
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
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
