//! DESIGN section 4: keys are encrypted at rest, and nobody reads them: not in tables, dumps, logs, errors, settings, answers.

mod command;
mod echoes;
mod master_key;
mod memory;
mod references;
mod rotation;
mod statements;

use std::fs;
use std::path::{Path, PathBuf};

use pg_llm_tests::postgres::Client;
use pg_llm_tests::postgres::error::DbError;
use pg_llm_tests::{Asked, Cluster, DEADLINE, Installation, Running, Settings, db_error};
use pg_llm_upstream::{Reply, Upstream, openai};
use serde_json::{Value, json};

/// Letters that occur nowhere else.
const KEY: &str = "sk-Qx7Zk9Wv3Jq8Yp2Bm5Nd";

fn echoing() -> Upstream {
    let upstream = Upstream::start();
    upstream.on("/chat/completions").reply(openai::completion("well"));
    upstream
}

fn add_model(client: &mut Client, name: &str, key: &str, upstream: &Upstream) {
    let add = "SELECT pg_llm_add_model('openai-compatible', $1, $2, jsonb_build_object('api_endpoint', $3::text))";
    client.execute(add, &[&name, &key, &upstream.url()]).unwrap();
}

fn chat(client: &mut Client, name: &str) -> Result<String, Box<DbError>> {
    let asked = client.query_one("SELECT pg_llm_chat($1, 'Hello')", &[&name]);
    asked.map(|row| row.get(0)).map_err(|error| Box::new(error.as_db_error().unwrap_or_else(|| panic!("{error:?}")).clone()))
}

/// All that an error says.
fn words(error: &DbError) -> String {
    format!("{error:?}")
}

/// The key that the upstream was last sent.
fn sent(upstream: &Upstream) -> Option<String> {
    upstream.last_request().and_then(|request| request.header("authorization").map(str::to_owned))
}

/// All bytes of all files below.
fn files_with(folder: &Path, needle: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(files_with(&path, needle));
        } else if fs::read(&path).is_ok_and(|bytes| bytes.windows(needle.len()).any(|window| window == needle)) {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_key_is_nowhere_in_the_data_directory_and_the_log_at_debug5_has_none() {
    let settings = Settings::for_models().lines(&["log_min_messages = debug5", "log_statement = none", "log_min_error_statement = panic"]);
    let cluster = Cluster::start(&settings);
    let database = cluster.database();
    let upstream = echoing();
    let mut client = database.superuser();
    add_model(&mut client, "m", KEY, &upstream);
    let literal = |name: &str| {
        format!(
            "SELECT pg_llm_add_model('openai-compatible', '{name}', '{KEY}', '{{\"api_endpoint\": \"{0}\"}}');
             SELECT pg_llm_add_model('openai-compatible', '{name} 2', NULL, '{{\"api_endpoint\": \"{0}\", \"api_key\": \"{KEY}\", \"keys\": {{\"other\": \"{KEY}\"}}}}');
             SELECT pg_llm_add_model(true, 'openai-compatible', '{name} 3', '{KEY}', '{{\"api_endpoint\": \"{0}\"}}');
             SELECT pg_llm_set_key('{name}', 'another', '{KEY}')",
            upstream.url()
        )
    };
    client.batch_execute(&literal("by literal")).unwrap();
    for name in ["m", "by literal", "by literal 2", "by literal 3"] {
        assert_eq!(chat(&mut client, name).unwrap(), "well");
        assert_eq!(sent(&upstream), Some(format!("Bearer {KEY}")));
    }
    // Failures of many kinds, with everything that is known of them.
    for reply in [
        Reply::echo_headers(401),
        openai::error(401, "auth", KEY, &format!("Incorrect API key provided: {KEY}")).header("x-request-id", KEY),
        Reply::echo_headers(200),
        Reply::reset(),
    ] {
        upstream.on("/chat/completions").reply(reply);
        let error = chat(&mut client, "m").unwrap_err();
        assert!(!words(&error).contains(KEY), "{error:?}");
    }
    client.batch_execute("CHECKPOINT; ANALYZE").unwrap();
    drop(client);
    let holders = files_with(&cluster.data_directory(), KEY.as_bytes());
    assert!(holders.is_empty(), "{holders:?}");
    let log = cluster.log();
    assert!(log.contains("DEBUG:"), "the log is not what it should be");
    assert!(log.lines().all(|line| !line.contains(KEY)), "{:?}", log.lines().find(|line| line.contains(KEY)));
}

#[test]
fn a_key_is_sealed_anew_each_time_and_its_ciphertext_tells_nothing() {
    let mut asked = Asked::echo();
    let sealed = |client: &mut Client| -> Vec<u8> {
        client.query_one("SELECT sealed FROM _pg_llm_catalog.keys WHERE instance_name = 'm'", &[]).unwrap().get(0)
    };
    let first = sealed(&mut asked.client);
    asked.client.execute("SELECT pg_llm_set_key('m', 'default', $1)", &[&Asked::KEY]).unwrap();
    let second = sealed(&mut asked.client);
    assert_eq!(first.len(), second.len());
    assert_ne!(first, second);
    assert!(!first.windows(4).any(|window| Asked::KEY.as_bytes().windows(4).any(|part| part == window)));
    assert_eq!(asked.says("x"), "You said: x");
}

#[test]
fn a_key_is_bound_to_its_row() {
    let database = Cluster::shared().database();
    let (upstream, mut client) = (echoing(), database.superuser());
    for name in ["a", "b"] {
        add_model(&mut client, name, &format!("{KEY}-{name}"), &upstream);
        client.execute("SELECT pg_llm_set_key($1, 'other', 'another-key-of-it')", &[&name]).unwrap();
    }
    let swap = |what: &str| format!("UPDATE _pg_llm_catalog.keys k SET sealed = o.sealed FROM _pg_llm_catalog.keys o WHERE {what}");
    for change in [
        swap("k.key_name = o.key_name AND k.instance_name <> o.instance_name"),
        swap("k.key_name <> o.key_name AND k.instance_name = o.instance_name"),
        "UPDATE _pg_llm_catalog.keys SET sealed = ''".into(),
        "UPDATE _pg_llm_catalog.keys SET sealed = '\\x01'".into(),
        "UPDATE _pg_llm_catalog.keys SET sealed = '\\x01000000000000000000000000'".into(),
        "UPDATE _pg_llm_catalog.keys SET sealed = substr(sealed, 1, length(sealed) - 1)".into(),
        "UPDATE _pg_llm_catalog.keys SET sealed = sealed || '\\x00'".into(),
        "UPDATE _pg_llm_catalog.keys SET sealed = set_byte(sealed, 0, 2)".into(),
        "UPDATE _pg_llm_catalog.keys SET sealed = set_bit(sealed, 20, 1 - get_bit(sealed, 20))".into(),
        "UPDATE _pg_llm_catalog.keys SET sealed = set_bit(sealed, 200, 1 - get_bit(sealed, 200))".into(),
    ] {
        client.batch_execute("BEGIN").unwrap();
        client.batch_execute(&change).unwrap();
        for name in ["a", "b"] {
            client.batch_execute("SAVEPOINT s").unwrap();
            let error = chat(&mut client, name).unwrap_err();
            assert_eq!(error.code().code(), "55000", "{change}: {error:?}");
            assert!(
                error.message().contains("is damaged") && error.hint().is_some_and(|hint| hint.contains("pg_llm_set_key")),
                "{error:?}"
            );
            assert!(!words(&error).contains(KEY));
            client.batch_execute("ROLLBACK TO s").unwrap();
        }
        client.batch_execute("ROLLBACK").unwrap();
    }
    assert!(upstream.requests().is_empty());
    assert_eq!(chat(&mut client, "a").unwrap(), "well");
    assert_eq!(sent(&upstream), Some(format!("Bearer {KEY}-a")));
}

#[test]
fn a_key_does_not_follow_a_model_to_another_endpoint() {
    let database = Cluster::shared().database();
    let (here, there, mut client) = (echoing(), echoing(), database.superuser());
    add_model(&mut client, "m", KEY, &here);
    let change = |client: &mut Client, config: Value| {
        client.execute("SELECT pg_llm_add_model('openai-compatible', 'm', config => $1)", &[&config]).unwrap()
    };
    change(&mut client, json!({"api_endpoint": here.url(), "temperature": 0}));
    assert_eq!(chat(&mut client, "m").unwrap(), "well");
    assert_eq!(sent(&here), Some(format!("Bearer {KEY}")), "the same place keeps it");
    change(&mut client, json!({"api_endpoint": there.url()}));
    assert_eq!(chat(&mut client, "m").unwrap(), "well");
    assert_eq!(sent(&there), None);
    change(&mut client, json!({"api_endpoint": here.url()}));
    assert_eq!(chat(&mut client, "m").unwrap(), "well");
    assert_eq!(sent(&here), None, "nor is it there again on the way back");
    assert!(there.requests().iter().all(|request| !request.contains(KEY)));
}

#[test]
fn a_key_that_another_session_sets_is_in_the_next_call() {
    let database = Cluster::shared().database();
    let (upstream, mut one, mut two) = (echoing(), database.superuser(), database.superuser());
    add_model(&mut one, "m", KEY, &upstream);
    for round in 0..5 {
        let key = format!("{KEY}-{round}");
        one.execute("SELECT pg_llm_set_key('m', 'default', $1)", &[&key]).unwrap();
        assert_eq!(chat(&mut two, "m").unwrap(), "well");
        assert_eq!(sent(&upstream), Some(format!("Bearer {key}")));
    }
    one.batch_execute("BEGIN; SELECT pg_llm_set_key('m', 'default', 'never-committed-key')").unwrap();
    chat(&mut two, "m").unwrap();
    assert_eq!(sent(&upstream), Some(format!("Bearer {KEY}-4")));
    one.batch_execute("ROLLBACK").unwrap();
    one.batch_execute("SELECT pg_llm_set_key('m', 'default', NULL)").unwrap();
    chat(&mut two, "m").unwrap();
    assert_eq!(sent(&upstream), None);
}

/// Everything that a role can see while the call runs, and what is said of it after.
#[test]
fn views_activity_plans_and_catalogs_show_no_key() {
    let mut asked = Asked::at(Upstream::start(), json!({"keys": {"other": Asked::KEY}}));
    asked.upstream.on(Asked::PATH).reply(Reply::hang());
    let call = Running::start(asked.database.superuser(), "SELECT pg_llm_chat('m', 'Hello')");
    assert!(asked.upstream.wait_for_requests(1, DEADLINE));

    // Its own text must not hold what it looks for.
    let reversed: String = Asked::KEY.chars().rev().collect();
    let look = format!(
        "DO $$ DECLARE relation regclass; found bigint; seen int := 0; BEGIN
           FOR relation IN SELECT c.oid FROM pg_class c WHERE c.relkind IN ('r', 'v', 'm')
               AND c.relnamespace::regnamespace::text NOT LIKE 'pg_temp%' AND c.relname <> 'pg_largeobject' LOOP
             BEGIN
               EXECUTE format('SELECT count(*) FROM %s t WHERE strpos(t::text, reverse(%L)) > 0', relation, '{reversed}') INTO found;
               seen := seen + 1;
             EXCEPTION WHEN feature_not_supported OR object_not_in_prerequisite_state OR internal_error THEN found := 0;
             END;
             IF found > 0 THEN RAISE 'a key is in %', relation; END IF;
           END LOOP;
           IF seen < 100 THEN RAISE 'only % were looked at', seen; END IF;
         END $$"
    );
    asked.client.batch_execute("ANALYZE").unwrap();
    asked.client.batch_execute(&look).unwrap();
    call.cancel();
    assert_eq!(db_error(call.finish(DEADLINE).result).code().code(), "57014");

    for explain in ["VERBOSE", "VERBOSE, ANALYZE, SETTINGS", "VERBOSE, COSTS, FORMAT JSON", "VERBOSE, ANALYZE, BUFFERS, FORMAT XML"] {
        asked.upstream.on(Asked::PATH).reply(openai::completion("well"));
        let plan =
            asked.client.simple_query(&format!("EXPLAIN ({explain}) SELECT pg_llm_chat('m', 'x'), m.* FROM pg_llm_models m")).unwrap();
        assert!(!format!("{plan:?}").contains(Asked::KEY));
    }
    let shown: String = asked
        .value("SELECT string_agg(m::text, ' ') || (SELECT string_agg(p::text, ' ') FROM pg_llm_providers p) FROM pg_llm_models m", &[])
        .unwrap();
    assert!(!shown.contains(Asked::KEY) && shown.contains("default"), "{shown}");
}

#[test]
fn dumps_hold_no_key_in_clear() {
    let asked = Asked::at(Upstream::start(), json!({"keys": {"other": Asked::KEY}}));
    for (program, format) in [("pg_dump", "--format=plain"), ("pg_dump", "--format=tar"), ("pg_dumpall", "--verbose")] {
        let psql = asked.database.psql_command();
        let variables: Vec<_> = psql.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
        let mut command = std::process::Command::new(Installation::of_tests().program(program));
        command.envs(variables).args([format, "--no-password"]);
        let mut output = command.output().unwrap();
        // It dumps the databases of other tests as well, which come and go.
        for _ in 0..20 {
            if output.status.success() || program != "pg_dumpall" {
                break;
            }
            output = command.output().unwrap();
        }
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(program == "pg_dumpall" || text.contains("master_key_id"), "{format}: the keys are not in the dump at all");
        assert!(!text.contains(Asked::KEY) && !String::from_utf8_lossy(&output.stderr).contains(Asked::KEY), "{program} {format}");
    }
}
