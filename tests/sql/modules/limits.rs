//! The smallest of the server's, the module's and the model's limit counts.

use serde_json::json;

use super::*;

const LIMIT: &str = "SELECT pg_llm_set_module_limits($1, $2)";

/// The hostile guest, as provider `hostile`, with the models of these crimes.
fn hostile(library: &mut Library, crimes: &[&str]) -> String {
    let digest = upload(&mut library.client, "hostile", &built("hostile.wasm"));
    for crime in crimes {
        library.client.execute("SELECT pg_llm_add_model('hostile', $1)", &[crime]).unwrap();
    }
    digest
}

/// What DETAIL says of a call that fails.
#[track_caller]
fn fault(client: &mut Client, crime: &str, prompt: &str) -> String {
    let error = refused(client, "SELECT pg_llm_chat($1, $2)", &[&crime, &prompt]);
    format!("{} {} {}", error.code().code(), error.message(), error.detail().unwrap_or_default())
}

#[test]
fn the_smallest_limit_counts_and_warm_sessions_hear_of_it() {
    let mut library = Library::new();
    let digest = hostile(&mut library, &["memory-bomb", "infinite-loop", "huge-answer"]);
    let mut caller = library.database.superuser();
    caller.batch_execute("SET pg_llm.guest_memory_mb = 32").unwrap();
    assert!(fault(&mut caller, "memory-bomb", "").contains("more than 33554432 bytes of memory"), "the server's");
    assert!(value::<bool>(&mut library.client, LIMIT, &[&digest, &json!({"memory_mb": 16, "cpu_ms": 200, "response_bytes": 1 << 20})]));
    assert!(!value::<bool>(&mut library.client, LIMIT, &[&digest, &json!({"memory_mb": 16, "cpu_ms": 200, "response_bytes": 1 << 20})]));
    assert!(fault(&mut caller, "memory-bomb", "").contains("more than 16777216 bytes of memory"), "the module's");
    assert!(fault(&mut caller, "infinite-loop", "").contains("computed for more than 200 ms"));
    assert!(fault(&mut caller, "huge-answer", "2").contains("larger than 1048576 bytes"));
    caller.batch_execute("SET pg_llm.guest_memory_mb = 8").unwrap();
    assert!(fault(&mut caller, "memory-bomb", "").contains("more than 8388608 bytes of memory"), "the server's again");
    library
        .client
        .batch_execute("SELECT pg_llm_add_model('hostile', 'memory-bomb', config => '{\"limits\": {\"memory_mb\": 4}}')")
        .unwrap();
    assert!(fault(&mut caller, "memory-bomb", "").contains("more than 4194304 bytes of memory"), "the model's");
    library
        .client
        .batch_execute("SELECT pg_llm_add_model('hostile', 'memory-bomb', config => '{\"limits\": {\"memory_mb\": 64}}')")
        .unwrap();
    caller.batch_execute("RESET ALL").unwrap();
    assert!(fault(&mut caller, "memory-bomb", "").contains("more than 16777216 bytes of memory"), "a model cannot ask for more");
    assert_eq!(row(&mut library.client, &digest)["limits"], json!({"memory_mb": 16, "cpu_ms": 200, "response_bytes": 1 << 20}));
    let shown: Value = value(&mut caller, "SELECT limits FROM pg_llm_providers WHERE model_type = 'hostile'", &[]);
    assert_eq!(
        (&shown["memory_bytes"], &shown["cpu_ms"], &shown["response_bytes"]),
        (&json!(16 << 20), &json!(200), &json!(1 << 20)),
        "{shown}"
    );
    let none: Option<Value> = None;
    assert!(value::<bool>(&mut library.client, LIMIT, &[&digest, &none]));
    assert!(fault(&mut caller, "memory-bomb", "").contains("more than 67108864 bytes of memory"));
}

#[test]
fn a_stream_and_calls_on_threads_have_the_modules_limits() {
    let mut library = Library::new();
    let digest = hostile(&mut library, &["memory-bomb"]);
    value::<bool>(&mut library.client, LIMIT, &[&digest, &json!({"memory_mb": 8})]);
    for sql in [
        "SELECT error->>'detail' FROM pg_llm_chat_batch('memory-bomb', '{a,b}') LIMIT 1",
        "SELECT pg_llm_parallel_chat_json('a', '{memory-bomb,memory-bomb}', '{\"on_error\": \"object\"}')::text",
    ] {
        let said: String = match library.client.query_one(sql, &[]) {
            Ok(row) => row.get(0),
            Err(error) => format!("{:?}", error.as_db_error().unwrap()),
        };
        assert!(said.contains("8388608 bytes of memory"), "{sql}: {said}");
    }
}

#[test]
fn limits_are_set_at_upload_and_inherited_by_the_next_version() {
    let mut library = Library::new();
    let (_, mut owner) = library.uploader();
    let add = "SELECT pg_llm_add_provider('house', $1, limits => $2)";
    value::<bool>(&mut owner, add, &[&trapping("one"), &json!({"cpu_ms": 500})]);
    let first = sha256(&mut owner, &trapping("one"));
    assert_eq!(row(&mut owner, &first)["limits"], json!({"cpu_ms": 500}));
    let second = upload(&mut owner, "house", &trapping("two"));
    assert_eq!(row(&mut owner, &second)["limits"], json!({"cpu_ms": 500}));
    // The owner's own are the owner's to change; a superuser's are not, in the next version neither.
    assert!(value::<bool>(&mut owner, LIMIT, &[&second, &json!({"cpu_ms": 600})]));
    assert!(value::<bool>(&mut library.client, LIMIT, &[&second, &json!({"cpu_ms": 100})]));
    let third = upload(&mut owner, "house", &trapping("three"));
    assert_eq!(row(&mut owner, &third)["limits"], json!({"cpu_ms": 100}));
    for digest in [&second, &third] {
        let error = refused(&mut owner, LIMIT, &[digest, &json!({})]);
        assert!(error.code().code() == "42501" && error.message().contains("superuser"), "{error:?}");
    }
    assert_eq!(state(&mut owner, add, &[&trapping("three"), &json!({"cpu_ms": 1000})]), "42501");
    assert!(value::<bool>(&mut library.client, LIMIT, &[&third, &json!({})]));
    assert!(value::<bool>(&mut owner, LIMIT, &[&third, &json!({"cpu_ms": 700})]), "the superuser's word is taken back");
}

#[test]
fn what_is_no_limit_is_refused_and_a_refused_one_undoes_the_upload() {
    let mut library = Library::new();
    let digest = upload(&mut library.client, "house", &trapping("one"));
    for limits in [
        json!({"memory_gb": 1}),
        json!({"memory_mb": 0}),
        json!({"memory_mb": -1}),
        json!({"memory_mb": 1e9}),
        json!({"cpu_ms": "1"}),
        json!({"cpu_ms": 1.5}),
        json!({"response_bytes": 0}),
        json!([]),
        json!(1),
        json!("memory_mb"),
    ] {
        assert_eq!(state(&mut library.client, LIMIT, &[&digest, &limits]), "22023", "{limits}");
    }
    assert_eq!(row(&mut library.client, &digest)["limits"], json!({}));
    let near = refused(&mut library.client, LIMIT, &[&digest, &json!({"memroy_mb": 1})]);
    assert!(near.hint().unwrap().contains("memory_mb"), "{near:?}");
    let error = state(&mut library.client, "SELECT pg_llm_add_provider('other', $1, limits => '{\"x\": 1}')", &[&trapping("other")]);
    assert_eq!(error, "22023");
    assert_eq!(value::<i64>(&mut library.client, "SELECT count(*) FROM _pg_llm_catalog.modules", &[]), 1);
}
