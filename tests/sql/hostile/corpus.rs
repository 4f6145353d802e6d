//! The corpus: `tests/hostile/wat`, a file a crime, named for it. Each is committed from SQL; it ends as the file says, and the same backend goes on.
//!
//! A file begins with comments: what the crime is; `set SETTING = VALUE`, where it needs one; and a line for each place where it is committed, with the
//! SQLSTATE that it ends in there, or `ok`, and words of the error: `chat 38001 out of bounds`. Then come fields of a core module. What a provider needs
//! beside them is added ([`super::module`]).

use std::fs;
use std::path::Path;

use pg_llm_tests::postgres::{Client, Error};
use pg_llm_tests::{Backend, Cluster, db_error};

use super::module;

/// One file.
struct Crime {
    name: String,
    settings: Vec<String>,
    ends: Vec<End>,
    fields: String,
}

/// How it ends at a place.
struct End {
    place: String,
    state: String,
    words: String,
}

impl Crime {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut crime = Self { name, settings: Vec::new(), ends: Vec::new(), fields: text.clone() };
        for line in text.lines().skip(1).map_while(|line| line.strip_prefix(";; ")) {
            if let Some(setting) = line.strip_prefix("set ") {
                crime.settings.push(setting.to_owned());
                continue;
            }
            let mut words = line.splitn(3, ' ').map(str::to_owned);
            let (place, state) = (words.next().unwrap(), words.next().unwrap_or_else(|| panic!("{}: {line}", crime.name)));
            crime.ends.push(End { place, state, words: words.next().unwrap_or_default() });
        }
        assert!(!crime.ends.is_empty(), "{} says nothing of how it ends", crime.name);
        crime
    }

    fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("hostile/wat");
        let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.iter().map(|path| Self::read(path)).collect()
    }
}

/// Statements by the name of the place, each with the model's name as its parameter.
const PLACES: [(&str, &str); 9] = [
    ("chat", "SELECT pg_llm_chat($1, 'hello')"),
    ("chat-json", "SELECT pg_llm_chat_json($1, 'hello')"),
    ("chat-raw", "SELECT pg_llm_chat_json($1, 'hello', '{\"include_raw\": true}')"),
    ("stream", "SELECT * FROM pg_llm_chat_stream($1, 'hello')"),
    ("stream-json", "SELECT * FROM pg_llm_chat_stream_json($1, 'hello')"),
    ("embed", "SELECT pg_llm_get_embedding($1, 'hello')::text"),
    ("embed-two", "SELECT embedding::text FROM pg_llm_get_embeddings($1, ARRAY['one', 'two'])"),
    ("rerank", "SELECT * FROM pg_llm_rerank($1, 'hello', ARRAY['one', 'two'])"),
    ("models", "SELECT * FROM pg_llm_list_models($1)"),
];

fn statement(place: &str) -> &'static str {
    PLACES.iter().find(|(name, _)| *name == place).unwrap_or_else(|| panic!("no place is called {place}")).1
}

/// Why this is not how it should have ended; none where it is.
fn unlike<T>(result: Result<T, Error>, state: &str, words: &str) -> Option<String> {
    match (result, state) {
        (Ok(_), "ok") => None,
        (Ok(_), _) => Some("it succeeded".to_owned()),
        (Err(error), _) if error.as_db_error().is_none() => Some(format!("{error:?}")),
        (Err(error), _) => {
            let error = db_error(Err::<(), _>(error));
            let said = format!("{}\n{}\n{}", error.message(), error.detail().unwrap_or_default(), error.hint().unwrap_or_default());
            let printable = said.len() < 4096 && !said.chars().any(|c| c.is_control() && c != '\n');
            let as_expected = error.code().code() == state && said.contains(words) && printable;
            (!as_expected).then(|| format!("{} {:?}", error.code().code(), &said[..said.floor_char_boundary(600)]))
        }
    }
}

/// Most memory that a backend of that number has ever had, in KiB.
fn most_memory(backend: Backend) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", backend.0)).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

/// The most that a backend's memory may come to, in KiB: of two guests at a time, each has 64 MiB, and what they say is held by the host in some forms.
const MOST_KB: u64 = 512 << 10;

struct Stage {
    client: Client,
    backend: Backend,
    broken: Vec<String>,
}

impl Stage {
    /// That the backend is the same as ever, and its other models answer.
    fn goes_on(&mut self, what: &str) {
        assert_eq!(Backend::of(&mut self.client), self.backend, "{what}: another backend");
        let answer: String = self.client.query_one("SELECT pg_llm_chat('sound', 'x')", &[]).unwrap().get(0);
        assert_eq!(answer, "sound", "{what}");
    }

    fn commit(&mut self, crime: &Crime) {
        let name = &crime.name;
        for setting in &crime.settings {
            self.client.batch_execute(&format!("SET {setting}")).unwrap();
        }
        let uploaded = self.client.query_one("SELECT pg_llm_add_provider($1, $2)", &[name, &module::of(&crime.fields)]);
        self.goes_on(name);
        let refused = crime.ends.iter().find(|end| end.place == "upload");
        let (state, words) = refused.map_or(("ok", ""), |end| (end.state.as_str(), end.words.as_str()));
        if let Some(why) = unlike(uploaded, state, words) {
            return self.broken.push(format!("{name}, uploaded: {why}"));
        }
        if refused.is_none() {
            self.client.execute("SELECT pg_llm_add_model($1, $1, config => '{\"timeout_ms\": 20000}')", &[name]).unwrap();
        }
        for End { place, state, words } in crime.ends.iter().filter(|end| !["upload", "batch"].contains(&end.place.as_str())) {
            let again = if place == "stream" { vec!["stream", "stream-json"] } else { vec![place.as_str()] };
            for place in again {
                let result = self.client.query(statement(place), &[name]);
                self.broken.extend(unlike(result, state, words).map(|why| format!("{name}, {place}: {why}")));
                self.goes_on(name);
            }
            if place == "chat" {
                // On threads, where there is less stack and nothing of Postgres's.
                let state = crime.ends.iter().find(|end| end.place == "batch").map_or(state, |end| &end.state);
                let sql = "SELECT coalesce(error ->> 'sqlstate', 'ok') FROM pg_llm_chat_batch($1, ARRAY['a', 'b'])";
                match self.client.query(sql, &[name]) {
                    Ok(rows) => {
                        let states: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
                        if states != [state.as_str(); 2] {
                            self.broken.push(format!("{name}, in a batch: {states:?}"));
                        }
                    }
                    Err(error) => self.broken.push(format!("{name}, in a batch: {error:?}")),
                }
                self.goes_on(name);
            }
        }
        let most = most_memory(self.backend);
        assert!(most < MOST_KB, "{name}: {most} kB");
        self.client.batch_execute("RESET ALL").unwrap();
    }
}

#[test]
fn every_crime_of_the_corpus_ends_as_its_file_says_and_the_backend_goes_on() {
    let database = Cluster::shared().database();
    let mut client = database.superuser();
    client.batch_execute("SELECT pg_llm_add_model('mock', 'sound', config => '{\"mock_response\": \"sound\"}')").unwrap();
    let backend = Backend::of(&mut client);
    let mut stage = Stage { client, backend, broken: Vec::new() };
    let crimes = Crime::all();
    for crime in &crimes {
        stage.commit(crime);
        println!("{} {} kB", crime.name, most_memory(backend));
    }
    assert!(stage.broken.is_empty(), "{} of {} files:\n{}", stage.broken.len(), crimes.len(), stage.broken.join("\n"));
    database.cluster().assert_no_crash();
}
