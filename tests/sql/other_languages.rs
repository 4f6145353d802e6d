//! Providers that others wrote, in JavaScript and in Python: built by the documented command from registry packages, uploaded, called, and kept within bounds.
//!
//! The component of a test is the provider of guest-sdk, with crimes besides (`tests/guests-by-others`); it is uploaded once for all tests of a language.

mod crimes;
mod wasi;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Asked, Backend, Cluster, Database, db_error};
use pg_llm_upstream::{Reply, Upstream, openai};
use serde_json::{Value, json};

/// A language whose provider is uploaded into a database of its own.
struct Language {
    /// The `model_type`.
    provider: &'static str,
    database: Database<'static>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Whether all programs run; says which does not, past the test harness, which keeps what a test prints to itself.
fn there(language: &str, programs: &[&[&str]]) -> bool {
    let missing = programs.iter().find(|program| {
        let status = Command::new(program[0]).args(&program[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        !status.is_ok_and(|status| status.success())
    });
    if let Some(program) = missing {
        let _ = writeln!(std::io::stderr(), "SKIPPED: providers in {language} are not tested, `{}` does not run", program.join(" "));
    }
    missing.is_none()
}

impl Language {
    /// None, with a word, where npm is missing.
    fn javascript() -> Option<&'static Self> {
        static BUILT: OnceLock<Option<Language>> = OnceLock::new();
        let made = BUILT.get_or_init(|| {
            there("JavaScript", &[&["node", "--version"], &["npm", "--version"]]).then(|| {
                let folder = root().join("tests/guests-by-others");
                let [entry, wit] = ["criminal.mjs", "wit"].map(|name| folder.join(name).display().to_string());
                Self::built("openai-javascript", "javascript", &[&entry, "OUT", &wit, "pg-llm:criminal/criminal"])
            })
        });
        made.as_ref()
    }

    /// None, with a word, where pip is missing.
    fn python() -> Option<&'static Self> {
        static BUILT: OnceLock<Option<Language>> = OnceLock::new();
        let made = BUILT.get_or_init(|| {
            there("Python", &[&["python3", "-m", "pip", "--version"]]).then(|| {
                let folder = root().join("tests/guests-by-others").display().to_string();
                Self::built("openai-python", "python", &["criminal", "OUT", &folder])
            })
        });
        made.as_ref()
    }

    fn built(provider: &'static str, language: &str, arguments: &[&str]) -> Self {
        let component = root().join(format!("target/guests/criminal-{language}.wasm"));
        let arguments = arguments.iter().map(|word| if *word == "OUT" { component.clone() } else { PathBuf::from(word) });
        let output = Command::new(root().join("guest-sdk").join(language).join("build")).args(arguments).output().unwrap();
        assert!(output.status.success(), "{language}: {}", String::from_utf8_lossy(&output.stderr));
        let module = std::fs::read(component).unwrap();
        let database = Cluster::shared().database();
        let mut client = database.superuser();
        // An interpreter is a minute's work for the compiler; on a machine that is busy with tests, many.
        client.batch_execute("SET pg_llm.compile_timeout_ms = '1h'").unwrap();
        client.execute("SELECT pg_llm_add_provider($1, $2)", &[&provider, &module]).unwrap_or_else(|error| panic!("{language}: {error:?}"));
        Self { provider, database }
    }
}

/// Somebody who asks a model of this provider.
struct Asker {
    client: Client,
    backend: Backend,
    upstream: Upstream,
    model: String,
}

impl Asker {
    fn new(language: &Language, upstream: Upstream) -> Self {
        let mut client = language.database.superuser();
        let backend = Backend::of(&mut client);
        Self { model: Self::add(&mut client, language, "tiny", &upstream.url()), client, backend, upstream }
    }

    /// A model under a name that no other test has.
    fn add(client: &mut Client, language: &Language, model_name: &str, url: &str) -> String {
        let name = format!("{model_name}-{}", Backend::of(client).0);
        let config = json!({"model_name": model_name, "api_endpoint": format!("{url}/v1"), "max_attempts": 1});
        client.execute("SELECT pg_llm_add_model($1, $2, $3, $4)", &[&language.provider, &name, &Asked::KEY, &config]).unwrap();
        name
    }

    fn chat(&mut self, options: &Value) -> Result<Value, pg_llm_tests::postgres::Error> {
        let row = self.client.query_one("SELECT pg_llm_chat_json($1, 'Grüße 🦀', $2)", &[&self.model, options]);
        assert_eq!(Backend::of(&mut self.client), self.backend, "another backend");
        row.map(|row| row.get(0))
    }

    fn stream(&mut self) -> Result<Vec<String>, pg_llm_tests::postgres::Error> {
        let rows = self.client.query("SELECT chunk FROM pg_llm_chat_stream($1, 'Hello') WHERE NOT is_final", &[&self.model])?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

fn at(reply: Reply) -> Upstream {
    let upstream = Upstream::start();
    upstream.on(Asked::PATH).reply(reply);
    upstream
}

fn a_whole_answer_comes_with_all_that_is_known_of_it(language: &Language) {
    let mut asker = Asker::new(language, at(openai::completion("Schön, 你好 🦀")));
    let options = json!({"temperature": 0.5, "stop": ["end"], "system": "Be brief.", "extra_body": {"user": "me"}});
    let answer = asker.chat(&options).unwrap();
    assert_eq!((&answer["response"], &answer["finish_reason"]), (&json!("Schön, 你好 🦀"), &json!("stop")), "{answer}");
    assert_eq!(answer["usage"]["input_tokens"], 7, "{answer}");
    let request = asker.upstream.last_request().unwrap();
    assert_eq!(request.header("authorization"), Some(format!("Bearer {}", Asked::KEY).as_str()));
    assert_eq!(
        request.json(),
        json!({
            "model": "tiny", "temperature": 0.5, "stop": ["end"], "user": "me",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Grüße 🦀"}]
        })
    );
}

fn an_answer_is_streamed_as_it_comes(language: &Language) {
    let words = ["Grüße", " ", "你好", " 🦀"];
    let mut asker = Asker::new(language, at(openai::stream(&words)));
    assert_eq!(asker.stream().unwrap(), words);
    // Cut anywhere, within a character too.
    let mut asker = Asker::new(language, at(openai::stream(&words).split(3)));
    assert_eq!(asker.stream().unwrap(), words);
    assert_eq!(asker.upstream.last_request().unwrap().json()["stream_options"], json!({"include_usage": true}));
}

fn tools_are_called_by_data(language: &Language) {
    let mut asker = Asker::new(language, at(openai::tool_call("weather", r#"{"city":"Bern"}"#)));
    let tool = json!({"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}});
    let answer = asker.chat(&json!({"tools": [tool]})).unwrap();
    assert_eq!((&answer["finish_reason"], &answer["tool_calls"][0]["name"]), (&json!("tool_calls"), &json!("weather")), "{answer}");
    assert_eq!(asker.upstream.last_request().unwrap().json()["tools"][0]["function"]["name"], "weather");
}

fn errors_have_their_kinds(language: &Language) {
    for (reply, state, words) in [
        (openai::error(401, "invalid_request_error", "invalid_api_key", "No such key"), "38000", "No such key"),
        (openai::error(429, "requests", "rate_limit_exceeded", "Slower"), "53400", "Slower"),
        (openai::error(400, "invalid_request_error", "context_length_exceeded", "Too long"), "38000", "Too long"),
        (openai::malformed(), "38000", "not JSON"),
        (openai::html(502), "38000", "502"),
        (Reply::close(), "08006", ""),
    ] {
        let mut asker = Asker::new(language, at(reply));
        let error = db_error(asker.chat(&json!({})));
        let said = format!("{} {}", error.message(), error.detail().unwrap_or_default());
        assert_eq!(error.code().code(), state, "{words}: {error:?}");
        assert!(said.contains(words) && !said.contains(Asked::KEY), "\"{words}\" is not in: {said}");
    }
    let mut asker = Asker::new(language, at(openai::stream_without_end(&["half"])));
    assert_eq!(db_error(asker.stream()).code().code(), "08006");
    let mut asker = Asker::new(language, at(openai::stream_with_error(&["half"], "server_error", "oops", "It broke")));
    assert!(db_error(asker.stream()).message().contains("It broke"));
}

fn the_report_names_what_it_imports(language: &Language) {
    let mut client = language.database.superuser();
    let row: Value =
        client.query_one("SELECT to_jsonb(p) FROM pg_llm_providers p WHERE model_type = $1", &[&language.provider]).unwrap().get(0);
    let imports: Vec<&str> = row["imports"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(imports.contains(&"pg-llm:guest/http@1.0.0"), "{imports:?}");
    assert!(!imports.iter().any(|name| name.contains("sockets") || name.contains("wasi:http")), "{imports:?}");
    assert_eq!(imports.iter().any(|name| name.starts_with("wasi:")), language.provider == "openai-javascript", "{imports:?}");
    assert_eq!(row["exports"], json!(["describe", "chat"]));
}

/// Each of these promises, of each language.
macro_rules! in_each_language {
    ($($promise:ident),* $(,)?) => {
        mod javascript {
            $(#[test]
            fn $promise() {
                if let Some(language) = crate::other_languages::Language::javascript() {
                    super::$promise(language);
                    language.database.cluster().assert_no_crash();
                }
            })*
        }
        mod python {
            $(#[test]
            fn $promise() {
                if let Some(language) = crate::other_languages::Language::python() {
                    super::$promise(language);
                    language.database.cluster().assert_no_crash();
                }
            })*
        }
    };
}
use in_each_language;

in_each_language!(
    a_whole_answer_comes_with_all_that_is_known_of_it,
    an_answer_is_streamed_as_it_comes,
    tools_are_called_by_data,
    errors_have_their_kinds,
    the_report_names_what_it_imports,
);
