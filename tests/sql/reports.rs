//! Reports: statistics that are the database's, words that are the model's, charts that fit, a page that is harmless, and whose they are.

mod hostile;
mod ownership;
mod results;

use pg_llm_tests::{Asked, db_error};
use pg_llm_upstream::{Reply, Upstream, openai};
use serde_json::{Value, json};

/// What a well-behaved model says.
fn narrative(text: &str) -> Value {
    json!({"title": "Sales", "narrative": text, "chart": null})
}

/// A model `m` that answers with this, for ever.
fn saying(answer: &Value) -> Asked {
    let asked = Asked::at(Upstream::start(), json!({}));
    asked.upstream.on(Asked::PATH).reply(openai::completion(&answer.to_string()));
    asked
}

/// A report by the model `m`.
#[track_caller]
fn report(asked: &mut Asked, sql: &str, options: &Value) -> Value {
    asked.value("SELECT pg_llm_generate_report('m', $1, $2)", &[&sql, options]).unwrap_or_else(|error| panic!("{sql}: {error:?}"))
}

#[track_caller]
fn page(asked: &mut Asked, report: &Value) -> String {
    let id = report["request_id"].as_str().unwrap().to_owned();
    asked.value("SELECT pg_llm_report_html($1::text::uuid)", &[&id]).unwrap_or_else(|error| panic!("{error:?}"))
}

/// What the model was told, in one text.
fn told(asked: &Asked) -> String {
    asked.sent()["messages"].to_string()
}

/// The specification fits its data: the version's address, a mark that there is, and values of the types that it says.
#[track_caller]
fn assert_fits(spec: &Value) {
    assert_eq!(spec["$schema"], "https://vega.github.io/schema/vega-lite/v5.json", "{spec}");
    assert!(["bar", "line", "point"].contains(&spec["mark"]["type"].as_str().unwrap()), "{spec}");
    for (channel, encoding) in spec["encoding"].as_object().unwrap() {
        for row in spec["data"]["values"].as_array().unwrap() {
            let value = &row[encoding["field"].as_str().unwrap()];
            match encoding["type"].as_str() {
                Some("quantitative") => assert!(value.is_number(), "{channel}: {spec}"),
                Some("temporal" | "nominal") => assert!(value.is_string(), "{channel}: {spec}"),
                None => assert_eq!(channel, "x2"),
                other => panic!("{other:?}: {spec}"),
            }
        }
    }
}

/// Attributes that a drawing has: geometry, colour, type, and words.
const DRAWN: [&str; 29] = [
    "width",
    "height",
    "viewBox",
    "role",
    "aria-label",
    "x",
    "y",
    "dy",
    "x1",
    "x2",
    "y1",
    "y2",
    "cx",
    "cy",
    "r",
    "points",
    "opacity",
    "fill",
    "stroke",
    "stroke-width",
    "text-anchor",
    "font-family",
    "font-size",
    "font-weight",
    "font-style",
    "transform",
    "dx",
    "rx",
    "ry",
];

/// Every drawing of the page is XML; nothing in it runs, is styled from elsewhere, or leads anywhere.
#[track_caller]
fn assert_harmless(html: &str) {
    assert!(html.starts_with("<!DOCTYPE html>") && html.trim_end().ends_with("</html>"));
    assert!(html.contains("http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-"), "{html}");
    for bad in [
        "<script",
        "<img",
        "<iframe",
        "<object",
        "<embed",
        "<link",
        "<base",
        "<form",
        "<a ",
        "<foreignObject",
        "<use",
        "href=",
        "url(",
        "@import",
        "<!--",
    ] {
        assert!(!html.contains(bad), "{bad}: {html}");
    }
    assert!(!html.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')), "no control characters");
    for drawing in html.split("<svg").skip(1) {
        let svg = format!("<svg{}</svg>", drawing.split_once("</svg>").unwrap().0);
        let document = roxmltree::Document::parse(&svg).unwrap_or_else(|error| panic!("{error}: {svg}"));
        assert!(
            document.descendants().any(|node| node.tag_name().name() == "title" && node.text().is_some_and(|text| !text.is_empty())),
            "{svg}"
        );
        let attributes = document.descendants().flat_map(|node| node.attributes()).map(|attribute| attribute.name());
        for name in attributes {
            assert!(DRAWN.contains(&name), "{name}: {svg}");
        }
    }
    // A table beside each chart.
    assert_eq!(html.matches("<figure>").count(), html.matches("<summary>Data of this chart</summary>").count());
}

#[test]
fn a_report_has_statistics_words_charts_and_a_page() {
    let mut asked = saying(&narrative("They **rise**."));
    asked.client.batch_execute("CREATE TABLE sales (day date, city text, price numeric); INSERT INTO sales SELECT '2024-01-01'::date + i, CASE i % 2 WHEN 0 THEN 'Bonn' ELSE 'Köln' END, i + 0.5 FROM generate_series(1, 10) AS i").unwrap();
    let made = report(&mut asked, "SELECT * FROM sales; -- all of it", &json!({}));
    for key in [
        "request_id",
        "instance_name",
        "model_name",
        "sql",
        "title",
        "narrative",
        "statistics",
        "vega_lite",
        "charts",
        "execution",
        "stored",
        "usage",
        "error",
    ] {
        assert!(made.get(key).is_some(), "{key}: {made}");
    }
    assert_eq!(
        (&made["title"], &made["narrative"], &made["stored"], &made["error"]),
        (&json!("Sales"), &json!("They **rise**."), &json!(true), &json!(null))
    );
    assert_eq!(made["sql"], "SELECT * FROM sales");
    let statistics = &made["statistics"];
    assert_eq!((&statistics["rows"], &statistics["scope"]), (&json!(10), &json!("whole")));
    let [day, city, price] = statistics["columns"].as_array().unwrap().as_slice() else { panic!("{statistics}") };
    assert_eq!((&day["min"], &day["max"], &day["distinct"]), (&json!("2024-01-02"), &json!("2024-01-11"), &json!(10)));
    assert_eq!(city["top"], json!([{"value": "Bonn", "count": 5}, {"value": "Köln", "count": 5}]));
    assert_eq!((&price["min"], &price["max"], price["avg"].as_f64(), &price["nulls"]), (&json!(1.5), &json!(10.5), Some(6.0), &json!(0)));
    assert_eq!(price["quartiles"], json!([3.5, 5.5, 8.5]));
    let counted: i64 = price["histogram"].as_array().unwrap().iter().map(|bar| bar["count"].as_i64().unwrap()).sum();
    assert_eq!(counted, 10);
    assert_eq!((&made["vega_lite"]["mark"]["type"], &made["vega_lite"]["encoding"]["color"]["title"]), (&json!("line"), &json!("city")));
    for chart in made["charts"].as_array().unwrap() {
        assert_fits(&chart["vega_lite"]);
    }
    let html = page(&mut asked, &made);
    assert_harmless(&html);
    for part in ["<h1>Sales</h1>", "<p>They <strong>rise</strong>.</p>", "<svg", "Köln", "SELECT * FROM sales", "Data of this chart"] {
        assert!(html.contains(part), "{part}: {html}");
    }
}

#[test]
fn the_model_sees_statistics_and_rows_only_where_the_caller_says_so() {
    let mut asked = saying(&narrative("."));
    let sql = "SELECT i AS n, 'secret ' || i AS name FROM generate_series(10, 12) AS i";
    report(&mut asked, sql, &json!({}));
    let said = told(&asked);
    assert!(
        said.contains("\\\"top\\\"") && said.contains("secret 10") && !said.contains("The first rows"),
        "values of statistics, no rows: {said}"
    );
    report(&mut asked, sql, &json!({"send_values": false}));
    let said = told(&asked);
    assert!(!said.contains("secret 1") && said.contains("\\\"distinct\\\":3"), "{said}");
    report(&mut asked, sql, &json!({"sample_rows": 2, "send_values": false, "focus": "the names", "language": "German"}));
    let said = told(&asked);
    assert!(said.contains("secret 10") && said.contains("secret 11") && !said.contains("secret 12"), "{said}");
    assert!(said.contains("The report is about: the names") && said.contains("Write in German"), "{said}");
}

#[test]
fn the_model_chooses_a_chart_and_one_that_does_not_fit_is_replaced() {
    let chart = |chart: Value| json!({"title": "T", "narrative": "n", "chart": chart});
    let own = |mark: &str, x: &str, y: &str| json!({"id": null, "title": "Mine", "mark": mark, "x": x, "y": y, "color": null});
    let answers = [
        chart(own("point", "n", "m")),
        chart(json!({"id": "c2", "title": null, "mark": null, "x": null, "y": null, "color": null})),
        chart(own("line", "name", "n")),
        chart(own("bar", "nowhere", "n")),
        chart(json!({"id": "c99", "title": "x", "mark": null, "x": null, "y": null, "color": null})),
    ];
    let mut asked = Asked::at(Upstream::start(), json!({}));
    let mut script = asked.upstream.on(Asked::PATH);
    for answer in &answers {
        script = script.reply(openai::completion(&answer.to_string()));
    }
    drop(script);
    let sql = "SELECT i AS n, i * i AS m, 'x' || i AS name FROM generate_series(1, 5) AS i";
    let made = report(&mut asked, sql, &json!({}));
    assert_eq!(
        (&made["chart_chosen_by"], &made["vega_lite"]["title"], &made["vega_lite"]["mark"]["type"]),
        (&json!("model"), &json!("Mine"), &json!("point"))
    );
    assert_fits(&made["vega_lite"]);
    let made = report(&mut asked, sql, &json!({}));
    assert_eq!(
        (&made["chart_chosen_by"], &made["charts"][0]["id"], &made["charts"][1]["id"]),
        (&json!("model"), &json!("c2"), &json!("c1"))
    );
    for _ in 0..3 {
        let made = report(&mut asked, sql, &json!({}));
        assert_eq!((&made["chart_chosen_by"], &made["charts"][0]["id"]), (&json!("rules"), &json!("c1")), "{made}");
        assert!(made["chart_refused"].is_string(), "{made}");
        assert_fits(&made["vega_lite"]);
    }
}

#[test]
fn where_the_model_fails_the_caller_says_what_becomes_of_it() {
    let mut asked = Asked::at(Upstream::start(), json!({"max_attempts": 1}));
    asked.upstream.on(Asked::PATH).reply(Reply::status(400));
    let made = report(&mut asked, "SELECT 1 AS n, 'a' AS b", &json!({"on_error": "object"}));
    assert_eq!((&made["narrative"], &made["error"]["sqlstate"], &made["statistics"]["rows"]), (&json!(null), &json!("38000"), &json!(1)));
    assert_fits(&made["vega_lite"]);
    assert_harmless(&page(&mut asked, &made));
    let call = |options: &str| format!("SELECT pg_llm_generate_report('m', 'SELECT 1', '{options}')");
    assert_eq!(asked.value::<Option<Value>>(&call("{\"on_error\": \"null\"}"), &[]).unwrap(), None);
    assert_eq!(db_error(asked.value::<Option<Value>>(&call("{}"), &[])).code().code(), "38000");
    let kept: i64 = asked.value("SELECT count(*) FROM _pg_llm_catalog.reports", &[]).unwrap();
    assert_eq!(kept, 1, "what was raised or NULL is not kept");
}

#[test]
fn an_answer_that_is_no_report_is_an_error_and_never_the_reports_text() {
    let mut asked = Asked::at(Upstream::start(), json!({}));
    asked.upstream.on(Asked::PATH).reply(openai::completion("I'm sorry, but I can't.")).repeat(1, openai::completion("{\"title\": 1}"));
    let error = db_error(asked.value::<Value>("SELECT pg_llm_generate_report('m', 'SELECT 1')", &[]));
    assert_eq!(error.code().code(), "38000", "{error:?}");
}
