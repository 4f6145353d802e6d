//! Rows of `pg_llm_chat_batch`: which, in which order, and how many at the same time.

use serde_json::json;

use super::{Asked, DEADLINE, Held, array, next, prompt_model, query, rows, simple};
use pg_llm_tests::db_error;

#[test]
fn each_answer_is_known_by_its_prompts_place() {
    let mut asked = prompt_model();
    let sql = "SELECT count(*), bool_and(b.response = 'to number ' || b.ord AND b.error IS NULL AND b.usage ->> 'input_tokens' IS NOT NULL)
                 FROM pg_llm_chat_batch('m', ARRAY(SELECT 'number ' || i FROM generate_series(1, 200) AS i), '{\"max_concurrency\": 32}') AS b";
    assert_eq!(simple(&mut asked.client, sql), ["200|t"]);
    assert_eq!(asked.upstream.requests().len(), 200);
}

#[test]
fn rows_leave_as_their_answers_land_while_others_are_awaited() {
    let mut held = Held::new();
    let sql = format!("SELECT response FROM pg_llm_chat_batch('m', {})", array(&["a", "b", "c", "d"]));
    let gates = held.gates.clone();
    let mut rows = query(&mut held.asked.client, &sql);
    for prompt in ["c", "a", "d", "b"] {
        gates.of(prompt).open();
        assert_eq!(next(&mut rows), Some(format!("to {prompt}")));
    }
    assert_eq!(next(&mut rows), None);
}

#[test]
fn rows_can_come_in_the_prompts_order_and_each_as_soon_as_it_can() {
    let mut held = Held::new();
    let sql = format!("SELECT response FROM pg_llm_chat_batch('m', {}, '{{\"order\": \"ord\"}}')", array(&["a", "b", "c"]));
    let gates = held.gates.clone();
    for prompt in ["a", "c"] {
        gates.of(prompt).open();
    }
    let mut rows = query(&mut held.asked.client, &sql);
    assert_eq!(next(&mut rows).as_deref(), Some("to a"));
    gates.of("b").open();
    assert_eq!((next(&mut rows).as_deref(), next(&mut rows).as_deref(), next(&mut rows)), (Some("to b"), Some("to c"), None));
}

#[test]
fn as_many_calls_are_in_flight_as_the_option_says_and_no_more() {
    for (options, expected) in
        [("{}", 16), ("{\"max_concurrency\": 3}", 3), ("{\"max_concurrency\": 40}", 40), ("{\"max_concurrency\": 256}", 64)]
    {
        let mut held = Held::new();
        let prompts: Vec<String> = (0..64).map(|i| format!("p{i}")).collect();
        let sql = format!("SELECT count(*) FROM pg_llm_chat_batch('m', {}, '{options}') WHERE error IS NULL", array(&prompts));
        let client = held.asked.database.superuser();
        let running = pg_llm_tests::Running::start(client, &sql);
        held.asked_for(expected);
        for prompt in &prompts {
            held.answers(prompt);
        }
        assert_eq!(running.finish(DEADLINE).column(), [Some("64".to_owned())], "{options}");
        assert_eq!(held.asked.upstream.max_concurrent() as u64, expected, "{options}");
        held.asked.client.batch_execute("SELECT 1").unwrap();
    }
}

#[test]
fn a_models_own_max_concurrency_goes_before_the_calls() {
    let held = Held::with(json!({"max_concurrency": 2}));
    let prompts: Vec<String> = (0..8).map(|i| format!("p{i}")).collect();
    let sql = format!("SELECT count(*) FROM pg_llm_chat_batch('m', {}, '{{\"max_concurrency\": 8}}')", array(&prompts));
    let running = pg_llm_tests::Running::start(held.asked.database.superuser(), &sql);
    held.asked_for(2);
    for prompt in &prompts {
        held.answers(prompt);
    }
    assert_eq!(running.finish(DEADLINE).column(), [Some("8".to_owned())]);
    assert_eq!(held.asked.upstream.max_concurrent(), 2);
}

#[test]
fn a_prompt_that_fails_is_a_row_with_an_error_beside_the_others() {
    let mut asked = prompt_model();
    let sql = "SELECT ord, response, error ->> 'sqlstate', error ->> 'attempts', error ->> 'message' LIKE '%not fail b%', usage IS NULL
                 FROM pg_llm_chat_batch('m', ARRAY['a', 'fail b', 'c']) ORDER BY ord";
    assert_eq!(simple(&mut asked.client, sql), ["1|to a|NULL|NULL|NULL|f", "2|NULL|38000|1|t|t", "3|to c|NULL|NULL|NULL|f"]);
    let keys = "SELECT string_agg(k, ' ' ORDER BY k) FROM pg_llm_chat_batch('m', ARRAY['fail']), jsonb_object_keys(error) AS k";
    assert_eq!(simple(&mut asked.client, keys), ["attempts detail hint kind message sqlstate"]);
}

#[test]
fn only_the_calls_own_on_error_decides_what_a_failed_row_becomes() {
    let mut asked = prompt_model();
    asked.add("openai-compatible", "strict", &json!({"on_error": "error"}));
    let with = |model: &str, options: &str| {
        format!("SELECT ord, response, error IS NULL FROM pg_llm_chat_batch('{model}', ARRAY['a', 'fail'], '{options}') ORDER BY ord")
    };
    asked.client.batch_execute("SET pg_llm.on_error = 'error'").unwrap();
    for (model, options) in [("m", "{}"), ("strict", "{}"), ("m", "{\"on_error\": \"object\"}")] {
        assert_eq!(simple(&mut asked.client, &with(model, options)), ["1|to a|t", "2|NULL|f"], "{model} {options}");
    }
    assert_eq!(simple(&mut asked.client, &with("m", "{\"on_error\": \"null\"}")), ["1|to a|t", "2|NULL|t"]);
    let error = db_error(rows(&mut asked.client, &with("m", "{\"on_error\": \"error\"}")));
    assert_eq!(error.code().code(), "38000");
    assert_eq!(simple(&mut asked.client, "SELECT pg_llm_chat('m', 'still')"), ["to still"]);
}

#[test]
fn null_prompts_are_rows_without_calls_and_no_prompts_are_no_rows() {
    let mut asked = prompt_model();
    let sql = |prompts: &str| {
        format!("SELECT ord, response, error, usage IS NULL FROM pg_llm_chat_batch('m', {prompts}, '{{\"order\": \"ord\"}}')")
    };
    assert_eq!(simple(&mut asked.client, &sql("ARRAY[NULL, 'a', NULL]")), ["1|NULL|NULL|t", "2|to a|NULL|f", "3|NULL|NULL|t"]);
    assert_eq!(simple(&mut asked.client, &sql("ARRAY[NULL, NULL]::text[]")), ["1|NULL|NULL|t", "2|NULL|NULL|t"]);
    for none in ["NULL", "'{}'", "ARRAY[]::text[]"] {
        assert!(simple(&mut asked.client, &sql(none)).is_empty(), "{none}");
    }
    assert_eq!(simple(&mut asked.client, &sql("ARRAY[['a', 'b'], ['c', 'd']]")).len(), 4, "two dimensions, element after element");
    assert_eq!(asked.upstream.requests().len(), 5);
}

#[test]
fn hostile_prompts_go_and_come_as_they_are() {
    let mut asked = prompt_model();
    let prompts: Vec<String> = ["it's \"quoted\"", "'; DROP TABLE x; --", "{\"a\": [1]}", "ein Löwe 🦁", "", "\\x00 \\", "$1 %s", "NULL"]
        .map(str::to_owned)
        .to_vec();
    let sql = "SELECT response FROM pg_llm_chat_batch('m', $1, '{\"order\": \"ord\"}')";
    let answers: Vec<String> = asked.client.query(sql, &[&prompts]).unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(answers, prompts.iter().map(|prompt| format!("to {prompt}")).collect::<Vec<_>>());
}

#[test]
fn wrong_options_are_refused_before_any_call() {
    let mut asked = prompt_model();
    for (options, hint) in [
        ("{\"max_concurrency\": 0}", None),
        ("{\"max_concurrency\": 257}", None),
        ("{\"max_concurrency\": \"many\"}", None),
        ("{\"order\": \"random\"}", None),
        ("{\"max_concurency\": 3}", Some("Perhaps you meant \"max_concurrency\".")),
        ("[]", None),
    ] {
        let error = db_error(rows(&mut asked.client, &format!("SELECT * FROM pg_llm_chat_batch('m', ARRAY['a'], '{options}')")));
        assert_eq!((error.code().code(), error.hint()), ("22023", hint), "{options}");
    }
    for function in ["pg_llm_chat('m', 'a', ", "pg_llm_chat_json('m', 'a', ", "pg_llm_chat_stream('m', 'a', "] {
        for option in ["{\"max_concurrency\": 3}", "{\"order\": \"ord\"}"] {
            let error = db_error(rows(&mut asked.client, &format!("SELECT {function} '{option}')")));
            assert_eq!(error.code().code(), "22023", "{function} {option}");
        }
    }
    let error = db_error(rows(&mut asked.client, "SELECT * FROM pg_llm_chat_batch('nobody', ARRAY['a'])"));
    assert_eq!(error.code().code(), "42704");
    assert!(asked.upstream.requests().is_empty());
}

#[test]
fn a_schema_makes_each_answer_json() {
    let mut asked = Asked::echo();
    let sql = "SELECT bool_and(response::jsonb = jsonb_build_object('you_said', 'p' || ord))
                 FROM pg_llm_chat_batch('m', ARRAY['p1', 'p2', 'p3'],
                   '{\"response_format\": {\"type\": \"object\", \"properties\": {\"you_said\": {\"type\": \"string\"}}, \"required\": [\"you_said\"]}}')";
    assert_eq!(simple(&mut asked.client, sql), ["t"]);
}

#[test]
fn a_batch_can_stand_wherever_a_query_can() {
    let mut asked = prompt_model();
    let client = &mut asked.client;
    client.batch_execute("CREATE TABLE answers (n bigint, answer text)").unwrap();
    client.batch_execute("INSERT INTO answers SELECT ord, response FROM pg_llm_chat_batch('m', ARRAY['a', 'b', 'c'])").unwrap();
    assert_eq!(simple(client, "SELECT * FROM answers ORDER BY 1"), ["1|to a", "2|to b", "3|to c"]);
    let each = "SELECT p.i, b.response FROM generate_series(1, 2) AS p(i), pg_llm_chat_batch('m', ARRAY['x' || p.i, 'y' || p.i]) AS b ORDER BY 1, 2";
    assert_eq!(simple(client, each), ["1|to x1", "1|to y1", "2|to x2", "2|to y2"]);
    let nested = "SELECT b.response FROM pg_llm_chat_batch('m', ARRAY(SELECT response FROM pg_llm_chat_batch('m', ARRAY['a', 'b']))) AS b ORDER BY 1";
    assert_eq!(simple(client, nested), ["to to a", "to to b"]);
    client
        .batch_execute(
            "DO $$ DECLARE r record; prompts text[] := '{}'; BEGIN
               FOR i IN 1..3 LOOP prompts := prompts || ('p' || i); END LOOP;
               FOR r IN SELECT * FROM pg_llm_chat_batch('m', prompts) LOOP
                 prompts[1] := 'changed';
                 BEGIN PERFORM 1 / (r.ord - 2); EXCEPTION WHEN division_by_zero THEN NULL; END;
                 INSERT INTO answers VALUES (r.ord + 10, r.response);
               END LOOP;
             END $$",
        )
        .unwrap();
    assert_eq!(simple(client, "SELECT * FROM answers WHERE n > 10 ORDER BY 1"), ["11|to p1", "12|to p2", "13|to p3"]);
}
