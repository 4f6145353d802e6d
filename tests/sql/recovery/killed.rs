//! A backend that is killed outright, wherever it is: the server restarts its sessions, and has lost nothing and keeps nothing.

use pg_llm_tests::{Backend, Cluster, DEADLINE, Running, eventually};
use pg_llm_upstream::{Reply, Upstream, openai};

use super::{add_models, all_is_well, children, long_component, settings, upstream, value};

/// Where it is killed.
struct Victim<'a> {
    cluster: &'a Cluster,
    hanging: &'a Upstream,
}

impl Victim<'_> {
    /// Kills it, and waits until the server is there again.
    fn dies(&self, call: Running) {
        self.cluster.crash(call.pid());
        assert!(call.finish(DEADLINE).result.is_err());
        assert!(self.hanging.wait_until_closed(DEADLINE), "a connection outlives its backend");
    }
}

#[test]
fn a_backend_that_is_killed_amid_a_batch_a_stream_or_an_upload_leaves_nothing_half_done() {
    let cluster = Cluster::start(&settings().line("shared_preload_libraries = 'pg_llm'"));
    let database = cluster.database();
    let (upstream, hanging) = (upstream(), Upstream::start());
    let mut client = database.superuser();
    add_models(&mut client, &upstream);
    let add = "SELECT pg_llm_add_model('openai-compatible', 'hanging', config => jsonb_build_object('api_endpoint', $1::text, 'max_concurrency', 64))";
    client.execute(add, &[&hanging.url()]).unwrap();
    let modules: i64 = value(&mut client, "SELECT count(*) FROM _pg_llm_catalog.modules");
    let victim = Victim { cluster: &cluster, hanging: &hanging };

    hanging.on("/chat/completions").reply(Reply::hang());
    let batch = "SELECT count(*) FROM pg_llm_chat_batch('hanging', array_fill('x'::text, ARRAY[200]), '{\"max_concurrency\": 64}')";
    let call = Running::start(database.superuser(), batch);
    assert!(hanging.wait_for(|seen| seen.open_connections == 64, DEADLINE));
    victim.dies(call);

    hanging.on("/chat/completions").reply(openai::stream_endless("more "));
    let call = Running::start(database.superuser(), "SELECT count(*) FROM pg_llm_chat_stream('hanging', 'x')");
    assert!(hanging.wait_for(|seen| seen.open_connections == 1, DEADLINE));
    victim.dies(call);

    let path = cluster.lend("long.wasm", &long_component());
    let upload = format!("SELECT pg_llm_add_provider('half', pg_read_binary_file('{}'))", path.display());
    let call = Running::start(database.superuser(), &upload);
    let mut compiler = 0;
    assert!(eventually(DEADLINE, || {
        compiler = children(call.backend()).first().copied().unwrap_or(0);
        compiler != 0
    }));
    victim.dies(call);
    assert!(eventually(DEADLINE, || !Backend(compiler).exists()), "the compiler goes on without its backend");

    for restarted in [false, true] {
        if restarted {
            cluster.restart();
        }
        let mut client = database.superuser();
        all_is_well(&mut client, &upstream);
        assert_eq!(value::<i64>(&mut client, "SELECT count(*) FROM _pg_llm_catalog.modules"), modules);
        let flying: i64 = value(&mut client, "SELECT sum(in_flight + waiting) FROM pg_llm_stat_limits");
        assert_eq!(flying, 0, "what died holds nothing");
    }
    let mut client = database.superuser();
    client.batch_execute(&upload).unwrap();
    hanging.on("/chat/completions").reply(openai::completion("well"));
    assert_eq!(value::<i64>(&mut client, &batch.replace("count(*)", "count(response)")), 200);
}
