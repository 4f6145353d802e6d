//! What `pg_llm_inspect_module` says of bytes, good and hostile.

use std::fmt::Write;

use pg_llm_tests::{Backend, DEADLINE, Running, eventually};
use serde_json::json;

use super::*;
use crate::uploads::{assembled, compiler_of, slow};

fn inspected(client: &mut Client, module: &[u8]) -> Value {
    value(client, "SELECT pg_llm_inspect_module($1)", &[&module])
}

#[test]
fn a_provider_and_a_filter_are_told_apart_described_and_not_kept() {
    let mut library = Library::new();
    let client = &mut library.client;
    let mock = built("mock.wasm");
    let seen = inspected(client, &mock);
    let digest = sha256(client, &mock);
    assert_eq!((&seen["sha256"], &seen["size"]), (&json!(digest), &json!(mock.len())));
    assert_eq!((&seen["accepted"], &seen["worlds"], &seen["wit_version"]), (&json!(true), &json!(["provider"]), &json!("1.0.0")), "{seen}");
    assert_eq!(seen["description"]["name"], json!("mock"), "{seen}");
    assert!(seen["exports"].as_array().unwrap().contains(&json!("pg-llm:guest/chat@1.0.0")), "{seen}");
    assert!(seen["imports"].as_array().unwrap().contains(&json!("pg-llm:guest/log@1.0.0")), "{seen}");
    assert_eq!((&seen["refused_imports"], &seen["reason"], &seen["hint"]), (&json!([]), &Value::Null, &Value::Null), "{seen}");
    assert!(
        seen["producers"]["processed-by"].as_object().is_some_and(|by| by.contains_key("rustc") || by.contains_key("wit-component")),
        "{seen}"
    );
    assert!(seen["compiled_bytes"].as_u64().unwrap() > 10_000, "{seen}");
    assert!(seen["compile_ms"].is_u64(), "{seen}");

    let seen = inspected(client, &built("filter-pii-redact.wasm"));
    assert_eq!((&seen["accepted"], &seen["worlds"]), (&json!(true), &json!(["filter"])), "{seen}");
    assert_eq!(seen["description"]["name"], json!("pii-redact"), "{seen}");

    assert_eq!(value::<i64>(client, "SELECT count(*) FROM _pg_llm_catalog.modules", &[]), 0);
    assert!(value::<Option<Value>>(client, "SELECT pg_llm_inspect_module(NULL)", &[]).is_none());
}

#[test]
fn what_would_be_refused_says_why_and_what_it_wants() {
    let mut library = Library::new();
    let client = &mut library.client;
    let greedy = assembled(
        "(component (import \"wasi:sockets/tcp@0.2.0\" (instance)) (import \"pg-llm:guest/log@1.0.0\" (instance)) (import \"steal\" (func)))",
    );
    let seen = inspected(client, &greedy);
    assert_eq!(seen["accepted"], json!(false));
    assert_eq!(seen["imports"], json!(["wasi:sockets/tcp@0.2.0", "pg-llm:guest/log@1.0.0", "steal"]), "{seen}");
    assert_eq!(seen["refused_imports"], json!(["wasi:sockets/tcp@0.2.0", "steal"]), "{seen}");
    assert!(seen["reason"].as_str().unwrap().contains("imports \"wasi:sockets/tcp@0.2.0\", which is not granted"), "{seen}");
    assert!(seen["hint"].is_string() && seen["worlds"] == json!([]) && seen["description"].is_null(), "{seen}");
    // What is refused says the same when it is uploaded.
    let error = refused(client, "SELECT pg_llm_add_provider('x', $1)", &[&greedy]);
    assert_eq!(error.message(), format!("pg_llm: the module was refused: {}", seen["reason"].as_str().unwrap()));

    let filter_that_phones = assembled("(component (import \"pg-llm:guest/http@0.9.0\" (instance)))");
    assert_eq!(inspected(client, &filter_that_phones)["wit_version"], json!("0.9.0"));
    let sound = built("mock.wasm");
    for (what, module, words) in [
        ("nothing", Vec::new(), "not a WebAssembly component"),
        ("text", b"(component)".to_vec(), "not a WebAssembly component"),
        ("a core module", assembled("(module (memory 1))"), "core WebAssembly module"),
        ("machine code", built("mock.cwasm"), "machine code"),
        ("half of one", sound[..sound.len() / 2].to_vec(), "not a valid WebAssembly component"),
        ("a describe that traps", Description::default().with("unreachable", ""), "describe() failed"),
        ("a describe that loops", Description::default().with("loop $again br $again end unreachable", ""), "describe() "),
        ("a describe that lies", Description { name: b"a\0b".into(), ..Description::default() }.component(), "null characters"),
    ] {
        let seen = inspected(client, &module);
        let digest = sha256(client, &module);
        assert_eq!((&seen["accepted"], &seen["sha256"]), (&json!(false), &json!(digest)), "{what}: {seen}");
        assert!(seen["reason"].as_str().unwrap().contains(words), "{what}: {seen}");
    }
}

#[test]
fn names_of_any_length_and_number_are_cut() {
    let mut library = Library::new();
    let client = &mut library.client;
    let long = "x".repeat(50_000);
    let many = (0..2000).fold(String::new(), |mut text, n| {
        let _ = write!(text, "(import \"i{n}\" (func))");
        text
    });
    let seen = inspected(client, &assembled(&format!("(component (import \"{long}\" (func)) {many})")));
    let imports = seen["imports"].as_array().unwrap();
    assert_eq!(imports.len(), 256);
    assert!(imports.iter().all(|name| name.as_str().unwrap().len() < 300));
    assert!(seen.to_string().len() < 100_000);
}

#[test]
fn the_bounds_of_an_upload_hold_for_an_inspection() {
    let mut library = Library::new();
    let client = &mut library.client;
    let module = built("mock.wasm");
    let slow = slow(8_000);
    for (settings, module, words) in [
        ("SET pg_llm.max_module_bytes = '1kB'", &module, "1024 are allowed"),
        ("RESET ALL; SET pg_llm.compile_timeout_ms = 100", &slow, "longer than 100 ms"),
        ("RESET ALL; SET pg_llm.compile_memory_mb = 128", &slow, "broke down"),
    ] {
        client.batch_execute(settings).unwrap();
        let seen = inspected(client, module);
        assert_eq!((&seen["accepted"], &seen["size"]), (&json!(false), &json!(module.len())), "{seen}");
        assert!(seen["reason"].as_str().unwrap().contains(words) && seen["hint"].is_string(), "{seen}");
    }
}

#[test]
fn an_inspection_can_be_cancelled_and_takes_its_compiler_along() {
    let library = Library::new();
    let mut client = library.database.superuser();
    let backend = Backend::of(&mut client);
    client.batch_execute("CREATE TEMPORARY TABLE slow (module bytea)").unwrap();
    client.execute("INSERT INTO slow VALUES ($1)", &[&slow(8_000)]).unwrap();
    let running = Running::start(client, "SELECT pg_llm_inspect_module(module) FROM slow");
    let mut compiler = None;
    assert!(eventually(DEADLINE, || {
        compiler = compiler_of(backend);
        compiler.is_some()
    }));
    running.cancel();
    let mut outcome = running.finish(DEADLINE);
    assert_eq!(db_error(outcome.result).code().code(), "57014");
    assert!(!Backend(compiler.unwrap()).exists(), "the compiler runs on");
    assert_eq!(Backend::of(&mut outcome.client), backend);
}

#[test]
fn only_who_may_upload_may_have_a_module_run() {
    let mut library = Library::new();
    let role = library.database.create_role();
    let mut stranger = library.database.connect_as(&role);
    let error = refused(&mut stranger, "SELECT pg_llm_inspect_module('')", &[]);
    assert_eq!(error.code().code(), "42501", "{error:?}");
    let (_, mut uploader) = library.uploader();
    assert_eq!(inspected(&mut uploader, b"")["accepted"], json!(false));
}
