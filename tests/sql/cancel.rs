//! DESIGN section 4: cancel, `statement_timeout`, terminate and a lost client end a call at once, wherever it is.
//!
//! Every stage of a call is held up for ever, or for longer than the test may take, and then ended in every way. Not here: a name look-up that hangs,
//! because a name server that is silent cannot be had on loopback without changing the machine.

mod parallel;
mod stages;
mod time;
mod words;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Backend, Cluster, DEADLINE, Database, Running, db_error, eventually};
use pg_llm_upstream::{Reply, Upstream, openai};

/// Longer than any test runs: what ends before was ended.
const FOR_EVER_MS: u32 = 600_000;

/// A stage of a call that lasts.
struct Stage {
    /// The statement that gets there.
    sql: String,
    /// Whether the backend is there now.
    reached: Box<dyn Fn(Backend) -> bool>,
    /// Whether nothing of the call is left at the other end.
    over: Box<dyn Fn() -> bool>,
}

fn add_model(client: &mut Client, name: &str, url: &str) {
    let add = "SELECT pg_llm_add_model('openai-compatible', $1, 'sk-test-key-of-cancel', \
               jsonb_build_object('api_endpoint', $2::text, 'timeout_ms', $3::int8))";
    client.execute(add, &[&name, &url, &i64::from(FOR_EVER_MS)]).unwrap();
}

/// A database with a model `well`, which answers.
fn database() -> (Database<'static>, Upstream) {
    let database = Cluster::shared().database();
    let upstream = Upstream::start();
    upstream.on("/chat/completions").reply(openai::completion("well"));
    add_model(&mut database.superuser(), "well", &upstream.url());
    (database, upstream)
}

fn answers(client: &mut Client) -> bool {
    client.query_one("SELECT pg_llm_chat('well', 'Are you?')", &[]).unwrap().get::<_, String>(0) == "well"
}

impl Stage {
    /// In a call to an upstream that behaves so.
    fn of(database: &Database<'_>, upstream: Upstream, prompt: &str) -> Self {
        add_model(&mut database.superuser(), "ill", &upstream.url());
        let upstream = Arc::new(upstream);
        let seen = Arc::clone(&upstream);
        Self {
            sql: format!("SELECT pg_llm_chat('ill', {prompt})"),
            reached: Box::new(move |_| seen.open_connections() == 1),
            over: Box::new(move || upstream.wait_until_closed(DEADLINE)),
        }
    }

    /// In a call that has sent its request to an upstream and waits for what this reply holds back.
    fn answered_by(database: &Database<'_>, upstream: Upstream, reply: Reply) -> Self {
        upstream.on("/chat/completions").reply(reply);
        add_model(&mut database.superuser(), "ill", &upstream.url());
        let upstream = Arc::new(upstream);
        let (seen, former) = (Arc::clone(&upstream), AtomicU64::new(0));
        Self {
            sql: "SELECT pg_llm_chat('ill', 'Hello')".into(),
            reached: Box::new(move |backend| {
                let requests = seen.observe(|observed| observed.requests_total);
                requests > former.swap(requests, Ordering::Relaxed) && eventually(DEADLINE, || sleeps(backend))
            }),
            over: Box::new(move || upstream.wait_until_closed(DEADLINE)),
        }
    }

    fn hanging(database: &Database<'_>) -> Self {
        Self::answered_by(database, Upstream::start(), Reply::hang())
    }
}

/// Whether the backend waits for something.
fn sleeps(backend: Backend) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", backend.0)).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S'))
}

/// A client by hand, that can vanish at any time, as no library's can.
struct Vanishing(TcpStream);

impl Vanishing {
    fn connect(database: &Database<'_>) -> (Self, Backend) {
        let mut socket = TcpStream::connect(("127.0.0.1", database.cluster().port())).unwrap();
        let mut startup = 196_608_u32.to_be_bytes().to_vec();
        for word in ["user", "postgres", "database", database.name(), ""] {
            startup.extend_from_slice(word.as_bytes());
            startup.push(0);
        }
        let length = u32::try_from(startup.len() + 4).unwrap().to_be_bytes();
        socket.write_all(&[&length[..], &startup].concat()).unwrap();
        let mut pid = 0;
        loop {
            let mut head = [0; 5];
            socket.read_exact(&mut head).unwrap();
            let mut body = vec![0; u32::from_be_bytes(head[1..].try_into().unwrap()) as usize - 4];
            socket.read_exact(&mut body).unwrap();
            match head[0] {
                b'K' => pid = i32::from_be_bytes(body[..4].try_into().unwrap()),
                b'Z' => return (Self(socket), Backend(pid)),
                b'E' => panic!("{}", String::from_utf8_lossy(&body)),
                _ => {}
            }
        }
    }

    fn query(&mut self, sql: &str) {
        let length = u32::try_from(sql.len() + 5).unwrap().to_be_bytes();
        self.0.write_all(&[b"Q", &length[..], sql.as_bytes(), b"\0"].concat()).unwrap();
    }

    fn close(self) {
        drop(self);
    }

    fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self.0, Some(Duration::ZERO)).unwrap();
    }
}

#[derive(Debug, Clone, Copy)]
enum Way {
    CancelBySql,
    CancelByClient,
    StatementTimeout,
}

/// The call ends with 57014, and the same backend works.
fn cancelled(database: &Database<'_>, stage: &Stage, way: Way) {
    let mut client = database.superuser();
    if matches!(way, Way::StatementTimeout) {
        client.batch_execute("SET statement_timeout = '1500ms'").unwrap();
    }
    let call = Running::start(client, &stage.sql);
    let backend = call.backend();
    if matches!(way, Way::StatementTimeout) {
        // On a slow machine it may be over before.
        let _ = eventually(Duration::from_secs(3), || (stage.reached)(backend));
    } else {
        assert!(eventually(DEADLINE, || (stage.reached)(backend)), "{way:?}: does not get there");
    }
    match way {
        Way::CancelBySql => assert!(database.cluster().cancel_backend(backend.0)),
        Way::CancelByClient => call.cancel(),
        Way::StatementTimeout => {}
    }
    let mut outcome = call.finish(DEADLINE);
    let error = db_error(outcome.result);
    let words = if matches!(way, Way::StatementTimeout) {
        "canceling statement due to statement timeout"
    } else {
        "canceling statement due to user request"
    };
    assert_eq!((error.code().code(), error.message()), ("57014", words), "{way:?}: {error:?}");
    assert!((stage.over)(), "{way:?}: something is left");
    outcome.client.batch_execute("SET statement_timeout = 0").unwrap();
    assert!(answers(&mut outcome.client), "{way:?}");
    assert_eq!(Backend::of(&mut outcome.client), backend, "{way:?}");
}

/// The backend ends with this error in the log, at once.
fn ended(database: &Database<'_>, stage: &Stage, backend: Backend, fatal: (&str, &str)) {
    assert!(eventually(DEADLINE, || !backend.exists()), "{fatal:?}: the backend goes on");
    assert!((stage.over)(), "{fatal:?}: something is left");
    let logged = database.cluster().fatal_of(backend.0);
    assert_eq!(logged, Some((fatal.0.to_owned(), fatal.1.to_owned())));
}

const TERMINATED: (&str, &str) = ("57P01", "terminating connection due to administrator command");
const LOST: (&str, &str) = ("08006", "connection to client lost");

fn terminated(database: &Database<'_>, stage: &Stage) {
    let call = Running::start(database.superuser(), &stage.sql);
    let backend = call.backend();
    assert!(eventually(DEADLINE, || (stage.reached)(backend)));
    assert!(database.cluster().terminate_backend(backend.0));
    assert!(call.finish(DEADLINE).result.is_err());
    ended(database, stage, backend, TERMINATED);
}

fn lost(database: &Database<'_>, stage: &Stage, vanish: fn(Vanishing)) {
    let (mut client, backend) = Vanishing::connect(database);
    client.query(&stage.sql);
    assert!(eventually(DEADLINE, || (stage.reached)(backend)));
    vanish(client);
    ended(database, stage, backend, LOST);
}

fn killed(database: &Database<'_>, stage: &Stage) {
    let named = ["-c", "SET application_name = 'to be killed'", "-c", &stage.sql];
    let mut psql = database.psql_command().args(named).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut watcher = database.superuser();
    let mut backend = Backend(0);
    assert!(eventually(DEADLINE, || {
        let found =
            watcher.query("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'to be killed'", &[]);
        backend = Backend(found.unwrap().first().map_or(0, |row| row.get(0)));
        backend.0 != 0 && (stage.reached)(backend)
    }));
    psql.kill().unwrap();
    psql.wait().unwrap();
    ended(database, stage, backend, LOST);
}

fn ends_in_every_way(database: &Database<'_>, stage: &Stage) {
    for way in [Way::CancelBySql, Way::CancelByClient, Way::StatementTimeout] {
        cancelled(database, stage, way);
    }
    terminated(database, stage);
    lost(database, stage, Vanishing::close);
    lost(database, stage, Vanishing::reset);
    killed(database, stage);
    database.cluster().assert_no_crash();
}
