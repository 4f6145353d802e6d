//! Models: added, changed, removed, and what other sessions see of it.

mod configuration;
mod remembered;
mod secrets;
mod sessions;

use pg_llm_tests::{Asked, built, db_error};
use serde_json::{Value, json};

#[test]
fn both_forms_of_adding_have_the_same_effect() {
    let mut asked = Asked::echo();
    let endpoint = format!("{}/v1", asked.upstream.url());
    let config = json!({"api_endpoint": endpoint, "temperature": 0.5});
    let text = config.to_string();
    let added: bool = asked.value("SELECT pg_llm_add_model('openai-compatible', 'new', 'sk-12345678', $1)", &[&config]).unwrap();
    let older: bool = asked.value("SELECT pg_llm_add_model(true, 'openai-compatible', 'old', 'sk-12345678', $1)", &[&text]).unwrap();
    assert!(added && older);
    for name in ["new", "old"] {
        assert_eq!(asked.value::<String>("SELECT pg_llm_chat($1, 'Hello')", &[&name]).unwrap(), "You said: Hello");
        let request = asked.upstream.last_request().unwrap();
        assert_eq!(request.header("authorization"), Some("Bearer sk-12345678"));
        assert_eq!(request.json()["temperature"], 0.5);
    }
    let sql = "SELECT array_agg(to_jsonb(m) - 'instance_name' - 'local_model' - 'created_at' - 'updated_at') FROM pg_llm_models m WHERE instance_name IN ('new', 'old')";
    let rows: Vec<Value> = asked.value(sql, &[]).unwrap();
    assert_eq!(rows[0], rows[1]);
    let local: Vec<bool> = asked
        .value("SELECT array_agg(local_model ORDER BY instance_name) FROM pg_llm_models WHERE instance_name IN ('new', 'old')", &[])
        .unwrap();
    assert_eq!(local, [false, true]);
}

/// Positions, names and defaults that existing callers use.
#[test]
fn the_older_form_is_called_as_ever() {
    let mut asked = Asked::echo();
    for sql in [
        "SELECT pg_llm_add_model(false, 'mock', 'a', 'key-12345', '{}')",
        "SELECT pg_llm_add_model(false, 'mock', 'b', '', '')",
        "SELECT pg_llm_add_model(NULL::boolean, 'mock', 'c', NULL, NULL)",
        "SELECT pg_llm_add_model(false, 'mock', 'd', '', ' \n{ \"mock_response\": \"x\" }')",
        "SELECT pg_llm_add_model(local_model => true, model_type => 'mock', instance_name => 'e', api_key => '', config => '{}')",
        "SELECT pg_llm_add_model(false, 'chatgpt', 'f', 'sk-12345678', '{\"model_name\": \"gpt-4o\", \"api_endpoint\": \"https://api.openai.com/v1\"}')",
        "SELECT pg_llm_add_model(false, 'openai', 'g', '', '{}')",
    ] {
        assert!(asked.value::<bool>(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}")), "{sql}");
    }
    for config in ["{", "[]", "\"x\"", "7", "null", "{\"a\": 1} trailing", "not json"] {
        let error = db_error(asked.value::<bool>("SELECT pg_llm_add_model(false, 'mock', 'x', '', $1)", &[&config]));
        assert_eq!(error.code().code(), "22023", "{config}: {error:?}");
    }
}

#[test]
fn removing_says_whether_there_was_one() {
    let mut asked = Asked::echo();
    assert!(asked.value::<bool>("SELECT pg_llm_remove_model('m')", &[]).unwrap());
    assert!(!asked.value::<bool>("SELECT pg_llm_remove_model('m')", &[]).unwrap());
    assert!(!asked.value::<bool>("SELECT pg_llm_remove_model('')", &[]).unwrap());
    assert_eq!(db_error(asked.chat("Hello", &json!({}))).code().code(), "42704");
    for table in ["models", "keys", "grants"] {
        let left: i64 = asked.value(&format!("SELECT count(*) FROM _pg_llm_catalog.{table}"), &[]).unwrap();
        assert_eq!(left, 0, "{table}");
    }
}

#[test]
fn names_may_be_anything_that_can_be_read() {
    let mut asked = Asked::echo();
    let longest = "n".repeat(255);
    for name in ["it's", "\"quoted\"", "back\\slash", "$1", "%s", "модель 🦀", " ", "{\"json\": 1}", "a.b.c", "public", longest.as_str()]
    {
        assert!(
            asked.value::<bool>("SELECT pg_llm_add_model('mock', $1, 'sk-12345678', '{\"mock_response\": \"here\"}')", &[&name]).unwrap(),
            "{name}"
        );
        assert_eq!(asked.value::<String>("SELECT pg_llm_chat($1, 'Hello')", &[&name]).unwrap(), "here", "{name}");
        assert_eq!(asked.value::<i64>("SELECT count(*) FROM pg_llm_models WHERE instance_name = $1", &[&name]).unwrap(), 1, "{name}");
        assert!(asked.value::<bool>("SELECT pg_llm_set_key($1, $1, 'sk-12345678')", &[&name]).unwrap(), "{name}");
        assert!(asked.value::<bool>("SELECT pg_llm_grant_model($1, 'public')", &[&name]).unwrap(), "{name}");
        assert!(asked.value::<bool>("SELECT pg_llm_remove_model($1)", &[&name]).unwrap(), "{name}");
    }
    let too_long = "ü".repeat(128);
    for name in ["", too_long.as_str(), "line\nbreak", "bell\u{7}", "\u{85}"] {
        for sql in ["SELECT pg_llm_add_model('mock', $1)", "SELECT pg_llm_add_model(false, 'mock', $1, '', '{}')"] {
            let error = db_error(asked.value::<bool>(sql, &[&name]));
            assert_eq!(error.code().code(), "22023", "{name:?}: {error:?}");
        }
    }
}

#[test]
fn an_unknown_model_type_is_42704_and_the_hint_lists_those_there_are() {
    let mut asked = Asked::echo();
    for model_type in ["opnai", "OpenAI", "", "no such type", "🦀"] {
        let error = db_error(asked.value::<bool>("SELECT pg_llm_add_model($1, 'x')", &[&model_type]));
        assert_eq!(
            (error.code().code(), error.message()),
            ("42704", format!("pg_llm: model type \"{model_type}\" does not exist").as_str())
        );
        assert!(error.hint().is_some_and(|hint| hint.contains("openai") && hint.contains("mock")), "{error:?}");
    }
}

#[test]
fn rollback_undoes_adding_changing_and_removing() {
    let mut asked = Asked::echo();
    asked.client.batch_execute("BEGIN; SELECT pg_llm_add_model('mock', 'n', 'sk-12345678')").unwrap();
    assert_eq!(asked.value::<String>("SELECT pg_llm_chat('n', 'Hello')", &[]).unwrap(), "You said: Hello", "seen by its own transaction");
    asked.client.batch_execute("ROLLBACK").unwrap();
    assert_eq!(db_error(asked.value::<String>("SELECT pg_llm_chat('n', 'Hello')", &[])).code().code(), "42704");

    asked.client.batch_execute("BEGIN; SELECT pg_llm_add_model('mock', 'm', NULL, '{\"mock_response\": \"changed\"}')").unwrap();
    assert_eq!(asked.says("Hello"), "changed");
    asked.client.batch_execute("ROLLBACK").unwrap();
    assert_eq!(asked.says("Hello"), "You said: Hello");
    assert_eq!(
        asked.upstream.last_request().unwrap().header("authorization"),
        Some(format!("Bearer {}", Asked::KEY).as_str()),
        "with its key"
    );

    asked.client.batch_execute("BEGIN; SELECT pg_llm_remove_model('m')").unwrap();
    assert_eq!(db_error(asked.chat("Hello", &json!({}))).code().code(), "42704");
    asked.client.batch_execute("ROLLBACK").unwrap();
    assert_eq!(asked.says("Hello"), "You said: Hello");
}

#[test]
fn savepoints_undo_what_came_after_them() {
    let mut asked = Asked::echo();
    let answer = |asked: &mut Asked| asked.value::<String>("SELECT pg_llm_chat('n', 'Hello')", &[]);
    let add = |word: &str| format!("SELECT pg_llm_add_model('mock', 'n', NULL, '{{\"mock_response\": \"{word}\"}}')");
    asked
        .client
        .batch_execute(&format!("BEGIN; {}; SAVEPOINT a; {}; SAVEPOINT b; SELECT pg_llm_remove_model('n')", add("one"), add("two")))
        .unwrap();
    asked.client.batch_execute("ROLLBACK TO b").unwrap();
    assert_eq!(answer(&mut asked).unwrap(), "two");
    asked.client.batch_execute("ROLLBACK TO a").unwrap();
    assert_eq!(answer(&mut asked).unwrap(), "one");
    asked.client.batch_execute(&format!("SAVEPOINT c; {}; RELEASE c; COMMIT", add("three"))).unwrap();
    assert_eq!(answer(&mut asked).unwrap(), "three");
    // A block that fails takes with it what it added.
    let sql =
        "DO $$ BEGIN PERFORM pg_llm_add_model('mock', 'o'); RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END $$";
    asked.client.batch_execute(sql).unwrap();
    assert_eq!(asked.value::<i64>("SELECT count(*) FROM pg_llm_models WHERE instance_name = 'o'", &[]).unwrap(), 0);
}

#[test]
fn an_uploaded_module_becomes_the_models_provider() {
    let mut asked = Asked::echo();
    let module = built("openai.wasm");
    let sha256: String = asked.value("SELECT encode(sha256($1), 'hex')", &[&module]).unwrap();
    let config = json!({"api_endpoint": format!("{}/v1", asked.upstream.url()), "model_name": "large"});

    let add = "SELECT pg_llm_add_model('my-adapter', 'mine', 'sk-12345678', $1, module => $2, sha256 => $3)";
    let wrong = db_error(asked.value::<bool>(add, &[&config, &module, &"00".repeat(32)]));
    assert_eq!(wrong.code().code(), "22023");
    assert!(wrong.detail().is_some_and(|detail| detail.contains(&sha256)), "{wrong:?}");
    let nothing: i64 = asked.value("SELECT count(*) FROM pg_llm_providers WHERE NOT builtin", &[]).unwrap();
    assert_eq!(nothing, 0);

    assert!(asked.value::<bool>(add, &[&config, &module, &sha256.to_uppercase()]).unwrap());
    assert_eq!(asked.value::<String>("SELECT pg_llm_chat('mine', 'Hello')", &[]).unwrap(), "You said: Hello");
    let request = asked.upstream.last_request().unwrap();
    assert_eq!((request.header("authorization"), &request.json()["model"]), (Some("Bearer sk-12345678"), &json!("large")));
    let row =
        asked.client.query_one("SELECT digest, size, builtin, adapter FROM pg_llm_providers WHERE model_type = 'my-adapter'", &[]).unwrap();
    assert_eq!(row.get::<_, String>(0), sha256);
    assert_eq!(row.get::<_, i64>(1), i64::try_from(module.len()).unwrap());
    assert_eq!((row.get::<_, bool>(2), row.get::<_, String>(3)), (false, "openai".to_owned()));

    // The older form uses it as well, and it cannot go while it is used.
    let text = config.to_string();
    assert!(asked.value::<bool>("SELECT pg_llm_add_model(false, 'my-adapter', 'old', '', $1)", &[&text]).unwrap());
    assert_eq!(db_error(asked.value::<bool>("SELECT pg_llm_remove_provider('my-adapter')", &[])).code().code(), "2BP01");
    asked.client.batch_execute("SELECT pg_llm_remove_model('mine'), pg_llm_remove_model('old')").unwrap();
    assert!(asked.value::<bool>("SELECT pg_llm_remove_provider('my-adapter')", &[]).unwrap());
    assert!(!asked.value::<bool>("SELECT pg_llm_remove_provider('my-adapter')", &[]).unwrap());
    assert_eq!(asked.value::<i64>("SELECT count(*) FROM _pg_llm_catalog.modules", &[]).unwrap(), 0, "nobody needs the bytes any more");

    for (sql, state) in [
        ("SELECT pg_llm_add_model('openai', 'x', NULL, '{}', module => '\\x00')", "42710"),
        ("SELECT pg_llm_add_model('Bad Name', 'x', NULL, '{}', module => '\\x00')", "22023"),
        ("SELECT pg_llm_add_model('mock', 'x', NULL, '{}', sha256 => 'x')", "22023"),
    ] {
        assert_eq!(db_error(asked.value::<bool>(sql, &[])).code().code(), state, "{sql}");
    }
}

#[test]
fn aliases_stand_for_their_model_types() {
    let mut asked = Asked::echo();
    for (alias, field) in [("chatgpt", "max_completion_tokens"), ("kimi", "max_tokens"), ("zai", "max_tokens")] {
        asked.add(alias, "m", &json!({"max_tokens": 5}));
        assert_eq!(asked.says("Hello"), "You said: Hello");
        assert_eq!(asked.sent()[field], 5, "{alias}");
    }
}
