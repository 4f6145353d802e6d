//! Eight calls at once, each at another stage, ended in every way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pg_llm_tests::{DEADLINE, eventually};
use pg_llm_upstream::{Reply, Upstream, openai};

use super::{Stage, add_model, database, ends_in_every_way, sleeps};

#[test]
fn everything_ends_a_parallel_chat_and_closes_all_its_connections() {
    let (database, _well) = database();
    let upstream = Arc::new(Upstream::start());
    let drip = openai::completion(&"drip ".repeat(10_000)).drip(1, Duration::from_secs(1));
    // It says that it closes: else another call may take its connection, and fail with it.
    let again = openai::error(429, "rate_limit", "slow_down", "Too fast").header("retry-after", "300").header("connection", "close");
    for (at, reply) in [
        Reply::hang(),
        Reply::hang(),
        openai::completion("never").hang_after(0),
        openai::completion("never").hang_after(30),
        drip,
        // This one sleeps before it tries again.
        again.ending(pg_llm_upstream::Ending::Close),
        Reply::hang(),
    ]
    .into_iter()
    .enumerate()
    {
        upstream.on(&format!("/{at}/chat/completions")).reply(reply);
        add_model(&mut database.superuser(), &format!("ill {at}"), &format!("{}/{at}", upstream.url()));
    }
    for strategy in ["first", "confidence"] {
        // One that has answered waits with the others, and is kept, unless it wins at once.
        let others = if strategy == "first" { "ill 0" } else { "well" };
        let seen = Arc::clone(&upstream);
        let (over, former) = (Arc::clone(&upstream), AtomicU64::new(0));
        let expected = if strategy == "first" { 8 } else { 7 };
        former.store(upstream.observe(|seen| seen.requests_total), Ordering::Relaxed);
        let stage = Stage {
            sql: format!(
                "SELECT pg_llm_parallel_chat('Hello', '{{{others},ill 0,ill 1,ill 2,ill 3,ill 4,ill 5,ill 6}}', '{{\"strategy\": \"{strategy}\"}}')"
            ),
            reached: Box::new(move |backend| {
                let requests = seen.observe(|observed| observed.requests_total);
                if requests < former.load(Ordering::Relaxed) + expected {
                    return false;
                }
                former.store(requests, Ordering::Relaxed);
                eventually(DEADLINE, || sleeps(backend))
            }),
            over: Box::new(move || over.wait_until_closed(DEADLINE)),
        };
        ends_in_every_way(&database, &stage);
    }
}
