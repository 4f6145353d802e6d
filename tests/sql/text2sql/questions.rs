//! A set of questions whose answers are known (`tests/questions`), put to a model that is right, that is wrong and learns, and that does not.

use std::fs;
use std::path::PathBuf;

use pg_llm_tests::Asked;
use pg_llm_tests::postgres::Client;
use pg_llm_upstream::openai;
use serde_json::{Value, json};

use super::{answer, obedient};

#[derive(Debug, Default)]
struct Entry {
    question: String,
    gold: String,
    /// One after another.
    answers: Vec<String>,
    /// The SQLSTATE of the end, where no answer runs.
    hopeless: Option<String>,
    /// It runs and is not the answer.
    wrong: bool,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("questions")
}

fn entries(set: &str) -> Vec<Entry> {
    let text = fs::read_to_string(folder().join(format!("{set}.txt"))).unwrap();
    let mut entries: Vec<Entry> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (mark, rest) = line.split_at(1);
        let rest = rest.trim().replace("\\n", "\n");
        if mark == "?" {
            entries.push(Entry { question: rest, ..Entry::default() });
            continue;
        }
        let entry = entries.last_mut().unwrap();
        match mark {
            "=" => entry.gold = rest,
            ">" => entry.answers.push(rest),
            "!" => entry.hopeless = Some(rest),
            "~" => entry.wrong = true,
            other => panic!("{set}: a line begins with {other}"),
        }
    }
    entries
}

/// Rows as text, so that 1.50 is 1.5; sorted unless the question asks for an order.
fn comparable(rows: &[Vec<Value>], ordered: bool) -> Vec<String> {
    let cell = |value: &Value| match value {
        Value::Number(number) => format!("{:.9}", number.to_string().parse::<f64>().unwrap()),
        other => other.to_string(),
    };
    let mut rows: Vec<String> = rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join(" | ")).collect();
    if !ordered {
        rows.sort();
    }
    rows
}

/// What a query gives when it is simply run.
fn run(client: &mut Client, sql: &str) -> Vec<Vec<Value>> {
    let count = client.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}")).columns().len();
    let names = (0..count).map(|n| format!("c{n}")).collect::<Vec<_>>().join(", ");
    let rows = client.query(&format!("SELECT jsonb_build_array({names}) FROM ({sql}) AS t ({names})"), &[]);
    let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    rows.iter().map(|row| row.get::<_, Value>(0).as_array().unwrap().clone()).collect()
}

/// What stands in all tables of a schema.
fn content(client: &mut Client, schema: &str) -> String {
    let tables = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = $1 ORDER BY 1";
    let tables: Vec<String> = client.query(tables, &[&schema]).unwrap().iter().map(|row| row.get(0)).collect();
    let each = tables.iter().map(|table| {
        let sql = format!("SELECT '{table} ' || coalesce(md5(string_agg(t::text, ',' ORDER BY t::text)), '') FROM {table} AS t");
        client.query_one(&sql, &[]).unwrap().get::<_, String>(0)
    });
    each.collect::<Vec<_>>().join("\n")
}

/// Asks all questions of a set as a role that may read its schema.
fn ask_all(set: &str, schema: &str) {
    let mut asked = obedient();
    let role = asked.database.create_role();
    asked.client.batch_execute(&fs::read_to_string(folder().join(format!("{set}.sql"))).unwrap()).unwrap();
    asked
        .client
        .batch_execute(&format!(
            "RESET search_path; GRANT USAGE ON SCHEMA \"{schema}\" TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA \"{schema}\" TO {role}; SELECT pg_llm_grant_model('m', '{role}')"
        ))
        .unwrap();
    let before = content(&mut asked.client, schema);
    let mut client = asked.database.connect_as(&role);
    let mut failed = Vec::new();
    for entry in entries(set) {
        if let Err(why) = ask(&mut asked, &mut client, schema, &entry) {
            failed.push(format!("{}\n    {why}", entry.question));
        }
    }
    assert!(failed.is_empty(), "{set}:\n{}", failed.join("\n"));
    assert_eq!(content(&mut asked.client, schema), before, "nothing was changed");
    asked.database.cluster().assert_no_crash();
}

fn ask(asked: &mut Asked, client: &mut Client, schema: &str, entry: &Entry) -> Result<(), String> {
    let mut script = asked.upstream.on(Asked::PATH);
    for text in &entry.answers {
        script = script.reply(openai::completion(text));
    }
    drop(script);
    asked.upstream.forget();
    let said = answer(client, &entry.question, &json!({"schemas": [schema]}));
    let (execution, attempts) = (&said["execution"], said["attempts"].as_array().map_or(0, Vec::len));
    if let Some(state) = &entry.hopeless {
        let error = &execution["error"];
        let ended = execution["success"] == false
            && error["sqlstate"] == json!(state)
            && error["message"].as_str().is_some_and(|words| !words.is_empty());
        return if ended && execution["rows"] == json!([]) { Ok(()) } else { Err(format!("{said}")) };
    }
    if execution["success"] != true || attempts != asked.upstream.requests().len() {
        return Err(format!("{said}"));
    }
    // All that came before the last must have failed, and the last must have been needed.
    if !entry.wrong && attempts != entry.answers.len() {
        return Err(format!("{attempts} of {} answers were tried", entry.answers.len()));
    }
    let columns: Vec<&str> = execution["columns"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let given: Vec<Vec<Value>> =
        execution["rows"].as_array().unwrap().iter().map(|row| columns.iter().map(|name| row[*name].clone()).collect()).collect();
    let ordered = entry.gold.contains("ORDER BY") && !entry.gold.trim_end().ends_with(')') && !entry.gold.contains("OVER");
    let (given, gold) = (comparable(&given, ordered), comparable(&run(client, &entry.gold), ordered));
    if (given == gold) == entry.wrong {
        return Err(format!("{}\n    gives {given:?}\n    and it is {gold:?}", said["generated_sql"]));
    }
    Ok(())
}

#[test]
fn questions_about_names_that_need_quotes_are_answered() {
    ask_all("quoted", "Firma");
}

#[test]
fn questions_about_partitions_and_views_are_answered() {
    ask_all("partitioned", "fleet");
}

#[test]
fn questions_about_a_wide_table_are_answered() {
    ask_all("wide", "lab");
}

#[test]
fn the_set_has_sixty_questions_and_every_kind_of_model() {
    let all: Vec<Entry> = ["quoted", "partitioned", "wide"].into_iter().flat_map(entries).collect();
    assert!(all.len() >= 60, "{}", all.len());
    let right = all.iter().filter(|entry| entry.hopeless.is_none() && !entry.wrong);
    let (good, repaired): (Vec<&Entry>, Vec<&Entry>) = right.partition(|entry| entry.answers.len() == 1);
    let hopeless = all.iter().filter(|entry| entry.hopeless.is_some()).count();
    let wrong = all.iter().filter(|entry| entry.wrong).count();
    assert!(
        good.len() >= 25 && repaired.len() >= 12 && hopeless >= 10 && wrong >= 3,
        "{} {} {hopeless} {wrong}",
        good.len(),
        repaired.len()
    );
    assert!(all.iter().all(|entry| !entry.gold.is_empty() && !entry.answers.is_empty()));
    let differ = |entry: &Entry| entry.answers.last().is_some_and(|answer| *answer != entry.gold);
    assert!(all.iter().filter(|entry| differ(entry)).count() >= 50, "results are compared, not texts");
}
