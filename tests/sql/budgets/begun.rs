//! What a budget begins with: what the ledger has of the period.

use super::*;

#[test]
fn a_restart_forgets_nothing_that_the_ledger_has() {
    let cluster = Cluster::start(&preloaded());
    let priced = Priced::on(&cluster, &json!({"budget": {"amount": 10, "period": "total"}}));
    for _ in 0..3 {
        passes(&mut priced.session());
    }
    cluster.restart();
    // What no worker had written is written now.
    assert!(eventually(DEADLINE, || priced.budgets()[0]["spent"] == json!(9)), "{}", priced.budgets());
    refused(&mut priced.session());
    assert_eq!(priced.requests(), 3);
}

#[test]
fn a_budget_that_is_set_later_counts_what_was_spent_before() {
    let priced = Priced::new(&json!({}));
    passes(&mut priced.session());
    let written =
        || priced.session().query_one("SELECT count(*) FROM _pg_llm_catalog.ledger WHERE cost = 3", &[]).unwrap().get::<_, i64>(0) == 1;
    assert!(eventually(DEADLINE, written));
    priced.session().execute("SELECT pg_llm_set_budget('public', '{\"amount\": 6, \"period\": \"day\"}')", &[]).unwrap();
    assert_eq!(priced.budgets()[0]["spent"], json!(3));
    passes(&mut priced.session());
    refused(&mut priced.session());
}

#[test]
fn without_the_library_preloaded_each_session_counts_for_itself_and_says_so() {
    let cluster = Cluster::start(&Settings::for_models());
    let priced = Priced::on(&cluster, &json!({"budget": {"amount": 10, "period": "total"}}));
    let mut one = priced.session();
    for _ in 0..3 {
        passes(&mut one);
    }
    refused(&mut one);
    passes(&mut priced.session());
    assert_eq!(priced.budgets()[0]["shared"], json!(false));
}
