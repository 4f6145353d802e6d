//! A permit is given back on every way out of a call.

use pg_llm_upstream::Reply;

use super::*;

fn one_at_a_time() -> Limited {
    Limited::new(&json!({"max_concurrency": 1, "circuit_breaker": false, "max_attempts": 1}))
}

#[test]
fn after_an_error() {
    let limited = one_at_a_time();
    for reply in
        [openai::error(500, "server_error", "x", "No"), openai::error(400, "invalid", "x", "No"), Reply::reset(), openai::malformed()]
    {
        limited.upstream.on(PATH).reply(reply);
        limited.session().query_one("SELECT pg_llm_chat('m', 'Hello')", &[]).unwrap_err();
        assert_eq!(limited.number("in_flight"), 0);
    }
    limited.is_free();
}

#[test]
fn after_a_cancel_a_timeout_and_a_terminate() {
    let limited = one_at_a_time();
    limited.upstream.on(PATH).reply(Reply::hang());
    let call = limited.call_in_flight();
    assert_eq!(limited.number("in_flight"), 1);
    call.cancel();
    assert_eq!(db_error(call.finish(DEADLINE).result).code().code(), "57014");
    assert_eq!(limited.number("in_flight"), 0);
    assert_eq!(refused(&mut limited.session(), &json!({"timeout_ms": 50})).0, "08006");
    assert_eq!(limited.number("in_flight"), 0);
    let call = limited.call_in_flight();
    assert!(limited.database.cluster().terminate_backend(call.pid()));
    assert!(call.finish(DEADLINE).result.is_err());
    limited.is_free();
    limited.database.cluster().assert_no_crash();
}

#[test]
fn when_a_stream_ends_or_is_let_go() {
    let limited = one_at_a_time();
    let declare = "DECLARE c CURSOR FOR SELECT chunk FROM pg_llm_chat_stream('m', 'Hello')";
    for (begin, end) in [
        ("SELECT chunk FROM pg_llm_chat_stream('m', 'Hello') LIMIT 1".to_owned(), "SELECT 1"),
        (format!("BEGIN; {declare}; FETCH c"), "CLOSE c; COMMIT"),
        (format!("BEGIN; {declare}; FETCH c"), "ROLLBACK"),
        (format!("BEGIN; {declare}; FETCH c; SAVEPOINT s; SELECT 1"), "COMMIT"),
    ] {
        limited.upstream.on(PATH).reply(openai::stream_endless("more"));
        let mut client = limited.session();
        client.batch_execute(&begin).unwrap();
        if begin.starts_with("BEGIN") {
            assert_eq!(limited.number("in_flight"), 1, "a stream holds its permit as long as it runs");
        }
        client.batch_execute(end).unwrap();
        assert_eq!(limited.number("in_flight"), 0, "{begin}; {end}");
    }
    limited.upstream.on(PATH).reply(openai::stream(&["one ", "two"]));
    assert_eq!(limited.session().query("SELECT chunk FROM pg_llm_chat_stream('m', 'Hello')", &[]).unwrap().len(), 3);
    limited.is_free();
}

#[test]
fn when_a_session_ends_in_the_midst_of_a_stream() {
    let limited = one_at_a_time();
    limited.upstream.on(PATH).reply(openai::stream_endless("more"));
    let mut client = limited.session();
    client.batch_execute("BEGIN; DECLARE c CURSOR FOR SELECT chunk FROM pg_llm_chat_stream('m', 'Hello'); FETCH c").unwrap();
    assert_eq!(limited.number("in_flight"), 1);
    drop(client);
    limited.is_free();
}

#[test]
fn when_the_threads_of_a_parallel_call_are_stopped() {
    let limited = Limited::new(&json!({"max_concurrency": 4, "circuit_breaker": false}));
    let sql = "SELECT pg_llm_parallel_chat('Hello', array_fill('m'::text, ARRAY[8]))";
    for terminate in [false, true] {
        limited.upstream.on(PATH).reply(Reply::hang());
        let before = limited.requests();
        let call = Running::start(limited.session(), sql);
        assert!(limited.upstream.wait_for_requests(before + 4, DEADLINE));
        assert!(eventually(DEADLINE, || limited.number("in_flight") == 4 && limited.number("waiting") == 4), "{}", limited.stat());
        if terminate {
            assert!(limited.database.cluster().terminate_backend(call.pid()));
        } else {
            call.cancel();
        }
        assert!(call.finish(DEADLINE).result.is_err());
        assert!(eventually(DEADLINE, || limited.number("in_flight") == 0 && limited.number("waiting") == 0), "{}", limited.stat());
        assert_eq!(limited.requests(), before + 4);
    }
    limited.is_free();
    limited.database.cluster().assert_no_crash();
}

#[test]
fn not_by_a_rollback() {
    let limited = Limited::new(&json!({"rate_limit": {"rpm": 2}, "timeout_ms": 1000}));
    let mut client = limited.session();
    client.batch_execute("BEGIN; SELECT pg_llm_chat('m', 'Hello'); ROLLBACK").unwrap();
    client.batch_execute("BEGIN; SELECT pg_llm_chat('m', 'Hello'); ROLLBACK").unwrap();
    assert_eq!(refused(&mut client, &json!({})).0, "53400");
    assert_eq!(limited.requests(), 2);
}

#[test]
fn after_a_kill_the_server_starts_with_clean_counts() {
    let cluster = Cluster::start(&preloaded());
    let (upstream, database) = (Upstream::start(), cluster.database());
    upstream.on(PATH).reply(Reply::hang());
    let mut client = database.superuser();
    client.batch_execute("SET synchronous_commit = on").unwrap();
    add_model(&mut client, &upstream, &json!({"max_concurrency": 1}));
    let call = Running::start(database.superuser(), "SELECT pg_llm_chat('m', 'Hello')");
    assert!(upstream.wait_for_requests(1, DEADLINE));
    assert_eq!(stat(&mut database.superuser())["in_flight"], json!(1));
    cluster.crash(call.pid());
    assert!(call.finish(DEADLINE).result.is_err());
    upstream.on(PATH).reply(openai::completion("well"));
    let mut client = database.superuser();
    assert_eq!((&stat(&mut client)["in_flight"], &stat(&mut client)["admitted"]), (&json!(0), &json!(0)));
    assert_eq!(says(&mut client), "well");
}
