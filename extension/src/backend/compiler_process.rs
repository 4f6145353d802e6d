//! Runs `pg_llm_compiler`, the program that checks and compiles an uploaded component.
//!
//! A process of its own, because compiling hostile input must not be able to crash, bloat or wedge a backend. See [`super::child_process`] for what
//! it inherits and how it ends.

use std::fmt::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use pg_llm_sandbox::report::{Report, Verdict};

use super::child_process::{ChildProcess, Trouble};
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
    let mut compiler = start(timeout)?;
    let answer = compiler.converse(wasm, 4 + VERDICT_BYTES + ARTEFACT_BYTES, &*interrupt, Instant::now() + timeout);
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

fn broke(compiler: &ChildProcess, ended: Option<ExitStatus>) -> SqlError {
    let mut detail = match ended {
        Some(status) => match status.signal() {
            Some(libc::SIGXCPU) => "It needed too much processor time.".to_owned(),
            _ => format!("It ended with {status}."),
        },
        None => String::new(),
    };
    if !compiler.words.is_empty() {
        let _ = write!(detail, " It said: {}", String::from_utf8_lossy(&compiler.words).trim());
    }
    SqlError::new(State::Guest, "pg_llm: the module could not be compiled: the compiler process broke down")
        .detail(detail)
        .hint("Components that hold an interpreter may need more than pg_llm.compile_memory_mb.")
}

fn start(timeout: Duration) -> Result<ChildProcess, SqlError> {
    let program = data_directory::library_directory().join(PROGRAM);
    let mut command = Command::new(&program);
    command.arg((gucs::compile_memory_bytes() >> 20).to_string()).arg((timeout.as_secs() + 1).to_string());
    ChildProcess::start(command).map_err(|e| {
        SqlError::new(State::SetUp, format!("pg_llm: the compiler program \"{}\" could not be started: {e}", program.display()))
            .hint("It is installed beside the extension's library.")
    })
}
