//! The worker that writes the ledger's entries of one database into their table, and deletes rows that are too old.
//!
//! Entries are taken out of memory once the transaction that wrote them has committed, and not before: whatever ends this worker loses none of them and doubles none. On a
//! standby they go to the server's log, a line of JSON each, and stay in memory as long as there is room; a standby that becomes a primary writes those that are left.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use pgrx::bgworkers::{BackgroundWorker, SignalWakeFlags};
use pgrx::pg_sys::Oid;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgLogLevel, pg_sys};

use super::errors::{self, SqlError};
use super::launcher::Claim;
use super::ledger_queue::{Record, Ring, Wanted};
use super::{ledger_settings, shared_memory, transaction};
use crate::catalog::ledger;

/// Rows of one transaction.
const BATCH: usize = 1000;
/// Their size, about.
const BATCH_BYTES: usize = 4 << 20;
/// A writer with nothing to do ends after so long, so that nobody who drops the database has to wait for it.
const IDLE: Duration = Duration::from_secs(1);
/// How long a database may be without the extension until its entries are given up: it may be about to have it.
const WITHOUT_EXTENSION: Duration = Duration::from_secs(2);
/// What could not be written is tried again after so long.
const AGAIN: Duration = Duration::from_secs(1);
/// How often old rows are looked for.
const BETWEEN_DELETES: Duration = Duration::from_mins(10);
/// Rows that are deleted in one transaction.
const DELETED: i64 = 1000;

struct Writer {
    ring: Ring,
    database: u32,
}

/// Why nothing was written.
enum Fault {
    /// It is the entries' own.
    OfData(String),
    /// It may pass.
    Passing(String),
}

/// The writer of the database that the argument names.
#[pgrx::pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_llm_ledger_writer_main(database: pg_sys::Datum) {
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGTERM);
    let database = u32::try_from(database.value()).unwrap_or(0);
    let Some(ring) = shared_memory::ring() else { return };
    let Some(claim) = Claim::take(database) else { return };
    BackgroundWorker::connect_worker_to_spi_by_oid(Some(Oid::from(database)), None);
    for (name, value) in [
        // What the database's settings say is meant for others.
        (c"default_transaction_read_only", c"off"),
        (c"default_transaction_isolation", c"read committed"),
        (c"session_replication_role", c"origin"),
        (c"lock_timeout", c"0"),
        // On this server's disk, and no wait for another.
        (c"synchronous_commit", c"local"),
    ] {
        // SAFETY: settings that exist in every version, at the start of a process.
        unsafe {
            pg_sys::SetConfigOption(name.as_ptr(), value.as_ptr(), pg_sys::GucContext::PGC_SUSET, pg_sys::GucSource::PGC_S_OVERRIDE);
        }
    }
    Writer { ring, database }.run();
    drop(claim);
}

impl Writer {
    fn run(&self) {
        let mut idle_since = Instant::now();
        let mut delete_at = Instant::now();
        let mut missing_since: Option<Instant> = None;
        let mut ending = false;
        loop {
            ending |= BackgroundWorker::sigterm_received();
            if BackgroundWorker::sighup_received() {
                // SAFETY: between transactions, on the main thread.
                unsafe { pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP) }
            }
            let records = self.ring.read(self.wanted(), BATCH, BATCH_BYTES);
            if records.is_empty() {
                if ending || idle_since.elapsed() > IDLE {
                    return;
                }
                if Instant::now() >= delete_at && !transaction::in_recovery() {
                    delete_at = Instant::now() + if delete_old() { Duration::ZERO } else { BETWEEN_DELETES };
                }
                sleep(IDLE / 4);
                continue;
            }
            idle_since = Instant::now();
            match has_extension() {
                Ok(true) if transaction::in_recovery() => self.log(&records),
                Ok(true) => {
                    if !self.write(&records) {
                        if ending {
                            return;
                        }
                        sleep(AGAIN);
                    }
                }
                Ok(false) if missing_since.get_or_insert_with(Instant::now).elapsed() > WITHOUT_EXTENSION => {
                    self.give_up(&records, "the extension is not there any more");
                }
                Ok(false) if ending => return,
                Ok(false) => sleep(WITHOUT_EXTENSION / 20),
                Err(_) => return,
            }
        }
    }

    fn wanted(&self) -> Wanted {
        Wanted { database: self.database, logged: !transaction::in_recovery() }
    }

    /// Writes these. False: some are still to be written.
    fn write(&self, records: &[Record]) -> bool {
        match insert(records) {
            Ok(()) => {
                self.written(records);
                true
            }
            Err(Fault::Passing(why)) => {
                errors::emit(PgLogLevel::LOG, &format!("pg_llm: the ledger cannot be written, and it is tried again: {why}"));
                false
            }
            // One by one, to find the one that is at fault.
            Err(Fault::OfData(_)) if records.len() > 1 => records.iter().all(|record| self.write(std::slice::from_ref(record))),
            Err(Fault::OfData(why)) => {
                self.give_up(records, &why);
                true
            }
        }
    }

    /// No interrupt is looked at between the commit and here.
    fn written(&self, records: &[Record]) {
        self.ring.done(records);
        self.ring.head().written.fetch_add(records.len() as u64, std::sync::atomic::Ordering::Relaxed);
    }

    fn give_up(&self, records: &[Record], why: &str) {
        self.ring.done(records);
        self.ring.head().dropped.fetch_add(records.len() as u64, std::sync::atomic::Ordering::Relaxed);
        errors::emit(PgLogLevel::LOG, &format!("pg_llm: {} entries of the ledger are given up: {why}", records.len()));
    }

    fn log(&self, records: &[Record]) {
        for record in records {
            // What was said is not for the log.
            let line = std::str::from_utf8(&record.bytes).unwrap_or_default();
            let line = match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&format!("{{{line}}}")) {
                Ok(mut members) => {
                    members.retain(|name, _| !matches!(name.as_str(), "prompt" | "answer" | "traced"));
                    serde_json::Value::Object(members).to_string()
                }
                Err(_) => continue,
            };
            errors::emit(PgLogLevel::LOG, &format!("pg_llm ledger: {line}"));
        }
        self.ring.logged(records);
    }
}

fn sleep(most: Duration) {
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: this process's latch.
    unsafe {
        pg_sys::WaitLatch(
            pg_sys::MyLatch,
            i32::try_from(events).unwrap_or(0),
            std::ffi::c_long::try_from(most.as_millis()).unwrap_or(1000),
            pg_sys::PG_WAIT_EXTENSION,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    pgrx::check_for_interrupts!();
}

/// Runs `work` in a transaction of its own, and commits it. Whatever Postgres raises is a value, after which there is no transaction.
fn in_transaction<T>(work: impl FnOnce() -> Result<T, SqlError>) -> Result<T, Fault> {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: a background worker between two transactions.
        unsafe {
            pg_sys::SetCurrentStatementStartTimestamp();
            pg_sys::StartTransactionCommand();
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            let done = work();
            if done.is_ok() {
                pg_sys::PopActiveSnapshot();
                pg_sys::CommitTransactionCommand();
            }
            done
        }
    }));
    let fault = match outcome {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(error)) => Fault::Passing(error.message),
        Err(payload) => match payload.downcast::<CaughtError>() {
            Ok(caught) => fault_of(&caught),
            Err(_) => Fault::Passing("internal error".to_owned()),
        },
    };
    // SAFETY: as Postgres does itself after an ERROR.
    unsafe { pg_sys::AbortOutOfAnyTransaction() }
    Err(fault)
}

fn fault_of(caught: &CaughtError) -> Fault {
    let (CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) | CaughtError::RustPanic { ereport: report, .. }) = caught;
    let message = report.message().to_owned();
    // Classes 21 to 23: the data's own fault.
    let class = errors::sqlstate(report.sql_error_code());
    if ["21", "22", "23"].iter().any(|of_data| class.starts_with(of_data)) { Fault::OfData(message) } else { Fault::Passing(message) }
}

fn has_extension() -> Result<bool, Fault> {
    in_transaction(|| {
        // SAFETY: a look-up in Postgres's caches.
        Ok(unsafe { pg_sys::get_extension_oid(c"pg_llm".as_ptr(), true) } != pg_sys::InvalidOid)
    })
}

fn insert(records: &[Record]) -> Result<(), Fault> {
    let mut array = Vec::with_capacity(records.iter().map(|record| record.bytes.len() + 3).sum::<usize>() + 2);
    array.push(b'[');
    for (place, record) in records.iter().enumerate() {
        array.extend_from_slice(if place > 0 { b",{" } else { b"{" });
        array.extend_from_slice(&record.bytes);
        array.push(b'}');
    }
    array.push(b']');
    let Ok(array) = String::from_utf8(array) else { return Err(Fault::OfData("not UTF-8".to_owned())) };
    in_transaction(|| ledger::insert(&array))
}

/// Deletes some of what is too old. True: there may be more.
fn delete_old() -> bool {
    let deleted = in_transaction(|| {
        let ledger = ledger::delete_old(ledger_settings::ledger_retention(), DELETED)?;
        Ok(ledger.max(ledger::delete_old_traces(ledger_settings::trace_retention(), DELETED)?))
    });
    match deleted {
        Ok(deleted) => deleted >= DELETED,
        Err(Fault::OfData(why) | Fault::Passing(why)) => {
            errors::emit(PgLogLevel::LOG, &format!("pg_llm: old rows of the ledger cannot be deleted: {why}"));
            false
        }
    }
}
