//! Whatever a guest does, the statement fails with one clear ERROR and the same backend serves the next query.
//!
//! The guest is `tests/hostile`: one component, uploaded as provider `hostile`, whose crime is the model's `model_name`. Crimes against the border
//! itself, which no compiler would write, are in `tests/hostile/wat`.

mod corpus;
pub(crate) mod module;

use pg_llm_tests::postgres::Client;
use pg_llm_tests::postgres::error::DbError;
use pg_llm_tests::{Backend, Cluster, DEADLINE, Database, Installation, Running, db_error};
use pg_llm_upstream::{Certificate, Ending, Reply, Upstream};
use serde_json::{Value, json};

use crate::uploads::{Description, built};

/// Somebody who has uploaded the hostile guest.
pub(crate) struct Victim {
    pub(crate) client: Client,
    pub(crate) database: Database<'static>,
    pub(crate) backend: Backend,
    endpoint: Option<String>,
}

impl Victim {
    /// The key of every model of theirs.
    pub(crate) const KEY: &'static str = "sk-Zx81_the-key-that-nobody-may-see";

    /// With models at this upstream, or nowhere.
    pub(crate) fn new(upstream: Option<&Upstream>) -> Self {
        Self::on(Cluster::shared(), upstream)
    }

    pub(crate) fn on(cluster: &'static Cluster, upstream: Option<&Upstream>) -> Self {
        let database = cluster.database();
        let mut client = database.superuser();
        client.execute("SELECT pg_llm_add_provider('hostile', $1)", &[&built("hostile.wasm")]).unwrap();
        let backend = Backend::of(&mut client);
        Self { client, database, backend, endpoint: upstream.map(Upstream::url) }
    }

    /// Adds the model of a crime, called as the crime is.
    pub(crate) fn hire(&mut self, crime: &str) {
        let config = self.endpoint.as_ref().map_or(json!({}), |endpoint| json!({ "api_endpoint": endpoint }));
        self.client.execute("SELECT pg_llm_add_model('hostile', $1, $2, $3)", &[&crime, &Self::KEY, &config]).unwrap();
    }

    /// Has a crime committed. Afterwards the same backend answers the next query.
    pub(crate) fn suffer(&mut self, crime: &str, prompt: &str) -> Result<Value, pg_llm_tests::postgres::Error> {
        self.hire(crime);
        let result = self.client.query_one("SELECT pg_llm_chat_json($1, $2)", &[&crime, &prompt]).map(|row| row.get(0));
        assert_eq!(Backend::of(&mut self.client), self.backend, "{crime}: another backend");
        result
    }

    /// What it answered.
    #[track_caller]
    pub(crate) fn answer(&mut self, crime: &str, prompt: &str) -> String {
        let answer = self.suffer(crime, prompt).unwrap_or_else(|error| panic!("{crime}: {error:?}"));
        answer["response"].as_str().unwrap_or_else(|| panic!("{crime}: {answer}")).to_owned()
    }

    /// The error that it ended in.
    #[track_caller]
    pub(crate) fn error(&mut self, crime: &str, prompt: &str) -> DbError {
        let result = self.suffer(crime, prompt);
        assert!(result.is_err(), "{crime} succeeded: {result:?}");
        db_error(result)
    }

    /// That its error is a fault of the guest, explained by these words.
    #[track_caller]
    fn fault(&mut self, crime: &str, prompt: &str, words: &str) {
        let error = self.error(crime, prompt);
        assert_eq!(error.code().code(), "38001", "{crime}: {error:?}");
        assert_eq!(error.message(), format!("pg_llm: model \"{crime}\" failed: its provider module misbehaved"));
        let detail = error.detail().unwrap_or_default();
        assert!(detail.contains(words), "{crime}: \"{words}\" is not in: {detail}");
        assert!(detail.len() <= 1024 && !detail.chars().any(|c| c.is_control() && c != '\n'), "{crime}: {detail:?}");
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.database.cluster().assert_no_crash();
        }
    }
}

#[test]
fn a_guest_that_loops_or_recurses_or_traps_ends_in_one_error() {
    let mut victim = Victim::new(None);
    victim.client.batch_execute("SET pg_llm.guest_cpu_ms = 300").unwrap();
    victim.fault("infinite-loop", "", "computed for more than 300 ms");
    victim.client.batch_execute("RESET pg_llm.guest_cpu_ms").unwrap();
    victim.fault("deep-recursion", "", "its stack overflowed");
    victim.fault("trap", "", "unreachable");
    victim.fault("panic", "", "the criminal panicked");
    victim.fault("divide-by-zero", "0", "divide by zero");
    victim.fault("divide-by-zero", "-1", "integer overflow");
    victim.fault("out-of-bounds", "read", "out of bounds");
    victim.fault("out-of-bounds", "write", "out of bounds");
}

#[test]
fn strings_and_lists_that_lie_are_seen_through() {
    let mut victim = Victim::new(None);
    victim.fault("forged-string", "", "out of bounds");
    victim.fault("forged-list", "", "out of bounds");
    victim.fault("invalid-utf8", "", "utf-8");
    victim.fault("aliased-list", "", "too much data");
    victim.fault("handle-flood", "", "handle");
}

#[test]
fn memory_ends_at_the_limit_and_is_given_back() {
    let mut victim = Victim::new(None);
    victim.fault("memory-bomb", "", "more than 67108864 bytes of memory");
    victim.client.batch_execute("SET pg_llm.guest_memory_mb = 8").unwrap();
    victim.fault("memory-bomb", "", "more than 8388608 bytes of memory");
    assert!(victim.answer("many-growths", "").parse::<u32>().unwrap() <= 128, "pages of 64 KiB");
    victim.client.batch_execute("RESET pg_llm.guest_memory_mb").unwrap();

    let crimes = ["memory-bomb", "many-growths", "aliased-list", "forged-string", "aliased-logs", "trap"];
    let round = |victim: &mut Victim| {
        for crime in crimes {
            let _ = victim.suffer(crime, "");
        }
        victim.backend.rss_anon_kb()
    };
    round(&mut victim);
    let before = round(&mut victim);
    let files = victim.backend.open_files();
    for _ in 0..5 {
        round(&mut victim);
    }
    let after = round(&mut victim);
    assert!(after < before + 4096, "from {before} kB to {after} kB");
    // Postgres itself opens and closes files of tables.
    assert!(victim.backend.open_files() <= files + 4, "{files} and then {}", victim.backend.open_files());
}

#[test]
fn every_call_has_a_fresh_instance() {
    let mut victim = Victim::new(None);
    for _ in 0..3 {
        assert_eq!(victim.answer("remember", ""), "1");
    }
    let all: Vec<String> = victim
        .client
        .query("SELECT pg_llm_chat('remember', n::text) FROM generate_series(1, 20) n", &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(all, vec!["1"; 20]);
}

#[test]
fn a_log_flood_is_cut_and_can_forge_no_line() {
    let mut victim = Victim::new(None);
    // To the client and to the log, where the forged lines would stand.
    victim.client.batch_execute("SET log_min_messages = debug1").unwrap();
    assert_eq!(victim.answer("log-flood", ""), "logged");
    victim.client.batch_execute("RESET log_min_messages").unwrap();
    let log = victim.database.cluster().log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("provider of model \"log-flood\"")).collect();
    assert!((2..1000).contains(&lines.len()), "{} lines", lines.len());
    assert!(lines[0].contains("forged\\n") && lines[0].contains("\\u{1b}[2J"), "{}", lines[0]);
    assert!(!log.lines().any(|line| line.trim_start().starts_with("WARNING:  forged") || line.trim_start().starts_with("FATAL:  forged")));
    let bytes: usize = lines.iter().map(|line| line.len()).sum();
    assert!(bytes < 64 << 10, "{bytes} bytes");
    // Without that setting nothing is written at all.
    assert_eq!(victim.answer("aliased-logs", ""), "logged");
    assert!(!victim.database.cluster().log().contains("provider of model \"aliased-logs\""));
}

#[test]
fn a_panics_words_cannot_forge_a_line_either() {
    let mut victim = Victim::new(None);
    let error = victim.error("panic", "");
    let said = format!("{} {}", error.message(), error.detail().unwrap_or_default());
    assert!(!said.contains('\n') && !said.contains('\u{1b}'), "{said:?}");
}

#[test]
fn a_guest_has_no_say_in_whether_the_statement_was_cancelled() {
    let mut victim = Victim::new(None);
    assert_eq!(victim.error("false-kind", "cancelled").code().code(), "38001");
    assert_eq!(victim.error("false-kind", "timeout").code().code(), "38000", "a time-out with a status is the provider's");
    // Asks to be tried again in half a billion years: that is after the deadline, so it is not.
    let error = victim.error("false-kind", "rate-limit");
    assert_eq!(error.code().code(), "53400", "{error:?}");
}

#[test]
fn numbers_at_the_ends_of_their_types_are_no_confidence_and_no_crash() {
    let mut victim = Victim::new(None);
    let answer = victim.suffer("absurd-numbers", "").unwrap();
    assert_eq!(answer["response"], "numbers");
    assert_eq!((&answer["confidence_score"], &answer["confidence_method"]), (&Value::Null, &Value::Null), "NaN is no confidence: {answer}");
    assert_eq!(answer["usage"]["input_tokens"], json!(u64::MAX));
    assert_eq!(answer["usage"]["total_tokens"], json!(u64::MAX));
    assert_eq!(answer["usage"]["raw"], Value::Null);
}

#[test]
fn characters_that_postgres_cannot_hold_are_replaced() {
    let mut victim = Victim::new(None);
    let answer = victim.suffer("control-characters", "").unwrap();
    let text = answer["response"].as_str().unwrap();
    assert!(text.starts_with("a\u{fffd}b\u{1}\u{8}\u{1b}[31m") && text.ends_with("\u{10ffff}z"), "{text:?}");
    let plain: String = victim.client.query_one("SELECT pg_llm_chat('control-characters', '')", &[]).unwrap().get(0);
    assert_eq!(plain, text);
    // An escaped NUL in JSON too; what does not parse stays as it is.
    assert_eq!(answer["usage"]["raw"], json!({ "\u{fffd}": "\u{fffd}" }));
    assert_eq!(answer["tool_calls"][0]["arguments"], r#"{"\u0000": "\u0000\ud800"}"#);

    let error = victim.error("control-characters-in-error", "");
    assert_eq!(error.code().code(), "38000");
    for said in [error.message(), error.detail().unwrap_or_default()] {
        assert!(!said.chars().any(|c| c.is_control() && c != '\n'), "{said:?}");
    }
}

#[test]
fn a_huge_answer_arrives_and_its_memory_is_used_again() {
    let mut victim = Victim::new(None);
    victim.hire("huge-answer");
    let round = |victim: &mut Victim| {
        for sql in ["octet_length(pg_llm_chat('huge-answer', '20'))", "length(pg_llm_chat_json('huge-answer', '20') ->> 'response')"] {
            let length: i32 = victim.client.query_one(&format!("SELECT {sql}"), &[]).unwrap().get(0);
            assert_eq!(length, 20 << 20);
        }
        victim.backend.rss_anon_kb()
    };
    round(&mut victim);
    let before = round(&mut victim);
    for _ in 0..5 {
        round(&mut victim);
    }
    // The allocator keeps some of what is freed.
    let after = round(&mut victim);
    assert!(after < before + (32 << 10), "from {before} kB to {after} kB");
    // More than any upstream may have sent.
    victim.fault("huge-answer", "40", "answer is larger than 33554432 bytes");
    victim.fault("huge-answer", "100", "bytes of memory");
}

#[test]
fn a_loop_ends_at_a_cancel_and_at_the_timeouts() {
    let mut victim = Victim::new(None);
    victim.client.batch_execute("SET statement_timeout = '100ms'").unwrap();
    assert_eq!(victim.error("infinite-loop", "").code().code(), "57014");
    victim.client.batch_execute("RESET statement_timeout; SET pg_llm.timeout_ms = 100").unwrap();
    assert_eq!(victim.error("infinite-loop", "").code().code(), "08006");

    let client = victim.database.superuser();
    let running = Running::start(client, "SELECT pg_llm_chat('infinite-loop', '')");
    let backend = running.backend();
    assert!(pg_llm_tests::eventually(DEADLINE, || backend.threads().iter().any(|thread| thread.name.starts_with("pg_llm"))));
    running.cancel();
    let mut outcome = running.finish(DEADLINE);
    assert_eq!(db_error(outcome.result).code().code(), "57014");
    assert_eq!(Backend::of(&mut outcome.client), backend);
}

/// An ERROR inside a subtransaction leaves nothing behind that the next call would trip over.
#[test]
fn a_thousand_faults_in_one_transaction_leave_nothing_behind() {
    let mut victim = Victim::new(None);
    for crime in ["trap", "deep-recursion", "invalid-utf8", "remember"] {
        victim.hire(crime);
    }
    victim
        .client
        .batch_execute(
            "CREATE FUNCTION attempt(model text) RETURNS text LANGUAGE plpgsql AS $$
             BEGIN RETURN pg_llm_chat(model, ''); EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END $$",
        )
        .unwrap();
    let sql = "SELECT a, count(*) FROM generate_series(1, 250), unnest(ARRAY['trap', 'deep-recursion', 'invalid-utf8', 'remember']) m, attempt(m) a GROUP BY a ORDER BY a";
    let counts: Vec<(String, i64)> = victim.client.query(sql, &[]).unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(counts, [("1".to_owned(), 250), ("38001".to_owned(), 750)]);
    assert_eq!(victim.backend.other_threads().len(), 1, "the ticker alone");
}

#[test]
fn every_crime_in_parallel_sessions_leaves_the_server_standing() {
    let mut victim = Victim::new(None);
    let crimes = ["trap", "panic", "deep-recursion", "memory-bomb", "aliased-list", "handle-flood", "forged-string", "log-flood"];
    for crime in crimes {
        victim.hire(crime);
    }
    let running: Vec<Running> =
        crimes.iter().map(|crime| Running::start(victim.database.superuser(), &format!("SELECT pg_llm_chat('{crime}', '')"))).collect();
    for (crime, running) in crimes.iter().zip(running) {
        let backend = running.backend();
        let mut outcome = running.finish(DEADLINE);
        assert_eq!(outcome.result.is_ok(), *crime == "log-flood", "{crime}");
        assert_eq!(Backend::of(&mut outcome.client), backend);
    }
}

/// The host asks the guest for room before it writes the request into its memory: the answer may be anything.
#[test]
fn an_allocator_that_lies_writes_nowhere_but_into_its_own_memory() {
    let mut victim = Victim::new(None);
    victim.client.batch_execute("SET pg_llm.guest_cpu_ms = 300").unwrap();
    for (what, realloc) in [
        ("a trap", "unreachable"),
        ("the end of the memory", "i32.const 131071"),
        ("beyond the memory", "i32.const -16"),
        ("a negative size", "i32.const 0x7ffffff8"),
        ("nowhere", "i32.const 0"),
        ("an odd address", "i32.const 4097"),
        ("always the same", "i32.const 4096"),
        ("never", "loop $again br $again end unreachable"),
        ("recursion", "local.get 0 local.get 1 local.get 2 local.get 3 call 0 i32.const 1 i32.add"),
        ("growing", "i32.const 1 memory.grow drop i32.const 4096"),
    ] {
        let module = Description { realloc, ..Description::default() }.component();
        victim.client.execute("SELECT pg_llm_add_provider('tiny', $1)", &[&module]).unwrap();
        victim.client.execute("SELECT pg_llm_add_model('tiny', 'tiny', config => '{}')", &[]).unwrap();
        for prompt in ["", "x", &"x".repeat(10 << 20)] {
            let error = db_error(victim.client.query_one("SELECT pg_llm_chat('tiny', $1)", &[&prompt]));
            assert_eq!(error.code().code(), "38001", "{what}: {error:?}");
        }
        assert_eq!(Backend::of(&mut victim.client), victim.backend, "{what}");
    }
}

#[test]
fn a_prompt_that_does_not_fit_the_guest_is_one_error() {
    let mut victim = Victim::new(None);
    victim.hire("remember");
    for mebibytes in [65, 200] {
        let error = db_error(victim.client.query_one("SELECT pg_llm_chat('remember', repeat('x', $1 << 20))", &[&mebibytes]));
        assert_eq!(error.code().code(), "38001", "{error:?}");
        assert!(error.detail().unwrap().contains("bytes of memory"), "{error:?}");
    }
    assert_eq!(victim.answer("remember", &"x".repeat(8 << 20)), "1");
}

/// Postgres lets SQL recurse into most of the stack. Whatever is left then: a guest that takes all of the stack that it may, and has the host do there what
/// needs most of it (a TLS handshake), never takes more than there is.
#[test]
fn a_guest_called_from_deep_recursion_never_exhausts_the_native_stack() {
    let upstream = Upstream::start_tls(Certificate::Trusted);
    upstream.on("/deep").reply(Reply::text(200, "deep").ending(Ending::Close));
    let mut victim = Victim::new(Some(&upstream));
    victim.hire("deep-recursion");
    victim.hire("deep-request");
    victim
        .client
        .batch_execute(
            "SET max_stack_depth = '7680kB';
             CREATE FUNCTION down(n integer, crime text, prompt text) RETURNS text LANGUAGE plpgsql AS $$
             BEGIN
                 IF n = 0 THEN RETURN pg_llm_chat(crime, prompt); END IF;
                 RETURN down(n - 1, crime, prompt);
             END $$;
             CREATE FUNCTION attempt(n integer, crime text, prompt text) RETURNS text LANGUAGE plpgsql AS $$
             BEGIN RETURN down(n, crime, prompt); EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END $$;",
        )
        .unwrap();
    let mut attempt = |sql_depth: i32, crime: &str, guest_depth: i32| -> String {
        let row = victim.client.query_one("SELECT attempt($1, $2, $3)", &[&sql_depth, &crime, &guest_depth.to_string()]);
        row.unwrap_or_else(|error| panic!("at {sql_depth}: {error:?}")).get(0)
    };

    let answer = "back again";
    let guest = deepest(|depth| attempt(0, "deep-request", depth) == answer);
    assert_eq!(attempt(0, "deep-request", guest + 1), "38001", "after {guest} frames of the guest");
    let sql = deepest(|depth| attempt(depth, "deep-request", guest) == answer);
    assert_eq!(attempt(sql + 1, "deep-request", guest), "54001", "after {sql} calls in SQL");
    for depth in sql - 3..=sql {
        assert_eq!(attempt(depth, "deep-request", guest), answer, "at {depth} of {sql}");
        assert_eq!(attempt(depth, "deep-recursion", 0), "38001", "at {depth} of {sql}");
    }
    assert!(guest > 1_000 && sql > 100, "{guest} frames of the guest, {sql} calls in SQL");
    assert_eq!(Backend::of(&mut victim.client), victim.backend);
}

/// The largest number of which something is so, up to some 100,000.
fn deepest(mut is_so: impl FnMut(i32) -> bool) -> i32 {
    let (mut so, mut not) = (0, 1 << 17);
    while not - so > 1 {
        let middle = i32::midpoint(so, not);
        if is_so(middle) {
            so = middle;
        } else {
            not = middle;
        }
    }
    so
}

#[test]
fn crimes_in_a_parallel_worker_are_errors_too() {
    let mut victim = Victim::new(None);
    let forced = if Installation::of_tests().major() >= 16 { "debug_parallel_query" } else { "force_parallel_mode" };
    for crime in ["trap", "deep-recursion", "memory-bomb", "handle-flood", "remember", "infinite-loop"] {
        victim.hire(crime);
    }
    victim.client.batch_execute(&format!("SET {forced} = on; SET pg_llm.guest_cpu_ms = 300")).unwrap();
    let plan: Vec<String> =
        victim.client.query("EXPLAIN SELECT pg_llm_chat('trap', '')", &[]).unwrap().iter().map(|row| row.get(0)).collect();
    assert!(plan[0].contains("Gather"), "{plan:?}");
    for crime in ["trap", "deep-recursion", "memory-bomb", "handle-flood", "infinite-loop"] {
        let error = db_error(victim.client.query_one("SELECT pg_llm_chat($1, '')", &[&crime]));
        assert_eq!(error.code().code(), "38001", "{crime}: {error:?}");
    }
    assert_eq!(victim.answer("remember", ""), "1");
    assert_eq!(Backend::of(&mut victim.client), victim.backend);
}

/// A backend forgets code when it has loaded much of it, also code whose memory is executable, and loads it again when it is called.
#[test]
fn more_modules_than_a_backend_keeps_come_and_go() {
    let mut victim = Victim::new(None);
    victim.hire("remember");
    let modules: i32 = 70;
    for n in 0..modules {
        let module = Description { name: format!("tiny {n}").into(), ..Description::default() }.component();
        let name = format!("tiny-{n}");
        victim.client.query_one("SELECT pg_llm_add_provider($1, $2)", &[&name, &module]).unwrap();
        victim.client.query_one("SELECT pg_llm_add_model($1, $1, config => '{}')", &[&name]).unwrap();
    }
    let mut round = || {
        for n in 0..modules {
            let error = db_error(victim.client.query_one("SELECT pg_llm_chat($1, '')", &[&format!("tiny-{n}")]));
            assert_eq!(error.code().code(), "38001", "{n}: {error:?}");
            let answer: String = victim.client.query_one("SELECT pg_llm_chat('remember', '')", &[]).unwrap().get(0);
            assert_eq!(answer, "1");
        }
        victim.backend.rss_anon_kb()
    };
    round();
    let before = round();
    for _ in 0..3 {
        round();
    }
    let after = round();
    assert!(after < before + 8192, "from {before} kB to {after} kB");
    assert_eq!(Backend::of(&mut victim.client), victim.backend);
}
