//! The crimes, by name.

mod absurd_numbers;
mod aliased_list;
mod control_characters;
mod deep_recursion;
mod divide_by_zero;
mod false_kind;
mod forged_string;
mod handle_flood;
mod header_flood;
mod huge_answer;
mod infinite_loop;
mod invalid_utf8;
mod key_oracle;
mod key_thief;
mod log_flood;
mod long_names;
mod many_growths;
mod memory;
mod memory_bomb;
mod out_of_bounds;
mod panic;
mod redirect;
mod remember;
mod requests;
pub(crate) mod streams;
mod trap;

use pg_llm_guest::prelude::*;

/// Commits a crime.
pub(crate) fn commit(name: &str, prompt: &str, request: &ChatRequest) -> Result<Answer, Failure> {
    match name {
        "absurd-numbers" => absurd_numbers::commit(),
        "aliased-list" => aliased_list::commit(),
        "aliased-logs" => log_flood::enormous(),
        "control-characters" => control_characters::in_answer(),
        "control-characters-in-error" => control_characters::in_error(),
        "deep-recursion" => deep_recursion::commit(),
        "deep-request" => deep_recursion::with_request(prompt),
        "divide-by-zero" => divide_by_zero::commit(prompt),
        "false-kind" => false_kind::commit(prompt),
        "forged-string" => forged_string::beyond_memory(),
        "forged-list" => forged_string::list_beyond_memory(),
        "handle-flood" => handle_flood::own(request),
        "response-flood" => handle_flood::responses(),
        "header-flood" => header_flood::commit(),
        "huge-answer" => huge_answer::commit(prompt),
        "infinite-loop" => infinite_loop::commit(),
        "invalid-utf8" => invalid_utf8::commit(),
        "key-oracle" => key_oracle::commit(prompt),
        "key-thief" => key_thief::commit(prompt),
        "log-flood" => log_flood::commit(),
        "long-names" => long_names::commit(),
        "many-growths" => many_growths::commit(),
        "memory-bomb" => memory_bomb::commit(),
        "out-of-bounds" => out_of_bounds::commit(prompt),
        "panic" => panic::commit(),
        "redirect" => redirect::commit(),
        "remember" => remember::commit(),
        "requests" => requests::commit(prompt),
        "trap" => trap::commit(),
        other => Err(Failure::invalid(format!("no crime is called {other}"))),
    }
}
