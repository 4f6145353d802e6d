//! Several sessions do whatever may be done, at random, with upstreams and modules that behave badly at random, while somebody cancels and terminates them.
//!
//! No order of things makes the server crash, an error of an unknown kind, a connection that outlives its session, or a permit that is never given back.
//! The walk takes some seconds; PG_LLM_WALK_SECONDS=600 makes it as long.

mod steps;
mod weather;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pg_llm_tests::postgres::{Client, NoTls};
use pg_llm_tests::{Cluster, DEADLINE, Database, Settings, eventually};
use pg_llm_upstream::Upstream;
use serde_json::json;

use crate::hostile::module;
use crate::uploads::built;

const SESSIONS: usize = 6;

/// Pseudo-random numbers (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }

    pub(crate) fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

/// What docs/errors.md has, and what Postgres says where sessions change the same things at the same time, or are ended.
const KNOWN: [&str; 29] = [
    "08001", "08006", "0A000", "22023", "22P02", "25P02", "25001", "25P01", "2BP01", "34000", "38000", "38001", "3B001", "40001", "40P01",
    "42501", "42704", "42710", "53000", "53400", "54000", "54001", "55000", "55006", "55P03", "57014", "57P01", "58030", "42P03",
];

struct Walk {
    database: Database<'static>,
    cluster: &'static Cluster,
    pids: [AtomicI32; SESSIONS],
    over: AtomicBool,
    seed: u64,
}

impl Walk {
    fn session(&self, place: usize) -> Client {
        let mut client = None;
        let role = if place == 0 { "walker" } else { "postgres" };
        assert!(eventually(DEADLINE, || {
            client = self.database.config().user(role).connect(NoTls).ok();
            client.is_some()
        }));
        let mut client = client.unwrap();
        let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).map_or(0, |row| row.get(0));
        self.pids[place].store(pid, Ordering::Release);
        client
    }

    /// One session's way. What it met, by SQLSTATE, and what it should not have met.
    fn go(&self, place: usize) -> (BTreeMap<String, usize>, Vec<String>) {
        let mut random = Random(self.seed ^ ((place as u64) << 32));
        let (mut met, mut strange) = (BTreeMap::new(), Vec::new());
        let mut client = self.session(place);
        while !self.over.load(Ordering::Acquire) {
            let step = steps::step(&mut random);
            let state = match client.simple_query(&step) {
                Ok(_) => "ok".to_owned(),
                Err(error) => match error.as_db_error() {
                    Some(error) => {
                        let state = error.code().code();
                        if !KNOWN.contains(&state) {
                            strange.push(format!("{state} {}: {step}", error.message()));
                        }
                        state.to_owned()
                    }
                    None => "closed".to_owned(),
                },
            };
            if state != "ok" && random.below(4) > 0 {
                // Else it goes on in a transaction that failed, where it began one.
                let _ = client.batch_execute("ROLLBACK");
            }
            *met.entry(state).or_default() += 1;
            if client.is_closed() {
                client = self.session(place);
            }
        }
        (met, strange)
    }

    /// Whoever cancels and terminates.
    fn meddle(&self) {
        let mut random = Random(self.seed ^ 0xdead);
        while !self.over.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(random.below(60) as u64));
            let pid = self.pids[random.below(SESSIONS)].load(Ordering::Acquire);
            if random.below(6) == 0 {
                self.cluster.terminate_backend(pid);
            } else {
                self.cluster.cancel_backend(pid);
            }
        }
    }
}

fn seconds() -> u64 {
    std::env::var("PG_LLM_WALK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(8)
}

#[test]
fn whatever_sessions_do_at_random_the_server_stands_and_nothing_is_held_for_ever() {
    let settings = Settings::for_models().lines(&["shared_preload_libraries = 'pg_llm'", "deadlock_timeout = '100ms'"]);
    // For the sessions' threads: it lives as long as the process.
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start(&settings)));
    let database = cluster.database();
    let seed = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() % 1_000_000_007).unwrap();
    println!("seed {seed}");
    let upstream = Upstream::builder().unrecorded().start();
    weather::over(&upstream, seed);
    let mut client = database.superuser();
    cluster.execute("CREATE ROLE walker LOGIN");
    client.batch_execute("CREATE TABLE modules (name text, module bytea)").unwrap();
    for (name, module) in
        [("mock", built("mock.wasm")), ("hostile", built("hostile.wasm")), ("tiny", module::of("")), ("broken", b"\0asm broken".to_vec())]
    {
        client.execute("INSERT INTO modules VALUES ($1, $2)", &[&name, &module]).unwrap();
    }
    client.batch_execute("GRANT SELECT ON modules TO PUBLIC").unwrap();
    for (n, name) in steps::MODELS.iter().enumerate() {
        let mut config = json!({"api_endpoint": format!("{}/{name}", upstream.url()), "timeout_ms": 400, "max_attempts": 1 + n % 3});
        match n % 3 {
            0 => config["max_concurrency"] = json!(3),
            1 => config["rate_limit"] = json!({"rpm": 100_000, "tpm": 100_000_000}),
            _ => {}
        }
        client.execute("SELECT pg_llm_add_model('openai-compatible', $1, 'sk-the-walkers-key', $2)", &[name, &config]).unwrap();
        client.execute("SELECT pg_llm_grant_model($1, 'public')", &[name]).unwrap();
    }
    drop(client);

    let walk = Walk { database, cluster, pids: Default::default(), over: AtomicBool::new(false), seed };
    let began = Instant::now();
    let results = thread::scope(|scope| {
        let sessions: Vec<_> = (0..SESSIONS)
            .map(|place| {
                let walk = &walk;
                scope.spawn(move || walk.go(place))
            })
            .collect();
        let meddler = scope.spawn(|| walk.meddle());
        thread::sleep(Duration::from_secs(seconds()));
        walk.over.store(true, Ordering::Release);
        meddler.join().unwrap();
        sessions.into_iter().map(|session| session.join().unwrap()).collect::<Vec<_>>()
    });
    let mut met = BTreeMap::<String, usize>::new();
    for (state, times) in results.iter().flat_map(|(met, _)| met) {
        *met.entry(state.clone()).or_default() += times;
    }
    println!("{:?} in {:?}", met, began.elapsed());
    let strange: Vec<&String> = results.iter().flat_map(|(_, strange)| strange).collect();
    assert!(
        strange.is_empty(),
        "seed {seed}: {} strange errors, such as\n{}",
        strange.len(),
        strange.iter().take(10).map(|s| s.as_str()).collect::<Vec<_>>().join("\n")
    );
    cluster.assert_no_crash();

    assert!(upstream.wait_until_closed(DEADLINE), "seed {seed}: {} connections outlive their sessions", upstream.open_connections());
    let mut client = walk.database.superuser();
    let held = "SELECT coalesce(string_agg(format('%s: %s in flight, %s waiting', instance_name, in_flight, waiting), '; '), '') FROM pg_llm_stat_limits WHERE in_flight > 0 OR waiting > 0";
    let held: String = client.query_one(held, &[]).unwrap().get(0);
    assert_eq!(held, "", "seed {seed}");
    // And everything works: what did is there and answers, now that the weather is fine.
    upstream.otherwise(|_| pg_llm_upstream::openai::completion("fine"));
    client.batch_execute("SELECT pg_llm_add_model('openai-compatible', 'm0', config => (SELECT config || '{\"timeout_ms\": 60000, \"circuit_breaker\": false, \"max_attempts\": 5}' FROM pg_llm_models WHERE instance_name = 'm0'))").unwrap();
    let answered: i64 =
        client.query_one("SELECT count(response) FROM pg_llm_chat_batch('m0', array_fill('x'::text, ARRAY[50]))", &[]).unwrap().get(0);
    assert_eq!(answered, 50, "seed {seed}");
}
