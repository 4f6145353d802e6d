//! Every target on mutations of its seeds, the same ones in every run: so many that it takes some seconds at most. FUZZ_SECONDS=60 goes on for so long a
//! target, and further each time.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, missing_docs, reason = "tests")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pg_llm_fuzz_host::{TARGETS, echo, target};

/// Pseudo-random numbers (SplitMix64).
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

/// What parsers stumble over.
const WORDS: [&[u8]; 24] = [
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x80",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"null",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"[[[[[[[[",
    b"{\"\":",
    b"\\u0000",
    b"\\ud800",
    b"\"",
    b"\n",
    b"\r\n",
    b"@",
    b"//",
    b"..",
    b"%2f",
    b"%00",
    b"*",
    b"[::ffff:127.0.0.1]",
];

fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            bytes.push(b'x');
        }
        let at = random.below(bytes.len());
        match random.below(7) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..(at + 1 + random.below(16)).min(bytes.len()))),
            4 => drop(bytes.splice(at..at, WORDS[random.below(WORDS.len())].iter().copied())),
            5 => {
                let from = random.below(bytes.len());
                let piece = bytes[from..(from + 1 + random.below(64)).min(bytes.len())].to_vec();
                drop(bytes.splice(at..at, piece));
            }
            _ => {
                let other = &seeds[random.below(seeds.len())];
                if !other.is_empty() {
                    let from = random.below(other.len());
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[from..]);
                }
            }
        }
    }
    bytes
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../seeds").join(name);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut seeds: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    if name == "uploads" {
        seeds.push(echo());
    }
    assert!(!seeds.is_empty(), "{name}");
    seeds
}

fn run(name: &str, times: usize) {
    let (target, seeds) = (target(name), seeds(name));
    let longer = std::env::var("FUZZ_SECONDS").ok().map(|seconds| Duration::from_secs(seconds.parse().unwrap()));
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    let mut random = Random(longer.map_or(18, |_| u64::try_from(now()).unwrap()));
    let (began, mut runs) = (Instant::now(), 0_usize);
    while longer.map_or(runs < times, |longer| began.elapsed() < longer) {
        let input = seeds.get(runs).cloned().unwrap_or_else(|| mutated(&seeds, &mut random));
        runs += 1;
        if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
            let file = std::env::temp_dir().join(format!("pg_llm-{name}-broken"));
            std::fs::write(&file, &input).unwrap();
            panic!(
                "{name} broke in run {runs} on {:?}, which is in {}",
                String::from_utf8_lossy(&input[..input.len().min(400)]),
                file.display()
            );
        }
    }
    eprintln!("{name}: {runs} inputs in {:?}", began.elapsed());
}

#[test]
fn whatever_options_are_they_are_read_or_refused() {
    run("options", 20_000);
}

#[test]
fn whatever_a_configuration_is_what_is_stored_of_it_is_the_same_model_without_secrets() {
    run("configurations", 20_000);
}

#[test]
fn whatever_a_schema_is_its_verdict_comes_and_is_the_same_twice() {
    run("schemas", 10_000);
}

#[test]
fn whatever_an_endpoint_is_a_path_stays_on_it() {
    run("endpoints", 20_000);
}

#[test]
fn whatever_a_key_and_a_text_are_the_key_does_not_come_through() {
    run("redaction", 20_000);
}

#[test]
fn whatever_is_uploaded_it_is_accepted_or_refused() {
    run("uploads", 300);
}

#[test]
fn whatever_record_a_guest_answers_with_it_is_an_answer_or_its_fault() {
    run("records", 5_000);
}

#[test]
fn every_target_has_a_test_and_seeds() {
    let tests = include_str!("seeded.rs");
    for (name, _) in TARGETS {
        assert!(tests.contains(&format!("run(\"{name}\",")), "{name}");
        assert!(!seeds(name).is_empty());
    }
}
