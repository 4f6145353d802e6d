//! Postgres's predefined roles: what members of pg_read_all_data, pg_write_all_data and pg_monitor reach, which no grant stands between.

use std::process::Command;

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Asked, Database, Installation, Running, db_error};
use pg_llm_upstream::{Gate, openai};
use serde_json::json;

use super::{code, is_denied, value};
use crate::uploads::built;

/// Every table of the catalog.
pub(super) fn tables(client: &mut Client) -> Vec<String> {
    let sql =
        "SELECT relname::text FROM pg_class WHERE relnamespace = '_pg_llm_catalog'::regnamespace AND relkind IN ('r', 'p') ORDER BY 1";
    client.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

/// A model with a key, an uploaded provider, a kept answer; and a member of these roles.
fn furnished(asked: &mut Asked, roles: &str) -> Client {
    let role = asked.database.create_role();
    asked.client.batch_execute(&format!("GRANT {roles} TO {role}")).unwrap();
    asked.client.execute("SELECT pg_llm_add_provider('theirs', $1)", &[&built("mock.wasm")]).unwrap();
    asked.value::<String>("SELECT pg_llm_chat('m', 'kept words', '{\"cache\": true}')", &[]).unwrap();
    asked.database.connect_as(&role)
}

#[test]
fn a_member_of_pg_write_all_data_changes_no_row_of_the_catalog() {
    let mut asked = Asked::echo();
    let mut writer = furnished(&mut asked, "pg_read_all_data, pg_write_all_data");
    let other = pg_llm_upstream::Upstream::start_echo();
    let tables = tables(&mut asked.client);
    assert!(tables.len() >= 7, "{tables:?}");
    let mut tried = 0;
    for table in &tables {
        // What looks at the writer, and cannot be turned off by a setting.
        let guards: i64 = value(
            &mut asked.client,
            "SELECT count(*) FROM pg_trigger WHERE tgrelid = ('_pg_llm_catalog.' || $1)::regclass AND tgenabled = 'A' AND NOT tgisinternal \
                AND tgfoid::regproc::text IN ('_pg_llm_catalog.announce_change', '_pg_llm_catalog.guard_row') \
                AND tgtype & 31 = 31",
            &[&table],
        );
        assert_eq!(guards, 1, "table {table}: a trigger of sql/01-catalog.sql or sql/99-closed.sql, before each row, always");
        if value::<bool>(&mut asked.client, &format!("SELECT NOT EXISTS (TABLE _pg_llm_catalog.{table})"), &[]) {
            continue;
        }
        tried += 1;
        let column: String = value(
            &mut asked.client,
            "SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = ('_pg_llm_catalog.' || $1)::regclass AND attnum > 0 AND attgenerated = '' LIMIT 1",
            &[&table],
        );
        for sql in [
            format!("UPDATE _pg_llm_catalog.{table} SET {column} = {column}"),
            format!("DELETE FROM _pg_llm_catalog.{table}"),
            format!("INSERT INTO _pg_llm_catalog.{table} OVERRIDING SYSTEM VALUE TABLE _pg_llm_catalog.{table}"),
            format!("INSERT INTO _pg_llm_catalog.{table} OVERRIDING SYSTEM VALUE TABLE _pg_llm_catalog.{table} ON CONFLICT DO NOTHING"),
            format!("WITH gone AS (DELETE FROM _pg_llm_catalog.{table} RETURNING 1) SELECT count(*) FROM gone"),
            format!("MERGE INTO _pg_llm_catalog.{table} t USING (SELECT 1) AS one ON true WHEN MATCHED THEN DELETE"),
            format!("TRUNCATE _pg_llm_catalog.{table}"),
        ] {
            if sql.starts_with("MERGE") && Installation::of_tests().major() < 15 {
                continue;
            }
            is_denied(&mut writer, &sql);
        }
    }
    assert!(tried >= 6, "{tried} tables have rows");
    // The attack that this is for: the key of a model sent elsewhere, or the model used by who may not.
    let endpoint = json!({ "api_endpoint": other.url() });
    let moved = writer.execute("UPDATE _pg_llm_catalog.models SET config = $1, endpoint_trusted = true", &[&endpoint]);
    assert_eq!(code(&db_error(moved)), "42501");
    is_denied(&mut writer, "INSERT INTO _pg_llm_catalog.grants VALUES ('m', 0)");
    is_denied(&mut writer, "SELECT pg_llm_chat('m', 'x')");
    assert_eq!(asked.says("Hello"), "You said: Hello");
    assert!(other.requests().is_empty());
    asked.database.cluster().assert_no_crash();
}

#[test]
fn a_member_of_pg_read_all_data_sees_no_key_in_clear_and_may_dump() {
    let mut asked = Asked::echo();
    let mut reader = furnished(&mut asked, "pg_read_all_data");
    let mut seen = String::new();
    for table in tables(&mut asked.client) {
        let text: Option<String> = value(&mut reader, &format!("SELECT string_agg(t::text, ' ') FROM _pg_llm_catalog.{table} t"), &[]);
        seen += &text.unwrap_or_default();
    }
    assert!(seen.contains("openai-compatible"), "they read the tables, as the role says");
    let role: String = value(&mut reader, "SELECT current_user::text", &[]);
    let dump = dump_as(&asked.database, &role);
    assert!(dump.contains("openai-compatible"), "and dump the database");
    let hexadecimal = format!("{:02x?}", Asked::KEY.as_bytes()).replace(['[', ']', ',', ' '], "");
    for text in [&seen, &dump] {
        assert!(!text.contains(Asked::KEY) && !text.contains(&hexadecimal), "the key is not among it");
    }
    assert!(!dump.contains("response_cache VALUES") && !dump.contains("COPY _pg_llm_catalog.response_cache"), "answers are not dumped");
    is_denied(&mut reader, "SELECT pg_llm_chat('m', 'x')");
    assert_eq!(value::<i64>(&mut reader, "SELECT count(*) FROM pg_llm_models", &[]), 0, "to read a table is no right to a model");
    for sql in ["SELECT pg_read_binary_file('pg_llm/master.key')", "SELECT * FROM pg_ls_dir('pg_llm')", "SHOW pg_llm.master_key"] {
        is_denied(&mut reader, sql);
    }
}

fn dump_as(database: &Database<'_>, role: &str) -> String {
    let psql = database.psql_command();
    let variables: Vec<_> = psql.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    let mut dump = Command::new(Installation::of_tests().program("pg_dump"));
    let output = dump.envs(variables).args(["--username", role]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_member_of_pg_monitor_sees_statements_and_settings_and_no_secret() {
    let asked = Asked::echo();
    let role = asked.database.create_role();
    let (Asked { upstream, mut client, database }, gate) = (asked, Gate::new());
    client.batch_execute(&format!("GRANT pg_monitor TO {role}")).unwrap();
    client
        .batch_execute(
            "SET pg_llm.master_key = 'a secret of sixteen bytes'; SELECT pg_llm_set_key('m', 'default', 'sk-set-under-it-12345')",
        )
        .unwrap();
    upstream.on(Asked::PATH).reply(openai::completion("well").gated(&gate));
    let running = Running::start(client, "SELECT pg_llm_chat('m', 'words of the statement')");
    assert!(upstream.wait_for_requests(1, pg_llm_tests::DEADLINE));
    let mut monitor = database.connect_as(&role);
    let shown: String =
        value(&mut monitor, "SELECT string_agg(a::text, ' ') FROM pg_stat_activity a WHERE datname = current_database()", &[]);
    assert!(shown.contains("words of the statement"), "a statement is what they may see: {shown}");
    monitor.batch_execute("LOAD 'pg_llm'").unwrap_or_default();
    monitor.batch_execute("TABLE pg_llm_models").unwrap();
    let settings: String = value(&mut monitor, "SELECT string_agg(s::text, ' ') FROM pg_settings s", &[]);
    let everything = [shown, settings].concat();
    for secret in ["sk-set-under-it", Asked::KEY, "a secret of sixteen"] {
        assert!(!everything.contains(secret), "{secret}");
    }
    // What the statement's session has as its master key is its own; and of one in the server's configuration they are shown stars.
    assert!(!value::<String>(&mut monitor, "SELECT coalesce(current_setting('pg_llm.master_key', true), '')", &[]).contains("secret"));
    for table in tables(&mut database.superuser()) {
        is_denied(&mut monitor, &format!("TABLE _pg_llm_catalog.{table}"));
    }
    is_denied(&mut monitor, "SELECT pg_llm_chat('m', 'x')");
    gate.open();
    assert_eq!(running.finish(pg_llm_tests::DEADLINE).column(), [Some("well".to_owned())]);
}
