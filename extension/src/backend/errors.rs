//! The one place where a typed error becomes an `ereport`.

#![allow(clippy::cast_possible_wrap, reason = "Postgres's small constants, in the type that bindgen gives them")]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};

use pg_llm_gateway::{CallError, ConfigError, ConfigErrorKind, ErrorKind};
use pgrx::pg_sys::panic::{CaughtError, ErrorReport, ErrorReportWithLevel};
use pgrx::{PgLogLevel, PgSqlErrorCode, pg_sys};

use super::encoding;

/// A message quotes names, which may be of any length.
const MAX_MESSAGE: usize = 1024;
/// DETAIL holds at most this many bytes of what others said.
const MAX_DETAIL: usize = 1024;

/// SQLSTATEs that the extension raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// 22023: a bad argument, option or configuration.
    InvalidArgument,
    /// 22021: text that is not what its encoding says.
    NotInEncoding,
    /// 42704: no such model, provider, role.
    Undefined,
    /// 42710: the name is taken.
    Duplicate,
    /// 2BP01: others depend on it.
    InUse,
    /// 42501: no right to, or refused by policy.
    Forbidden,
    /// 08001: cannot connect.
    CannotConnect,
    /// 08006: the connection broke.
    ConnectionBroken,
    /// 38000: the provider said no.
    Provider,
    /// 38001: the guest misbehaved.
    Guest,
    /// 53400: a rate limit or a budget.
    RateLimit,
    /// 53000: no thread, no descriptor left.
    NoResources,
    /// 54000: a size limit.
    TooLarge,
    /// 54001: not enough stack left.
    StackDepth,
    /// 25006: something is to be stored in a transaction that cannot.
    ReadOnly,
    /// 57014: cancelled.
    Cancelled,
    /// 0A000: the provider or this server cannot do it.
    Unsupported,
    /// 55000: the server's set-up is not what it should be.
    SetUp,
    /// 55000: a module that is switched off.
    Disabled,
    /// 58030: files of ours cannot be read or written.
    Io,
    /// XX000: a bug.
    Internal,
}

impl State {
    fn code(self) -> PgSqlErrorCode {
        match self {
            Self::InvalidArgument => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::NotInEncoding => PgSqlErrorCode::ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
            Self::Undefined => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            Self::Duplicate => PgSqlErrorCode::ERRCODE_DUPLICATE_OBJECT,
            Self::InUse => PgSqlErrorCode::ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST,
            Self::Forbidden => PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            Self::CannotConnect => PgSqlErrorCode::ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
            Self::ConnectionBroken => PgSqlErrorCode::ERRCODE_CONNECTION_FAILURE,
            Self::Provider => PgSqlErrorCode::ERRCODE_EXTERNAL_ROUTINE_EXCEPTION,
            Self::Guest => PgSqlErrorCode::ERRCODE_E_R_E_CONTAINING_SQL_NOT_PERMITTED,
            Self::RateLimit => PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
            Self::NoResources => PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
            Self::TooLarge => PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            Self::StackDepth => PgSqlErrorCode::ERRCODE_STATEMENT_TOO_COMPLEX,
            Self::ReadOnly => PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION,
            Self::Cancelled => PgSqlErrorCode::ERRCODE_QUERY_CANCELED,
            Self::Unsupported => PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            Self::SetUp | Self::Disabled => PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::Io => PgSqlErrorCode::ERRCODE_IO_ERROR,
            Self::Internal => PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
        }
    }

    /// The five characters.
    pub(crate) fn sqlstate(self) -> String {
        sqlstate(self.code())
    }
}

/// The five characters of any code.
pub(super) fn sqlstate(code: PgSqlErrorCode) -> String {
    let mut code = code as i32;
    (0..5)
        .map(|_| {
            let character = char::from(u8::try_from(code & 0x3f).unwrap_or(0) + b'0');
            code >>= 6;
            character
        })
        .collect()
}

/// An error of ours on its way to the client.
#[derive(Debug)]
pub(crate) struct SqlError {
    pub(crate) state: State,
    pub(crate) message: String,
    pub(crate) detail: Option<String>,
    pub(crate) hint: Option<String>,
}

impl SqlError {
    pub(crate) fn new(state: State, message: impl Into<String>) -> Self {
        Self { state, message: message.into(), detail: None, hint: None }
    }

    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        self.detail = (!detail.is_empty()).then_some(detail);
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Unwinds to pgrx's guard, which raises the ERROR.
    fn raise(self) -> ! {
        self.report().report(PgLogLevel::ERROR);
        unreachable!("an ERROR does not return")
    }

    fn report(self) -> ErrorReport {
        let mut report = ErrorReport::new(self.state.code(), shortened(&sendable(self.message), MAX_MESSAGE), "pg_llm");
        if let Some(detail) = self.detail {
            report = report.set_detail(shortened(&sendable(detail), MAX_DETAIL));
        }
        if let Some(hint) = self.hint {
            report = report.set_hint(sendable(hint));
        }
        report
    }
}

/// Why a function of ours ends without a result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error of ours.
    Sql(SqlError),
    /// An error that Postgres raised while we waited (a cancel, a terminate), caught below and to be raised again as it was.
    Postgres(Box<CaughtError>),
}

impl Failure {
    /// The message.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Sql(error) => error.message.clone(),
            Self::Postgres(caught) => report_of(caught).message().to_owned(),
        }
    }

    /// The five characters.
    pub(crate) fn sqlstate(&self) -> String {
        match self {
            Self::Sql(error) => error.state.sqlstate(),
            Self::Postgres(caught) => sqlstate(report_of(caught).sql_error_code()),
        }
    }

    /// Whether the same may do better later: somebody cancelled it, a lock or the server's resources were another's.
    pub(crate) fn is_passing(&self) -> bool {
        ["40", "53", "55P", "57"].iter().any(|class| self.sqlstate().starts_with(class))
    }
}

fn report_of(caught: &CaughtError) -> &ErrorReportWithLevel {
    match caught {
        CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) | CaughtError::RustPanic { ereport: report, .. } => report,
    }
}

impl From<ConfigError> for SqlError {
    fn from(error: ConfigError) -> Self {
        let state = match error.kind {
            ConfigErrorKind::Invalid => State::InvalidArgument,
            ConfigErrorKind::NotSupported => State::Unsupported,
        };
        Self { state, message: format!("pg_llm: {}", error.message), detail: None, hint: error.hint }
    }
}

impl From<CallError> for SqlError {
    fn from(error: CallError) -> Self {
        let state = State::of(error.kind);
        Self { state, message: format!("pg_llm: {}", error.message), detail: error.detail, hint: error.hint }
    }
}

impl State {
    /// That of a call's failure.
    pub(crate) fn of(kind: ErrorKind) -> Self {
        match kind {
            // The interrupt's own error goes before this one.
            ErrorKind::Cancelled => State::Cancelled,
            ErrorKind::Connect => State::CannotConnect,
            // The call's own patience, not the statement's: a connection that gave no answer.
            ErrorKind::TimedOut | ErrorKind::Broken => State::ConnectionBroken,
            ErrorKind::Provider => State::Provider,
            ErrorKind::Unsupported => State::Unsupported,
            ErrorKind::Refused | ErrorKind::Blocked => State::Forbidden,
            ErrorKind::RateLimited | ErrorKind::OverBudget => State::RateLimit,
            ErrorKind::NoResources => State::NoResources,
            ErrorKind::TooLarge => State::TooLarge,
            ErrorKind::Guest | ErrorKind::Filter => State::Guest,
            ErrorKind::Internal => State::Internal,
        }
    }
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

/// Runs the body of an SQL function. Whatever ends it, Rust's stack is unwound first and then one ERROR is raised by pgrx's guard around us.
pub(crate) fn or_raise<T>(body: impl FnOnce() -> Result<T, Failure>) -> T {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => value,
        Ok(Err(Failure::Sql(error))) => error.raise(),
        Ok(Err(Failure::Postgres(caught))) => caught.rethrow(),
        // An ERROR of Postgres or pgrx on its way through.
        Err(payload) if payload.is::<CaughtError>() || payload.is::<ErrorReportWithLevel>() => resume_unwind(payload),
        Err(payload) => {
            let words = payload.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| payload.downcast_ref::<String>().cloned());
            internal(&words.unwrap_or_default()).raise()
        }
    }
}

/// Emits `message` below the level of an error.
pub(crate) fn emit(level: PgLogLevel, message: &str) {
    debug_assert!(level < PgLogLevel::ERROR);
    let code = if level == PgLogLevel::WARNING { PgSqlErrorCode::ERRCODE_WARNING } else { PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION };
    ErrorReport::new(code, sendable(message.to_owned()), "pg_llm").report(level);
}

static LAST_PANIC: Mutex<Option<String>> = Mutex::new(None);

fn internal(words: &str) -> SqlError {
    let place = LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner).take();
    SqlError::new(State::Internal, format!("pg_llm: internal error: {words}"))
        .detail(place.map(|p| format!("At {p}.")).unwrap_or_default())
        .hint("This is a bug of pg_llm. The session can go on.")
}

/// Replaces pgrx's panic hook, which captures a backtrace for every ERROR where `RUST_BACKTRACE` is set (60 ms each, and in the client's DETAIL).
/// A panic of ours is remembered by its place; ERRORs on their way through Rust are none.
pub(crate) fn install_panic_hook() {
    std::panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        if payload.is::<&str>() || payload.is::<String>() {
            let place = info.location().map(|l| format!("{}:{}", l.file(), l.line()));
            *LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner) = place;
        }
    }));
}

/// A text that `ereport` takes: without U+0000, and in the database's encoding. pgrx hands on UTF-8 as it is, so that in other encodings only ASCII is
/// safe: a mark is better than two wrong characters.
fn sendable(text: String) -> String {
    if !text.contains('\0') && (text.is_ascii() || encoding::is_utf8()) {
        return text;
    }
    let utf8 = encoding::is_utf8();
    text.chars().map(|c| if c == '\0' { '\u{fffd}' } else { c }).map(|c| if utf8 || c.is_ascii() { c } else { '?' }).collect()
}

fn shortened(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most - '…'.len_utf8()).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    format!("{}…", &text[..end])
}

/// The level of a log line in Postgres's terms. Guests write to the server's log at DEBUG1 at most, unless the client asks for more.
pub(crate) const GUEST_LOG_LEVEL: PgLogLevel = PgLogLevel::DEBUG1;

/// Whether messages of [`GUEST_LOG_LEVEL`] go to the server's log.
pub(crate) fn guest_logs_kept() -> bool {
    // SAFETY: a plain integer of the backend, read on its main thread.
    unsafe { pg_sys::log_min_messages <= pg_sys::DEBUG1 as i32 }
}

/// Whether messages of [`GUEST_LOG_LEVEL`] go anywhere at all.
pub(crate) fn guest_logs_wanted() -> bool {
    // SAFETY: plain integers of the backend, read on its main thread.
    unsafe { pg_sys::log_min_messages <= pg_sys::DEBUG1 as i32 || pg_sys::client_min_messages <= pg_sys::DEBUG1 as i32 }
}
