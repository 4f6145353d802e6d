//! Nothing left: no descriptor, no thread, no room on disk. An ERROR each time, and all is well when there is some again.
#![allow(clippy::print_stderr, reason = "what was skipped, and how each ended")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Backend, Cluster, built};
use pg_llm_upstream::{Upstream, openai};

use super::{add_models, all_is_well, settings, upstream};
use crate::hostile::module;

/// Sets a backend's own soft limit ("nofile", "nproc"), as the server's account may; none: as high as the hard one. False where there is no prlimit(1).
fn limit(cluster: &Cluster, backend: Backend, resource: &str, most: Option<u64>) -> bool {
    let most = most.map_or_else(|| hard(backend, resource), |most| most.to_string());
    let mut command = cluster.command_as_server("prlimit");
    command.args(["--pid", &backend.0.to_string(), &format!("--{resource}={most}:")]);
    let Ok(output) = command.output() else {
        eprintln!("SKIPPED: limits of a process need the program prlimit (util-linux)");
        return false;
    };
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    true
}

fn hard(backend: Backend, resource: &str) -> String {
    let name = match resource {
        "nofile" => "Max open files",
        _ => "Max processes",
    };
    let limits = fs::read_to_string(format!("/proc/{}/limits", backend.0)).unwrap();
    let numbers = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    numbers.split_whitespace().nth(1).unwrap().to_owned()
}

/// What runs out of something.
const STATEMENTS: [&str; 8] = [
    "SELECT pg_llm_chat('keyed', 'Hello')",
    "SELECT count(*) FROM pg_llm_chat_stream('streaming', 'Hello')",
    "SELECT pg_llm_chat('uploaded', 'Hello')",
    "SELECT pg_llm_chat('table-bomb', 'Hello')",
    "SELECT pg_llm_add_provider('again', module) FROM kept",
    "SELECT pg_llm_parallel_chat('Hello', ARRAY['keyed', 'keyed', 'uploaded'])",
    "SELECT count(*) FROM pg_llm_chat_batch('keyed', array_fill('x'::text, ARRAY[40]), '{\"max_concurrency\": 20}')",
    "SELECT count(*) FROM pg_llm_map('keyed', 'SELECT n::text FROM generate_series(1, 40) n')",
];

/// How each ended: `ok`, or its SQLSTATE.
fn outcomes(client: &mut Client) -> Vec<String> {
    let state = |client: &mut Client, sql: &str| match client.query(sql, &[]) {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}")).code().code().to_owned(),
    };
    STATEMENTS.iter().map(|sql| state(client, sql)).collect()
}

/// Every ending is an ERROR of those that docs/errors.md has, or one of Postgres's own for want of what is missing.
#[track_caller]
fn known(what: &str, ends: &[String]) {
    let known = ["ok", "08001", "08006", "38001", "53000", "53100", "53200", "53400", "55000", "58030"];
    assert!(ends.iter().all(|end| known.contains(&end.as_str())), "{what}: {ends:?}");
    eprintln!("{what}: {ends:?}");
}

struct Scene {
    cluster: Cluster,
    upstream: Upstream,
}

impl Scene {
    fn new() -> Self {
        let upstream = upstream();
        upstream.on("/streaming/chat/completions").reply(openai::stream(&["a", "b"]));
        Self { cluster: Cluster::start(&settings()), upstream }
    }

    /// Runs everything with so little of something, in a session that has run it before and in one that has not.
    fn with(&self, what: &str, act: impl Fn(Backend, &mut dyn FnMut() -> Vec<String>)) {
        let database = self.cluster.database();
        let mut client = database.superuser();
        add_models(&mut client, &self.upstream);
        let add = "SELECT pg_llm_add_model('openai-compatible', 'streaming', config => jsonb_build_object('api_endpoint', $1::text))";
        client.execute(add, &[&format!("{}/streaming", self.upstream.url())]).unwrap();
        client.batch_execute("CREATE TABLE kept (module bytea)").unwrap();
        client.execute("INSERT INTO kept VALUES ($1)", &[&built("mock.wasm")]).unwrap();
        let bomb = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("hostile/wat/table-bomb.wat")).unwrap();
        client.execute("SELECT pg_llm_add_model('table-bomb', 'table-bomb', module => $1)", &[&module::of(&bomb)]).unwrap();
        for warm in [false, true] {
            let mut client = database.superuser();
            let backend = Backend::of(&mut client);
            if warm {
                let ends = outcomes(&mut client);
                assert_eq!(ends, ["ok", "ok", "ok", "38001", "ok", "ok", "ok", "ok"], "{what}");
            }
            act(backend, &mut || outcomes(&mut client));
            assert_eq!(Backend::of(&mut client), backend, "{what}");
            all_is_well(&mut client, &self.upstream);
            self.cluster.assert_no_crash();
        }
    }
}

#[test]
fn without_descriptors_calls_are_errors_and_go_on_when_there_are_some() {
    let scene = Scene::new();
    scene.with("descriptors", |backend, everything| {
        let open = backend.open_files() as u64;
        for spare in [0, 1, 2, 3, 5, 8, 13] {
            if !limit(&scene.cluster, backend, "nofile", Some(open + spare)) {
                return;
            }
            let ends = everything();
            limit(&scene.cluster, backend, "nofile", None);
            known(&format!("{spare} descriptors"), &ends);
        }
    });
}

#[test]
fn without_threads_and_processes_calls_are_errors_and_go_on_when_there_are_some() {
    let scene = Scene::new();
    scene.with("threads", |backend, everything| {
        if !limit(&scene.cluster, backend, "nproc", Some(0)) {
            return;
        }
        let ends = everything();
        limit(&scene.cluster, backend, "nproc", None);
        known("no thread", &ends);
    });
}

/// A small disk in the place of a folder, as long as this lives.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where we may not mount one.
    fn over(folder: &Path, owner: u32) -> Option<Self> {
        let options = format!("size=16k,mode=0700,uid={owner}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(folder).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(folder.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn on_a_full_disk_code_is_compiled_for_each_session_and_nothing_half_written_stays() {
    use std::os::unix::fs::MetadataExt;
    let cluster = Cluster::start(&settings());
    let database = cluster.database();
    let upstream = upstream();
    add_models(&mut database.superuser(), &upstream);
    let folder = cluster.data_directory().join("pg_llm/pgsql_tmp_code");
    let owner = fs::metadata(&folder).unwrap().uid();
    let Some(disk) = SmallDisk::over(&folder, owner) else {
        println!("SKIPPED: no small disk can be mounted here (that needs root)");
        return;
    };
    let complaints = || cluster.log().matches("the code cache cannot be written: No space left on device").count();
    for session in 1..=2 {
        let mut client = database.superuser();
        all_is_well(&mut client, &upstream);
        assert_eq!(complaints(), session);
        all_is_well(&mut client, &upstream);
        assert_eq!(complaints(), session, "it has the code in memory");
        let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
    let mut client = database.superuser();
    client.execute("SELECT pg_llm_add_provider('further', $1)", &[&built("openai.wasm")]).unwrap();
    assert_eq!(complaints(), 3, "an upload is as good as on any disk, and says what is wrong");
    drop(disk);
    all_is_well(&mut database.superuser(), &upstream);
    assert_eq!(complaints(), 3);
    cluster.assert_no_crash();
}

/// The directory is a link, to a folder of the server's own; or code belongs to somebody else, or to an engine of another version.
#[test]
fn code_that_lies_elsewhere_or_is_somebody_elses_is_at_worst_made_again() {
    let cluster = Cluster::start(&settings());
    let database = cluster.database();
    let upstream = upstream();
    add_models(&mut database.superuser(), &upstream);
    let folder = cluster.data_directory().join("pg_llm/pgsql_tmp_code");
    let elsewhere = cluster.data_directory().join("elsewhere");
    fs::rename(&folder, &elsewhere).unwrap();
    for target in [elsewhere.clone(), PathBuf::from("/nonexistent"), PathBuf::from("/proc/self"), folder.clone()] {
        let _ = fs::remove_file(&folder);
        std::os::unix::fs::symlink(&target, &folder).unwrap();
        super::give(&cluster, &folder);
        all_is_well(&mut database.superuser(), &upstream);
    }
    fs::remove_file(&folder).unwrap();
    fs::rename(&elsewhere, &folder).unwrap();

    let file = cluster.files_in("pg_llm/pgsql_tmp_code").pop().unwrap();
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    let (digest, _) = name.split_once('-').unwrap();
    let older = file.with_file_name(format!("{digest}-an-older-engine.cwasm"));
    fs::rename(&file, &older).unwrap();
    all_is_well(&mut database.superuser(), &upstream);
    assert!(file.exists(), "made again under its engine's name");
    // The other way: under this engine's name, what another engine compiled.
    fs::write(&file, b"compiled by something else").unwrap();
    all_is_well(&mut database.superuser(), &upstream);
    if rustix::process::geteuid().is_root() {
        for mode in ["600", "644", "666"] {
            assert!(Command::new("chmod").arg(mode).arg(&file).status().unwrap().success());
            std::os::unix::fs::chown(&file, Some(0), Some(0)).unwrap();
            all_is_well(&mut database.superuser(), &upstream);
        }
    } else {
        println!("SKIPPED: code of another user (that needs root)");
    }
    cluster.assert_no_crash();
}
