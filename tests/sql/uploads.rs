//! What may not be uploaded is refused there, with a reason, in a process of its own: the backend, and so the server, outlives every module.

mod modules;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use pg_llm_tests::postgres::{Client, error::DbError};
use pg_llm_tests::{Backend, Cluster, DEADLINE, Database, Installation, Running, db_error, eventually};

pub(crate) use modules::{Description, Profile, assembled, built, encoded_as, slow};
use modules::{encoded, with_memories};

/// Somebody who uploads.
struct Uploader {
    client: Client,
    database: Database<'static>,
    backend: Backend,
}

impl Uploader {
    fn new() -> Self {
        let database = Cluster::shared().database();
        let mut client = database.superuser();
        let backend = Backend::of(&mut client);
        Self { client, database, backend }
    }

    fn upload(&mut self, module: &[u8]) -> Result<bool, pg_llm_tests::postgres::Error> {
        self.client.query_one("SELECT pg_llm_add_provider('uploaded', $1)", &[&module]).map(|row| row.get(0))
    }

    /// The error of an upload. The same backend goes on, and nothing of the module is left.
    #[track_caller]
    fn refused(&mut self, what: &str, module: &[u8]) -> DbError {
        let result = self.upload(module);
        assert!(result.is_err(), "{what} was accepted");
        let error = db_error(result);
        assert!(error.message().starts_with("pg_llm: ") && error.message().len() < 2000, "{what}: {error:?}");
        assert_eq!(Backend::of(&mut self.client), self.backend, "{what}: another backend");
        let left: i64 = self.client.query_one("SELECT count(*) FROM _pg_llm_catalog.modules", &[]).unwrap().get(0);
        assert_eq!(left, 0, "{what}");
        error
    }

    #[track_caller]
    fn refused_with(&mut self, what: &str, module: &[u8], state: &str, words: &str) {
        let error = self.refused(what, module);
        assert_eq!(error.code().code(), state, "{what}: {error:?}");
        let said = format!("{} {} {}", error.message(), error.detail().unwrap_or_default(), error.hint().unwrap_or_default());
        assert!(said.contains(words), "{what}: \"{words}\" is not in: {said}");
    }
}

impl Drop for Uploader {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.database.cluster().assert_no_crash();
        }
    }
}

#[test]
fn what_is_no_component_is_refused() {
    let mut uploader = Uploader::new();
    let sound = built("mock.wasm");
    let core = assembled("(module (memory 1) (func (export \"run\")))");
    for (what, module, words) in [
        ("nothing", Vec::new(), "not a WebAssembly component"),
        ("a magic word alone", b"\0asm".to_vec(), "not a valid WebAssembly component"),
        ("text", b"(component)".to_vec(), "Text (WAT) must be assembled first"),
        ("precompiled machine code", built("mock.cwasm"), "machine code"),
        ("an ELF program", fs::read("/proc/self/exe").unwrap()[..100_000].to_vec(), "machine code"),
        ("a core module", core, "core WebAssembly module"),
        ("half of a component", sound[..sound.len() / 2].to_vec(), "not a valid WebAssembly component"),
        ("all but the last byte", sound[..sound.len() - 1].to_vec(), "not a valid WebAssembly component"),
        ("a component and one byte more", [&sound[..], b"\xff"].concat(), "not a valid WebAssembly component"),
        ("two components", [&sound[..], &sound[..]].concat(), "not a valid WebAssembly component"),
        ("a zip", b"PK\x03\x04 and so on".to_vec(), "not a WebAssembly component"),
    ] {
        uploader.refused_with(what, &module, "22023", words);
    }
}

#[test]
fn an_import_that_is_not_granted_is_refused_by_its_name() {
    let mut uploader = Uploader::new();
    for import in [
        "wasi:sockets/tcp@0.2.0",
        "wasi:sockets/instance-network@0.2.3",
        "wasi:http/outgoing-handler@0.2.0",
        "wasi:cli/run@0.2.0",
        "wasi:keyvalue/store@0.2.0",
        // Near misses of what is granted: versions that there are not, or not here.
        "wasi:cli/environment@0.2.13",
        "wasi:cli/environment@0.3.0",
        "wasi:cli/environment@0.2.0-rc-2023-12-05",
        "wasi:cli/environment",
        "wasi:filesystem/preopen@0.2.0",
        // Near misses: another version of ours, another interface, another package.
        "pg-llm:guest/http@0.9.0",
        "pg-llm:guest/http@1.0.1",
        "pg-llm:guest/http@1.1.0",
        "pg-llm:guest/http@2.0.0",
        "pg-llm:guest/http@1.0.0-rc.1",
        "pg-llm:guest/chat@1.0.0",
        "pg-llm:guest/files@1.0.0",
        "pg-llm:guest/http",
        "pg-llm:guests/http@1.0.0",
        "environment",
    ] {
        let module = assembled(&format!("(component (import \"{import}\" (instance)))"));
        uploader.refused_with(import, &module, "22023", &format!("imports \"{import}\", which is not granted"));
    }
    let function = assembled("(component (import \"steal\" (func)))");
    uploader.refused_with("a function", &function, "22023", "imports \"steal\"");
    let name = "x".repeat(50_000);
    let error = uploader.refused("a long name", &assembled(&format!("(component (import \"{name}\" (func)))")));
    assert_eq!(error.code().code(), "22023");
}

#[test]
fn an_import_of_ours_that_asks_for_more_than_there_is_is_refused() {
    let mut uploader = Uploader::new();
    for fields in
        ["(export \"reveal\" (func))", "(export \"available\" (func (result string)))", "(export \"available\" (func (param \"x\" u32)))"]
    {
        let module = assembled(&format!(
            "(component
               (import \"pg-llm:guest/keys@1.0.0\" (instance {fields}))
               (instance $empty)
               (export \"pg-llm:guest/describe@1.0.0\" (instance $empty))
               (export \"pg-llm:guest/chat@1.0.0\" (instance $empty)))"
        ));
        uploader.refused_with(fields, &module, "22023", "does not fit the contract");
    }
}

#[test]
fn a_component_built_for_another_version_is_refused() {
    let mut uploader = Uploader::new();
    for version in ["0.9.0", "1.0.1", "1.1.0", "2.0.0"] {
        let (was, is) = ("@1.0.0", format!("@{version}"));
        // Its core module exports the functions under the version that it was built for.
        let description = Description::default();
        let core = description.core("i32.const 64", "");
        let core = replaced(&core, was.as_bytes(), is.as_bytes());
        let module = encoded(&core, |wit| wit.replace(was, &is));
        uploader.refused_with(version, &module, "22023", "This server speaks pg-llm:guest/*@1.0.0");
    }
}

/// With something of the same length in the place of something.
fn replaced(bytes: &[u8], was: &[u8], is: &[u8]) -> Vec<u8> {
    assert_eq!(was.len(), is.len());
    let mut bytes = bytes.to_vec();
    for at in 0..bytes.len().saturating_sub(was.len()) {
        if bytes[at..].starts_with(was) {
            bytes[at..at + is.len()].copy_from_slice(is);
        }
    }
    bytes
}

#[test]
fn exports_that_are_missing_or_of_another_type_are_refused() {
    let mut uploader = Uploader::new();
    uploader.refused_with("no export", &assembled("(component)"), "22023", "does not export \"pg-llm:guest/describe@1.0.0\"");
    let half = assembled("(component (instance $empty) (export \"pg-llm:guest/describe@1.0.0\" (instance $empty)))");
    uploader.refused_with("half of it", &half, "22023", "does not export \"pg-llm:guest/chat@1.0.0\"");
    let empty = assembled(
        "(component (instance $empty)
           (export \"pg-llm:guest/describe@1.0.0\" (instance $empty)) (export \"pg-llm:guest/chat@1.0.0\" (instance $empty)))",
    );
    uploader.refused_with("empty instances", &empty, "22023", "does not fit the contract");
    // The same names, but other types.
    let core = Description::default().core("i32.const 64", "");
    for (was, is) in [
        ("summary: string,", "summary: u32,"),
        (
            "complete: func(request: chat-request) -> result<answer, failure>;",
            "complete: func(request: chat-request) -> result<answer, string>;",
        ),
        ("next: func() -> result<option<event>, failure>;", "next: func() -> result<event, failure>;"),
    ] {
        let bent = encoded(&core, |wit| {
            assert!(wit.contains(was), "{was}");
            wit.replace(was, is)
        });
        uploader.refused_with(is, &bent, "22023", "broke the contract");
    }
}

#[test]
fn a_description_that_lies_is_refused() {
    let mut uploader = Uploader::new();
    let profile = |name: &[u8], endpoint, settings: &[u8]| Profile { name: name.into(), endpoint, settings: settings.into() };
    let with = |profile| Description { profiles: vec![profile], ..Description::default() };
    for (what, description, words) in [
        ("no profile", Description { profiles: Vec::new(), ..Description::default() }, "no profile"),
        ("a name with capitals", with(profile(b"Evil", None, b"{}")), "lower-case"),
        ("a name with quotes", with(profile(b"e'; DROP TABLE x; --", None, b"{}")), "lower-case"),
        ("no name", with(profile(b"", None, b"{}")), "lower-case"),
        ("an endpoint of another scheme", with(profile(b"evil", Some("file:///etc/passwd"), b"{}")), "endpoint"),
        ("an endpoint with a password", with(profile(b"evil", Some("https://user:pw@x.example"), b"{}")), "endpoint"),
        ("settings that are no JSON", with(profile(b"evil", None, b"{")), "not a JSON object"),
        ("settings that are a list", with(profile(b"evil", None, b"[]")), "not a JSON object"),
        ("settings too deep", with(profile(b"evil", None, format!("{{\"a\":{}", "[".repeat(100_000)).as_bytes())), "not a JSON object"),
        ("a schema that is no object", Description { schema: b"7".into(), ..Description::default() }, "not a JSON object"),
        ("a NUL", Description { name: b"a\0b".into(), ..Description::default() }, "null characters"),
        ("no UTF-8", Description { name: b"a\xff".into(), ..Description::default() }, "utf-8"),
        ("a novel", Description { name: vec![b'x'; 300 << 10], ..Description::default() }, "larger than"),
    ] {
        uploader.refused_with(what, &description.component(), "22023", words);
    }
}

#[test]
fn a_describe_that_misbehaves_is_refused() {
    let mut uploader = Uploader::new();
    let description = Description::default();
    let described = "i32.const 64";
    for (what, module, words) in [
        ("a trap", description.with("unreachable", ""), "unreachable"),
        ("a record beyond the memory", description.with("i32.const 0x7ffffff0", ""), "describe() failed"),
        ("a record that is not aligned", description.with("i32.const 65", ""), "describe() failed"),
        ("a negative address", description.with("i32.const -8", ""), "describe() failed"),
        ("a recursion", description.with("call $down", "(func $down (result i32) call $down i32.const 1 i32.add)"), "stack"),
        (
            "a bomb",
            description.with("loop $again i32.const 16 memory.grow i32.const -1 i32.ne br_if $again end unreachable", ""),
            "bytes of memory",
        ),
        ("memory that is too large from the start", description.with(described, "(table 200000 funcref)"), "table elements"),
        ("a trap at the start", description.with(described, "(func $go unreachable) (start $go)"), "unreachable"),
        ("many memories", with_memories(20, 64), "bytes of memory"),
        ("many instances", with_memories(60, 0), "instance"),
    ] {
        uploader.refused_with(what, &module, "22023", words);
    }
}

#[test]
fn a_describe_that_never_returns_is_refused() {
    let mut uploader = Uploader::new();
    let description = Description::default();
    // By processor time; on a busy machine, by the clock.
    uploader.refused_with("a loop", &description.with("loop $again br $again end unreachable", ""), "22023", "describe() ");
    let start = description.with("i32.const 64", "(func $go loop $again br $again end) (start $go)");
    uploader.refused_with("a loop at the start", &start, "22023", "describe() ");
}

#[test]
fn a_module_that_hurts_the_compiler_hurts_nothing_else() {
    let mut uploader = Uploader::new();
    let description = Description::default();
    // Nesting deep enough for any recursion over it.
    let deep = description.with(&format!("{}i32.const 64{}", "block (result i32) ".repeat(100_000), " end".repeat(100_000)), "");
    // A function of as many locals as the format allows, each alive.
    let wide = description.with("i32.const 64", &format!("(func (local {}) unreachable)", "i64 ".repeat(50_000)));
    for module in [deep, wide] {
        if let Err(error) = uploader.upload(&module) {
            let state = error.code().expect("an error of the server's").code().to_owned();
            assert!(["22023", "38001"].contains(&state.as_str()), "{error:?}");
        }
        assert_eq!(Backend::of(&mut uploader.client), uploader.backend);
    }
}

#[test]
fn the_sha256_must_match_where_it_is_given() {
    let mut uploader = Uploader::new();
    let module = Description::default().component();
    let right: String = uploader.client.query_one("SELECT encode(sha256($1), 'hex')", &[&module]).unwrap().get(0);
    for wrong in ["", "00", &right[1..], &format!("{right}0"), &right.replace(&right[..1], "g"), &"0".repeat(64)] {
        let error = db_error(uploader.client.query_one("SELECT pg_llm_add_provider('uploaded', $1, $2)", &[&module, &wrong]));
        assert_eq!(error.code().code(), "22023", "{wrong}");
        assert!(error.message().contains("sha256") && error.detail().unwrap().contains(&right), "{error:?}");
    }
    for form in [right.clone(), right.to_uppercase(), format!("\\x{right}")] {
        uploader.client.query_one("SELECT pg_llm_add_provider('uploaded', $1, $2)", &[&module, &form]).unwrap();
    }
}

#[test]
fn a_module_may_not_be_larger_than_the_setting() {
    let mut uploader = Uploader::new();
    let module = Description::default().component();
    uploader.client.batch_execute("SET pg_llm.max_module_bytes = '1kB'").unwrap();
    uploader.refused_with("too large", &module, "54000", "1024");
    uploader.client.batch_execute("RESET pg_llm.max_module_bytes").unwrap();
    assert!(uploader.upload(&module).unwrap());
}

#[test]
fn the_name_of_a_built_in_provider_is_taken() {
    let mut uploader = Uploader::new();
    let module = Description::default().component();
    for name in ["openai", "chatgpt", "mock", "azure-openai"] {
        let error = db_error(uploader.client.query_one("SELECT pg_llm_add_provider($1, $2)", &[&name, &module]));
        assert_eq!(error.code().code(), "42710", "{name}: {error:?}");
    }
    for name in ["", "Capital", "a b", "a\"b", &"x".repeat(64)] {
        let error = db_error(uploader.client.query_one("SELECT pg_llm_add_provider($1, $2)", &[&name, &module]));
        assert_eq!(error.code().code(), "22023", "{name}: {error:?}");
    }
}

/// Pseudo-random numbers, the same in every run (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }
}

/// A component with a few bytes changed, moved or missing.
fn mutated(sound: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            2 => bytes[at] = [0x00, 0x7f, 0x80, 0xff][random.below(4)],
            3 => bytes.truncate(at.max(1)),
            4 => drop(bytes.drain(at..(at + 1 + random.below(8)).min(bytes.len()))),
            _ => {
                let from = random.below(bytes.len());
                let piece = bytes[from..(from + 16).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
    bytes
}

#[test]
fn a_thousand_mutations_of_a_component_are_refused_or_harmless() {
    let mut uploader = Uploader::new();
    uploader
        .client
        .batch_execute(
            "CREATE FUNCTION attempt(module bytea) RETURNS text LANGUAGE plpgsql AS $$
             BEGIN
                 PERFORM pg_llm_add_provider('mutant', module);
                 -- Accepted: then calling it is harmless too.
                 PERFORM pg_llm_add_model('mutant', 'mutant', config => '{}');
                 PERFORM pg_llm_chat('mutant', 'hello');
                 RETURN 'answered';
             EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE;
             END $$",
        )
        .unwrap();
    let description = Description::default();
    let sound = description.component();
    let mut random = Random(18);
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..10 {
        let modules: Vec<Vec<u8>> = (0..100).map(|_| mutated(&sound, &mut random)).collect();
        for row in uploader.client.query("SELECT attempt(module) FROM unnest($1::bytea[]) module", &[&modules]).unwrap() {
            *counts.entry(row.get(0)).or_default() += 1;
        }
        assert_eq!(Backend::of(&mut uploader.client), uploader.backend);
    }
    println!("{counts:?}");
    assert_eq!(counts.values().sum::<usize>(), 1000);
    // Refused; or a fault of the module when it was called, or in the compiler.
    let expected = ["22023", "38001"];
    assert!(counts.keys().all(|state| expected.contains(&state.as_str())), "{counts:?}");
    assert!(counts["22023"] > 500, "{counts:?}");
}

/// The compiler that a backend has started, once it runs.
pub(crate) fn compiler_of(backend: Backend) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", backend.0)).ok()?;
    let child: i32 = children.split_whitespace().next()?.parse().ok()?;
    let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
    name.starts_with("pg_llm_compiler").then_some(child)
}

/// An upload that takes long, and its compiler.
fn uploading(database: &Database<'_>) -> (Running, i32) {
    let mut client = database.superuser();
    client.batch_execute("CREATE TEMPORARY TABLE slow (module bytea)").unwrap();
    client.execute("INSERT INTO slow VALUES ($1)", &[&slow(8_000)]).unwrap();
    let running = Running::start(client, "SELECT pg_llm_add_provider('slow', module) FROM slow");
    let mut compiler = None;
    assert!(eventually(DEADLINE, || {
        compiler = compiler_of(running.backend());
        compiler.is_some()
    }));
    (running, compiler.unwrap())
}

#[test]
fn an_upload_can_be_cancelled_while_the_compiler_runs() {
    let database = Cluster::shared().database();
    let (running, compiler) = uploading(&database);
    let backend = running.backend();
    running.cancel();
    let mut outcome = running.finish(DEADLINE);
    assert_eq!(db_error(outcome.result).code().code(), "57014");
    assert!(!Backend(compiler).exists(), "the compiler runs on");
    assert_eq!(Backend::of(&mut outcome.client), backend);
    database.cluster().assert_no_crash();
}

#[test]
fn a_terminated_backend_takes_its_compiler_along() {
    let database = Cluster::shared().database();
    let (running, compiler) = uploading(&database);
    assert!(database.cluster().terminate_backend(running.pid()));
    assert!(running.finish(DEADLINE).result.is_err());
    assert!(eventually(DEADLINE, || !Backend(compiler).exists()), "the compiler runs on");
    database.cluster().assert_no_crash();
}

#[test]
fn a_compiler_that_is_killed_is_an_error_of_the_upload() {
    let database = Cluster::shared().database();
    let (running, compiler) = uploading(&database);
    let backend = running.backend();
    rustix::process::kill_process(rustix::process::Pid::from_raw(compiler).unwrap(), rustix::process::Signal::KILL).unwrap();
    let mut outcome = running.finish(DEADLINE);
    let error = db_error(outcome.result);
    assert_eq!(error.code().code(), "38001", "{error:?}");
    assert!(error.message().contains("broke down"), "{error:?}");
    assert_eq!(Backend::of(&mut outcome.client), backend);
    database.cluster().assert_no_crash();
}

#[test]
fn compiling_ends_at_the_limits_of_time_and_memory() {
    let mut uploader = Uploader::new();
    let module = slow(8_000);
    uploader.client.batch_execute("SET pg_llm.compile_timeout_ms = 100").unwrap();
    uploader.refused_with("too slow", &module, "38001", "longer than 100 ms");
    uploader.client.batch_execute("RESET pg_llm.compile_timeout_ms; SET pg_llm.compile_memory_mb = 128").unwrap();
    uploader.refused_with("too large", &module, "38001", "compile_memory_mb");
}

/// The compiler is a program beside the library. A server that lost it says so, and goes on with what is compiled already.
#[test]
fn a_missing_compiler_is_an_error_that_names_it() {
    let pg_config = Installation::of_tests().program("pg_config");
    let folder = |option: &str| {
        let output = Command::new(&pg_config).arg(option).output().unwrap();
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
    };
    let (programs, libraries, share) = (folder("--bindir"), folder("--pkglibdir"), folder("--sharedir"));
    let root = programs.ancestors().find(|above| libraries.starts_with(above) && share.starts_with(above)).unwrap();
    // A copy of the server without it, for a run of this program's own.
    let copy = std::env::temp_dir().join(format!("pg_llm-without-compiler-{}", std::process::id()));
    assert!(
        root.components().count() > 2 && Command::new("cp").arg("-a").args([root, &copy]).status().unwrap().success(),
        "{}",
        root.display()
    );
    let gone = copy.join(libraries.strip_prefix(root).unwrap()).join("pg_llm_compiler");
    fs::remove_file(&gone).unwrap();
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "uploads::on_a_server_without_a_compiler", "--ignored", "--nocapture"])
        .env("PG_LLM_PG_CONFIG", copy.join(programs.strip_prefix(root).unwrap()).join("pg_config"))
        .output()
        .unwrap();
    fs::remove_dir_all(&copy).unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && said.contains("1 passed"), "{said}\n{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
#[ignore = "run by a_missing_compiler_is_an_error_that_names_it, on a server of its own"]
fn on_a_server_without_a_compiler() {
    let mut uploader = Uploader::new();
    let module = Description::default().component();
    uploader.refused_with("without a compiler", &module, "55000", "pg_llm_compiler");
    uploader.client.batch_execute("SELECT pg_llm_add_model('mock', 'm', config => '{}'); SELECT pg_llm_chat('m', 'hi')").unwrap();
}
