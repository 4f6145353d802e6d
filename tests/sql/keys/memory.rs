//! What a backend's memory holds of a key after a call: nothing.
#![allow(clippy::print_stderr, reason = "that it was skipped")]

use std::fs;

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Asked, Backend, Cluster, Settings};
use pg_llm_upstream::{Certificate, Reply, Upstream, openai};
use serde_json::json;

use super::{KEY, add_model, chat, sent};
use crate::recovery::give;

/// Where in its memory a backend has these bytes; none where this account may not look.
fn places(client: &mut Client, needle: &[u8]) -> Option<Vec<String>> {
    let found = Backend::of(client).memory_with(needle);
    if found.is_none() {
        eprintln!("SKIPPED: the memory of a backend is not this account's to read");
    }
    found
}

/// The search finds what is there.
#[test]
fn a_session_that_sets_a_key_has_the_statement_in_its_memory() {
    let mut asked = Asked::echo();
    asked.client.batch_execute(&format!("SELECT pg_llm_set_key('m', 'default', '{KEY}')")).unwrap();
    let Some(found) = places(&mut asked.client, KEY.as_bytes()) else { return };
    assert!(!found.is_empty());
}

#[test]
fn after_a_call_the_key_is_nowhere_in_the_backends_memory() {
    let cluster = Cluster::start(&Settings::for_models());
    let database = cluster.database();
    for upstream in [Upstream::start(), Upstream::start_tls(Certificate::Trusted)] {
        let mut admin = database.superuser();
        add_model(&mut admin, "m", KEY, &upstream);
        upstream.on("/chat/completions").reply(openai::completion("well"));
        let mut client = database.superuser();
        let half = KEY.len() / 2;
        for calls in [1, 20] {
            for _ in 0..calls {
                assert_eq!(chat(&mut client, "m").unwrap(), "well");
            }
            assert_eq!(sent(&upstream), Some(format!("Bearer {KEY}")));
            for needle in [KEY, &KEY[..half], &KEY[half..]] {
                let Some(found) = places(&mut client, needle.as_bytes()) else { return };
                assert!(found.is_empty(), "{}: {needle}: {found:?}", upstream.url());
            }
        }
        // Calls that end otherwise, and at the same time on threads.
        upstream.on("/chat/completions").reply(Reply::status(500)).reply(Reply::reset()).reply(openai::completion("well"));
        let _ = chat(&mut client, "m");
        let _ = chat(&mut client, "m");
        client.query("SELECT * FROM pg_llm_chat_batch('m', ARRAY['a', 'b', 'c', 'd'])", &[]).unwrap();
        let Some(found) = places(&mut client, KEY.as_bytes()) else { return };
        assert!(found.is_empty(), "{}: {found:?}", upstream.url());
    }
    cluster.assert_no_crash();
}

#[test]
fn a_key_of_a_file_and_the_master_key_are_wiped_too() {
    let cluster = Cluster::start(&Settings::for_models());
    let database = cluster.database();
    let upstream = Upstream::start();
    upstream.on("/chat/completions").reply(openai::completion("well"));
    let path = cluster.data_directory().join("a.key");
    fs::write(&path, KEY).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    give(&cluster, &path);
    let config = json!({"api_endpoint": upstream.url(), "api_key": {"file": path}});
    let mut admin = database.superuser();
    admin.execute("SELECT pg_llm_add_model('openai-compatible', 'm', config => $1)", &[&config]).unwrap();
    // As a parameter: a statement's text is in memory that all share, for pg_stat_activity.
    admin.execute("SELECT pg_llm_set_key('m', 'other', $1)", &[&"a-key-for-the-master-key"]).unwrap();
    let master = fs::read(cluster.data_directory().join("pg_llm/master.key")).unwrap();
    let mut client = database.superuser();
    assert_eq!(chat(&mut client, "m").unwrap(), "well");
    assert_eq!(sent(&upstream), Some(format!("Bearer {KEY}")));
    for needle in [KEY.as_bytes(), b"a-key-for-the-master-key", &master, &master[..16]] {
        let Some(found) = places(&mut client, needle) else { return };
        assert!(found.is_empty(), "{found:?}");
    }
    assert_eq!(client.query_one("SELECT pg_llm_rotate_master_key()", &[]).unwrap().get::<_, i64>(0), 1);
    let successor = fs::read(cluster.data_directory().join("pg_llm/master.key")).unwrap();
    for needle in [b"a-key-for-the-master-key".as_slice(), &master, &successor] {
        let Some(found) = places(&mut client, needle) else { return };
        assert!(found.is_empty(), "{found:?}");
    }
}
