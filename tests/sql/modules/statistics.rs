//! What the calls of a module came to.

use pg_llm_tests::{DEADLINE, Running};
use pg_llm_upstream::Upstream;
use serde_json::json;

use super::*;

#[test]
fn calls_and_faults_of_all_sessions_are_counted_where_the_library_is_preloaded() {
    let mut library = Library::on(preloaded());
    let digest = upload(&mut library.client, "hostile", &built("hostile.wasm"));
    library.client.batch_execute("SELECT pg_llm_add_model('hostile', 'remember'), pg_llm_add_model('hostile', 'trap'), pg_llm_add_model('hostile', 'memory-bomb'), pg_llm_add_model('hostile', 'infinite-loop', config => '{\"limits\": {\"cpu_ms\": 100}}')").unwrap();
    let before = row(&mut library.client, &digest);
    assert_eq!((&before["calls"], &before["shared"], &before["last_call_at"]), (&json!(0), &json!(true), &Value::Null), "{before}");
    assert!(before["compile_ms"].is_u64(), "{before}");
    for _ in 0..3 {
        library.database.superuser().batch_execute("SELECT pg_llm_chat('remember', 'x')").unwrap();
    }
    let seen = row(&mut library.client, &digest);
    assert_eq!((&seen["calls"], &seen["failures"]), (&json!(3), &json!(0)), "{seen}");
    for crime in ["trap", "memory-bomb", "infinite-loop"] {
        assert_eq!(state(&mut library.client, "SELECT pg_llm_chat($1, 'x')", &[&crime]), "38001", "{crime}");
    }
    let seen = row(&mut library.client, &digest);
    assert_eq!((&seen["calls"], &seen["failures"]), (&json!(6), &json!(3)), "{seen}");
    let number = |name: &str| seen[name].as_f64().unwrap_or_else(|| panic!("{name} of {seen}"));
    assert!(number("max_cpu_ms") >= 100.0 && number("cpu_ms") >= number("max_cpu_ms"), "{seen}");
    assert!(number("max_memory_bytes") > f64::from(32 << 20) && number("max_memory_bytes") <= f64::from(64 << 20), "{seen}");
    assert!(value::<bool>(
        &mut library.client,
        "SELECT last_call_at >= counted_since AND last_call_at <= clock_timestamp() AND counted_since > now() - interval '1 hour' FROM pg_llm_modules WHERE digest = $1",
        &[&digest]
    ));

    // Threads and streams count as well.
    library
        .client
        .batch_execute(
            "SELECT count(*) FROM pg_llm_chat_batch('remember', '{a,b,c,d}'); SELECT count(*) FROM pg_llm_chat_batch('trap', '{a,b}')",
        )
        .unwrap();
    let seen = row(&mut library.client, &digest);
    assert_eq!((&seen["calls"], &seen["failures"]), (&json!(12), &json!(5)), "{seen}");
}

#[test]
fn sixteen_sessions_lose_no_call() {
    let mut library = Library::on(preloaded());
    let digest = upload(&mut library.client, "house", &answering("many"));
    library.client.batch_execute("SELECT pg_llm_add_model('house', 'm')").unwrap();
    let sql = "SELECT count(pg_llm_chat('m', i::text)) FROM generate_series(1, 100) AS i";
    let sessions: Vec<Running> = (0..16).map(|_| Running::start(library.database.superuser(), sql)).collect();
    for session in sessions {
        assert_eq!(session.finish(DEADLINE).column(), [Some("100".to_owned())]);
    }
    assert_eq!(row(&mut library.client, &digest)["calls"], json!(1600));
}

#[test]
fn without_preload_a_session_counts_its_own_and_the_view_says_so() {
    let mut library = Library::new();
    let digest = upload(&mut library.client, "house", &answering("own"));
    library.client.batch_execute("SELECT pg_llm_add_model('house', 'm'); SELECT pg_llm_chat('m', 'x')").unwrap();
    let mut other = library.database.superuser();
    other.batch_execute("SELECT pg_llm_chat('m', 'x'), pg_llm_chat('m', 'y')").unwrap();
    let own = row(&mut library.client, &digest);
    assert_eq!((&own["calls"], &own["shared"]), (&json!(1), &json!(false)), "{own}");
    assert_eq!(row(&mut other, &digest)["calls"], json!(2));
}

#[test]
fn built_in_modules_are_counted_too() {
    let mut library = Library::new();
    library.client.batch_execute("SELECT pg_llm_add_model('mock', 'm'); SELECT pg_llm_chat('m', 'x'), pg_llm_chat('m', 'y')").unwrap();
    let mock: Value = value(&mut library.client, "SELECT to_jsonb(m) FROM pg_llm_modules m WHERE 'mock' = ANY (used_by)", &[]);
    assert_eq!((&mock["calls"], &mock["builtin"], &mock["uploaded_by"]), (&json!(2), &json!(true), &Value::Null), "{mock}");
}

#[test]
fn the_same_module_in_two_databases_is_counted_twice() {
    let mut one = Library::on(preloaded());
    let mut other = Library::on(preloaded());
    let digest = upload(&mut one.client, "house", &answering("two databases"));
    upload(&mut other.client, "house", &answering("two databases"));
    one.client.batch_execute("SELECT pg_llm_add_model('house', 'm'); SELECT pg_llm_chat('m', 'x')").unwrap();
    assert_eq!((&row(&mut one.client, &digest)["calls"], &row(&mut other.client, &digest)["calls"]), (&json!(1), &json!(0)));
}

#[test]
fn counts_begin_anew_when_a_superuser_says_so() {
    let mut library = Library::on(preloaded());
    let digest = upload(&mut library.client, "house", &answering("anew"));
    library.client.batch_execute("SELECT pg_llm_add_model('house', 'm'); SELECT pg_llm_chat('m', 'x')").unwrap();
    let (_, mut owner) = library.uploader();
    assert_eq!(state(&mut owner, "SELECT pg_llm_reset_module_statistics()", &[]), "42501");
    assert_eq!(value::<i64>(&mut library.client, "SELECT pg_llm_reset_module_statistics($1)", &[&"0".repeat(64)]), 0);
    assert_eq!(state(&mut library.client, "SELECT pg_llm_reset_module_statistics('x')", &[]), "22023");
    assert_eq!(row(&mut library.client, &digest)["calls"], json!(1));
    assert_eq!(value::<i64>(&mut library.client, "SELECT pg_llm_reset_module_statistics($1)", &[&digest]), 1);
    let seen = row(&mut library.client, &digest);
    assert_eq!((&seen["calls"], &seen["max_cpu_ms"], &seen["last_call_at"]), (&json!(0), &Value::Null, &Value::Null), "{seen}");
    library.client.batch_execute("SELECT pg_llm_chat('m', 'x')").unwrap();
    assert_eq!(row(&mut library.client, &digest)["calls"], json!(1));
    assert!(value::<i64>(&mut library.client, "SELECT pg_llm_reset_module_statistics()", &[]) >= 1);
}

/// A call that is cancelled is a call, and no fault of its guest.
#[test]
fn a_cancelled_call_is_counted_and_its_threads_leave_the_memory_alone() {
    let mut library = Library::on(preloaded());
    let upstream = Upstream::start();
    upstream.on("/chat/completions").reply(pg_llm_upstream::Reply::hang());
    let digest = upload(&mut library.client, "house", &with_word(built("openai.wasm"), "cancelled"));
    let config = json!({"api_endpoint": upstream.url(), "model_name": "x"});
    library.client.execute("SELECT pg_llm_add_model('house', 'm', 'sk-123456789', $1)", &[&config]).unwrap();
    let call = Running::start(library.database.superuser(), ASK);
    assert!(upstream.wait_for_requests(1, DEADLINE));
    call.cancel();
    assert_eq!(db_error(call.finish(DEADLINE).result).code().code(), "57014");
    let seen = row(&mut library.client, &digest);
    assert_eq!((&seen["calls"], &seen["failures"]), (&json!(1), &json!(0)), "{seen}");
    // A backend that ends in the midst of calls on threads.
    let batch = Running::start(library.database.superuser(), "SELECT count(*) FROM pg_llm_chat_batch('m', '{a,b,c,d}')");
    assert!(upstream.wait_for_requests(5, DEADLINE));
    assert!(library.database.cluster().terminate_backend(batch.pid()));
    assert!(batch.finish(DEADLINE).result.is_err());
    assert!(upstream.wait_until_closed(DEADLINE));
}
