//! The stages of a call, each ended in every way.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pg_llm_tests::{Backend, DEADLINE, built, eventually};
use pg_llm_upstream::silence::Unaccepting;
use pg_llm_upstream::{Certificate, Reply, Upstream, openai};
use rustix::process::{Pid, Signal, kill_process};

use super::{FOR_EVER_MS, Stage, Vanishing, Way, add_model, cancelled, database, ends_in_every_way, killed, lost, sleeps, terminated};

/// The sockets that wait for an answer to their connect from this port, by inode.
fn connecting_to(port: u16) -> Vec<String> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let remote = format!(":{port:04X}");
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.len() > 9 && row[2].ends_with(&remote) && row[3] == "02").map(|row| row[9].to_owned()).collect()
}

/// Whether this backend has this socket.
fn has_socket(backend: Backend, inode: &str) -> bool {
    let open = fs::read_dir(format!("/proc/{}/fd", backend.0)).into_iter().flatten().flatten();
    open.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|link| link.to_string_lossy() == format!("socket:[{inode}]"))
}

/// Processes that this backend has started.
fn children(backend: Backend) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", backend.0)).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn sql_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[test]
fn everything_ends_a_call_that_connects() {
    let (database, _well) = database();
    let unaccepting = Unaccepting::start();
    let port = unaccepting.address().port();
    add_model(&mut database.superuser(), "ill", &unaccepting.url());
    // Others fill the backlog: it is the backend's own socket that counts.
    let theirs = Arc::new(Mutex::new(String::new()));
    let known = Arc::clone(&theirs);
    let stage = Stage {
        sql: "SELECT pg_llm_chat('ill', 'Hello')".into(),
        reached: Box::new(move |backend| {
            let found = connecting_to(port).into_iter().find(|inode| has_socket(backend, inode));
            found.is_some_and(|inode| {
                *known.lock().unwrap() = inode;
                true
            })
        }),
        over: Box::new(move || eventually(DEADLINE, || !connecting_to(port).contains(&theirs.lock().unwrap()))),
    };
    ends_in_every_way(&database, &stage);
}

#[test]
fn everything_ends_a_call_in_its_tls_handshake() {
    let (database, _well) = database();
    let mute = Upstream::builder().certificate(Certificate::Trusted).mute().start();
    ends_in_every_way(&database, &Stage::of(&database, mute, "'Hello'"));
}

#[test]
fn everything_ends_a_call_that_sends_a_prompt_that_nobody_reads() {
    let (database, _well) = database();
    let mut stage = Stage::of(&database, Upstream::builder().mute().start(), "repeat('0123456789', 1000000)");
    for way in [Way::CancelBySql, Way::CancelByClient, Way::StatementTimeout] {
        cancelled(&database, &stage, way);
    }
    // A backend that ends leaves its end of the connection to the kernel, which hands over what is unsent before it closes, and nobody reads.
    let mute = Upstream::builder().mute().start();
    add_model(&mut database.superuser(), "ill", &mute.url());
    let count = AtomicU64::new(0);
    stage.reached = Box::new(move |backend| {
        mute.connections_total() > count.load(Ordering::Relaxed) && {
            count.store(mute.connections_total(), Ordering::Relaxed);
            eventually(DEADLINE, || sleeps(backend))
        }
    });
    stage.over = Box::new(|| true);
    terminated(&database, &stage);
    lost(&database, &stage, Vanishing::close);
    lost(&database, &stage, Vanishing::reset);
    killed(&database, &stage);
}

#[test]
fn everything_ends_a_call_that_waits_for_the_first_byte() {
    let (database, _well) = database();
    ends_in_every_way(&database, &Stage::hanging(&database));
}

#[test]
fn everything_ends_a_call_that_waits_for_the_first_byte_over_tls() {
    let (database, _well) = database();
    ends_in_every_way(&database, &Stage::answered_by(&database, Upstream::start_tls(Certificate::Trusted), Reply::hang()));
}

#[test]
fn everything_ends_a_call_that_waits_for_the_body() {
    let (database, _well) = database();
    ends_in_every_way(&database, &Stage::answered_by(&database, Upstream::start(), openai::completion("never").hang_after(0)));
}

#[test]
fn everything_ends_a_call_in_the_middle_of_the_body() {
    let (database, _well) = database();
    ends_in_every_way(&database, &Stage::answered_by(&database, Upstream::start(), openai::completion("never").hang_after(20)));
}

#[test]
fn everything_ends_a_call_whose_body_drips() {
    let (database, _well) = database();
    let long = openai::completion(&"word ".repeat(200_000)).drip(1, Duration::from_millis(1));
    ends_in_every_way(&database, &Stage::answered_by(&database, Upstream::start(), long));
}

#[test]
fn everything_ends_a_stream_between_two_of_its_pieces() {
    let (database, _well) = database();
    let piece = |delta| openai::sse(&openai::chunk(delta, None)).len();
    let begun = piece(serde_json::json!({"role": "assistant", "content": ""})) + piece(serde_json::json!({"content": "one "}));
    for function in ["chunk FROM pg_llm_chat_stream('ill', 'Hello')", "pg_llm_chat_stream_json('ill', 'Hello')"] {
        let mut stage = Stage::answered_by(&database, Upstream::start(), openai::stream(&["one ", "two"]).hang_after(begun));
        stage.sql = format!("SELECT {function}");
        ends_in_every_way(&database, &stage);
    }
}

#[test]
fn everything_ends_a_call_that_sleeps_before_it_tries_again() {
    let (database, _well) = database();
    let again = openai::error(429, "rate_limit", "slow_down", "Too fast").header("retry-after", "300");
    let mut stage = Stage::answered_by(&database, Upstream::start(), again);
    // The answer was complete: the connection is kept, and goes with the backend.
    let closed = std::mem::replace(&mut stage.over, Box::new(|| true));
    ends_in_every_way(&database, &stage);
    assert!(closed());
}

/// There is no socket to wait on.
#[test]
fn everything_ends_a_call_whose_guest_loops() {
    let (database, _well) = database();
    let mut admin = database.superuser();
    // By no limit of its own.
    admin.batch_execute(&format!("ALTER DATABASE {} SET pg_llm.guest_cpu_ms = '10min'", database.name())).unwrap();
    let add = "SELECT pg_llm_add_model('hostile', 'ill', config => jsonb_build_object('model_name', 'infinite-loop', 'timeout_ms', $1::int8, 'api_endpoint', 'http://127.0.0.1:9'), module => $2)";
    admin.execute(add, &[&i64::from(FOR_EVER_MS), &built("hostile.wasm")]).unwrap();
    let stage = Stage {
        sql: "SELECT pg_llm_chat('ill', 'Hello')".into(),
        // The watching thread is there, and the main one runs and runs.
        reached: Box::new(|backend| {
            backend.threads().len() > 1
                && (0..20).all(|_| {
                    std::thread::sleep(Duration::from_millis(1));
                    !sleeps(backend)
                })
        }),
        over: Box::new(|| true),
    };
    ends_in_every_way(&database, &stage);
}

/// The same component, made long by a custom section at its end that means nothing.
fn padded(mut wasm: Vec<u8>, bytes: usize) -> Vec<u8> {
    let leb = |mut n: usize| {
        let mut out = Vec::new();
        loop {
            let low = u8::try_from(n & 0x7f).unwrap();
            n >>= 7;
            out.push(if n == 0 { low } else { low | 0x80 });
            if n == 0 {
                return out;
            }
        }
    };
    wasm.push(0);
    wasm.extend(leb(bytes + 4));
    wasm.extend_from_slice(b"\x03pad");
    wasm.resize(wasm.len() + bytes, 0);
    wasm
}

/// The compiler process is stopped, and so never done. The module is long, so that it is still being read when we come.
#[test]
fn everything_ends_an_upload_that_compiles() {
    let (database, _well) = database();
    let module = database.cluster().lend("long.wasm", &padded(built("mock.wasm"), 24 << 20));
    let path = sql_text(module.to_str().unwrap());
    let stopped = Arc::new(Mutex::new(Vec::<i32>::new()));
    let known = Arc::clone(&stopped);
    let stage = Stage {
        sql: format!("SELECT pg_llm_add_provider('uploaded', pg_read_binary_file({path}))"),
        reached: Box::new(move |backend| {
            // Before exec it is still a copy of the backend.
            let compiler = children(backend)
                .into_iter()
                .find(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "pg_llm_compiler"));
            compiler.is_some_and(|pid| {
                kill_process(Pid::from_raw(pid).unwrap(), Signal::STOP).unwrap();
                known.lock().unwrap().push(pid);
                true
            })
        }),
        over: Box::new(move || stopped.lock().unwrap().iter().all(|pid| eventually(DEADLINE, || !runs(*pid)))),
    };
    ends_in_every_way(&database, &stage);
    // And it is not that it never works.
    let mut client = database.superuser();
    client.batch_execute(&stage.sql).unwrap();
    client.batch_execute("SELECT pg_llm_add_model('uploaded', 'mine')").unwrap();
}

/// A zombie runs no more.
fn runs(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}
