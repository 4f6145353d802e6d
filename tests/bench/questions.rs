//! What a question in words takes beside the model.

use std::time::{Duration, Instant};

use pg_llm_tests::Database;
use pg_llm_tests::postgres::Client;

use crate::figures::{median, time_line};

const ASKED: usize = 30;

/// A schema of 1,000 tables, and one of 10,000; the model is an upstream of 0 ms that writes a query.
pub(crate) fn beside_the_model(database: &Database<'_>) {
    let mut client = database.superuser();
    client.batch_execute("CREATE SCHEMA shop; CREATE TABLE shop.customers (id int PRIMARY KEY, name text)").expect("a schema");
    let sql = "SELECT pg_llm_add_model('mock', 'analyst', config => '{\"mock_sql_response\": \"SELECT count(*) FROM shop.customers\", \"mock_response\": \"Hello\"}')";
    client.batch_execute(sql).expect("a model can be added");
    let model = timed(&mut client, "SELECT pg_llm_chat('analyst', 'How many customers are there?')");
    let few = timed(&mut client, &question("shop"));
    time_line("a question about 1 table, less the model (mock)", few.saturating_sub(model), None, None);
    for (schema, tables) in [("thousand", 1_000), ("ten_thousand", 10_000)] {
        add_tables(&mut client, schema, tables);
        let took = timed(&mut client, &question(schema));
        time_line(&format!("a question about {tables} tables, less the model (mock)"), took.saturating_sub(model), None, None);
    }
}

fn question(schema: &str) -> String {
    format!(
        "SELECT pg_llm_text2sql_json('analyst', 'How many customers have more than 500 of item 77?', options => '{{\"schemas\": [\"{schema}\"]}}')"
    )
}

fn timed(client: &mut Client, sql: &str) -> Duration {
    client.simple_query(sql).expect("an answer");
    let times = (0..ASKED).map(|_| {
        let started = Instant::now();
        client.simple_query(sql).expect("an answer");
        started.elapsed()
    });
    median(times.collect())
}

/// Tables of ten columns, some with comments, keys and enumerations, some hundred in each statement: it holds their locks until its end.
fn add_tables(client: &mut Client, schema: &str, count: usize) {
    client
        .batch_execute(&format!("CREATE SCHEMA {schema}; CREATE TYPE {schema}.state AS ENUM ('new', 'paid', 'sent'); CREATE TABLE {schema}.customers (id int PRIMARY KEY, name text)"))
        .expect("a schema");
    for from in (1..count).step_by(250) {
        let to = (from + 249).min(count - 1);
        client
            .batch_execute(&format!(
                "DO $$ BEGIN FOR i IN {from}..{to} LOOP
                     EXECUTE format('CREATE TABLE {schema}.items_%s (id int PRIMARY KEY, customer_id int REFERENCES {schema}.customers, name text, amount numeric, price numeric, state {schema}.state,
                                     created_at timestamptz, changed_at timestamptz, note text, kind_%s int)', i, i % 50);
                     EXECUTE format('COMMENT ON TABLE {schema}.items_%s IS ''Items of kind %s''', i, i);
                     EXECUTE format('COMMENT ON COLUMN {schema}.items_%s.amount IS ''How many of item %s''', i, i);
                 END LOOP; END $$"
            ))
            .expect("tables can be made");
    }
    client.batch_execute("ANALYZE pg_catalog.pg_class; ANALYZE pg_catalog.pg_attribute; ANALYZE pg_catalog.pg_description; ANALYZE pg_catalog.pg_constraint").expect("statistics");
}
