//! A backend seen from outside, by `/proc`.

use std::{fs, path::PathBuf};

use postgres::Client;

/// A backend's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backend(
    /// Its process identifier.
    pub i32,
);

/// A thread of a backend's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// Its identifier; the main thread's is the process's.
    pub id: i32,
    /// Its name, as far as the kernel keeps it (15 bytes).
    pub name: String,
    /// The signals it blocks: bit n-1 for signal n (`SigBlk`).
    pub blocked_signals: u64,
}

impl Thread {
    /// Whether it blocks this signal.
    pub fn blocks(&self, signal: rustix::process::Signal) -> bool {
        self.blocked_signals >> (signal.as_raw() - 1) & 1 == 1
    }
}

impl Backend {
    /// That of a session.
    pub fn of(client: &mut Client) -> Self {
        Self(client.query_one("SELECT pg_backend_pid()", &[]).expect("a live session").get(0))
    }

    fn proc(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0))
    }

    /// Whether it still runs.
    pub fn exists(self) -> bool {
        self.proc("").exists()
    }

    /// Its threads, the main one first.
    pub fn threads(self) -> Vec<Thread> {
        let tasks = fs::read_dir(self.proc("task")).expect("a live backend");
        let mut threads: Vec<Thread> = tasks.flatten().filter_map(|task| thread(&task.path())).collect();
        threads.sort_by_key(|thread| (thread.id != self.0, thread.id));
        threads
    }

    /// All threads but the main one.
    pub fn other_threads(self) -> Vec<Thread> {
        self.threads().split_off(1)
    }

    /// Its private memory in KiB (`RssAnon`).
    pub fn rss_anon_kb(self) -> u64 {
        let status = fs::read_to_string(self.proc("status")).expect("a live backend");
        field(&status, "RssAnon:").and_then(|value| value.trim_end_matches("kB").trim().parse().ok()).expect("RssAnon in kB")
    }

    /// Where in its memory these bytes are: the mappings' names and addresses. None where the kernel does not let this account look.
    pub fn memory_with(self, needle: &[u8]) -> Option<Vec<String>> {
        const BLOCK: u64 = 4 << 20;
        let memory = fs::File::open(self.proc("mem")).ok()?;
        let maps = fs::read_to_string(self.proc("maps")).ok()?;
        let mut found = Vec::new();
        let mut looked = false;
        for line in maps.lines() {
            let mut words = line.split_whitespace();
            let (Some((start, end)), Some(rights)) = (words.next().and_then(|range| range.split_once('-')), words.next()) else { continue };
            let (Ok(start), Ok(end)) = (u64::from_str_radix(start, 16), u64::from_str_radix(end, 16)) else { continue };
            // What the kernel maps cannot be read so.
            if !rights.starts_with('r') || line.ends_with("[vvar]") || line.ends_with("[vsyscall]") {
                continue;
            }
            // Blocks overlap, so that nothing is lost between two of them.
            let mut at = start;
            while at < end {
                let mut block = vec![0; usize::try_from((end - at).min(BLOCK)).expect("4 MiB")];
                if std::os::unix::fs::FileExt::read_exact_at(&memory, &mut block, at).is_ok() {
                    looked = true;
                    found.extend(
                        block
                            .windows(needle.len())
                            .enumerate()
                            .filter(|(_, window)| *window == needle)
                            .map(|(offset, _)| format!("{:x} in {line}", at + offset as u64)),
                    );
                }
                if at + block.len() as u64 >= end {
                    break;
                }
                at += block.len() as u64 - needle.len() as u64;
            }
        }
        looked.then_some(found)
    }

    /// How many files and sockets it has open.
    pub fn open_files(self) -> usize {
        fs::read_dir(self.proc("fd")).expect("a live backend of ours").count()
    }
}

/// None when it has ended, or is about to: the kernel then shows no signal as blocked, nor as caught, which every thread of a server's has some of. (That may
/// come after a state that is still of the living, in the same file.)
fn thread(task: &std::path::Path) -> Option<Thread> {
    let status = fs::read_to_string(task.join("status")).ok()?;
    let ends = field(&status, "State:").is_some_and(|state| state.starts_with(['X', 'Z']));
    let caught = u64::from_str_radix(field(&status, "SigCgt:")?, 16).ok()?;
    if ends || caught == 0 {
        return None;
    }
    Some(Thread {
        id: task.file_name()?.to_str()?.parse().ok()?,
        name: field(&status, "Name:")?.to_owned(),
        blocked_signals: u64::from_str_radix(field(&status, "SigBlk:")?, 16).ok()?,
    })
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}
