//! Every function of the extension with what nobody should pass: NULL, JSON of the wrong kind, texts of the wrong kind. The functions are looked up
//! in the catalog, so that a new one is tested as soon as there is one.

use std::fmt::Write as _;

use pg_llm_tests::{Asked, Backend, postgres::Client};
use serde_json::json;

pub(crate) struct Function {
    name: String,
    arguments: Vec<Argument>,
    returns_set: bool,
}

struct Argument {
    name: String,
    type_name: String,
    /// The type with its schema.
    qualified: String,
}

impl Function {
    /// What SQL can call: not those of triggers or for types that have no values.
    pub(crate) fn all(client: &mut Client) -> Vec<Self> {
        let sql = "SELECT format('%I.%I', p.pronamespace::regnamespace::text, p.proname), p.proretset, coalesce(p.proargnames, '{}'),
                          ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, n) ORDER BY n),
                          ARRAY(SELECT format('%I.%I', typnamespace::regnamespace::text, typname)
                                  FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, n) JOIN pg_type y ON y.oid = t ORDER BY n)
                     FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
                     JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
                    WHERE e.extname = 'pg_llm' AND p.prokind = 'f' AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype, 'internal'::regtype)
                    ORDER BY p.oid";
        let rows = client.query(sql, &[]).unwrap();
        rows.iter()
            .map(|row| {
                let (names, types, qualified): (Vec<String>, Vec<String>, Vec<String>) = (row.get(2), row.get(3), row.get(4));
                let arguments = types.into_iter().zip(qualified).enumerate().map(|(at, (type_name, qualified))| Argument {
                    name: names.get(at).cloned().unwrap_or_default(),
                    type_name,
                    qualified,
                });
                Self { name: row.get(0), arguments: arguments.collect(), returns_set: row.get(1) }
            })
            .collect()
    }

    /// A call with these SQL expressions as arguments.
    pub(crate) fn call(&self, values: &[String]) -> String {
        let mut sql = format!("SELECT {}", if self.returns_set { "* FROM " } else { "" });
        let values: Vec<String> =
            self.arguments.iter().zip(values).map(|(argument, value)| format!("{value}::{}", argument.qualified)).collect();
        let _ = write!(sql, "{}({})", self.name, values.join(", "));
        sql
    }

    /// Arguments that could be right.
    pub(crate) fn plausible(&self) -> Vec<String> {
        let value = |argument: &Argument| match (argument.name.as_str(), argument.type_name.as_str()) {
            ("instance_name", _) => "'m'",
            ("model_type", _) => "'mock'",
            ("role", "text") => "'public'",
            ("filter_type", _) => "'json-only'",
            ("config", "text") | (_, "jsonb") => "'{}'",
            ("query" | "sql", "text") => "'SELECT 1'",
            (_, "text") => "'some text'",
            (_, "boolean") => "true",
            (_, "bytea") => "'\\x0061736d'",
            (_, "smallint" | "integer" | "bigint" | "real" | "double precision" | "numeric") => "1",
            (_, "text[]") => "'{m}'",
            (_, "uuid") => "'00000000-0000-7000-8000-000000000000'",
            _ => "NULL",
        };
        self.arguments.iter().map(|argument| value(argument).to_owned()).collect()
    }
}

/// Runs a call, and undoes what it did. It may fail, but as a mistake of its caller's.
#[track_caller]
fn survives(asked: &mut Asked, backend: Backend, sql: &str) {
    asked.client.batch_execute("BEGIN").unwrap();
    let result = asked.client.simple_query(sql);
    let shown: String = sql.chars().take(300).collect();
    if let Err(error) = result {
        let error = error.as_db_error().unwrap_or_else(|| panic!("{shown}: {error:?}"));
        let state = error.code().code();
        assert!(!state.starts_with("XX") && !state.starts_with("58"), "{shown}: {error:?}");
        assert!(error.message().starts_with("pg_llm: ") || !state.starts_with("22023"), "{shown}: {error:?}");
        // Postgres quotes a query of the caller's where it does not parse.
        assert!(error.message().len() < 2000 || state == "42601", "{shown}: a message of {} bytes", error.message().len());
    }
    asked.client.batch_execute("ROLLBACK").unwrap();
    assert_eq!(Backend::of(&mut asked.client), backend, "{shown}");
}

/// Every function with each of these in the place of each argument that is wanted, among plausible others.
fn each(wanted: impl Fn(&Argument) -> bool, values: &[String]) {
    let mut asked = Asked::echo();
    asked.client.batch_execute("SET pg_llm.compile_timeout_ms = '10s'").unwrap();
    let backend = Backend::of(&mut asked.client);
    let functions = Function::all(&mut asked.client);
    assert!(functions.len() >= 12, "the extension's functions are found");
    let mut calls = 0;
    for function in &functions {
        for at in (0..function.arguments.len()).filter(|at| wanted(&function.arguments[*at])) {
            for value in values {
                let mut arguments = function.plausible();
                arguments[at].clone_from(value);
                survives(&mut asked, backend, &function.call(&arguments));
                calls += 1;
            }
        }
    }
    assert!(calls >= values.len(), "there was something to call");
    assert_eq!(asked.says("Hello"), "You said: Hello");
    asked.database.cluster().assert_no_crash();
}

#[test]
fn null_in_any_argument_of_any_function_does_no_harm() {
    each(|_| true, &["NULL".to_owned()]);
}

#[test]
fn null_in_all_arguments_of_any_function_does_no_harm() {
    let mut asked = Asked::echo();
    let backend = Backend::of(&mut asked.client);
    for function in Function::all(&mut asked.client) {
        let nulls = vec!["NULL".to_owned(); function.arguments.len()];
        survives(&mut asked, backend, &function.call(&nulls));
        survives(&mut asked, backend, &function.call(&function.plausible()));
    }
    asked.database.cluster().assert_no_crash();
}

#[test]
fn json_of_any_kind_in_any_argument_of_any_function_does_no_harm() {
    let deep = format!("'{}{}'", "[".repeat(500), "]".repeat(500));
    let wide = "('{' || (SELECT string_agg('\"k' || i || '\": ' || i, ',') FROM generate_series(1, 10000) AS i) || '}')".to_owned();
    let mut values: Vec<String> = [
        "null",
        "1",
        "-1e300",
        "1e400",
        "\"x\"",
        "\"\"",
        "true",
        "[]",
        "[[]]",
        "[null]",
        "{}",
        "{\"\": 1}",
        "{\"\\u0001\": 1}",
        "{\"a\": {\"b\": []}}",
    ]
    .iter()
    .map(|json| format!("'{json}'"))
    .collect();
    // Every option and configuration key that there is, with every kind of value.
    for key in [
        "model_name",
        "api_endpoint",
        "api_key",
        "keys",
        "access_key_id",
        "limits",
        "system",
        "messages",
        "images",
        "documents",
        "include_raw",
        "json_schema",
        "temperature",
        "top_p",
        "top_k",
        "max_tokens",
        "stop",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "logprobs",
        "response_format",
        "reasoning_effort",
        "reasoning_tokens",
        "tools",
        "tool_choice",
        "extra_body",
        "timeout_ms",
        "max_attempts",
        "on_error",
        "cache",
        "mock_response",
        "mock_confidence",
        "mock_chunks",
        "mock_error",
        "headers",
        "strategy",
        "judge_instance",
        "filters",
    ] {
        for value in [
            json!(null),
            json!(0),
            json!(-1),
            json!(1e300),
            json!(""),
            json!("x\u{1}"),
            json!([]),
            json!([null]),
            json!({}),
            json!({"": {}}),
            json!(true),
        ] {
            values.push(format!("'{}'", json!({key: value})));
        }
    }
    values.extend([deep, wide]);
    each(|argument| argument.type_name == "jsonb" || argument.name == "config", &values);
}

#[test]
fn text_of_any_kind_in_any_argument_of_any_function_does_no_harm() {
    let values = [
        "''",
        "' '",
        "E'\\n\\r\\t\\x01\\x7f'",
        "'🦀'",
        "E'\\u202e'",
        "'''; DROP TABLE x; --'",
        "'%s%n$1{}'",
        "repeat('x', 1000000)",
        "repeat('🦀', 100000)",
        "'public'",
        "'null'",
    ];
    each(|argument| argument.type_name == "text", &values.map(str::to_owned));
}

#[test]
fn bytes_of_any_kind_in_any_argument_of_any_function_do_no_harm() {
    let values = [
        "''",
        "'\\x00'",
        "'\\x0061736d01000000'",
        "'\\x0061736d0d000100'",
        "convert_to('(component)', 'UTF8')",
        "'\\x7f454c46020101'",
        "decode(repeat('ff', 100000), 'hex')",
    ];
    each(|argument| argument.type_name == "bytea", &values.map(str::to_owned));
}

#[test]
fn null_where_a_value_is_needed_is_22023_and_named() {
    let mut asked = Asked::echo();
    for (sql, name) in [
        ("SELECT pg_llm_add_model(NULL, 'x')", "model_type"),
        ("SELECT pg_llm_add_model('mock', NULL)", "instance_name"),
        ("SELECT pg_llm_add_model(false, NULL, 'x', '', '')", "model_type"),
        ("SELECT pg_llm_add_model(false, 'mock', NULL, '', '')", "instance_name"),
        ("SELECT pg_llm_remove_model(NULL)", "instance_name"),
        ("SELECT pg_llm_grant_model(NULL, 'public')", "instance_name"),
        ("SELECT pg_llm_grant_model('m', NULL)", "role"),
        ("SELECT pg_llm_revoke_model(NULL, 'public')", "instance_name"),
        ("SELECT pg_llm_revoke_model('m', NULL)", "role"),
        ("SELECT pg_llm_set_key(NULL, 'default', 'x')", "instance_name"),
        ("SELECT pg_llm_set_key('m', NULL, 'x')", "key_name"),
        ("SELECT pg_llm_add_provider(NULL, '\\x00')", "model_type"),
        ("SELECT pg_llm_add_provider('x', NULL)", "module"),
        ("SELECT pg_llm_remove_provider(NULL)", "model_type"),
        ("SELECT pg_llm_add_filter(NULL)", "name"),
        ("SELECT pg_llm_remove_filter(NULL)", "name"),
    ] {
        let error = pg_llm_tests::db_error(asked.client.simple_query(sql));
        assert_eq!((error.code().code(), error.message()), ("22023", format!("pg_llm: {name} must not be NULL").as_str()), "{sql}");
    }
    // And where NULL has a meaning.
    for sql in [
        "SELECT pg_llm_add_model('mock', 'x', NULL, NULL, NULL, NULL)",
        "SELECT pg_llm_add_model(NULL::boolean, 'mock', 'x', NULL, NULL)",
        "SELECT pg_llm_set_key('x', 'default', NULL)",
        "SELECT pg_llm_chat('x', 'Hello', NULL)",
    ] {
        asked.client.simple_query(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
}
