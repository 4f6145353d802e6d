//! Keys that are not stored: where they are is said in SQL, by superusers alone, and what they are never is.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Cluster, Database, Installation, Settings, db_error};
use pg_llm_upstream::Upstream;
use serde_json::{Value, json};

use super::{KEY, chat, echoing, sent, words};
use crate::recovery::give;

fn cluster() -> Cluster {
    Cluster::start(&Settings::for_models().env("PG_LLM_TEST_KEY", &format!(" {KEY}-env \n")).env("PG_LLM_EMPTY", " \n"))
}

/// A file of the server's user.
fn key_file(cluster: &Cluster, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = cluster.data_directory().join(name);
    let _ = fs::remove_file(&path);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    give(cluster, &path);
    path
}

fn add(client: &mut Client, upstream: &Upstream, keys: Value) -> Result<u64, pg_llm_tests::postgres::Error> {
    let mut config = keys;
    config["api_endpoint"] = json!(upstream.url());
    client.execute("SELECT pg_llm_add_model('openai-compatible', 'm', config => $1)", &[&config])
}

fn sources(client: &mut Client) -> Value {
    client.query_one("SELECT key_sources FROM pg_llm_models WHERE instance_name = 'm'", &[]).unwrap().get(0)
}

fn set(client: &mut Client, reference: &Value) -> Result<bool, pg_llm_tests::postgres::Error> {
    client.query_one("SELECT pg_llm_set_key('m', 'default', $1::jsonb)", &[reference]).map(|row| row.get(0))
}

#[track_caller]
fn works(client: &mut Client, upstream: &Upstream, key: &str) {
    assert_eq!(chat(client, "m").unwrap(), "well");
    assert_eq!(sent(upstream), Some(format!("Bearer {key}")));
}

#[test]
fn a_key_of_the_environment_or_of_a_file_is_read_at_each_call() {
    let cluster = cluster();
    let database = cluster.database();
    let (upstream, mut client) = (echoing(), database.superuser());
    let path = key_file(&cluster, "a.key", &format!("\n{KEY}-file\r\n\n"), 0o600);
    add(&mut client, &upstream, json!({"api_key": {"env": "PG_LLM_TEST_KEY"}, "keys": {"other": {"file": path}, "third": "a-stored-key"}}))
        .unwrap();
    works(&mut client, &upstream, &format!("{KEY}-env"));
    assert_eq!(sources(&mut client), json!({"default": {"env": "PG_LLM_TEST_KEY"}, "other": {"file": path}, "third": "stored"}));
    let config: Value = client.query_one("SELECT config FROM pg_llm_models", &[]).unwrap().get(0);
    assert_eq!(config, json!({"api_endpoint": upstream.url()}), "and in the configuration stands nothing of keys");

    assert!(set(&mut client, &json!({"file": path})).unwrap());
    let mut warm = database.superuser();
    works(&mut warm, &upstream, &format!("{KEY}-file"));
    for round in 0..3 {
        key_file(&cluster, "a.key", &format!("{KEY}-{round}"), 0o600);
        works(&mut warm, &upstream, &format!("{KEY}-{round}"));
    }
    // As a container's secrets are: a link to a file of root's that the server's group may read.
    let link = cluster.data_directory().join("link.key");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(set(&mut client, &json!({"file": link})).unwrap());
    works(&mut warm, &upstream, &format!("{KEY}-2"));
    // And back to one that is stored.
    client.batch_execute("SELECT pg_llm_set_key('m', 'default', 'a-stored-key')").unwrap();
    works(&mut warm, &upstream, "a-stored-key");
    assert!(set(&mut client, &json!({"env": "PG_LLM_TEST_KEY"})).unwrap());
    works(&mut warm, &upstream, &format!("{KEY}-env"));
    assert!(client.query_one("SELECT pg_llm_set_key('m', 'default', NULL::jsonb)", &[]).unwrap().get::<_, bool>(0));
    assert_eq!(chat(&mut warm, "m").unwrap(), "well");
    assert_eq!(sent(&upstream), None);
    let old = format!(
        "SELECT pg_llm_add_model(false, 'openai-compatible', 'm', NULL, '{}')",
        json!({"api_endpoint": upstream.url(), "api_key": {"env": "PG_LLM_TEST_KEY"}})
    );
    client.batch_execute(&old).unwrap();
    works(&mut warm, &upstream, &format!("{KEY}-env"));
    cluster.assert_no_crash();
}

#[test]
fn a_file_or_variable_that_is_not_sound_is_an_error_that_says_why() {
    let cluster = cluster();
    let database = cluster.database();
    let (upstream, mut client) = (echoing(), database.superuser());
    add(&mut client, &upstream, json!({})).unwrap();
    let long = "x".repeat(70_000);
    key_file(&cluster, "empty.key", " \n", 0o600);
    key_file(&cluster, "open.key", KEY, 0o644);
    key_file(&cluster, "group.key", KEY, 0o640);
    key_file(&cluster, "large.key", &long, 0o600);
    fs::create_dir(cluster.data_directory().join("folder.key")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(cluster.data_directory().join("fifo.key")).status().unwrap().success());
    give(&cluster, &cluster.data_directory().join("fifo.key"));
    let at = |name: &str| json!({"file": cluster.data_directory().join(name)});
    for (reference, state, expected) in [
        (at("missing.key"), "55000", "does not exist"),
        (at("empty.key"), "55000", "is empty"),
        (at("open.key"), "55000", "can be read or written by others"),
        (at("group.key"), "55000", "can be read or written by others"),
        (at("large.key"), "55000", "too large"),
        (at("folder.key"), "55000", "is not a file"),
        (at("fifo.key"), "55000", "is not a file"),
        (json!({"file": "/dev/null"}), "55000", "is not a file"),
        (json!({"file": "/proc/self/mem"}), "55000", "cannot be read"),
        (json!({"env": "PG_LLM_NONE"}), "55000", "is not set"),
        (json!({"env": "PG_LLM_EMPTY"}), "55000", "is empty"),
    ] {
        assert!(set(&mut client, &reference).unwrap(), "{reference}: where it is may be said before it is there");
        let error = chat(&mut client, "m").unwrap_err();
        assert!(error.code().code() == state && words(&error).contains(expected), "{reference}: {error:?}");
        assert!(!words(&error).contains(KEY), "{error:?}");
    }
    assert!(upstream.requests().is_empty());
    cluster.assert_no_crash();
}

#[test]
fn what_is_no_reference_is_refused_and_text_that_looks_like_one_is_not_taken_for_a_key() {
    let database = Cluster::shared().database();
    let (upstream, mut client) = (echoing(), database.superuser());
    add(&mut client, &upstream, json!({})).unwrap();
    for bad in [
        json!(KEY),
        json!(null),
        json!({}),
        json!({"key": KEY}),
        json!({"env": "A", "file": "/b"}),
        json!({"env": ""}),
        json!({"env": "A B"}),
        json!({"env": format!("{KEY}=")}),
        json!({"file": "relative"}),
        json!({"file": "/a/"}),
        json!({"file": "/a\u{1}"}),
        json!([{"env": "A"}]),
    ] {
        let error = db_error(set(&mut client, &bad));
        assert!(error.code().code() == "22023" && error.hint().is_some() && !words(&error).contains(KEY), "{bad}: {error:?}");
    }
    for sql in [
        r#"SELECT pg_llm_set_key('m', 'default', '{"env": "A"}')"#,
        r#"SELECT pg_llm_set_key('m', 'default', ' {"file": "/a"}'::text)"#,
        r#"SELECT pg_llm_add_model('mock', 'n', '{"env": "A"}')"#,
        r#"SELECT pg_llm_add_model(true, 'mock', 'n', '{"env": "A"}', '{}')"#,
    ] {
        let error = db_error(client.query(sql, &[]));
        assert!(error.code().code() == "22023" && error.hint().is_some_and(|hint| hint.contains("\"env\"")), "{sql}: {error:?}");
    }
    assert_eq!(client.query_one("SELECT key_sources FROM pg_llm_models", &[]).unwrap().get::<_, Option<Value>>(0), None);
}

/// A role that may add models owns a model; it wants what the server's files hold.
#[test]
fn only_a_superuser_can_point_at_the_servers_files_and_environment() {
    let cluster = cluster();
    let database = cluster.database();
    let (upstream, theirs) = (echoing(), echoing());
    let mut admin = database.superuser();
    let path = key_file(&cluster, "a.key", KEY, 0o600);
    let role = database.create_role();
    admin
        .batch_execute(&format!(
            "GRANT EXECUTE ON FUNCTION pg_llm_add_model(text, text, text, jsonb, bytea, text), pg_llm_add_model(boolean, text, text, text, text) TO {role};
             ALTER DATABASE {} SET pg_llm.allowed_hosts = '127.0.0.1'",
            database.name()
        ))
        .unwrap();
    let forbidden = |error: pg_llm_tests::postgres::Error, what: &str| {
        let error = db_error::<()>(Err(error));
        assert!(error.code().code() == "42501" && !words(&error).contains(KEY), "{what}: {error:?}");
    };
    let references = [json!({"env": "PG_LLM_TEST_KEY"}), json!({"file": path}), json!({"env": "PG_LLM_NONE"}), json!({"file": "/none"})];
    // As themselves, as a superuser that has become them, and the other way round where they may not.
    let mut client = database.connect_as(&role);
    add(&mut client, &theirs, json!({})).unwrap();
    let mut disguised = database.superuser();
    disguised.batch_execute(&format!("SET ROLE {role}")).unwrap();
    for client in [&mut client, &mut disguised] {
        for reference in &references {
            forbidden(add(client, &theirs, json!({"api_key": reference})).unwrap_err(), "api_key");
            forbidden(add(client, &theirs, json!({"keys": {"other": reference}})).unwrap_err(), "keys");
            forbidden(add(client, &theirs, json!({"access_key_secret": reference})).unwrap_err(), "access_key_secret");
            forbidden(set(client, reference).unwrap_err(), "set_key");
        }
    }
    // Nor of their model: a superuser did not choose where its keys go.
    forbidden(set(&mut admin, &references[0]).unwrap_err(), "their endpoint");
    assert!(theirs.requests().is_empty());

    // A superuser's function is a superuser's word, for who may call it.
    admin
        .batch_execute(&format!(
            "CREATE FUNCTION set_it() RETURNS boolean LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
                 AS $$ SELECT pg_llm_set_key('m', 'default', '{{\"file\": \"{}\"}}'::jsonb) $$",
            path.display()
        ))
        .unwrap();
    forbidden(client.query("SELECT set_it()", &[]).unwrap_err(), "an endpoint of theirs");
    // A superuser chooses the endpoint, and the model stays theirs.
    add(&mut admin, &upstream, json!({})).unwrap();
    client.batch_execute("SELECT set_it()").unwrap();
    works(&mut client, &upstream, KEY);
    // They change what is theirs to change, and the key does not go where they want.
    add(&mut client, &upstream, json!({"temperature": 0})).unwrap();
    works(&mut client, &upstream, KEY);
    add(&mut client, &theirs, json!({})).unwrap();
    assert_eq!(chat(&mut client, "m").unwrap(), "well");
    assert_eq!(sent(&theirs), None);
    add(&mut client, &upstream, json!({})).unwrap();
    assert_eq!(chat(&mut client, "m").unwrap(), "well");
    assert_eq!(sent(&upstream), None, "nor is it there again on the way back");
    forbidden(client.query("SELECT set_it()", &[]).unwrap_err(), "it is their endpoint again");
    // Whatever is in the table.
    add(&mut admin, &upstream, json!({"api_key": {"file": path}})).unwrap();
    works(&mut client, &upstream, KEY);
    admin.batch_execute("UPDATE _pg_llm_catalog.models SET endpoint_trusted = false").unwrap();
    let error = chat(&mut client, "m").unwrap_err();
    assert!(error.code().code() == "42501" && words(&error).contains("by reference"), "{error:?}");
    assert!(theirs.requests().iter().all(|request| !request.contains(KEY)));
    cluster.assert_no_crash();
}

#[test]
fn what_is_stored_is_a_key_or_a_reference_and_a_damaged_one_is_an_error() {
    let database = Cluster::shared().database();
    let (upstream, mut client) = (echoing(), database.superuser());
    add(&mut client, &upstream, json!({"api_key": {"env": "HOME"}})).unwrap();
    for change in ["reference = NULL", "sealed = 'x'", "sealed = 'x', master_key_id = 'x'", "master_key_id = 'x'"] {
        let error = db_error(client.execute(&format!("UPDATE _pg_llm_catalog.keys SET {change}"), &[]));
        assert_eq!(error.code().code(), "23514", "{change}: {error:?}");
    }
    for reference in ["null", "{}", "[]", r#"{"env": 1}"#, r#"{"file": "relative"}"#, r#""HOME""#] {
        client.execute(&format!("UPDATE _pg_llm_catalog.keys SET reference = '{reference}'"), &[]).unwrap();
        let error = chat(&mut client, "m").unwrap_err();
        assert!(error.code().code() == "55000" && words(&error).contains("is damaged"), "{reference}: {error:?}");
    }
    // It is not encrypted: a rotation has nothing to do with it.
    client.execute("UPDATE _pg_llm_catalog.keys SET reference = '{\"env\": \"PATH\"}'", &[]).unwrap();
    assert_eq!(client.query_one("SELECT pg_llm_rotate_master_key(false)", &[]).unwrap().get::<_, i64>(0), 0);
    assert_eq!(chat(&mut client, "m").unwrap(), "well");
}

fn dump(database: &Database<'_>) -> String {
    let output = std::process::Command::new(Installation::of_tests().program("pg_dump")).arg(database.conninfo()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_dump_keeps_references_and_another_server_follows_them_to_its_own_keys() {
    let from = cluster();
    let to = Cluster::start(&Settings::for_models().env("PG_LLM_TEST_KEY", "the-other-servers-own"));
    let (database, upstream) = (from.database(), echoing());
    add(&mut database.superuser(), &upstream, json!({"api_key": {"env": "PG_LLM_TEST_KEY"}})).unwrap();
    let text = dump(&database);
    assert!(text.contains("PG_LLM_TEST_KEY") && !text.contains(KEY));
    let restored = to.empty_database();
    let file = to.lend("dump.sql", text.as_bytes());
    let printed = restored.psql(&["-q", "-f", file.to_str().unwrap()]);
    assert!(printed.success, "{}", printed.errors);
    works(&mut restored.superuser(), &upstream, "the-other-servers-own");
    assert!(to.files_in("pg_llm").is_empty(), "no master key was needed");
}
