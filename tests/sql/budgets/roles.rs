//! Budgets of roles.

use std::sync::{Arc, Mutex};

use super::*;
use pg_llm_tests::postgres::NoTls;

fn set(priced: &Priced<'_>, role: &str, budget: &Value) {
    priced.session().execute("SELECT pg_llm_set_budget($1, $2)", &[&role, budget]).unwrap();
}

#[test]
fn a_role_has_a_budget_of_its_own_over_all_models() {
    let priced = Priced::new(&json!({}));
    let (poor, rich) = (priced.role(), priced.role());
    set(&priced, &poor, &json!({"amount": 4, "period": "month"}));
    let mut session = priced.database.connect_as(&poor);
    passes(&mut session);
    let (message, hint) = refused(&mut session);
    assert!(message.ends_with(&format!("the budget of role \"{poor}\" (4 USD a month) has no room for this request")), "{message}");
    assert!(hint.ends_with("An administrator can raise it with pg_llm_set_budget()."), "{hint}");
    refused(&mut priced.database.connect_as(&poor));
    passes(&mut priced.database.connect_as(&rich));
    passes(&mut priced.session());
    let removed: bool = priced.session().query_one("SELECT pg_llm_remove_budget($1, 'month')", &[&poor]).unwrap().get(0);
    assert!(removed);
    passes(&mut session);
    let removed: bool = priced.session().query_one("SELECT pg_llm_remove_budget($1, 'month')", &[&poor]).unwrap().get(0);
    assert!(!removed);
}

#[test]
fn a_budget_may_be_for_one_model_and_for_all_roles_together() {
    let priced = Priced::new(&json!({}));
    priced.add("free", &json!({}));
    let (one, other) = (priced.role(), priced.role());
    priced.session().execute("SELECT pg_llm_set_budget('public', '{\"amount\": 6, \"period\": \"day\"}', 'm')", &[]).unwrap();
    passes(&mut priced.database.connect_as(&one));
    passes(&mut priced.database.connect_as(&other));
    for role in [&one, &other] {
        assert!(
            refused(&mut priced.database.connect_as(role)).0.contains("the budget of all roles on model \"m\" (6 USD a day) is used up")
        );
    }
    priced.session().query_one("SELECT pg_llm_chat('free', 'Hello')", &[]).unwrap();
    priced.is_spent("6");
}

#[test]
fn the_setting_token_budget_is_each_roles_for_a_day() {
    let priced = Priced::new(&json!({}));
    let (one, other) = (priced.role(), priced.role());
    priced
        .session()
        .batch_execute(&format!("ALTER ROLE {one} SET pg_llm.token_budget = 12; ALTER ROLE {other} SET pg_llm.token_budget = 12"))
        .unwrap();
    let mut session = priced.database.connect_as(&one);
    passes(&mut session);
    let (message, hint) = refused(&mut session);
    assert!(
        message.contains(&format!("the budget of role \"{one}\" (12 tokens a day)")) && hint.ends_with("pg_llm.token_budget."),
        "{message} {hint}"
    );
    passes(&mut priced.database.connect_as(&other));
    let error = db_error(session.batch_execute("SET pg_llm.token_budget = 0"));
    assert_eq!(error.code().code(), "42501");
    let shown: (String, String) = {
        let row = session.query_one("SELECT role, tokens_left::text FROM pg_llm_budgets WHERE scope = 'setting'", &[]).unwrap();
        (row.get(0), row.get(1))
    };
    assert_eq!(shown, (one, "2".to_owned()));
}

#[test]
fn calls_without_a_price_count_as_tokens_and_as_money_not_with_a_warning_once_a_statement() {
    let priced = Priced::new(&json!({"price": null}));
    let role = priced.role();
    set(&priced, &role, &json!({"amount": 4, "period": "day", "tokens": 1000}));
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let mut config = priced.database.config();
    let hears = Arc::clone(&heard);
    config.user(&role).notice_callback(move |notice| hears.lock().unwrap().push(notice.message().to_owned()));
    let mut session = config.connect(NoTls).unwrap();
    let costs: Vec<Value> = session
        .query("SELECT usage -> 'cost' FROM pg_llm_chat_batch('m', ARRAY['a', 'b', 'c'])", &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(costs, vec![json!(null); 3]);
    let warning = format!(
        "pg_llm: calls of model \"m\" do not count against the budget of role \"{role}\" (4 USD and 1000 tokens a day): it has no price"
    );
    assert_eq!(*heard.lock().unwrap(), [warning]);
    let budget = &priced.budgets()[0];
    assert_eq!((&budget["spent"], &budget["tokens_spent"]), (&json!(0), &json!(30)));
}

#[test]
fn costs_in_another_currency_do_not_count() {
    let priced = Priced::new(&json!({"price": {"input": 0, "output": 1_000_000, "currency": "EUR"}}));
    let role = priced.role();
    set(&priced, &role, &json!({"amount": 4, "period": "day"}));
    let mut session = priced.database.connect_as(&role);
    passes(&mut session);
    passes(&mut session);
    set(&priced, &role, &json!({"amount": 4, "currency": "EUR", "period": "day"}));
    // What was spent before the budget is in the ledger, or on its way there.
    assert!(eventually(DEADLINE, || chat(&mut session).is_err()));
}

#[test]
fn who_may_set_a_budget_is_the_administrators_to_say_and_others_budgets_are_not_seen() {
    let priced = Priced::new(&json!({}));
    let (one, other) = (priced.role(), priced.role());
    set(&priced, &one, &json!({"amount": 4, "period": "day"}));
    let mut session = priced.database.connect_as(&other);
    for sql in [
        format!("SELECT pg_llm_set_budget('{other}', '{{\"amount\": 9, \"period\": \"day\"}}')"),
        format!("SELECT pg_llm_remove_budget('{one}', 'day')"),
        "SELECT * FROM _pg_llm_catalog.budgets".to_owned(),
        "SELECT _pg_llm_catalog.budget_state('role', 'public', NULL, 'day', NULL)".to_owned(),
    ] {
        assert_eq!(db_error(session.batch_execute(&sql)).code().code(), "42501", "{sql}");
    }
    let seen = |client: &mut Client| client.query_one("SELECT count(*) FROM pg_llm_budgets", &[]).unwrap().get::<_, i64>(0);
    assert_eq!((seen(&mut session), seen(&mut priced.database.connect_as(&one))), (0, 1));
    priced.session().batch_execute(&format!("GRANT pg_monitor TO {other}")).unwrap();
    assert_eq!(seen(&mut session), 1);
}

#[test]
fn wrong_arguments_are_refused() {
    let priced = Priced::new(&json!({}));
    let mut client = priced.session();
    for (sql, state) in [
        ("pg_llm_set_budget(NULL, '{}')", "22023"),
        ("pg_llm_set_budget('postgres', NULL)", "22023"),
        ("pg_llm_set_budget('nobody at all', '{\"amount\": 1, \"period\": \"day\"}')", "42704"),
        ("pg_llm_set_budget('public', '{\"amount\": 1}')", "22023"),
        ("pg_llm_set_budget('public', '{\"amount\": -1, \"period\": \"day\"}')", "22023"),
        ("pg_llm_set_budget('public', '{\"amont\": 1, \"period\": \"day\"}')", "22023"),
        ("pg_llm_set_budget('public', '{\"period\": \"day\"}')", "22023"),
        ("pg_llm_set_budget('public', '[]')", "22023"),
        ("pg_llm_set_budget('public', '{\"amount\": 1, \"period\": \"day\"}', '')", "22023"),
        ("pg_llm_remove_budget('public', 'week')", "22023"),
        ("pg_llm_remove_budget('public', NULL)", "22023"),
        ("pg_llm_remove_budget(NULL, 'day')", "22023"),
    ] {
        assert_eq!(db_error(client.batch_execute(&format!("SELECT {sql}"))).code().code(), state, "{sql}");
    }
}
