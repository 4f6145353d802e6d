//! Budgets: held against each request before it is made, over all sessions where the library is preloaded.
//!
//! Prices here are one unit a word of the answer, and estimates are exact where `max_tokens` is its length: what is spent is counted in calls.

mod begun;
mod roles;
mod settled;

use std::sync::OnceLock;

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Cluster, DEADLINE, Database, Running, Settings, db_error, eventually};
use pg_llm_upstream::{Gate, Upstream, openai};
use serde_json::{Value, json};

const PATH: &str = "/v1/chat/completions";

fn preloaded() -> Settings {
    Settings::for_models().line("shared_preload_libraries = 'pg_llm'")
}

fn sharing() -> &'static Cluster {
    static SHARING: OnceLock<Cluster> = OnceLock::new();
    SHARING.get_or_init(|| Cluster::start(&preloaded()))
}

/// A model `m` whose answers are three words, and cost three.
struct Priced<'c> {
    upstream: Upstream,
    database: Database<'c>,
}

impl Priced<'static> {
    fn new(config: &Value) -> Self {
        Self::on(sharing(), config)
    }
}

impl<'c> Priced<'c> {
    fn on(cluster: &'c Cluster, config: &Value) -> Self {
        let priced = Self { upstream: Upstream::start(), database: cluster.database() };
        priced.upstream.on(PATH).reply(openai::completion("one two three"));
        priced.add("m", config);
        priced
    }

    /// Adds a model that costs one a word, or changes it.
    fn add(&self, name: &str, config: &Value) {
        let mut all = json!({"api_endpoint": format!("{}/v1", self.upstream.url()), "price": {"input": 0, "output": 1_000_000}, "max_tokens": 3, "max_attempts": 1});
        for (key, value) in config.as_object().unwrap() {
            all[key] = value.clone();
        }
        self.session().execute("SELECT pg_llm_add_model('openai-compatible', $1, 'sk-test-of-budgets', $2)", &[&name, &all]).unwrap();
    }

    fn session(&self) -> Client {
        self.database.superuser()
    }

    /// A role that may use `m`.
    fn role(&self) -> String {
        let role = self.database.create_role();
        self.session().execute("SELECT pg_llm_grant_model('m', $1)", &[&role]).unwrap();
        role
    }

    fn requests(&self) -> u64 {
        self.upstream.observe(|observed| observed.requests_total)
    }

    /// Rows of the view.
    fn budgets(&self) -> Value {
        self.session()
            .query_one("SELECT coalesce(jsonb_agg(to_jsonb(b) ORDER BY b.scope, b.period), '[]') FROM pg_llm_budgets b", &[])
            .unwrap()
            .get(0)
    }

    /// What is spent and held of the only budget, and how many requests hold it.
    fn state(&self) -> (String, String, i64) {
        let all = self.budgets();
        assert_eq!(all.as_array().map(Vec::len), Some(1), "{all}");
        (all[0]["spent"].to_string(), all[0]["reserved"].to_string(), all[0]["in_flight"].as_i64().unwrap())
    }

    #[track_caller]
    fn is_spent(&self, spent: &str) {
        let (now, held, in_flight) = self.state();
        assert_eq!((now.as_str(), held.as_str(), in_flight), (spent, "0", 0));
    }
}

fn chat(client: &mut Client) -> Result<Option<String>, pg_llm_tests::postgres::Error> {
    client.query_one("SELECT pg_llm_chat('m', 'Hello')", &[]).map(|row| row.get(0))
}

#[track_caller]
fn passes(client: &mut Client) {
    assert_eq!(chat(client).unwrap_or_else(|error| panic!("{error:?}")).as_deref(), Some("one two three"));
}

/// Message and hint of a call that a budget refuses.
#[track_caller]
fn refused(client: &mut Client) -> (String, String) {
    let error = db_error(chat(client));
    assert_eq!(error.code().code(), "53400", "{error:?}");
    (error.message().to_owned(), error.hint().unwrap_or_default().to_owned())
}

#[test]
fn a_call_beyond_the_budget_is_refused_before_it_is_made_and_says_when_to_come_again() {
    let priced = Priced::new(&json!({"budget": {"amount": 10, "period": "day"}}));
    let mut client = priced.session();
    for _ in 0..3 {
        passes(&mut client);
    }
    let (message, hint) = refused(&mut client);
    assert_eq!(message, "pg_llm: model \"m\" was not called: the budget of model \"m\" (10 USD a day) has no room for this request");
    let midnight: String = client
        .query_one("SELECT to_char(date_trunc('day', now() AT TIME ZONE 'UTC') + interval '1 day', 'YYYY-MM-DD HH24:MI:SS')", &[])
        .unwrap()
        .get(0);
    assert!(hint.starts_with(&format!("It is renewed at {midnight} UTC.")), "{hint}");
    assert_eq!(priced.requests(), 3);
    priced.is_spent("9");
    let error: Value = client.query_one("SELECT pg_llm_chat_json('m', 'Hello', '{\"on_error\": \"object\"}')", &[]).unwrap().get(0);
    assert_eq!((&error["error"]["kind"], &error["error"]["sqlstate"]), (&json!("over_budget"), &json!("53400")));
}

#[test]
fn many_clients_at_once_do_not_overshoot() {
    let priced = Priced::new(&json!({"budget": {"amount": 10, "period": "total"}}));
    let gate = Gate::new();
    priced.upstream.on(PATH).reply(openai::completion("one two three").gated(&gate));
    let mut calls: Vec<Running> = (0..24).map(|_| Running::start(priced.session(), "SELECT pg_llm_chat('m', 'Hello')")).collect();
    assert!(priced.upstream.wait_for_requests(3, DEADLINE));
    assert!(eventually(DEADLINE, || priced.state() == ("0".to_owned(), "9".to_owned(), 3)), "{}", priced.budgets());
    gate.open();
    let results: Vec<_> = calls.drain(..).map(|call| call.finish(DEADLINE).result).collect();
    let (answered, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!((answered.len(), refused.len(), priced.requests()), (3, 21, 3));
    for result in refused {
        assert_eq!(db_error(result).code().code(), "53400");
    }
    priced.is_spent("9");
}

#[test]
fn a_budget_of_tokens_counts_prompts_and_answers() {
    let priced = Priced::new(&json!({"price": null, "budget": {"tokens": 25, "period": "month"}}));
    let mut client = priced.session();
    // 7 tokens of the prompt, 3 of the answer.
    passes(&mut client);
    passes(&mut client);
    let budget = &priced.budgets()[0];
    assert_eq!(
        (&budget["tokens_spent"], &budget["tokens_left"], &budget["spent"], &budget["amount_left"]),
        (&json!(20), &json!(5), &json!(null), &json!(null))
    );
    passes(&mut client);
    assert!(refused(&mut client).0.contains("(25 tokens a month) is used up"));
}

#[test]
fn the_view_says_what_is_left_and_when_it_is_renewed() {
    let priced =
        Priced::new(&json!({"budget": [{"amount": 10.5, "period": "hour"}, {"amount": "100", "period": "total", "tokens": 1000}]}));
    passes(&mut priced.session());
    let all = priced.budgets();
    let hour = &all[0];
    for (column, expected) in [
        ("scope", json!("model")),
        ("instance_name", json!("m")),
        ("role", json!(null)),
        ("period", json!("hour")),
        ("amount", json!(10.5)),
        ("currency", json!("USD")),
        ("spent", json!(3)),
        ("reserved", json!(0)),
        ("amount_left", json!(7.5)),
        ("tokens", json!(null)),
        ("tokens_left", json!(null)),
        ("in_flight", json!(0)),
        ("shared", json!(true)),
    ] {
        assert_eq!(hour[column], expected, "{column} of {hour}");
    }
    let lasts: bool = priced
        .session()
        .query_one(
            "SELECT period_begin = date_trunc('hour', period_begin, 'UTC') AND period_end = period_begin + interval '1 hour' AND now() < period_end
               FROM pg_llm_budgets WHERE period = 'hour'",
            &[],
        )
        .unwrap()
        .get(0);
    assert!(lasts, "{hour}");
    let total = &all[1];
    assert_eq!(
        (&total["amount_left"], &total["tokens_left"], &total["period_begin"], &total["period_end"]),
        (&json!(97), &json!(990), &json!(null), &json!(null))
    );
}

#[test]
fn a_budget_that_is_changed_counts_from_the_next_call_and_keeps_what_was_spent() {
    let priced = Priced::new(&json!({"budget": {"amount": 3, "period": "day"}}));
    let mut client = priced.session();
    passes(&mut client);
    refused(&mut client);
    priced.add("m", &json!({"budget": {"amount": 6, "period": "day"}}));
    passes(&mut client);
    refused(&mut client);
    priced.add("m", &json!({}));
    passes(&mut client);
    assert_eq!(priced.budgets(), json!([]));
}

#[test]
fn a_thousand_rows_stop_where_the_budget_ends_and_say_so_row_by_row() {
    let priced = Priced::new(&json!({"max_tokens": 1, "budget": {"amount": 500, "period": "day"}}));
    priced.upstream.on(PATH).reply(openai::completion("one"));
    let row = priced
        .session()
        .query_one(
            "SELECT count(*) FILTER (WHERE response = 'one'), count(*) FILTER (WHERE error ->> 'kind' = 'over_budget' AND error ->> 'sqlstate' = '53400'), count(DISTINCT ord)
               FROM pg_llm_chat_batch('m', array(SELECT 'row ' || i FROM generate_series(1, 1000) AS i))",
            &[],
        )
        .unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, i64>(2)), (500, 500, 1000));
    assert_eq!(priced.requests(), 500);
    priced.is_spent("500");
}

#[test]
fn an_answer_out_of_the_cache_needs_no_budget_and_another_model_may_have_one() {
    let priced = Priced::new(&json!({"cache": true, "budget": {"amount": 3, "period": "day"}}));
    let mut client = priced.session();
    passes(&mut client);
    passes(&mut client);
    assert_eq!(priced.requests(), 1);
    priced.is_spent("3");
    priced.add("free", &json!({"price": {"input": 0, "output": 0}}));
    let sql = "SELECT pg_llm_chat_json('m', 'Hello again', '{\"fallback_instance\": \"free\"}')";
    let answer: Value = client.query_one(sql, &[]).unwrap().get(0);
    assert_eq!((&answer["instance_name"], &answer["cost"]), (&json!("free"), &json!(0)), "{answer}");
    assert_eq!(answer["fallback_from"][0]["error"]["kind"], json!("over_budget"));
}

#[test]
fn databases_have_their_own_budgets() {
    let config = json!({"budget": {"amount": 3, "period": "total"}});
    let (one, other) = (Priced::new(&config), Priced::new(&config));
    passes(&mut one.session());
    refused(&mut one.session());
    passes(&mut other.session());
    one.is_spent("3");
    other.is_spent("3");
}

#[test]
fn a_budget_that_is_none_is_refused() {
    let priced = Priced::new(&json!({}));
    let mut client = priced.session();
    for (config, why) in [
        (json!({"budget": {"amount": 1, "period": "day"}}), "needs the model's price"),
        (json!({"budget": {"amount": 1, "period": "fortnight"}}), "must be \"hour\""),
        (json!({"budget": {"period": "day"}}), "needs an amount or tokens"),
        (json!({"budget": 5}), "budget"),
    ] {
        let error = db_error(client.execute("SELECT pg_llm_add_model('mock', 'x', NULL, $1)", &[&config]));
        assert_eq!(error.code().code(), "22023", "{config}");
        assert!(error.message().contains(why), "{config}: {}", error.message());
    }
    let error = db_error(client.query_one("SELECT pg_llm_chat('m', 'Hello', '{\"budget\": {\"tokens\": 1, \"period\": \"day\"}}')", &[]));
    assert_eq!(error.code().code(), "22023", "a call has no budget of its own");
}
