//! The server that comes with the recordings, which looks at requests as strictly as it can.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use pg_llm_tests::{DEADLINE, db_error, eventually};
use serde_json::{Value, json};

use super::corpus::{Recording, items, recordings};
use super::{Replay, is_answer, is_chat};

struct TheirServer {
    process: Child,
    port: u16,
}

impl Drop for TheirServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl TheirServer {
    fn program() -> Option<PathBuf> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/recordings/replay_server.py");
        if !program.is_file() {
            eprintln!("skipped: there is no server at {}", program.display());
        }
        program.is_file().then_some(program)
    }

    fn start(program: &Path) -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let process = Command::new("python3").arg(program).args(["--port", &port.to_string()]).stdout(Stdio::null()).spawn().unwrap();
        let server = Self { process, port };
        assert!(eventually(DEADLINE, || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()), "it does not listen");
        server
    }

    /// The base of endpoints at which a recording is served, with options such as `~chunk=1`.
    fn endpoint(&self, recording: &Recording, options: &str) -> String {
        format!("http://127.0.0.1:{}/r/{}{options}", self.port, recording.id)
    }

    fn ask(&self, method: &str, path: &str) -> Value {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        write!(socket, "{method} {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        let body = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        serde_json::from_slice(&answer[body..]).unwrap()
    }
}

/// One way to ask each recording.
fn complaints(replay: &mut Replay, recording: &Recording) -> Vec<String> {
    if recording.stream {
        return match replay.events() {
            (_, Some(error)) => recording.error_complaints(&error),
            (_, None) if recording.expected["norm"]["must"] == "error_or_incomplete" => Vec::new(),
            (events, None) => recording.complaints(events.last().unwrap_or(&Value::Null)),
        };
    }
    match replay.json(&json!({})) {
        Ok(_) if recording.expected["norm"]["must"] == "error_or_incomplete" => Vec::new(),
        Ok(answer) => recording.complaints(&answer),
        Err(error) => recording.error_complaints(&db_error::<()>(Err(error))),
    }
}

#[test]
fn their_own_server_finds_each_request_in_its_place() {
    let Some(program) = TheirServer::program() else { return };
    let (server, mut replay) = (TheirServer::start(&program), Replay::new());
    for recording in recordings(|recording| is_chat(recording) && recording.is_asked_in_its_place()) {
        if recording.must_fail() && !recording.stream && recording.asks_for_a_stream() {
            continue;
        }
        for options in ["~strict=1", "~strict=1~chunk=3~crlf=1~comment=1"] {
            if !replay.add_at(&recording, &server.endpoint(&recording, options)) {
                break;
            }
            let wrong = complaints(&mut replay, &recording);
            replay.found.wrong(&recording, options, wrong);
        }
    }
    for seen in items(&server.ask("GET", "/__log")) {
        let (checks, id) = (&seen["checks"], seen["id"].as_str().unwrap_or_default());
        for check in ["method", "path", "json", "stream_flag"] {
            if checks[check] == json!(false) {
                replay.found.wrong.push(format!("{id}: {check} is not the recorded request's: {} {}", seen["method"], seen["path"]));
            }
        }
    }
    replay.found.assert_none();
}

#[test]
fn their_own_server_may_fail_twice_before_it_answers() {
    let Some(program) = TheirServer::program() else { return };
    let (server, mut replay) = (TheirServer::start(&program), Replay::new());
    let mut kinds = std::collections::BTreeSet::new();
    for recording in recordings(|recording| is_answer(recording) && !recording.must_fail()) {
        if !kinds.insert((recording.provider.clone(), recording.kind.clone(), recording.stream)) {
            continue;
        }
        for failure in ["503:0", "429:0"] {
            if !replay.add_at(&recording, &server.endpoint(&recording, &format!("~fail=2:{failure}"))) {
                break;
            }
            let options = json!({"max_attempts": 3});
            let sql = if recording.stream { "pg_llm_chat_stream_json" } else { "pg_llm_chat_json" };
            let (rows, error) = replay.rows(&format!("SELECT answer FROM {sql}('r', 'Hello', $1) AS answer"), &[&options]);
            let answer: Value = rows.last().map_or(Value::Null, |row| row.get(0));
            let wrong = match error {
                Some(error) => vec![format!("{}: {}", error.code().code(), error.message())],
                None if answer["attempts"] != json!(3) => vec![format!("{} attempts", answer["attempts"])],
                None => recording.complaints(&answer),
            };
            replay.found.wrong(&recording, failure, wrong);
            server.ask("DELETE", "/__log");
        }
    }
    replay.found.assert_none();
}

#[test]
fn their_own_server_breaks_off_after_what_came() {
    let Some(program) = TheirServer::program() else { return };
    let (server, mut replay) = (TheirServer::start(&program), Replay::new());
    let mut kinds = std::collections::BTreeSet::new();
    for recording in recordings(|recording| is_answer(recording) && recording.stream && !recording.must_fail()) {
        let half = recording.body.len() / 2;
        if !kinds.insert((recording.provider.clone(), recording.kind.clone())) || !replay.add(&recording) {
            continue;
        }
        let mut texts = Vec::new();
        for options in [format!("~end={half}"), format!("~cut={half}"), format!("~cut={half}~chunk=3~first=20")] {
            replay.add_at(&recording, &server.endpoint(&recording, &options));
            let streamed = replay.streamed();
            let mut wrong = streamed.form_complaints();
            match &streamed.error {
                Some(error) if ["08006", "38000"].contains(&error.code().code()) => {}
                other => wrong.push(format!("{other:?}")),
            }
            replay.found.wrong(&recording, &options, wrong);
            texts.push(streamed.text());
        }
        // It waits a moment before it resets a connection: what came before has been read.
        if !recording.text().starts_with(&texts[0]) || texts.iter().any(|text| *text != texts[0]) {
            replay.found.wrong(&recording, "half of it", vec![format!("{texts:?}")]);
        }
    }
    replay.found.assert_none();
}
