//! Medians, and the table that they stand in.

use std::time::Duration;

/// The median of some durations.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Milliseconds.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Prints a line of the table: what, the figure, the raw client's beside it, the budget.
pub(crate) fn line(what: &str, figure: &str, raw: &str, budget: &str, within: Option<bool>) {
    let verdict = match within {
        Some(true) => "within",
        Some(false) => "OVER",
        None => "",
    };
    println!("{what:<62} {figure:>14} {raw:>16} {budget:>12}  {verdict}");
}

/// A line in milliseconds.
pub(crate) fn time_line(what: &str, time: Duration, raw: Option<Duration>, budget_ms: Option<f64>) {
    line(
        what,
        &format!("{:.3} ms", ms(time)),
        &raw.map(|r| format!("{:.3} ms", ms(r))).unwrap_or_default(),
        &budget_ms.map(|b| format!("{b} ms")).unwrap_or_default(),
        budget_ms.map(|b| ms(time) <= b),
    );
}
