//! Streams that do not end as a stream should.

use pg_llm_guest::prelude::*;

/// A running crime.
pub enum Stream {
    /// One piece of text after another, for ever.
    Endless,
    /// Never gives the next event.
    Stuck,
    /// Ends without `finish`.
    Unfinished(u32),
    /// Traps in the second event.
    Trap(u32),
    /// Grows with every event.
    Hoard(Vec<Vec<u8>>),
}

pub(crate) fn begin(name: &str) -> Result<Stream, Failure> {
    Ok(match name {
        "endless-stream" => Stream::Endless,
        "stuck-stream" => Stream::Stuck,
        "unfinished-stream" => Stream::Unfinished(0),
        "trapping-stream" => Stream::Trap(0),
        "hoarding-stream" => Stream::Hoard(Vec::new()),
        other => return Err(Failure::invalid(format!("no stream is called {other}"))),
    })
}

impl EventStream for Stream {
    fn next(&mut self) -> Result<Option<Event>, Failure> {
        let text = || Ok(Some(Event::Text("more ".to_owned())));
        match self {
            Self::Endless => text(),
            Self::Stuck => loop {
                std::hint::black_box(());
            },
            Self::Unfinished(n) => {
                *n += 1;
                if *n > 2 { Ok(None) } else { text() }
            }
            Self::Trap(n) => {
                *n += 1;
                assert!(*n < 2, "the second event");
                text()
            }
            Self::Hoard(hoard) => {
                hoard.push(vec![1; 1 << 20]);
                text()
            }
        }
    }
}
