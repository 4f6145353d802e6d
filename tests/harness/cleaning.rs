//! Nothing stays behind, however a test process ends. The process here is this very program, run once more.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use pg_llm_tests::{Cluster, DEADLINE, Settings, eventually};

const CHILD: &str = "PG_LLM_HARNESS_CHILD";

/// Not a test when run with the others: the part of the child.
#[test]
fn child_that_starts_a_cluster_and_waits() {
    if std::env::var_os(CHILD).is_some() {
        let cluster = Cluster::start(&Settings::bare());
        let standby = cluster.standby();
        println!("\nfolder {}", cluster.folder().display());
        println!("folder {}", standby.folder().display());
        loop {
            std::thread::park();
        }
    }
}

fn child() -> (Child, Vec<PathBuf>) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "cleaning::child_that_starts_a_cluster_and_waits", "--nocapture"]).env(CHILD, "1");
    let mut child = child.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let folders: Vec<PathBuf> = lines.filter_map(|line| Some(line.strip_prefix("folder ")?.into())).take(2).collect();
    assert_eq!(folders.len(), 2);
    (child, folders)
}

fn anything_runs_in(folder: &Path) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.filter_map(|process| std::fs::read_link(process.path().join("cwd")).ok()).any(|cwd| cwd.starts_with(folder))
}

#[test]
fn a_test_process_that_is_killed_leaves_no_server_and_no_files() {
    let (mut child, folders) = child();
    assert!(folders.iter().all(|folder| folder.join("data/postmaster.pid").exists() && anything_runs_in(&folder.join("data"))));
    child.kill().unwrap();
    child.wait().unwrap();
    for folder in folders {
        assert!(eventually(DEADLINE, || !folder.exists() && !anything_runs_in(&folder)), "{}", folder.display());
    }
}

#[test]
fn a_dropped_cluster_is_gone_at_once() {
    let cluster = Cluster::start(&Settings::bare());
    let folder = cluster.folder().to_owned();
    assert!(anything_runs_in(&folder));
    drop(cluster);
    assert!(!folder.exists() && !anything_runs_in(&folder));
}
