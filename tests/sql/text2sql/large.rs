//! The choice among more tables than a model can be told of, and rows that it is shown.

use pg_llm_tests::postgres::Client;
use pg_llm_tests::{Asked, db_error};
use pg_llm_upstream::{Received, Reply, Upstream, openai};
use serde_json::{Value, json};

use super::{answer, obedient, question, told};

/// Tables that no question is about, in statements of some hundred: each holds its locks until its end.
fn add_stuff(client: &mut Client, count: usize) {
    for from in (1..=count).step_by(500) {
        let to = (from + 499).min(count);
        client
            .batch_execute(&format!(
                "DO $$ BEGIN FOR i IN {from}..{to} LOOP EXECUTE format('CREATE TABLE stuff_%s (id int, thing_%s int, amount int)', i, i % 100); END LOOP; END $$"
            ))
            .unwrap();
    }
}

const SHOP: &str = "
    CREATE TABLE customers (id int PRIMARY KEY, town int); CREATE TABLE towns (id int PRIMARY KEY, mayor int);
    ALTER TABLE customers ADD FOREIGN KEY (town) REFERENCES towns;
    CREATE TABLE invoices (id int PRIMARY KEY, customer int REFERENCES customers, total int); COMMENT ON TABLE invoices IS 'What is to be paid'";

#[test]
fn of_ten_thousand_tables_those_are_told_that_the_question_is_about() {
    let mut asked = obedient();
    add_stuff(&mut asked.client, 10_000);
    asked.client.batch_execute(SHOP).unwrap();
    let said = answer(&mut asked.client, "SELECT 1 /* wich custmer has the largest invoice? */", &json!({}));
    assert_eq!(said["tables"], json!(["public.customers", "public.invoices", "public.towns"]), "and their neighbours");
    assert_eq!(
        (&said["tables_left_out"], &said["chosen_by"], &said["vector_search"]),
        (&json!(10_000), &json!(["words", "trigrams", "foreign_keys"]), &json!("no embedding model is set"))
    );
    let text = told(&asked);
    assert!(
        text.contains("  customer integer -> public.customers(id)\n") && text.contains("-- 10000 other tables are not shown\n"),
        "{text}"
    );
    // Where none fits better than others, as many as there is room for.
    let said = answer(&mut asked.client, "SELECT 1 /* thing */", &json!({}));
    let shown = said["tables"].as_array().unwrap().len();
    assert!(shown > 100 && told(&asked).len() < 8000 * 4 + 1000, "{shown}");
    assert_eq!(shown as u64 + said["tables_left_out"].as_u64().unwrap(), 10_003);
    // What somebody has said of a table is found too.
    asked.client.batch_execute("SELECT pg_llm_describe('stuff_7777', 'Complaints by telephone'), pg_llm_describe('stuff_8888', 'Reason of the grievance', 'amount')").unwrap();
    for (asked_for, found) in [("complaints", "public.stuff_7777"), ("grievances", "public.stuff_8888")] {
        let said = answer(&mut asked.client, &format!("SELECT 1 /* {asked_for} */"), &json!({}));
        assert_eq!(said["tables"], json!([found]));
    }
}

#[test]
fn all_are_told_where_there_is_room_for_all() {
    let mut asked = obedient();
    add_stuff(&mut asked.client, 200);
    let said = answer(&mut asked.client, "SELECT 1 /* customers */", &json!({"schema_tokens": 100_000}));
    assert_eq!(
        (said["tables"].as_array().unwrap().len(), &said["tables_left_out"], &said["chosen_by"], &said["vector_search"]),
        (200, &json!(0), &json!([]), &json!("not needed"))
    );
}

#[test]
fn a_choice_among_many_keeps_to_what_the_caller_may_read() {
    let mut asked = obedient();
    let poor = asked.database.create_role();
    add_stuff(&mut asked.client, 300);
    asked.client.batch_execute(SHOP).unwrap();
    asked
        .client
        .batch_execute(&format!(
            "CREATE TABLE customer_secrets (customer int, secret_name text);
             GRANT SELECT ON ALL TABLES IN SCHEMA public TO {poor}; REVOKE SELECT ON customer_secrets, invoices FROM {poor}; GRANT SELECT (id) ON invoices TO {poor};
             COMMENT ON COLUMN invoices.total IS 'customer total'; SELECT pg_llm_grant_model('m', '{poor}')"
        ))
        .unwrap();
    let mut client = asked.database.connect_as(&poor);
    let said = answer(&mut client, "SELECT 1 /* secret names of customers, total of invoices */", &json!({"schema_tokens": 500}));
    assert!(!said["tables"].to_string().contains("secret"), "{said}");
    let text = told(&asked);
    assert!(
        text.contains("TABLE public.invoices")
            && !text.contains("total integer")
            && !text.contains("customer total")
            && !text.contains("secret_name"),
        "{text}"
    );
}

/// An upstream whose embeddings know that who purchases orders, and a model `e` there.
fn with_embeddings() -> Asked {
    let mut asked = Asked::at(Upstream::start(), json!({}));
    asked.upstream.on(Asked::PATH).handle(|received| openai::completion(&question(received)));
    asked.upstream.on("/v1/embeddings").handle(embeddings);
    asked.add("openai-compatible", "e", &json!({}));
    add_stuff(&mut asked.client, 150);
    asked.client.batch_execute("CREATE TABLE orders (id int, item int)").unwrap();
    asked
}

fn embeddings(received: &Received) -> Reply {
    let request = received.json();
    let meaning = |text: &str| if text.contains("purchase") || text.contains("orders") { [1.0_f32, 0.0, 0.1] } else { [0.0, 1.0, 0.1] };
    let vectors: Vec<[f32; 3]> = request["input"].as_array().unwrap().iter().map(|text| meaning(text.as_str().unwrap())).collect();
    let vectors: Vec<&[f32]> = vectors.iter().map(<[f32; 3]>::as_slice).collect();
    if request["encoding_format"] == "base64" { openai::embeddings_base64(&vectors) } else { openai::embeddings(&vectors) }
}

/// How many texts were embedded since the last look.
fn embedded(asked: &Asked) -> Vec<usize> {
    let requests = asked.upstream.requests();
    let counts = requests
        .iter()
        .filter(|request| request.path().ends_with("/embeddings"))
        .map(|request| request.json()["input"].as_array().unwrap().len());
    let counts = counts.collect();
    asked.upstream.forget();
    counts
}

const PURCHASES: &str = "SELECT 1 /* What did people purchase? */";

#[test]
fn tables_that_share_no_word_with_the_question_are_found_by_meaning() {
    let mut asked = with_embeddings();
    let options = json!({"embedding_instance": "e", "schema_tokens": 100});
    let said = answer(&mut asked.client, PURCHASES, &options);
    assert!(said["tables"].as_array().unwrap().contains(&json!("public.orders")), "{said}");
    assert_eq!(
        (&said["chosen_by"], &said["vector_search"]),
        (&json!(["words", "trigrams", "foreign_keys", "vectors"]), &json!("used, with vectors of 151 of 151 tables"))
    );
    assert_eq!(embedded(&asked).iter().sum::<usize>(), 152, "the question and all tables");
    // They are kept, and made anew where what is said of a table changes.
    answer(&mut asked.client, PURCHASES, &options);
    assert_eq!(embedded(&asked), [1]);
    asked.client.batch_execute("COMMENT ON TABLE stuff_1 IS 'More words'; ALTER TABLE stuff_2 ADD COLUMN another int").unwrap();
    answer(&mut asked.client, PURCHASES, &options);
    assert_eq!(embedded(&asked), [1, 2]);
    // By setting, as the functions without options have it.
    asked.client.batch_execute("SET pg_llm.text2sql_embedding_model = 'e'").unwrap();
    answer(&mut asked.client, PURCHASES, &json!({"schema_tokens": 100}));
    assert_eq!(embedded(&asked), [1]);
    // Where nothing can be written, what is kept serves.
    asked.client.batch_execute("COMMENT ON TABLE stuff_3 IS 'Yet more words'; SET default_transaction_read_only = on").unwrap();
    let said = answer(&mut asked.client, PURCHASES, &options);
    assert_eq!((&said["vector_search"], embedded(&asked)), (&json!("used, with vectors of 150 of 151 tables"), vec![1]));
}

#[test]
fn no_vector_is_asked_for_in_vain_and_the_answer_says_which_way_was_taken() {
    let mut asked = with_embeddings();
    asked.client.batch_execute("SET pg_llm.text2sql_embedding_model = 'e'").unwrap();
    let said = answer(&mut asked.client, PURCHASES, &json!({"schema_tokens": 100_000}));
    assert_eq!((&said["vector_search"], embedded(&asked).len()), (&json!("not needed"), 0), "everything was told");
    let off = "SELECT pg_llm_text2sql_json('m', $1, NULL, false, '{\"schema_tokens\": 100}')";
    let said: Value = asked.value(off, &[&PURCHASES]).unwrap();
    assert_eq!(
        (&said["vector_search"], &said["chosen_by"], embedded(&asked).len()),
        (&json!("off"), &json!(["words", "trigrams", "foreign_keys"]), 0)
    );
    let given: Value = asked.value("SELECT pg_llm_text2sql_json('m', 'SELECT 1', 'x')", &[]).unwrap();
    assert_eq!((&given["vector_search"], embedded(&asked).len()), (&json!("not needed"), 0));
    // An endpoint that fails: words and keys do without, and nothing is made up.
    asked.upstream.on("/v1/embeddings").reply(openai::error(400, "invalid_request_error", "no_way", "no"));
    let said = answer(&mut asked.client, PURCHASES, &json!({"schema_tokens": 100}));
    assert_eq!((&said["chosen_by"], &said["execution"]["success"]), (&json!(["words", "trigrams", "foreign_keys"]), &json!(true)));
    assert!(said["vector_search"].as_str().unwrap().starts_with("pg_llm: "), "{said}");
}

#[test]
fn the_model_of_meanings_needs_the_same_right_as_any_other() {
    let mut asked = with_embeddings();
    let poor = asked.database.create_role();
    asked
        .client
        .batch_execute(&format!("SELECT pg_llm_grant_model('m', '{poor}'); GRANT SELECT ON ALL TABLES IN SCHEMA public TO {poor}"))
        .unwrap();
    let mut client = asked.database.connect_as(&poor);
    let named = db_error(client.query(
        "SELECT pg_llm_text2sql_json('m', $1, options => '{\"embedding_instance\": \"e\", \"schema_tokens\": 100}')",
        &[&PURCHASES],
    ));
    assert_eq!(named.code().code(), "42501", "{named:?}");
    client.batch_execute("SET pg_llm.text2sql_embedding_model = 'e'").unwrap();
    let said = answer(&mut client, PURCHASES, &json!({"schema_tokens": 100}));
    assert!(said["vector_search"].as_str().unwrap().contains("\"e\"") && said["execution"]["success"] == true, "{said}");
    assert_eq!(embedded(&asked).len(), 0);
}

const PEOPLE: &str = "
    CREATE TABLE people (id int, name text, user_password text, pin int, photo bytea, note text, owner name);
    INSERT INTO people VALUES (1, 'Ada', 'hunter2', 4711, '\\x00', E'two\nlines: '' DROP', 'nobody'), (2, 'Grace', NULL, NULL, NULL, repeat('long ', 100), 'nobody');
    CREATE FUNCTION noisy(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE 'called'; END $$; CREATE VIEW loud AS SELECT noisy(id) FROM people;
    CREATE TABLE guarded (owner name, body text); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON guarded USING (owner = current_user)";

#[test]
fn no_row_is_told_unless_that_is_asked_for() {
    let mut asked = obedient();
    asked.client.batch_execute(PEOPLE).unwrap();
    answer(&mut asked.client, "SELECT 1", &json!({}));
    assert!(!told(&asked).contains("Ada"));
    answer(&mut asked.client, "SELECT 1", &json!({"sample_rows": 2}));
    let text = told(&asked);
    assert!(
        text.contains("  -- a row: ('1', 'Ada', '[redacted]', '[redacted]', '[redacted]', 'two lines: '' DROP', 'nobody')\n  -- a row: ('2', 'Grace', NULL, NULL, NULL, 'long long"),
        "{text}"
    );
    assert!(!text.contains("hunter2") && !text.contains("4711") && !text.contains(&"long ".repeat(20)), "{text}");
    assert!(text.contains("VIEW public.loud\n  noisy integer\nTABLE"), "what may not be run is not looked into: {text}");
    answer(&mut asked.client, "SELECT 1", &json!({"sample_rows": 1}));
    assert!(!told(&asked).contains("Grace"));
}

#[test]
fn rows_are_shown_as_the_caller_may_see_them() {
    let mut asked = obedient();
    let poor = asked.database.create_role();
    asked.client.batch_execute(PEOPLE).unwrap();
    asked
        .client
        .batch_execute(&format!(
            "INSERT INTO guarded VALUES ('{poor}', 'mine'), ('postgres', 'hidden'); GRANT SELECT ON guarded TO {poor}; GRANT SELECT (id) ON people TO {poor};
             SELECT pg_llm_grant_model('m', '{poor}')"
        ))
        .unwrap();
    let mut client = asked.database.connect_as(&poor);
    answer(&mut client, "SELECT 1", &json!({"sample_rows": 5}));
    let text = told(&asked);
    assert!(text.contains("-- a row: ('1')\n") && text.contains(&format!("-- a row: ('{poor}', 'mine')\n")), "{text}");
    assert!(!text.contains("hidden") && !text.contains("Ada"), "{text}");
}
