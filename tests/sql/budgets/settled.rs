//! What a request is charged with when it is over, however it ends.

use super::*;
use pg_llm_upstream::Reply;

fn priced() -> Priced<'static> {
    Priced::new(&json!({"budget": {"amount": 100, "period": "total"}}))
}

#[test]
fn what_failed_at_the_provider_or_was_never_sent_costs_nothing() {
    let priced = priced();
    for status in [400, 401, 429, 500, 503] {
        priced.upstream.on(PATH).reply(openai::error(status, "some_error", "code", "No."));
        assert!(chat(&mut priced.session()).is_err());
    }
    priced.is_spent("0");
    priced.add("m", &json!({"api_endpoint": "http://127.0.0.1:1/v1", "budget": {"amount": 100, "period": "total"}}));
    assert_eq!(db_error(chat(&mut priced.session())).code().code(), "08001");
    priced.is_spent("0");
}

#[test]
fn what_broke_off_is_charged_as_it_was_estimated_for_it_may_be_billed() {
    let priced = priced();
    let gate = Gate::new();
    priced.upstream.on(PATH).reply(openai::completion("one two three").gated(&gate));
    let call = Running::start(priced.session(), "SELECT pg_llm_chat('m', 'Hello')");
    assert!(priced.upstream.wait_for_requests(1, DEADLINE));
    call.cancel();
    assert_eq!(db_error(call.finish(DEADLINE).result).code().code(), "57014");
    priced.is_spent("3");
    let call = Running::start(priced.session(), "SELECT pg_llm_chat('m', 'Hello')");
    assert!(priced.upstream.wait_for_requests(2, DEADLINE));
    assert!(priced.database.cluster().terminate_backend(call.pid()));
    assert!(call.finish(DEADLINE).result.is_err());
    assert!(eventually(DEADLINE, || priced.state() == ("6".to_owned(), "0".to_owned(), 0)), "{}", priced.budgets());
}

#[test]
fn an_answer_that_says_nothing_of_its_usage_is_charged_as_it_was_estimated() {
    let priced = priced();
    let mut body = openai::completion_body("one two three");
    body.as_object_mut().unwrap().remove("usage");
    priced.upstream.on(PATH).reply(Reply::json(200, body));
    let answer: Value = priced.session().query_one("SELECT pg_llm_chat_json('m', 'Hello')", &[]).unwrap().get(0);
    assert_eq!(answer["cost"], json!(null));
    priced.is_spent("3");
}

#[test]
fn an_answer_longer_than_its_estimate_is_charged_in_full() {
    let priced = Priced::new(&json!({"max_tokens": 1, "budget": {"amount": 4, "period": "total"}}));
    let mut client = priced.session();
    passes(&mut client);
    priced.is_spent("3");
    passes(&mut client);
    priced.is_spent("6");
    assert!(refused(&mut client).0.contains("is used up"));
}

#[test]
fn a_rollback_gives_nothing_back() {
    let priced = priced();
    let mut client = priced.session();
    client.batch_execute("BEGIN").unwrap();
    passes(&mut client);
    client.batch_execute("ROLLBACK").unwrap();
    assert!(client.batch_execute("DO $$ BEGIN PERFORM pg_llm_chat('m', 'Hello'); RAISE 'no'; END $$").is_err());
    priced.is_spent("6");
}

#[test]
fn a_stream_is_charged_by_its_last_word_and_one_that_nobody_reads_on_as_it_was_estimated() {
    let priced = priced();
    priced.upstream.on(PATH).reply(openai::stream(&["one ", "two"]));
    let mut client = priced.session();
    client.query("SELECT * FROM pg_llm_chat_stream('m', 'Hello')", &[]).unwrap();
    priced.is_spent("2");
    let gate = Gate::new();
    priced.upstream.on(PATH).reply(openai::stream(&["one ", "two"]).gated(&gate));
    gate.pass(2);
    client.query("SELECT chunk FROM pg_llm_chat_stream('m', 'Hello') LIMIT 1", &[]).unwrap();
    assert!(eventually(DEADLINE, || priced.state() == ("5".to_owned(), "0".to_owned(), 0)), "{}", priced.budgets());
}

#[test]
fn candidates_of_a_parallel_chat_are_held_each() {
    let priced = Priced::new(&json!({"budget": {"amount": 6, "period": "total"}}));
    let value: Value = priced
        .session()
        .query_one("SELECT pg_llm_parallel_chat_json('Hello', ARRAY['m', 'm', 'm'], '{\"strategy\": \"all\"}')", &[])
        .unwrap()
        .get(0);
    let of_status = |status: &str| value["candidates"].as_array().unwrap().iter().filter(|c| c["status"] == status).count();
    // The third may come when the others are settled, and finds as much spent as was held.
    assert_eq!((of_status("answered"), of_status("failed")), (2, 1), "{value}");
    assert_eq!(value["usage_total"]["cost"], json!(6));
    priced.is_spent("6");
}
