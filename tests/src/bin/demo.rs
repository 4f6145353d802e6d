//! `make demo`: what a newcomer types, and what the server answers.
//!
//! A throw-away server, a model on loopback that says what it was told (the real endpoint when `OPENAI_API_KEY` is set;
//! `OPENAI_BASE_URL` and `OPENAI_MODEL` choose another), a chat, and a chat through a component that was uploaded in SQL.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that shows things")]

use std::{
    error::Error,
    io::{BufRead, BufReader, PipeReader, Write, pipe},
    process::{Child, ChildStdin, ExitCode, Stdio},
};

use pg_llm_tests::{Cluster, Database, Settings};
use pg_llm_upstream::Upstream;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match demo() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ndemo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The endpoint of the demo, and how to write its key without showing it.
struct Endpoint {
    url: String,
    model: String,
    key: String,
    echo: Option<Upstream>,
}

impl Endpoint {
    fn choose() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if set("OPENAI_API_KEY").is_some() {
            let url = set("OPENAI_BASE_URL").unwrap_or_else(|| "https://api.openai.com/v1".into());
            let model = set("OPENAI_MODEL").unwrap_or_else(|| "gpt-4o-mini".into());
            println!("The models are at {url}: OPENAI_API_KEY is set.");
            return Self { url, model, key: ":'api_key'".into(), echo: None };
        }
        let echo = Upstream::start_echo();
        let url = format!("{}/v1", echo.url());
        println!("The model listens at {url}. It speaks OpenAI's protocol and repeats what it is told; with OPENAI_API_KEY set,");
        println!("the demo asks a real one.");
        Self { url, model: "echo".into(), key: "'sk-demo'".into(), echo: Some(echo) }
    }

    /// The config of a model, as text of a JSON object for a literal.
    fn config(&self) -> String {
        let quote = |text: &str| format!("{text:?}").replace('\'', "''");
        format!("{{\"api_endpoint\": {}, \"model_name\": {}}}", quote(&self.url), quote(&self.model))
    }
}

fn demo() -> Result<()> {
    let module = component("openai.wasm")?;
    // A statement that fails is not logged: the key may stand in it.
    let cluster = Cluster::start(&Settings::bare().line("log_min_error_statement = panic"));
    let database = cluster.empty_database();
    println!("A server is up in {}; it goes with this demo.", cluster.folder().display());
    let endpoint = Endpoint::choose();
    let (url, key, config) = (&endpoint.url, &endpoint.key, endpoint.config());
    let mut psql = Psql::start(&database)?;
    let told = (|| -> Result<()> {
        psql.types("CREATE EXTENSION pg_llm;")?;
        println!("\n-- A model is a name for an endpoint, a key and defaults.");
        if endpoint.echo.is_none() {
            psql.types(r#"\set api_key `printf %s "$OPENAI_API_KEY"`"#)?;
        }
        psql.types(&format!("SELECT pg_llm_add_model('openai-compatible', 'demo', {key},\n    '{config}');"))?;
        psql.types("SELECT pg_llm_chat('demo', 'Which database speaks to models?');")?;
        psql.types("SELECT fruit, pg_llm_chat('demo', 'Describe ' || fruit || ' in three words.') AS answer\n  FROM (VALUES ('an apple'), ('a pear')) AS basket (fruit);")?;
        psql.types("SELECT jsonb_pretty(pg_llm_chat_json('demo', 'And in JSON?', '{\"temperature\": 0}')) AS answer;")?;

        let lent = cluster.lend("adapter.wasm", &module);
        println!("\n-- A provider is a WebAssembly component. Anybody may write one; this is how it is uploaded.");
        psql.types(&format!(
            "SELECT pg_llm_add_model('my-adapter', 'uploaded', {key},\n    '{config}',\n    module => pg_read_binary_file('{}'));",
            lent.display()
        ))?;
        psql.types("SELECT pg_llm_chat('uploaded', 'Hello, sandbox!');")?;
        psql.types("SELECT model_type, builtin, adapter, version, pg_size_pretty(size) AS size, imports\n  FROM pg_llm_providers WHERE model_type IN ('openai', 'mock', 'my-adapter') ORDER BY builtin DESC, 1;")?;
        psql.types("SELECT instance_name, model_type, api_endpoint, key_names, owner FROM pg_llm_models ORDER BY 1;")?;
        psql.types("SELECT pg_llm_remove_model(instance_name) FROM pg_llm_models;")
    })();
    psql.ends();
    if let Err(error) = told {
        let log = redacted(cluster.log());
        let tail = log.lines().rev().take(20).collect::<Vec<_>>();
        return Err(format!("{error}\nThe server's log ends with:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n")).into());
    }
    if let Some(received) = endpoint.echo.as_ref().and_then(Upstream::last_request) {
        println!("\nThe last thing that the model received. The key came from the host: no component has ever seen it.\n");
        println!("    {} {} (at {url})", received.method, received.target);
        for (name, value) in &received.headers {
            println!("    {name}: {value}");
        }
        println!("\n    {}", received.text());
    }
    drop(database);
    drop(cluster);
    println!("\nThe server is stopped and its folder removed.");
    Ok(())
}

/// The text without the real key, and without the excerpts of statements (which may hold a part of it) that psql shows
/// with an error.
fn redacted(text: String) -> String {
    match std::env::var("OPENAI_API_KEY") {
        Ok(key) if !key.is_empty() => {
            let lines = text.split_inclusive('\n').filter(|line| !line.starts_with("LINE "));
            lines.collect::<String>().replace(&key, "********")
        }
        _ => text,
    }
}

/// A component that the build has put under `target/components`.
fn component(name: &str) -> Result<Vec<u8>> {
    let path = pg_llm_tests::components().join(name);
    std::fs::read(&path).map_err(|error| format!("{}: {error}; `make demo` builds it", path.display()).into())
}

/// A `psql` that somebody types into.
struct Psql {
    process: Child,
    input: ChildStdin,
    output: BufReader<PipeReader>,
}

const ANSWERED: &str = "-- answered --";

impl Psql {
    fn start(database: &Database<'_>) -> Result<Self> {
        let (output, written) = pipe()?;
        let mut command = database.psql_command();
        command.args(["--set=VERBOSITY=default", "--set=HISTFILE=/dev/null"]);
        command.stdin(Stdio::piped()).stdout(written.try_clone()?).stderr(written);
        let mut process = command.spawn()?;
        // It holds the pipe's other end: with it alive there would be no end of the output.
        drop(command);
        let input = process.stdin.take().ok_or("psql has no input")?;
        let mut psql = Self { process, input, output: BufReader::new(output) };
        psql.sends("\\pset footer off\n\\timing on")?;
        Ok(psql)
    }

    /// Shows a statement as it looks when it is typed, runs it, and shows the answer.
    fn types(&mut self, statement: &str) -> Result<()> {
        println!();
        for (line, prompt) in statement.lines().zip(std::iter::once("demo=# ").chain(std::iter::repeat("demo-# "))) {
            println!("{prompt}{line}");
        }
        let answer = self.sends(statement)?;
        print!("{answer}");
        Ok(())
    }

    fn sends(&mut self, text: &str) -> Result<String> {
        writeln!(self.input, "{text}\n\\echo {ANSWERED}")?;
        self.input.flush()?;
        let mut answer = String::new();
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line)? == 0 {
                return Err(format!("a statement failed\n{}", redacted(answer)).into());
            }
            if line.trim_end() == ANSWERED {
                return Ok(redacted(answer));
            }
            answer.push_str(&line);
        }
    }

    fn ends(self) {
        let Self { mut process, input, .. } = self;
        drop(input);
        let _ = process.wait();
    }
}
