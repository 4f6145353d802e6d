//! Sessions that are new, run one parallel chat, and end: what crashed others.

use pg_llm_upstream::openai;

use super::Panel;

/// So many sessions, one after another.
fn fresh_sessions(count: usize) {
    let panel = Panel::of((0..4).map(|n| openai::completion(&format!("answer {n}"))));
    for at in 0..count {
        let strategy = ["confidence", "first", "vote", "all"][at % 4];
        let mut client = panel.database.superuser();
        let sql = format!("SELECT pg_llm_parallel_chat('x', '{{}}', '{{\"strategy\": \"{strategy}\"}}') LIKE '%answer%'");
        assert!(client.query_one(&sql, &[]).unwrap().get::<_, bool>(0), "{strategy}, session {at}");
    }
    panel.database.cluster().assert_no_crash();
}

#[test]
fn a_parallel_chat_in_each_of_many_fresh_sessions_crashes_none() {
    fresh_sessions(200);
}

#[test]
#[ignore = "takes minutes"]
fn a_parallel_chat_in_each_of_two_thousand_fresh_sessions_crashes_none() {
    fresh_sessions(2000);
}
