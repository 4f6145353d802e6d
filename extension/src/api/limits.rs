//! What `pg_llm_stat_limits` shows of a model.

use std::time::{SystemTime, UNIX_EPOCH};

use pg_llm_gateway::admission::{Limits, Phase};
use serde_json::{Value, json};

use crate::backend::admissions;
use crate::backend::calls::{Args, Returned, sql_functions};
use crate::backend::errors::Failure;

sql_functions! {
    pg_llm_limit_state_wrapper, pg_finfo_pg_llm_limit_state_wrapper => limit_state;
}

/// `(instance_name, rate_limit)`: who may see it is the view's business.
fn limit_state(args: &Args<'_>) -> Result<Returned, Failure> {
    let Some(instance) = args.text(0)? else { return Ok(Returned::Null) };
    let rate_limit = args.json(1)?.unwrap_or_default();
    let rate = |name| rate_limit.get(name).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    let limits = Limits { rpm: rate("rpm"), tpm: rate("tpm"), ..Limits::default() };
    let (shown, now, shared) = admissions::show(&instance, &limits);
    let Some(shown) = shown else {
        let left = |rate: u32| (rate > 0).then_some(rate);
        return Ok(Returned::Json(json!({
            "in_flight": 0, "waiting": 0, "admitted": 0, "waited": 0, "rejected": 0, "rpm_left": left(limits.rpm), "tpm_left": left(limits.tpm),
            "breaker": "closed", "consecutive_failures": 0, "shared": shared,
        })));
    };
    let at = |time: Option<u64>| time.map(|time| epoch(time, now));
    Ok(Returned::Json(json!({
        "in_flight": shown.in_flight,
        "waiting": shown.waiting,
        "admitted": shown.admitted,
        "waited": shown.waited,
        "rejected": shown.rejected,
        "rpm_left": shown.requests_left,
        "tpm_left": shown.tokens_left,
        "held_back_until": at(shown.held_until),
        "breaker": match shown.phase {
            Phase::Closed => "closed",
            Phase::Open => "open",
            Phase::HalfOpen => "half_open",
        },
        "opened_at": at(shown.opened_at),
        "consecutive_failures": shown.failures,
        "shared": shared,
    })))
}

/// Seconds since 1970 of a time of the states' clock, which is `now` now.
fn epoch(time: u64, now: u64) -> f64 {
    let seconds = |nanos: u64| std::time::Duration::from_nanos(nanos).as_secs_f64();
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    if time >= now { wall + seconds(time - now) } else { wall - seconds(now - time) }
}
