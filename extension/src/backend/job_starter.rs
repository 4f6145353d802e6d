//! Jobs that are open when the server starts, or a standby becomes a primary: where the library is preloaded, nobody has to ask for them.
//!
//! One process goes through the databases, one after another, and ends. Which there are say their folders; only a session of its own can tell whether a database
//! has the extension, and jobs: so a short one is started in each. Where there is no room for that, it waits.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pgrx::bgworkers::{
    BackgroundWorker, BackgroundWorkerBuilder, BackgroundWorkerStatus, BgWorkerStartTime, DynamicBackgroundWorker, SignalWakeFlags,
};
use pgrx::pg_sys;
use pgrx::pg_sys::{Datum, Oid};

use super::errors::Failure;
use super::job_worker::JOBS;
use super::worker::{transaction, worker_function};
use crate::catalog::jobs;

worker_function! { pg_llm_job_look => look }

/// `template1` and `template0`, which a session would keep from being copied.
const TEMPLATES: [u32; 2] = [1, 4];
/// How often it is looked whether a session has ended.
const POLL: Duration = Duration::from_millis(10);
/// How long until it is tried again to start one.
const NO_ROOM: Duration = Duration::from_secs(1);

/// Called from `_PG_init`: registers, under `shared_preload_libraries`, and else does nothing.
pub(crate) fn register() {
    // SAFETY: reads a flag of the server.
    if unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        BackgroundWorkerBuilder::new("pg_llm jobs starter")
            .set_library("pg_llm")
            .set_function("pg_llm_job_starter")
            .enable_shmem_access(None)
            .set_start_time(BgWorkerStartTime::RecoveryFinished)
            .set_restart_time(Some(Duration::from_secs(5)))
            .load();
    }
}

/// The process that goes through the databases.
#[pgrx::pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_llm_job_starter(_argument: Datum) {
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGTERM);
    for database in databases() {
        let mut looker = None;
        loop {
            // Not woken by its end: Postgres tells that only to who has a database.
            match looker.as_ref().map(DynamicBackgroundWorker::pid) {
                Some(Err(BackgroundWorkerStatus::Stopped | BackgroundWorkerStatus::PostmasterDied)) => break,
                Some(_) if BackgroundWorker::wait_latch(Some(POLL)) => continue,
                Some(_) => return,
                None => {}
            }
            let started = BackgroundWorkerBuilder::new("pg_llm jobs look")
                .set_library("pg_llm")
                .set_function("pg_llm_job_look")
                .enable_shmem_access(None)
                .enable_spi_access()
                .set_start_time(BgWorkerStartTime::RecoveryFinished)
                .set_restart_time(None)
                .set_argument(Some(Datum::from(database)))
                .load_dynamic();
            looker = started.ok();
            if looker.is_none() && !BackgroundWorker::wait_latch(Some(NO_ROOM)) {
                return;
            }
        }
    }
}

/// Those that have a folder, wherever it is.
fn databases() -> Vec<Oid> {
    let folders = |of: &Path| -> Vec<PathBuf> { fs::read_dir(of).into_iter().flatten().flatten().map(|entry| entry.path()).collect() };
    let mut places = vec![PathBuf::from("base")];
    places.extend(folders(Path::new("pg_tblspc")).iter().flat_map(|space| folders(space)));
    let mut found: Vec<u32> = places
        .iter()
        .flat_map(|place| folders(place))
        .filter(|folder| folder.join("PG_VERSION").exists())
        .filter_map(|folder| folder.file_name()?.to_str()?.parse().ok())
        .filter(|oid| !TEMPLATES.contains(oid))
        .collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().map(Oid::from).collect()
}

/// What a session in one of them does.
fn look() -> Result<(), Failure> {
    if transaction(|| Ok(super::privileges::is_installed() && jobs::any_open()?))? {
        JOBS.wake();
    }
    Ok(())
}
