//! How much is kept at most.

use pg_llm_tests::{Asked, db_error};
use pg_llm_upstream::{Upstream, openai};
use serde_json::json;

use super::{ask, asked_for, entries, value};

/// A model whose answers have this many bytes each.
fn long(bytes: usize) -> Asked {
    let upstream = Upstream::start();
    // Random, as far as compression can tell.
    upstream.otherwise(move |request| {
        let mut state = request.body.iter().fold(1_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        let text: String = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'a' + u8::try_from((state >> 40) % 26).unwrap())
        })
        .take(bytes)
        .collect();
        openai::completion(&text)
    });
    Asked::at(upstream, json!({}))
}

fn held(asked: &mut Asked) -> i64 {
    value(&mut asked.client, "SELECT coalesce(sum(bytes), 0)::bigint FROM _pg_llm_catalog.response_cache", &[])
}

#[test]
fn the_oldest_make_room_when_the_bound_is_passed() {
    let mut asked = long(20_000);
    asked.client.batch_execute("SET pg_llm.cache_max_mb = 1").unwrap();
    for i in 0..150 {
        ask(&mut asked.client, &format!("prompt {i}"), &json!({"cache": true}));
    }
    assert!((500_000..=1_100_000).contains(&held(&mut asked)), "{} bytes", held(&mut asked));
    assert_eq!(ask(&mut asked.client, "prompt 149", &json!({"cache": true}))["cached"], json!(true), "the latest is there");
    assert_eq!(ask(&mut asked.client, "prompt 0", &json!({"cache": true}))["cached"], json!(false), "the first is not");
    // In many sessions that keep one answer each it holds as well.
    for i in 0..60 {
        let mut client = asked.database.superuser();
        client.batch_execute("SET pg_llm.cache_max_mb = 1").unwrap();
        ask(&mut client, &format!("other {i}"), &json!({"cache": true}));
    }
    assert!(held(&mut asked) <= 1_100_000, "{} bytes", held(&mut asked));
}

#[test]
fn expired_answers_make_room_before_others() {
    let mut asked = long(20_000);
    asked.client.batch_execute("SET pg_llm.cache_max_mb = 1").unwrap();
    for i in 0..40 {
        ask(&mut asked.client, &format!("prompt {i}"), &json!({"cache": true}));
    }
    // The younger half has expired.
    asked
        .client
        .execute(
            "UPDATE _pg_llm_catalog.response_cache SET expires_at = now() - interval '1 s'
              WHERE created_at > (SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY created_at) FROM _pg_llm_catalog.response_cache)",
            &[],
        )
        .unwrap();
    for i in 0..20 {
        ask(&mut asked.client, &format!("later {i}"), &json!({"cache": true}));
    }
    assert_eq!(ask(&mut asked.client, "prompt 0", &json!({"cache": true}))["cached"], json!(true));
    assert_eq!(value::<i64>(&mut asked.client, "SELECT count(*) FROM _pg_llm_catalog.response_cache WHERE expires_at < now()", &[]), 0);
}

#[test]
fn where_nothing_may_be_deleted_nothing_is_added_beyond_the_bound() {
    let mut asked = long(20_000);
    asked.client.batch_execute("SET pg_llm.cache_max_mb = 1; BEGIN ISOLATION LEVEL REPEATABLE READ").unwrap();
    for i in 0..80 {
        ask(&mut asked.client, &format!("prompt {i}"), &json!({"cache": true}));
    }
    asked.client.batch_execute("COMMIT").unwrap();
    assert!((500_000..=1_100_000).contains(&held(&mut asked)), "{} bytes", held(&mut asked));
}

#[test]
fn an_answer_that_would_push_out_too_much_is_not_kept() {
    let mut asked = long(140_000);
    asked.client.batch_execute("SET pg_llm.cache_max_mb = 1").unwrap();
    assert_eq!(ask(&mut asked.client, "x", &json!({"cache": true}))["cached"], json!(false));
    assert_eq!(entries(&mut asked.client), 0);
    asked.client.batch_execute("SET pg_llm.cache_max_mb = 2").unwrap();
    assert_eq!(ask(&mut asked.client, "x", &json!({"cache": true}))["cached"], json!(false));
    assert_eq!(ask(&mut asked.client, "x", &json!({"cache": true}))["cached"], json!(true));
}

#[test]
fn without_room_there_is_no_cache() {
    let mut asked = Asked::echo();
    ask(&mut asked.client, "Hello", &json!({"cache": true}));
    asked.client.batch_execute("SET pg_llm.cache_max_mb = 0").unwrap();
    for _ in 0..2 {
        assert_eq!(ask(&mut asked.client, "Hello", &json!({"cache": true}))["cached"], json!(false));
    }
    assert_eq!((asked_for(&asked), entries(&mut asked.client)), (3, 1));
    let role = asked.database.create_role();
    let mut client = asked.database.connect_as(&role);
    assert_eq!(db_error(client.simple_query("LOAD 'pg_llm'; SET pg_llm.cache_max_mb = 10")).code().code(), "42501");
    client.batch_execute("SET pg_llm.cache_ttl = '1d'").unwrap();
}
