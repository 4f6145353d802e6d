//! Ratings of answers: of one's own calls, one for each.

use pg_llm_tests::postgres::Client;
use pg_llm_tests::postgres::types::{FromSqlOwned, ToSql};
use std::sync::OnceLock;

use pg_llm_tests::{Asked, Cluster, Database, Settings, db_error};
use pg_llm_upstream::Upstream;
use serde_json::{Value, json};

/// A database whose server keeps a ledger.
fn keeping() -> Database<'static> {
    static KEEPING: OnceLock<Cluster> = OnceLock::new();
    KEEPING.get_or_init(|| Cluster::start(&Settings::for_models().line("shared_preload_libraries = 'pg_llm'"))).database()
}

const RECORD: &str = "SELECT pg_llm_record_feedback($1::text::uuid, $2, $3, $4)";

#[track_caller]
fn value<T: FromSqlOwned>(client: &mut Client, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> T {
    client.query_one(sql, parameters).unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

#[track_caller]
fn code(client: &mut Client, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> String {
    db_error(client.query(sql, parameters)).code().code().to_owned()
}

/// A row of the ledger: a call of this role's, with what came of it, and perhaps a part of another call.
fn called(asked: &mut Asked, id: &str, role: &str, instance: &str, outcome: &str, parent: Option<&str>) {
    let sql = "INSERT INTO _pg_llm_catalog.ledger (request_id, attempt, final, began_at, operation, via, role, role_name, instance_name, provider, model_name,
                                                  parent_request_id, total_us, outcome, streamed)
               SELECT $1::text::uuid, 1, true, clock_timestamp(), 'chat', 'chat', oid, rolname, $3, 'p', 'model of ' || $3, $5::text::uuid, 1, $4, false
                 FROM pg_roles WHERE rolname = $2";
    assert_eq!(asked.client.execute(sql, &[&id, &role, &instance, &outcome, &parent]).unwrap(), 1);
}

const ONE: &str = "01900000-0000-7000-8000-000000000001";
const TWO: &str = "01900000-0000-7000-8000-000000000002";
const WHOLE: &str = "01900000-0000-7000-8000-000000000003";
const PART: &str = "01900000-0000-7000-8000-000000000004";

fn record(client: &mut Client, id: &str, rating: i32, words: Option<&str>, metadata: &Value) -> i64 {
    value(client, RECORD, &[&id, &rating, &words, metadata])
}

#[test]
fn a_rating_of_ones_own_call_is_seen_by_model_and_prompt() {
    let mut asked = Asked::echo();
    let (role, other) = (asked.database.create_role(), asked.database.create_role());
    called(&mut asked, ONE, &role, "m", "ok", None);
    called(&mut asked, TWO, &role, "m", "error", None);
    called(&mut asked, TWO, &role, "fallback", "ok", None);
    called(&mut asked, PART, &role, "a", "ok", Some(WHOLE));
    let mut client = asked.database.connect_as(&role);
    let first = record(&mut client, ONE, 5, Some("just right"), &json!({"prompt": "greeting"}));
    assert!(first > 0);
    let again = record(&mut client, ONE, 2, None, &json!({"prompt": "greeting", "by": "Ada"}));
    assert_eq!(again, first, "the second takes the place of the first");
    assert!(record(&mut client, TWO, 4, Some(""), &json!({})) > first);
    record(&mut client, WHOLE, 3, None, &json!({}));
    let rows =
        client.query("SELECT request_id::text, rating, feedback, instance_name, metadata FROM pg_llm_feedback ORDER BY id", &[]).unwrap();
    let seen: Vec<(String, i32, Option<String>, String)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
    let expected = [(ONE, 2, None, "m"), (TWO, 4, Some(""), "fallback"), (WHOLE, 3, None, "a")];
    assert_eq!(seen, expected.map(|(id, rating, words, model)| (id.to_owned(), rating, words.map(str::to_owned), model.to_owned())));
    assert_eq!(rows[0].get::<_, Value>(4), json!({"prompt": "greeting", "by": "Ada"}));
    let ratings = "SELECT jsonb_agg(jsonb_build_array(instance_name, model_name, prompt, ratings, average::text, bad, good) ORDER BY instance_name) FROM pg_llm_ratings";
    let expected = json!([
        ["a", "model of a", null, 1, "3.00", 0, 0],
        ["fallback", "model of fallback", null, 1, "4.00", 0, 1],
        ["m", "model of m", "greeting", 1, "2.00", 1, 0]
    ]);
    assert_eq!(value::<Value>(&mut client, ratings, &[]), expected);
    // Others see neither; who monitors sees numbers and no words.
    let mut stranger = asked.database.connect_as(&other);
    assert_eq!(value::<Option<Value>>(&mut stranger, ratings, &[]), None);
    asked.client.batch_execute(&format!("GRANT pg_monitor TO {other}")).unwrap();
    assert_eq!(value::<Value>(&mut stranger, ratings, &[]), expected);
    assert_eq!(value::<i64>(&mut stranger, "SELECT count(*) FROM pg_llm_feedback", &[]), 0);
    assert_eq!(code(&mut stranger, "SELECT * FROM _pg_llm_catalog.feedback", &[]), "42501");
    assert_eq!(value::<i64>(&mut asked.client, "SELECT count(*) FROM pg_llm_feedback", &[]), 3);
}

#[test]
fn what_is_no_call_of_ones_own_is_not_rated() {
    let database = keeping();
    let mut asked = Asked { upstream: Upstream::start_echo(), client: database.superuser(), database };
    let (role, other) = (asked.database.create_role(), asked.database.create_role());
    called(&mut asked, ONE, &role, "m", "ok", None);
    let mut stranger = asked.database.connect_as(&other);
    for id in [ONE, TWO, "00000000-0000-0000-0000-000000000000"] {
        assert_eq!(code(&mut stranger, RECORD, &[&id, &5, &"x", &json!({})]), "42704", "{id}");
    }
    assert_eq!(code(&mut asked.client, RECORD, &[&ONE, &5, &"x", &json!({})]), "42704", "nor by a superuser");
    // A role that has a dropped one's name is another.
    asked.client.execute("UPDATE _pg_llm_catalog.ledger SET role = 1", &[]).unwrap();
    assert_eq!(code(&mut asked.database.connect_as(&role), RECORD, &[&ONE, &5, &"x", &json!({})]), "42704");
}

#[test]
fn a_rating_is_from_1_to_5_and_its_metadata_an_object() {
    let mut asked = Asked::echo();
    let role: String = value(&mut asked.client, "SELECT current_user::text", &[]);
    called(&mut asked, ONE, &role, "m", "ok", None);
    for rating in [0, 6, -1, i32::MAX, i32::MIN] {
        assert_eq!(code(&mut asked.client, RECORD, &[&ONE, &rating, &"x", &json!({})]), "22023", "{rating}");
    }
    for metadata in [json!([]), json!("x"), json!(null), json!(1)] {
        assert_eq!(code(&mut asked.client, RECORD, &[&ONE, &5, &"x", &metadata]), "22023", "{metadata}");
    }
    for sql in ["SELECT pg_llm_record_feedback(NULL, 5, 'x')", "SELECT pg_llm_record_feedback(gen_random_uuid(), NULL, 'x')"] {
        assert_eq!(code(&mut asked.client, sql, &[]), "22023", "{sql}");
    }
    asked.client.batch_execute("SET default_transaction_read_only = on").unwrap();
    assert_eq!(code(&mut asked.client, RECORD, &[&ONE, &5, &"x", &json!({})]), "25006");
    asked.client.batch_execute("RESET default_transaction_read_only").unwrap();
    let none: Option<Value> = None;
    assert_eq!(value::<i64>(&mut asked.client, RECORD, &[&ONE, &5, &"x", &none]), 1);
}

#[test]
fn a_call_is_rated_as_soon_as_it_is_made_and_so_is_a_turn_of_a_session_in_its_own_transaction() {
    let (upstream, database) = (Upstream::start_echo(), keeping());
    let mut client = database.superuser();
    let config = json!({ "api_endpoint": format!("{}/v1", upstream.url()) });
    client.execute("SELECT pg_llm_add_model('openai-compatible', 'm', 'sk-test-0123456789', $1)", &[&config]).unwrap();
    for sql in ["SELECT pg_llm_chat_json('m', 'Hello')", "SELECT pg_llm_parallel_chat_json('Hello', '{m,m}')"] {
        let id: String = value::<Value>(&mut client, sql, &[])["request_id"].as_str().unwrap().to_owned();
        assert!(record(&mut client, &id, 4, None, &json!({})) > 0, "{sql}");
    }
    let session: String = value(&mut client, "SELECT pg_llm_create_session()", &[]);
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").unwrap();
    let turn: Value = value(&mut client, "SELECT pg_llm_multi_turn_chat_json('m', $1, 'x')", &[&session]);
    record(&mut client, turn["request_id"].as_str().unwrap(), 5, None, &json!({}));
    client.batch_execute("COMMIT").unwrap();
    let ratings = "SELECT count(*), min(instance_name) FROM pg_llm_feedback";
    let row = client.query_one(ratings, &[]).unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, String>(1)), (3, "m".to_owned()));
    // The ledger knows the conversation, and what its calls were made for.
    let summarized = json!({"summarize": true});
    client.execute("SELECT pg_llm_set_max_messages($1, 1)", &[&session]).unwrap();
    value::<Value>(&mut client, "SELECT pg_llm_multi_turn_chat_json('m', $1, 'y', $2)", &[&session, &summarized]);
    assert!(value::<bool>(&mut client, "SELECT pg_llm_flush_ledger()", &[]));
    let kinds = "SELECT string_agg(via, ' ' ORDER BY began_at) FROM _pg_llm_catalog.ledger WHERE session_id = $1";
    assert_eq!(value::<String>(&mut client, kinds, &[&session]), "session summary session");
}

#[test]
fn without_a_ledger_it_is_said_what_is_missing() {
    let mut asked = Asked::echo();
    let answer: Value = asked.chat_json("Hello", &json!({})).unwrap().unwrap();
    assert_eq!(code(&mut asked.client, RECORD, &[&answer["request_id"].as_str(), &5, &"x", &json!({})]), "55000");
}
