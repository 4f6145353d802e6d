//! Runs `pg_llm_compiler`, the program that checks and compiles an uploaded component.
//!
//! A process of its own, because compiling hostile input must not be able to crash, bloat or wedge a backend. See [`super::child_process`] for what
//! it inherits and how it ends.

use std::fmt::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use pg_llm_sandbox::report::{Description, FilterDescription, Inspection, Report, Verdict};
use pg_llm_sandbox::{hex, sha256};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

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
pub(crate) struct Compiled<D> {
    pub(crate) report: Report<D>,
    /// As it came from the compiler, for the code cache and for loading.
    pub(crate) artefact: Vec<u8>,
    /// How long it took.
    pub(crate) elapsed: Duration,
}

/// A world of the contract, as the program is asked for it.
struct World<D> {
    /// What the program is told besides.
    argument: Option<&'static str>,
    accepted: fn(Verdict) -> Option<Report<D>>,
    /// What takes a component of the other world.
    other: &'static str,
}

/// Compiles a provider. Ends with the statement's interrupts and with `pg_llm.compile_timeout_ms`.
pub(crate) fn compile(wasm: &[u8]) -> Result<Compiled<Description>, Failure> {
    let accepted = |verdict| if let Verdict::Accepted(report) = verdict { Some(report) } else { None };
    compile_as(wasm, &World { argument: None, accepted, other: "This is a filter: pg_llm_add_filter() takes it." })
}

/// The same of a filter.
pub(crate) fn compile_filter(wasm: &[u8]) -> Result<Compiled<FilterDescription>, Failure> {
    let accepted = |verdict| if let Verdict::AcceptedFilter(report) = verdict { Some(report) } else { None };
    let other = "This is a provider: pg_llm_add_provider() takes it, and so does pg_llm_add_model(module => ...).";
    compile_as(wasm, &World { argument: Some("filter"), accepted, other })
}

fn compile_as<D>(wasm: &[u8], world: &World<D>) -> Result<Compiled<D>, Failure> {
    let started = Instant::now();
    let output = run(wasm, world.argument)?;
    let (verdict, artefact) = split(&output)?;
    match verdict {
        Verdict::Refused(refusal) => {
            let error = SqlError::new(State::InvalidArgument, format!("pg_llm: the module was refused: {}", refusal.reason));
            Err(Failure::Sql(match refusal.hint {
                _ if refusal.of_other_world => error.hint(world.other),
                Some(hint) => error.hint(hint),
                None => error,
            }))
        }
        // The other one is not what was asked for.
        verdict => match (world.accepted)(verdict) {
            Some(report) => Ok(Compiled { report, artefact: artefact.to_vec(), elapsed: started.elapsed() }),
            None => Err(garbled().into()),
        },
    }
}

/// Looks at `wasm` as [`compile`] would, and keeps nothing. Whatever would refuse it is no error here.
pub(crate) fn inspect(wasm: &[u8]) -> Result<Inspection, Failure> {
    match run(wasm, Some("inspect")) {
        Ok(output) => Ok(split(&output)?.0),
        Err(Failure::Sql(error)) if matches!(error.state, State::Guest | State::TooLarge) => Ok(not_accepted(wasm, error)),
        Err(failure) => Err(failure),
    }
}

/// What is known of a component that an upload would end in this error.
pub(crate) fn not_accepted(wasm: &[u8], error: SqlError) -> Inspection {
    let reason = error.message.strip_prefix("pg_llm: ").unwrap_or(&error.message).to_owned();
    Inspection { sha256: hex(&sha256(wasm)), size: wasm.len() as u64, reason: Some(reason), hint: error.hint, ..Inspection::default() }
}

/// What the program says of `wasm`, in full.
fn run(wasm: &[u8], argument: Option<&str>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let timeout = gucs::compile_timeout();
    let interrupt = MainThread::new();
    let mut compiler = start(timeout, argument)?;
    let answer = compiler.converse(wasm, 4 + VERDICT_BYTES + ARTEFACT_BYTES, &*interrupt, Instant::now() + timeout);
    // Reaps it, and kills it first where it still runs.
    let ended = compiler.end();
    interrupt.settle()?;
    match answer {
        Ok(output) if ended.as_ref().is_some_and(ExitStatus::success) => Ok(output),
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

/// The verdict and the code behind it.
fn split<V: DeserializeOwned>(output: &[u8]) -> Result<(V, &[u8]), SqlError> {
    let (length, rest) = output.split_first_chunk::<4>().ok_or_else(garbled)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| garbled())?;
    let (verdict, artefact) = rest.split_at_checked(length).filter(|_| length <= VERDICT_BYTES).ok_or_else(garbled)?;
    Ok((serde_json::from_slice(verdict).map_err(|_| garbled())?, artefact))
}

fn garbled() -> SqlError {
    SqlError::new(State::Guest, "pg_llm: the compiler's answer cannot be understood")
        .hint("Is pg_llm_compiler of the same version as the library?")
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

fn start(timeout: Duration, argument: Option<&str>) -> Result<ChildProcess, SqlError> {
    let program = data_directory::library_directory().join(PROGRAM);
    let mut command = Command::new(&program);
    command.arg((gucs::compile_memory_bytes() >> 20).to_string()).arg((timeout.as_secs() + 1).to_string()).args(argument);
    ChildProcess::start(command).map_err(|e| {
        SqlError::new(State::SetUp, format!("pg_llm: the compiler program \"{}\" could not be started: {e}", program.display()))
            .hint("It is installed beside the extension's library.")
    })
}
