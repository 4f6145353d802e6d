//! What a chain costs, printed: `cargo test --test filters -- --nocapture the_time`.

use super::*;

/// Prose of 10 kB.
fn prose() -> String {
    let line = "The committee met on Tuesday to discuss the budget, and nobody had read the report before the meeting began. ";
    line.repeat(10_000 / line.len() + 1)[..10_000].to_owned()
}

#[test]
fn the_time_that_a_chain_adds_to_a_prompt_of_10_kb() {
    let chain = ["pii-redact", "secret-redact", "prompt-guard"].map(|name| step(name, &json!({})));
    let median = |steps: Vec<FilterStep>| {
        let model = Model::with(steps);
        model.upstream.otherwise(|_| openai::completion("ok"));
        let prompt = prose();
        let mut times: Vec<Duration> = (0..31)
            .map(|_| {
                let began = Instant::now();
                assert_eq!(model.answer(&prompt), "ok");
                began.elapsed()
            })
            .collect();
        times.sort_unstable();
        times[times.len() / 2]
    };
    let (bare, filtered) = (median(vec![]), median(chain.to_vec()));
    #[allow(clippy::print_stdout, reason = "a measurement")]
    {
        println!("10 kB through pii-redact, secret-redact, prompt-guard: {filtered:?}, without {bare:?}");
    }
}
