//! Values, names and answers that would like to be more than text; queries that would like to be more than queries.

use pg_llm_tests::db_error;
use serde_json::{Value, json};

use super::{assert_fits, assert_harmless, narrative, page, report, saying};
use crate::text2sql::{functions, statements};

const HOSTILE: [&str; 10] = [
    "<script>alert(1)</script>",
    "</svg></title></style></pre></textarea><script>alert(1)</script>",
    "]]><!--",
    "\"'><img src=x onerror=alert(1)>",
    "a\u{1}b\u{7f}c\u{feff}\u{202e}d\u{ffff}",
    "&lt;script&gt; &amp; &#1; &nosuch;",
    "javascript:alert(1)",
    "[x](javascript:alert(1)) ![y](https://evil.example/p.png) <https://evil.example>",
    "'; DROP TABLE t; --",
    "\r\n\t\\",
];

#[test]
fn hostile_values_and_names_are_text_everywhere() {
    let mut asked = saying(&narrative("ok"));
    for hostile in HOSTILE {
        let values: Vec<String> = HOSTILE.iter().map(ToString::to_string).collect();
        asked.client.execute("DROP TABLE IF EXISTS h", &[]).unwrap();
        let name = hostile.replace('"', "\"\"").replace('\0', "").chars().take(40).collect::<String>();
        asked.client.batch_execute(&format!("CREATE TABLE h (\"{name}\" text, n int)")).unwrap();
        asked.client.execute("INSERT INTO h SELECT v, ord FROM unnest($1::text[]) WITH ORDINALITY AS u (v, ord)", &[&values]).unwrap();
        let made = report(&mut asked, "SELECT * FROM h", &json!({}));
        for chart in made["charts"].as_array().unwrap() {
            assert_fits(&chart["vega_lite"]);
        }
        assert_harmless(&page(&mut asked, &made));
    }
}

#[test]
fn hostile_answers_are_text_everywhere() {
    for hostile in HOSTILE {
        let chart = json!({"id": "c1", "title": hostile, "mark": hostile, "x": hostile, "y": hostile, "color": hostile});
        let mut asked = saying(
            &json!({"title": hostile, "narrative": format!("# {hostile}\n\n{hostile}\n\n```{hostile}\n{hostile}\n```\n\n{}", HOSTILE.join("\n")), "chart": chart}),
        );
        let made = report(&mut asked, "SELECT i AS n, i AS m FROM generate_series(1, 3) AS i", &json!({}));
        assert_fits(&made["vega_lite"]);
        assert_harmless(&page(&mut asked, &made));
    }
}

#[test]
fn what_generated_queries_may_not_do_reports_may_not_either() {
    let mut asked = saying(&narrative("ok"));
    asked
        .client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2); CREATE PROCEDURE p() LANGUAGE sql AS 'DELETE FROM t'; CREATE VIEW locking AS SELECT * FROM t FOR UPDATE; CREATE SEQUENCE s")
        .unwrap();
    for sql in statements::REFUSED.into_iter().chain(functions::BUILT_IN) {
        let error = db_error(asked.value::<Option<Value>>("SELECT pg_llm_generate_report('m', $1)", &[&sql]));
        assert_eq!(error.code().code(), "42501", "{sql}: {error:?}");
    }
    // Texts that are two statements only once something stands around them.
    for sql in [
        "SELECT 1) AS r (c1) LIMIT 1) SELECT pg_sleep(0) --",
        "SELECT 1 /*",
        "SELECT 1 AS a) AS r (c1)) SELECT 1 AS rows, 2 FROM (SELECT 1",
    ] {
        let error = db_error(asked.value::<Option<Value>>("SELECT pg_llm_generate_report('m', $1)", &[&sql]));
        assert_eq!(error.code().code(), "42601", "{sql}: {error:?}");
    }
    assert!(asked.upstream.requests().is_empty(), "nobody was asked");
    assert_eq!(asked.value::<i64>("SELECT count(*) FROM t", &[]).unwrap(), 2);
    asked.database.cluster().assert_no_crash();
}

#[test]
fn functions_with_effects_are_found_wherever_they_hide() {
    let mut asked = saying(&narrative("ok"));
    asked.client.batch_execute(functions::HIDDEN).unwrap();
    for sql in functions::ATTEMPTS {
        let error = db_error(asked.value::<Option<Value>>("SELECT pg_llm_generate_report('m', $1)", &[&sql]));
        assert_eq!(error.code().code(), "42501", "{sql}: {error:?}");
    }
    assert!(asked.upstream.requests().is_empty());
    assert_eq!(asked.value::<i64>("SELECT count(*) FROM log", &[]).unwrap(), 0);
}

#[test]
fn a_statement_keeps_its_meaning_whatever_comments_and_quotes_it_ends_in() {
    let mut asked = saying(&narrative("ok"));
    for (sql, rows) in [
        ("SELECT 1 AS n -- end", 1),
        ("/* a */ SELECT 1 AS n; /* b */ ;", 1),
        ("WITH q AS (SELECT 1 AS n UNION ALL SELECT 2) SELECT * FROM q", 2),
        ("VALUES (1, 'a;b'), (2, $$c;d$$)", 2),
        ("(SELECT 1 AS n) UNION ALL (SELECT 1)", 2),
        ("SELECT 'Grüße; --' AS n", 1),
        ("SELECT n FROM generate_series(1, 3) AS n ORDER BY 1 LIMIT 2", 2),
        ("SELECT 1 AS n, 2 AS n, 3", 1),
        ("SELECT", 1),
    ] {
        let made = report(&mut asked, sql, &json!({}));
        assert_eq!(made["statistics"]["rows"], rows, "{sql}: {made}");
    }
}
