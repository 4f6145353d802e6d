//! Who sees what of the ledger, and how long.

use pg_llm_tests::{DEADLINE, db_error, eventually};
use serde_json::{Value, json};

use super::{Kept, flush, value};

fn log(client: &mut pg_llm_tests::postgres::Client, options: &str) -> i64 {
    value(client, &format!("SELECT count(*) FROM pg_llm_get_audit_log('{options}')"))
}

#[test]
fn a_role_sees_its_own_rows_and_members_of_pg_read_all_stats_see_all() {
    let mut kept = Kept::new();
    let (caller, other, reader) = (kept.database.create_role(), kept.database.create_role(), kept.database.create_role());
    kept.chat(&format!(
        "SELECT pg_llm_grant_model('m', '{caller}'); GRANT pg_read_all_stats TO \"{reader}\"; SET pg_llm.trace_enabled = on"
    ));
    kept.database.cluster().execute(&format!("ALTER ROLE \"{caller}\" SET pg_llm.trace_enabled = on"));
    let mut of_caller = kept.database.connect_as(&caller);
    let answer: Value = value(&mut of_caller, "SELECT pg_llm_chat_json('m', 'a secret of mine')");
    let id = answer["request_id"].as_str().unwrap().to_owned();
    kept.chat("SELECT pg_llm_chat('m', 'b')");
    flush(&mut kept.client);
    let (mut of_other, mut of_reader) = (kept.database.connect_as(&other), kept.database.connect_as(&reader));
    assert_eq!((log(&mut of_caller, "{}"), log(&mut of_other, "{}"), log(&mut of_reader, "{}")), (1, 0, 2));
    let trace = format!("SELECT pg_llm_get_trace('{id}')::text");
    let (own, none, all): (Option<String>, Option<String>, Option<String>) =
        (value(&mut of_caller, &trace), value(&mut of_other, &trace), value(&mut of_reader, &trace));
    let (own, all) = (own.unwrap(), all.unwrap());
    assert!(own.contains("a secret of mine") && own.contains("well"), "{own}");
    assert_eq!(none, None);
    assert!(!all.contains("a secret of mine") && all.contains("input_tokens"), "{all}");
    for sql in ["TABLE _pg_llm_catalog.ledger", "TABLE _pg_llm_catalog.traces"] {
        assert_eq!(db_error(of_reader.simple_query(sql)).code().code(), "42501");
    }
}

#[test]
fn the_audit_log_has_the_columns_and_options_that_are_documented() {
    let mut kept = Kept::new();
    kept.chat("SELECT pg_llm_chat('m', 'a'); SELECT * FROM pg_llm_chat_batch('m', ARRAY['b', 'c'])");
    flush(&mut kept.client);
    let row: Value = value(&mut kept.client, "SELECT to_jsonb(l) FROM pg_llm_get_audit_log('{\"event_type\": \"chat\"}') l");
    assert_eq!(
        (&row["event_type"], &row["instance_name"], &row["success"], &row["session_id"]),
        (&json!("chat"), &json!("m"), &json!(true), &json!(null))
    );
    assert_eq!(row["metadata"]["outcome"], "ok");
    for (options, rows) in [
        (json!({}), 3),
        (json!({"limit": 2}), 2),
        (json!({"instance_name": "nobody"}), 0),
        (json!({"event_type": "batch"}), 2),
        (json!({"outcome": "ok", "since": "2020-01-01"}), 3),
        (json!({"until": "2020-01-01"}), 0),
        (json!({"request_id": row["request_id"]}), 1),
    ] {
        assert_eq!(log(&mut kept.client, &options.to_string()), rows, "{options}");
    }
    for (bad, state) in [
        (json!({"limit": 0}), "22023"),
        (json!({"limit": "1"}), "22023"),
        (json!({"nonsense": 1}), "22023"),
        (json!({"since": 5}), "22023"),
        (json!([]), "22023"),
        (json!({"since": "never"}), "22007"),
        (json!({"request_id": "x"}), "22P02"),
    ] {
        let sql = format!("SELECT * FROM pg_llm_get_audit_log('{bad}')");
        assert_eq!(db_error(kept.client.simple_query(&sql)).code().code(), state, "{bad}");
    }
    for none in ["SELECT count(*) FROM pg_llm_get_audit_log(NULL)", "SELECT count(*) FROM pg_llm_get_audit_log()"] {
        assert_eq!(value::<i64>(&mut kept.client, none), 3);
    }
    assert_eq!(value::<Option<Value>>(&mut kept.client, "SELECT pg_llm_get_trace(NULL)"), None);
    assert_eq!(value::<Option<Value>>(&mut kept.client, "SELECT pg_llm_get_trace(gen_random_uuid())"), None);
    assert_eq!(db_error(kept.client.simple_query("SELECT pg_llm_flush_ledger(-1)")).code().code(), "22023");
    assert_eq!(db_error(kept.client.simple_query("SELECT pg_llm_flush_ledger(NULL)")).code().code(), "22023");
}

#[test]
fn prompts_and_answers_are_kept_only_where_that_is_set_and_without_what_looks_like_a_secret() {
    let mut kept = Kept::new();
    kept.chat("SELECT pg_llm_chat('m', 'not kept')");
    kept.chat("SET pg_llm.trace_enabled = on; SELECT pg_llm_chat('m', 'mail bob@example.com the key sk-proj-0123456789abcdefghij')");
    flush(&mut kept.client);
    let traces: String = value(&mut kept.client, "SELECT string_agg(prompt || answer, ';') FROM _pg_llm_catalog.traces");
    assert!(traces.contains("mail ") && traces.contains("well") && !traces.contains("not kept"), "{traces}");
    assert!(!traces.contains("bob@") && !traces.contains("sk-proj"), "{traces}");
    kept.chat("SET pg_llm.redact_sensitive = off; SELECT pg_llm_chat('m', 'mail bob@example.com')");
    flush(&mut kept.client);
    assert_eq!(value::<i64>(&mut kept.client, "SELECT count(*) FROM _pg_llm_catalog.traces WHERE prompt LIKE '%bob@example.com%'"), 1);
}

#[test]
fn what_is_not_audited_leaves_no_row() {
    let mut kept = Kept::new();
    kept.chat("SET pg_llm.audit_enabled = off; SELECT pg_llm_chat('m', 'a')");
    kept.chat("SET pg_llm.audit_enabled = on; SET pg_llm.audit_sample_rate = 0; SELECT pg_llm_chat('m', 'b')");
    assert_eq!(kept.rows(), [json!(null); 0]);
    let role = kept.database.create_role();
    let mut client = kept.database.connect_as(&role);
    for sql in ["SET pg_llm.audit_enabled = off", "SET pg_llm.audit_sample_rate = 0", "SET pg_llm.trace_enabled = on"] {
        client.simple_query("SELECT pg_llm_ledger_state()").unwrap();
        assert_eq!(db_error(client.simple_query(sql)).code().code(), "42501", "{sql}");
    }
}

#[test]
fn rows_that_are_too_old_go() {
    let mut kept = Kept::new();
    kept.chat("SELECT pg_llm_chat('m', 'a')");
    flush(&mut kept.client);
    kept.chat("INSERT INTO _pg_llm_catalog.ledger SELECT (jsonb_populate_record(l, '{\"began_at\": \"2001-01-01\"}')).* FROM _pg_llm_catalog.ledger l, generate_series(1, 2500)");
    // A writer looks when it has nothing else to do, and one that begins does so at once.
    let gone = eventually(DEADLINE, || {
        kept.client.batch_execute("SELECT pg_llm_chat('m', 'b')").unwrap();
        flush(&mut kept.client);
        std::thread::sleep(std::time::Duration::from_millis(1500));
        value::<i64>(&mut kept.client, "SELECT count(*) FROM _pg_llm_catalog.ledger WHERE began_at < '2002-01-01'") == 0
    });
    assert!(gone);
    assert!(value::<i64>(&mut kept.client, "SELECT count(*) FROM _pg_llm_catalog.ledger") > 0);
}
