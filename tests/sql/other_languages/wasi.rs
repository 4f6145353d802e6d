//! The part of WASI that is granted, called by a guest in JavaScript; and Python, which is built without it.

use std::collections::BTreeSet;
use std::fs;

use pg_llm_tests::{Backend, DEADLINE, eventually};

use super::Language;
use super::crimes::Victim;

/// Lines of the guest's log that a session is told of, if it asks for them.
fn logged(language: &Language, victim: &mut Victim<'_>, crime: &str) -> String {
    let model = victim.hire(crime);
    let sql = format!("SELECT pg_llm_chat('{model}', 'Do it')");
    language.database.psql(&["-c", "SET client_min_messages = debug1", "-c", &sql]).errors
}

fn sleeps(backend: Backend) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", backend.0)).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S'))
}

#[test]
fn a_guest_asleep_is_ended_by_a_cancel() {
    let Some(language) = Language::javascript() else { return };
    let mut victim = Victim::new(language);
    for crime in ["sleep", "sleep-in-block"] {
        victim.ended_by_a_cancel(crime, |backend| in_call(language, backend) && eventually(DEADLINE, || sleeps(backend)));
    }
}

/// Whether the backend is in the statement that calls the model.
fn in_call(language: &Language, backend: Backend) -> bool {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND state = 'active' AND query LIKE '%pg_llm_chat(%'";
    language.database.superuser().query_one(sql, &[&backend.0]).unwrap().get::<_, i64>(0) == 1
}

#[test]
fn a_guest_asleep_is_ended_by_its_deadline_and_needs_no_processor_for_it() {
    let Some(language) = Language::javascript() else { return };
    let mut victim = Victim::new(language);
    victim.client.batch_execute("SET pg_llm.timeout_ms = 300; SET pg_llm.guest_cpu_ms = '1h'").unwrap();
    assert_eq!(victim.error("sleep").code().code(), "08006");
    victim.client.batch_execute("RESET pg_llm.timeout_ms; SET statement_timeout = '1s'").unwrap();
    assert_eq!(victim.error("sleep").code().code(), "57014");
    victim.client.batch_execute("RESET statement_timeout").unwrap();
    assert_eq!(victim.answer("nap"), "woke by 1", "the shorter of two clocks");
    assert_eq!(victim.answer("no-nap"), "woke by 1", "a stream has always room");
}

#[test]
fn wasi_starts_no_thread_and_no_thread_of_the_backends_takes_its_signals() {
    let Some(language) = Language::javascript() else { return };
    let mut victim = Victim::new(language);
    for crime in ["nap", "no-nap", "prints", "random", "clocks", "input", "environment", "directories"] {
        victim.answer(crime);
    }
    let backend = Backend::of(&mut victim.client);
    let names: BTreeSet<String> = backend.other_threads().into_iter().map(|thread| thread.name).collect();
    assert!(names.iter().all(|name| name.starts_with("pg_llm")), "threads of others: {names:?}");
    for thread in backend.other_threads() {
        for signal in
            [rustix::process::Signal::INT, rustix::process::Signal::TERM, rustix::process::Signal::ALARM, rustix::process::Signal::USR1]
        {
            assert!(thread.blocks(signal), "{thread:?} takes {signal:?}");
        }
    }
}

#[test]
fn a_guest_sees_no_environment_no_argument_no_directory_and_no_input() {
    let Some(language) = Language::javascript() else { return };
    let mut victim = Victim::new(language);
    assert_eq!(victim.answer("environment"), "[[],[],null]");
    assert_eq!(victim.answer("directories"), "[]");
    assert_eq!(victim.answer("input"), "refused: closed");
}

#[test]
fn what_a_guest_prints_becomes_lines_of_its_log_and_no_more_than_a_log_may_have() {
    let Some(language) = Language::javascript() else { return };
    let mut victim = Victim::new(language);
    let said = logged(language, &mut victim, "prints");
    for line in ["first line", "second line", "no end", "to stderr", "to the log"] {
        assert_eq!(said.lines().filter(|said| said.ends_with(line)).count(), 1, "\"{line}\" in {said}");
    }
    let said = logged(language, &mut victim, "print-flood");
    assert!(said.contains("line 0") && !said.contains("line 4999"), "{said}");
    let said = logged(language, &mut victim, "bad-text");
    assert!(said.contains("\u{fffd}\u{fffd}\\u{7}"), "{said}");
}

#[test]
fn random_bytes_and_clocks_are_those_of_the_call() {
    let Some(language) = Language::javascript() else { return };
    let mut victim = Victim::new(language);
    let numbers: BTreeSet<String> = (0..3).map(|_| victim.answer("random")).collect();
    assert_eq!(numbers.len(), 3, "{numbers:?}");
    let now: f64 = victim.answer("clocks").parse().unwrap();
    let server: f64 = victim.client.query_one("SELECT extract(epoch FROM clock_timestamp())::float8", &[]).unwrap().get(0);
    assert!((server - now / 1000.0).abs() < 600.0, "{now} is not the time");
}

#[test]
fn too_much_of_it_is_a_fault_of_the_guest() {
    let Some(language) = Language::javascript() else { return };
    let mut victim = Victim::new(language);
    victim.fault("polls-nothing", "polls nothing");
    victim.fault("poll-flood", "handle limit exceeded");
    victim.fault("clock-flood", "");
    victim.fault("random-bomb", "");
    victim.fault("exits", "enough of this");
}

#[test]
fn python_without_wasi_has_no_file_no_environment_and_no_clock_to_sleep_by() {
    let Some(language) = Language::python() else { return };
    let mut victim = Victim::new(language);
    assert_eq!(victim.answer("environment"), "{}");
    for crime in ["opens-a-file", "sleep", "exits"] {
        let error = victim.error(crime);
        assert!(["38000", "38001"].contains(&error.code().code()), "{crime}: {error:?}");
    }
    let said = logged(language, &mut victim, "prints");
    assert!(said.contains("first line") && said.contains("to stderr"), "{said}");
    let said = logged(language, &mut victim, "throws");
    assert!(said.contains("LookupError: a mistake of the adapter's; ") && said.contains("throws line"), "{said}");
}
