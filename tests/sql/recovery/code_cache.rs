//! Damage to the compiled code.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use pg_llm_tests::{Cluster, built};

use super::{add_models, all_is_well, chat, give, settings, upstream};

/// The one file of the code cache, whatever is there under its name.
fn code_file(cluster: &Cluster) -> PathBuf {
    let files = cluster.files_in("pg_llm/pgsql_tmp_code");
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

fn remove(path: &Path) {
    let _ = fs::remove_dir(path);
    let _ = fs::remove_file(path);
}

#[test]
fn a_code_cache_in_any_state_is_at_worst_made_again() {
    let cluster = Cluster::start(&settings());
    let database = cluster.database();
    let upstream = upstream();
    add_models(&mut database.superuser(), &upstream);
    let file = code_file(&cluster);
    let sound = fs::read(&file).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    let compiled = || cluster.log().matches("compiling it again").count();
    let works = |what: &str, again: bool| {
        let before = compiled();
        all_is_well(&mut database.superuser(), &upstream);
        assert_eq!(compiled() > before, again, "{what}");
        cluster.assert_no_crash();
    };
    works("sound", false);

    let put = |bytes: &[u8]| {
        remove(&file);
        fs::write(&file, bytes).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        give(&cluster, &file);
    };
    let flipped = |at: usize| {
        let mut bytes = sound.clone();
        bytes[at] ^= 0x10;
        bytes
    };
    let longer = [sound.as_slice(), b"more"].concat();
    let other = fs::read("/bin/sh").unwrap();
    let mut damaged: Vec<(String, Vec<u8>)> = vec![
        ("empty".into(), vec![]),
        ("one byte".into(), vec![0]),
        ("half".into(), sound[..sound.len() / 2].to_vec()),
        ("without its last byte".into(), sound[..sound.len() - 1].to_vec()),
        ("without its first byte".into(), sound[1..].to_vec()),
        ("longer".into(), longer),
        ("zeros".into(), vec![0; sound.len()]),
        ("another program".into(), other),
        ("the component itself".into(), built("mock.wasm")),
    ];
    damaged.extend(
        [0, 1, 64, 500, sound.len() / 3, sound.len() / 2, sound.len() - 41, sound.len() - 40, sound.len() - 9, sound.len() - 1]
            .map(|at| (format!("flipped at {at}"), flipped(at))),
    );
    for (what, bytes) in damaged {
        put(&bytes);
        works(&what, true);
        works(&format!("{what}, and mended"), false);
    }
    remove(&file);
    works("deleted", true);
    fs::remove_dir_all(file.parent().unwrap()).unwrap();
    works("without its directory", true);
    works("with a new directory", false);

    // Other things under its name.
    let elsewhere = cluster.data_directory().join("elsewhere");
    fs::write(&elsewhere, &sound).unwrap();
    give(&cluster, &elsewhere);
    remove(&file);
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    works("a link", true);
    remove(&file);
    assert!(Command::new("mkfifo").args(["-m", "600"]).arg(&file).status().unwrap().success());
    give(&cluster, &file);
    works("a pipe", true);
    put(&sound);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
    works("read-only", false);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    works("not to be read", true);

    // What cannot be mended: it works, and says so.
    let warned = |what: &str| {
        let before = cluster.log().matches("the code cache cannot be written").count();
        works(what, true);
        assert!(cluster.log().matches("the code cache cannot be written").count() > before, "{what}");
    };
    remove(&file);
    fs::create_dir(&file).unwrap();
    fs::write(file.join("something"), "").unwrap();
    give(&cluster, &file);
    warned("a directory");
    fs::remove_file(file.join("something")).unwrap();
    remove(&file);
    let directory = file.parent().unwrap();
    fs::set_permissions(directory, fs::Permissions::from_mode(0o500)).unwrap();
    warned("a directory that cannot be written");
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(cluster.files_in("pg_llm/pgsql_tmp_code").is_empty(), "nothing half-written stays");
    remove(directory);
    fs::write(directory, "not a directory").unwrap();
    give(&cluster, directory);
    warned("a file in the directory's place");
    remove(directory);
    works("nothing", true);
    works("all mended", false);

    // A directory that others could write to is not trusted at all.
    let ours = directory.parent().unwrap();
    fs::set_permissions(ours, fs::Permissions::from_mode(0o777)).unwrap();
    let error = chat(&mut database.superuser(), "uploaded").unwrap_err();
    assert!(error.code().code() == "58030" && error.message().contains("0700"), "{error:?}");
    fs::set_permissions(ours, fs::Permissions::from_mode(0o700)).unwrap();
    works("its own again", false);
}

#[test]
fn another_modules_code_under_a_modules_name_is_not_run() {
    let cluster = Cluster::start(&settings());
    let database = cluster.database();
    let upstream = upstream();
    let mut client = database.superuser();
    add_models(&mut client, &upstream);
    let mocks = code_file(&cluster);
    client.execute("SELECT pg_llm_add_provider('house-openai', $1)", &[&built("openai.wasm")]).unwrap();
    let openais = cluster.files_in("pg_llm/pgsql_tmp_code").into_iter().find(|file| *file != mocks).unwrap();
    fs::copy(&openais, &mocks).unwrap();
    let mut client = database.superuser();
    all_is_well(&mut client, &upstream);
    assert!(cluster.log().contains("compiling it again"));
    // And not from another server, whose key is another.
    let foreign = Cluster::start(&settings());
    let there = foreign.database();
    add_models(&mut there.superuser(), &upstream);
    fs::copy(&mocks, code_file(&foreign)).unwrap();
    all_is_well(&mut there.superuser(), &upstream);
    assert!(foreign.log().contains("compiling it again"));
}

/// As `cp` and `>` do: the file stays the one that backends have loaded.
#[test]
fn code_that_is_changed_in_place_under_backends_that_run_it_harms_none_of_them() {
    let cluster = Cluster::start(&settings());
    let database = cluster.database();
    let upstream = upstream();
    add_models(&mut database.superuser(), &upstream);
    let file = code_file(&cluster);
    let sound = fs::read(&file).unwrap();
    for bytes in [vec![], vec![0xCC; sound.len()], sound[..sound.len() / 2].to_vec()] {
        let mut client = database.superuser();
        all_is_well(&mut client, &upstream);
        fs::write(&file, bytes).unwrap();
        all_is_well(&mut client, &upstream);
        all_is_well(&mut database.superuser(), &upstream);
        cluster.assert_no_crash();
    }
}
