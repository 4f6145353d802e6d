//! `pg_llm_chat_stream` and `pg_llm_chat_stream_json`: rows come as the model speaks, whoever asks and however.
//!
//! Nothing here measures time. The upstream sends a piece when the test has received the row of the piece before; rows that wait for the end of the answer
//! would wait for ever.

mod arrival;
mod ends;
mod failures;
mod queries;
mod rows;
mod unread;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;

use pg_llm_tests::postgres::fallible_iterator::FallibleIterator;
use pg_llm_tests::postgres::{Client, Error, Row, types::ToSql};
use pg_llm_tests::{Asked, DEADLINE};
use pg_llm_upstream::{Gate, Upstream, openai};
use serde_json::json;

/// What the model says.
const PIECES: [&str; 3] = ["one ", "two ", "three"];

/// A model `m` that says [`PIECES`] as the test lets it.
struct Paced {
    asked: Asked,
    gate: Gate,
    late: Arc<AtomicBool>,
    /// Dropped with it: then nobody watches any more.
    _watched: Sender<()>,
}

impl Paced {
    fn new() -> Self {
        let (gate, late) = (Gate::new(), Arc::new(AtomicBool::new(false)));
        let upstream = Upstream::start();
        upstream.on(Asked::PATH).reply(openai::stream(&PIECES).gated(&gate));
        let (sender, watched) = channel();
        let (opens, is_late) = (gate.clone(), Arc::clone(&late));
        thread::spawn(move || {
            if watched.recv_timeout(DEADLINE) == Err(RecvTimeoutError::Timeout) {
                is_late.store(true, Ordering::Release);
                opens.open();
            }
        });
        Self { asked: Asked::at(upstream, json!({})), gate, late, _watched: sender }
    }

    /// The first so many pieces may come, and no more. For the first call.
    fn says(&self, pieces: usize) {
        // The stream opens with a piece of no text.
        self.gate.pass(1 + pieces);
    }

    /// Each of [`PIECES`] comes while the next is still held back, and then the end, which is `last`.
    #[track_caller]
    fn comes_piece_by_piece(gate: &Gate, late: &AtomicBool, last: &[&str], mut next: impl FnMut() -> Option<String>) {
        gate.pass(1);
        for piece in PIECES {
            gate.pass(1);
            assert_eq!(next().as_deref(), Some(piece));
            assert!(!late.load(Ordering::Acquire), "{piece:?} came when all had been let pass");
        }
        gate.open();
        for piece in last {
            assert_eq!(next().as_deref(), Some(*piece));
        }
        assert_eq!(next(), None);
    }

    /// The same for the first column of a statement, as the client library hands rows over; NULL is no text.
    #[track_caller]
    fn streams(sql: &str, last: &[&str]) {
        let mut paced = Self::new();
        let mut rows = paced.asked.client.query_raw(sql, no_parameters()).unwrap();
        Self::comes_piece_by_piece(&paced.gate, &paced.late, last, || {
            rows.next().unwrap().map(|row| row.get::<_, Option<String>>(0).unwrap_or_default())
        });
    }
}

fn no_parameters() -> std::iter::Empty<&'static (dyn ToSql + Sync)> {
    std::iter::empty()
}

/// All rows that come, and the error that they end in.
fn rows_and_error(client: &mut Client, sql: &str) -> (Vec<Row>, Option<Error>) {
    let mut rows = Vec::new();
    let mut coming = match client.query_raw(sql, no_parameters()) {
        Ok(coming) => coming,
        Err(error) => return (rows, Some(error)),
    };
    loop {
        match coming.next() {
            Ok(Some(row)) => rows.push(row),
            Ok(None) => return (rows, None),
            Err(error) => return (rows, Some(error)),
        }
    }
}

/// The first column.
fn texts(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| row.get(0)).collect()
}
