//! A statement that runs while the test does something else.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use postgres::{CancelToken, Client, NoTls, SimpleQueryMessage};

use crate::Backend;

/// A statement under way, on a thread of its own.
pub struct Running {
    pid: i32,
    cancel: CancelToken,
    outcome: Receiver<Outcome>,
    sql: String,
}

/// How a statement ended.
pub struct Outcome {
    /// What it returned.
    pub result: Result<Vec<SimpleQueryMessage>, postgres::Error>,
    /// When.
    pub ended: Instant,
    /// The session, to see that it still works.
    pub client: Client,
}

impl Running {
    /// Starts a statement (or several) by the simple protocol.
    pub fn start(mut client: Client, sql: &str) -> Self {
        let pid = client.query_one("SELECT pg_backend_pid()", &[]).expect("a live session").get(0);
        let (cancel, (sender, outcome), sql) = (client.cancel_token(), channel(), sql.to_owned());
        let statement = sql.clone();
        thread::spawn(move || {
            let result = client.simple_query(&statement);
            let _ = sender.send(Outcome { result, ended: Instant::now(), client });
        });
        Self { pid, cancel, outcome, sql }
    }

    /// The backend's process.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The backend.
    pub fn backend(&self) -> Backend {
        Backend(self.pid)
    }

    /// Asks for cancellation as a client does (^C in psql). The server has the request when this returns.
    pub fn cancel(&self) {
        self.cancel.cancel_query(NoTls).expect("a cancel request");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When that does not come.
    #[track_caller]
    pub fn finish(self, deadline: Duration) -> Outcome {
        match self.outcome.recv_timeout(deadline) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => panic!("still running after {deadline:?}: {}", self.sql),
            Err(RecvTimeoutError::Disconnected) => panic!("the client's thread panicked: {}", self.sql),
        }
    }
}

impl Outcome {
    /// The first column of the rows, in order; NULL is None.
    pub fn column(&self) -> Vec<Option<String>> {
        let messages = self.result.as_deref().unwrap_or_else(|error| panic!("the statement failed: {error:?}"));
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
            _ => None,
        });
        rows.collect()
    }
}
