//! How soon the first row of a stream is at the client.

use std::time::{Duration, Instant};

use pg_llm_tests::Database;
use pg_llm_tests::postgres::fallible_iterator::FallibleIterator;
use pg_llm_tests::postgres::types::ToSql;
use pg_llm_upstream::{Reply, Upstream, openai};

use crate::figures::{median, time_line};
use crate::raw;

const STREAMS: usize = 25;
const PACE: Duration = Duration::from_millis(20);
const PIECES: [&str; 10] = ["word "; 10];

/// A stream that has begun and goes on no more.
pub(crate) fn begun() -> Reply {
    // Some of its events, and a part of one.
    openai::stream(&PIECES).hang_after(1000)
}

/// The time to the first row, of an answer whose first piece comes after one pace and each further one after another.
pub(crate) fn first_row(database: &Database<'_>) {
    let upstream = Upstream::builder().unrecorded().start();
    upstream.otherwise(|_| openai::stream(&PIECES).delay_chunks(PACE));
    let mut client = database.superuser();
    crate::add_model(&mut client, "stream", &upstream);
    let raw = median((0..STREAMS).map(|_| raw::first_piece(upstream.address())).collect());
    for (what, sql) in [
        ("first streamed row (pieces of 20 ms), SELECT * FROM", "SELECT * FROM pg_llm_chat_stream('stream', 'hi')"),
        ("  the same from the select list", "SELECT (pg_llm_chat_stream('stream', 'hi')).chunk"),
        ("  the same as JSON", "SELECT * FROM pg_llm_chat_stream_json('stream', 'hi') OFFSET 1"),
    ] {
        let statement = client.prepare(sql).expect("a statement");
        let times = (0..STREAMS).map(|_| {
            let started = Instant::now();
            let mut rows = client.query_raw(&statement, std::iter::empty::<&(dyn ToSql + Sync)>()).expect("a stream");
            rows.next().expect("a row").expect("a row");
            let first = started.elapsed();
            while rows.next().expect("a row").is_some() {}
            first
        });
        time_line(what, median(times.collect()), Some(raw), Some(23.0));
    }
}
