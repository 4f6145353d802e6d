//! A client that does not read: what is meant for it stays in the kernel's buffers and in Postgres's own, and the stream waits for its upstream all the same.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use pg_llm_tests::{Asked, DEADLINE, Database, eventually};
use pg_llm_upstream::{Gate, Upstream, openai};
use serde_json::json;

/// A session by hand, in the protocol's own messages: the library's would read ahead.
struct Slow {
    socket: UnixStream,
    pid: i32,
}

impl Slow {
    fn connect(database: &Database<'_>) -> Self {
        let conninfo = database.conninfo();
        let setting = |name: &str| conninfo.split(' ').find_map(|word| word.strip_prefix(name)).unwrap();
        let socket = UnixStream::connect(format!("{}/.s.PGSQL.{}", setting("host="), setting("port="))).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut slow = Self { socket, pid: 0 };
        let mut startup = 196_608_u32.to_be_bytes().to_vec();
        for word in ["user", setting("user="), "database", database.name(), ""] {
            startup.extend_from_slice(word.as_bytes());
            startup.push(0);
        }
        let length = u32::try_from(startup.len() + 4).unwrap().to_be_bytes();
        slow.socket.write_all(&[&length[..], &startup].concat()).unwrap();
        loop {
            match slow.message() {
                (b'K', body) => slow.pid = i32::from_be_bytes(body[..4].try_into().unwrap()),
                (b'Z', _) => return slow,
                _ => {}
            }
        }
    }

    fn message(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 5];
        self.socket.read_exact(&mut head).unwrap();
        let mut body = vec![0; u32::from_be_bytes(head[1..].try_into().unwrap()) as usize - 4];
        self.socket.read_exact(&mut body).unwrap();
        (head[0], body)
    }

    fn query(&mut self, sql: &str) {
        let length = u32::try_from(sql.len() + 5).unwrap().to_be_bytes();
        self.socket.write_all(&[b"Q", &length[..], sql.as_bytes(), b"\0"].concat()).unwrap();
    }

    /// Bytes that have come and are not read.
    fn unread(&self) -> u64 {
        rustix::io::ioctl_fionread(&self.socket).unwrap()
    }

    /// Lets piece after piece come, until one more is no more on its way: it waits in Postgres's buffer for room in the socket. How many came in all.
    fn fill(&self, gate: &Gate) -> usize {
        gate.pass(1);
        for pieces in 1.. {
            let before = self.unread();
            gate.pass(1);
            // Where the machine is so slow that this is too soon, the test sees less and is no less right.
            if !eventually(Duration::from_secs(3), || self.unread() > before) {
                return pieces;
            }
        }
        0
    }
}

fn filled() -> (Asked, Gate, Slow, usize) {
    let (upstream, gate) = (Upstream::start(), Gate::new());
    let piece = "0123456789".repeat(200);
    upstream.on(Asked::PATH).reply(openai::stream(&vec![piece.as_str(); 5000]).gated(&gate));
    let asked = Asked::at(upstream, json!({}));
    let mut slow = Slow::connect(&asked.database);
    slow.query("SELECT chunk FROM pg_llm_chat_stream('m', 'Hello')");
    let pieces = slow.fill(&gate);
    assert!(pieces < 5000, "everything found room");
    (asked, gate, slow, pieces)
}

#[test]
fn a_cancel_is_heard_though_nobody_reads() {
    let (asked, _gate, mut slow, pieces) = filled();
    assert!(asked.database.cluster().cancel_backend(slow.pid));
    assert!(asked.upstream.wait_until_closed(DEADLINE));
    let mut rows = 0;
    loop {
        match slow.message() {
            (b'D', _) => rows += 1,
            (b'E', body) => {
                assert!(String::from_utf8_lossy(&body).contains("57014"), "{}", String::from_utf8_lossy(&body));
                break;
            }
            _ => {}
        }
    }
    assert_eq!(rows, pieces, "what had come is not lost");
}

#[test]
fn what_found_no_room_is_sent_when_there_is_some_though_the_model_is_silent() {
    let (asked, gate, mut slow, pieces) = filled();
    let mut rows = 0;
    while rows < pieces {
        rows += usize::from(slow.message().0 == b'D');
    }
    assert_eq!(asked.upstream.open_connections(), 1, "the model has not gone on");
    gate.open();
    while slow.message().0 != b'C' {
        rows += 1;
    }
    assert_eq!(rows, 5001);
}
