//! `pg_llm.master_key_command`: a program that prints the master key, as from a key management service.
//!
//! No shell: the line is split into words, nothing in it is expanded, and the first word is the program's absolute path. Its environment is empty, its standard
//! input at its end. What it prints is the key, less line breaks at the end; what it says on standard error goes into the server's log alone.

use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use pgrx::PgLogLevel;
use zeroize::Zeroizing;

use super::MOST_BYTES;
use crate::backend::child_process::{ChildProcess, Trouble};
use crate::backend::errors::{self, Failure, SqlError, State};
use crate::backend::interrupts::MainThread;

/// Longest time that it may take.
const TIMEOUT: Duration = Duration::from_secs(10);

const HINT: &str = "What it wrote to standard error is in the server's log.";

/// Runs the command, and gives back what it prints.
pub(super) fn output(line: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |why: String| SqlError::new(State::SetUp, format!("pg_llm: pg_llm.master_key_command {why}"));
    let words = words(line).ok_or_else(|| failed("has a quotation mark without its other one".to_owned()))?;
    let (program, arguments) = words.split_first().filter(|(program, _)| Path::new(program).is_absolute()).ok_or_else(|| {
        failed("does not begin with an absolute path".to_owned()).hint("No shell and no search path is asked. For more, write a script.")
    })?;
    let mut command = Command::new(program);
    command.args(arguments);
    let interrupt = MainThread::new();
    let mut process = ChildProcess::start(command).map_err(|e| failed(format!("could not be started: {e}")))?;
    let most = usize::try_from(MOST_BYTES).unwrap_or(usize::MAX);
    let answer = process.converse(&[], most, &*interrupt, Instant::now() + TIMEOUT);
    // Reaps it, and kills it first where it still runs.
    let ended = process.end();
    interrupt.settle()?;
    if !process.words.is_empty() {
        let words: String = String::from_utf8_lossy(&process.words).trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        errors::emit(PgLogLevel::LOG_SERVER_ONLY, &format!("pg_llm.master_key_command: {words}"));
    }
    match (answer, ended) {
        (Ok(mut key), Some(status)) if status.success() => {
            let length = key.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
            key.truncate(length);
            Ok(key)
        }
        (Err(Trouble::TimedOut), _) => Err(failed(format!("took longer than {} s", TIMEOUT.as_secs())).hint(HINT).into()),
        (Err(Trouble::TooLarge), _) => Err(failed(format!("prints more than the {MOST_BYTES} bytes of a key")).hint(HINT).into()),
        (_, ended) => {
            let how = ended.as_ref().map_or_else(String::new, ExitStatus::to_string);
            Err(failed(format!("failed ({how})")).hint(HINT).into())
        }
    }
}

/// The words of a line. Blanks part them; between quotation marks, single or double, they do not. None where a mark is left open.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut open = None;
    for c in line.chars() {
        match open {
            Some(mark) if c == mark => open = None,
            None if c == '\'' || c == '"' => {
                open = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    open.is_none().then_some(words)
}
