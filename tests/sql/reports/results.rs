//! Results of every kind: empty, of NULLs, of every type, of one row, of a million.

use pg_llm_tests::db_error;
use serde_json::{Value, json};

use super::{assert_fits, assert_harmless, narrative, page, report, saying};

#[test]
fn results_of_nothing_have_reports_too() {
    let mut asked = saying(&narrative("Nothing."));
    for (sql, rows) in [
        ("SELECT 1 AS n, 'a' AS t, now() AS at, true AS b WHERE false", 0),
        ("SELECT NULL AS a, NULL::int AS n, NULL::timestamptz AS at, NULL::bool AS b, NULL::jsonb AS j", 1),
        ("SELECT NULL::int AS n, NULL::text AS t FROM generate_series(1, 100)", 100),
        ("SELECT 1 AS n", 1),
        ("SELECT now() AS at, 1 AS n, 'x' AS t", 1),
    ] {
        let made = report(&mut asked, sql, &json!({}));
        assert_eq!(made["statistics"]["rows"], rows, "{sql}: {made}");
        assert_fits(&made["vega_lite"]);
        assert_harmless(&page(&mut asked, &made));
    }
    let made = report(&mut asked, "SELECT FROM generate_series(1, 3)", &json!({}));
    assert_eq!((&made["statistics"]["rows"], &made["vega_lite"], &made["charts"]), (&json!(3), &json!(null), &json!([])));
    assert_harmless(&page(&mut asked, &made));
    assert_eq!(asked.value::<Option<Value>>("SELECT pg_llm_generate_report('m', NULL)", &[]).unwrap(), None);
    assert_eq!(asked.value::<Option<String>>("SELECT pg_llm_report_html(NULL)", &[]).unwrap(), None);
}

const TYPES: [&str; 38] = [
    "1::int2",
    "1::int4",
    "9223372036854775807::int8",
    "1.5::float4",
    "1e308::float8",
    "'NaN'::float8",
    "'-Infinity'::float8",
    "1e-320::float8",
    "123456789012345678901234567890.123::numeric",
    "'1e1000'::numeric",
    "'1e-1000'::numeric",
    "'NaN'::numeric",
    "'12.34'::money",
    "'a'::text",
    "'a'::varchar(3)",
    "'a'::char(3)",
    "'a'::\"char\"",
    "'a'::name",
    "true",
    "'2024-01-01'::date",
    "'infinity'::date",
    "'0044-03-15 BC'::date",
    "'2024-01-01 12:00'::timestamp",
    "'294276-12-31'::timestamptz",
    "'-infinity'::timestamptz",
    "'12:00'::time",
    "'12:00+02'::timetz",
    "'1 day'::interval",
    "'{\"a\": 1}'::jsonb",
    "'{\"a\": 1}'::json",
    "'\\x00ff'::bytea",
    "'{1,NULL}'::int[]",
    "'[1,2)'::int4range",
    "'10.0.0.1'::inet",
    "gen_random_uuid()",
    "'(1,2)'::point",
    "ROW(1, 'a')",
    "'<a/>'::xml",
];

#[test]
fn every_type_has_statistics() {
    let mut asked = saying(&narrative("Types."));
    asked
        .client
        .batch_execute(
            "CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE DOMAIN shout AS text; CREATE TABLE collated (a text COLLATE \"C\", b text COLLATE \"POSIX\"); INSERT INTO collated VALUES ('a', 'b')",
        )
        .unwrap();
    let others = ["'sad'::mood", "5::positive", "'HA'::shout", "(SELECT a || b FROM collated)"];
    for value in TYPES.into_iter().chain(others) {
        if value.ends_with("xml") && db_has_no_xml(&mut asked) {
            continue;
        }
        for rows in ["", " UNION ALL SELECT NULL", " UNION ALL SELECT v FROM (SELECT 1) AS x, LATERAL (SELECT NULL) AS y (v)"] {
            // Types without equality cannot be in a UNION that removes, and need not be.
            let made = report(&mut asked, &format!("SELECT {value} AS v{}", rows.replace(" v FROM", " NULL FROM")), &json!({}));
            let column = &made["statistics"]["columns"][0];
            assert_eq!((&column["count"], &column["distinct"]), (&json!(1), &json!(1)), "{value}: {made}");
            assert_eq!(column["nulls"], i64::from(!rows.is_empty()), "{value}: {made}");
            assert_fits(&made["vega_lite"]);
        }
        // Twice the same: sums do not overflow.
        let made = report(&mut asked, &format!("SELECT {value} AS v FROM generate_series(1, 2)"), &json!({}));
        assert_eq!(made["statistics"]["columns"][0]["count"], 2, "{value}: {made}");
        assert_harmless(&page(&mut asked, &made));
    }
}

fn db_has_no_xml(asked: &mut pg_llm_tests::Asked) -> bool {
    asked.client.batch_execute("SELECT '<a/>'::xml").is_err()
}

#[test]
fn of_a_million_rows_the_statistics_are_of_all_and_the_rows_are_few() {
    let mut asked = saying(&narrative("Many."));
    let sql = "SELECT i AS n, i % 7 AS k, 'c' || i % 3 AS city, '2024-01-01'::timestamptz + i * interval '1 second' AS at FROM generate_series(1, 1000000) AS i";
    let made = report(&mut asked, sql, &json!({"max_rows": 10}));
    let statistics = &made["statistics"];
    assert_eq!(
        (&statistics["rows"], &statistics["scope"], &statistics["columns"][0]["max"]),
        (&json!(1_000_000), &json!("whole"), &json!(1_000_000))
    );
    assert_eq!((&made["execution"]["row_count"], &made["execution"]["truncated"]), (&json!(10), &json!(true)));
    assert_eq!((&made["vega_lite"]["mark"]["type"], &made["vega_lite"]["encoding"]["x"]["type"]), (&json!("line"), &json!("temporal")));
    for chart in made["charts"].as_array().unwrap() {
        assert_fits(&chart["vega_lite"]);
        assert!(chart["vega_lite"]["data"]["values"].as_array().unwrap().len() <= 500);
    }
    let html = page(&mut asked, &made);
    assert_harmless(&html);
    assert!(html.len() < 300_000, "{}", html.len());
    // Where that is too dear, or not wanted, of the rows that were read.
    let made = report(&mut asked, sql, &json!({"max_rows": 10, "statistics": "rows"}));
    assert_eq!((&made["statistics"]["rows"], &made["statistics"]["scope"]), (&json!(10), &json!("rows")));
    let made = report(&mut asked, sql, &json!({"max_rows": 10, "max_cost": 60000}));
    assert_eq!((&made["statistics"]["rows"], &made["statistics"]["scope"]), (&json!(10), &json!("rows")), "{made}");
    assert!(made["statistics"]["note"].as_str().unwrap().contains("too dear"), "{made}");
    let error = db_error(asked.value::<Value>("SELECT pg_llm_generate_report('m', $1, '{\"max_cost\": 1}')", &[&sql]));
    assert_eq!(error.code().code(), "54000");
}

#[test]
fn a_wide_result_has_a_report() {
    let mut asked = saying(&narrative("Wide."));
    let columns: Vec<String> = (0..1500).map(|n| format!("{n} AS c{n}")).collect();
    let made = report(&mut asked, &format!("SELECT {}", columns.join(", ")), &json!({}));
    assert_eq!(made["statistics"]["columns"].as_array().unwrap().len(), 1500);
    assert_fits(&made["vega_lite"]);
    assert_harmless(&page(&mut asked, &made));
}
