//! Charts, their drawings, their specifications and the page, over results of every kind.

use serde_json::{Value, json};

use super::choice::Design;
use super::field::{Field, Kind};
use super::{Chart, Material, Page, Statistics, charts, page};

fn fields(list: &[(&str, Kind)]) -> Vec<Field> {
    list.iter().map(|(name, kind)| Field { name: (*name).to_owned(), type_name: "t".to_owned(), kind: *kind }).collect()
}

fn of(fields: &[Field], rows: &[Vec<Value>], complete: bool, statistics: &Statistics) -> Vec<Chart> {
    charts(&Material { fields, rows, complete, statistics })
}

fn counted(fields: &[Field], rows: u64) -> Statistics {
    let columns = fields.iter().map(|field| json!({"name": field.name, "type": "t", "count": rows, "nulls": 0, "distinct": 1})).collect();
    Statistics { rows, columns, by_time: None, by_category: None }
}

/// The marks, types and fields of a specification fit the data that is in it.
#[track_caller]
fn assert_valid(spec: &Value) {
    assert_eq!(spec["$schema"], "https://vega.github.io/schema/vega-lite/v5.json");
    assert!(["bar", "line", "point"].contains(&spec["mark"]["type"].as_str().unwrap()), "{spec}");
    let values = spec["data"]["values"].as_array().unwrap();
    for (channel, encoding) in spec["encoding"].as_object().unwrap() {
        let field = encoding["field"].as_str().unwrap();
        for row in values {
            let value = &row[field];
            match encoding["type"].as_str() {
                Some("quantitative") => assert!(value.is_number(), "{channel}: {spec}"),
                Some("temporal") => assert!(value.as_str().is_some_and(|text| text.len() == 19), "{channel}: {spec}"),
                Some("nominal") => assert!(value.is_string(), "{channel}: {spec}"),
                None if channel == "x2" => assert!(!value.is_null()),
                other => panic!("{other:?}: {spec}"),
            }
        }
    }
}

/// The drawing is XML with a title, and holds no element that does anything.
#[track_caller]
fn assert_drawn(chart: &Chart) -> String {
    let svg = chart.svg().unwrap_or_else(|| panic!("{chart:?}"));
    let document = roxmltree::Document::parse(&svg).unwrap_or_else(|error| panic!("{error}: {svg}"));
    let root = document.root_element();
    assert_eq!((root.tag_name().name(), root.attribute("role")), ("svg", Some("img")));
    assert!(root.children().any(|child| child.has_tag_name(("http://www.w3.org/2000/svg", "title"))));
    for node in document.descendants().filter(roxmltree::Node::is_element) {
        assert!(["svg", "title", "rect", "line", "polyline", "circle", "text", "polygon"].contains(&node.tag_name().name()), "{svg}");
        assert!(node.attributes().all(|attribute| !attribute.name().starts_with("on") && !attribute.name().contains("href")), "{svg}");
    }
    svg
}

const HOSTILE: [&str; 12] = [
    "<script>alert(1)</script>",
    "</svg><script>alert(1)</script>",
    "]]>",
    "\"'><img src=x onerror=alert(1)>",
    "a\u{0}b\u{1}c\u{7f}d\u{ffff}e\u{fffe}",
    "\u{202e}txt.exe",
    "&lt;b&gt; &amp; &#0; &nosuch;",
    "</style></title></textarea>",
    "<!-- -->",
    "javascript:alert(1)",
    "${7*7} {{7*7}}",
    "\r\n\t",
];

#[test]
fn rows_of_a_time_and_a_number_are_a_line() {
    let fields = fields(&[("day", Kind::Time), ("id", Kind::Number), ("sales", Kind::Number)]);
    let rows: Vec<Vec<Value>> = (1..=9).map(|day| vec![json!(format!("2024-01-0{day}")), json!(day), json!(day * day)]).collect();
    let found = of(&fields, &rows, true, &counted(&fields, 9));
    let spec = found[0].vega_lite();
    assert_valid(&spec);
    assert_eq!(
        (&spec["mark"]["type"], &spec["encoding"]["x"]["type"], &spec["encoding"]["y"]["title"]),
        (&json!("line"), &json!("temporal"), &json!("sales"))
    );
    assert_eq!(spec["data"]["values"].as_array().unwrap().len(), 9);
    assert_drawn(&found[0]);
    // Of several values at one time no line is drawn, unless colours tell them apart.
    let twice: Vec<Vec<Value>> = rows.iter().chain(&rows).cloned().collect();
    assert_eq!(of(&fields, &twice, true, &counted(&fields, 18))[0].vega_lite()["mark"]["type"], "point");
}

#[test]
fn rows_of_a_category_and_a_number_are_bars() {
    let fields = fields(&[("city", Kind::Text), ("n", Kind::Number)]);
    let rows = [vec![json!("Köln"), json!(3)], vec![json!(null), json!(2)], vec![json!("Bonn"), json!(-1.5)]];
    let found = of(&fields, &rows, true, &counted(&fields, 3));
    let spec = found[0].vega_lite();
    assert_valid(&spec);
    assert_eq!(
        (&spec["mark"]["type"], &spec["encoding"]["y"]["type"], &spec["data"]["values"][1]["y"]),
        (&json!("bar"), &json!("nominal"), &json!("(NULL)"))
    );
    assert!(assert_drawn(&found[0]).contains("Köln"));
}

#[test]
fn a_result_of_anything_has_a_chart_that_is_valid_and_can_be_drawn() {
    for kind in [Kind::Number, Kind::Time, Kind::Clock, Kind::Boolean, Kind::Text, Kind::Other] {
        let fields = fields(&[("a", kind)]);
        for rows in [vec![], vec![vec![Value::Null]], vec![vec![Value::Null]; 5]] {
            let found = of(&fields, &rows, true, &counted(&fields, rows.len() as u64));
            assert_eq!(found.len(), 1, "{kind:?}");
            assert_valid(&found[0].vega_lite());
            assert_drawn(&found[0]);
        }
    }
    assert!(of(&[], &[], true, &Statistics::default()).is_empty());
}

#[test]
fn distributions_and_frequencies_come_from_the_database() {
    let fields = fields(&[("price", Kind::Number), ("city", Kind::Text), ("at", Kind::Time), ("open", Kind::Boolean)]);
    let bins = json!({"low": 0, "high": 20, "parts": 20, "filled": [[1, 5], [20, 1]]});
    let times = json!({"low": 0, "high": 864_000, "parts": 20, "filled": [[1, 5], [20, 1]]});
    let statistics = Statistics {
        rows: 1_000_000,
        columns: vec![
            json!({"count": 6, "bins": bins}),
            json!({"count": 6, "top": [{"value": "Bonn", "count": 4}, {"value": "Köln", "count": 2}]}),
            json!({"count": 6, "bins": times}),
            json!({"count": 6, "true": 2, "false": 4, "nulls": 0}),
        ],
        by_time: Some(json!({"low": 0, "high": 864_000, "parts": 60, "filled": [[1, 5.5], [60, 1]]})),
        by_category: Some(json!([["Bonn", 1.5], ["Köln", 2]])),
    };
    let found = of(&fields, &[], false, &statistics);
    let titles: Vec<&str> = found.iter().map(|chart| chart.title.as_str()).collect();
    assert_eq!(
        titles,
        [
            "Mean of price over at",
            "Mean of price by city, the most frequent",
            "Distribution of price",
            "Distribution of at",
            "Most frequent city",
            "Values of open"
        ]
    );
    for chart in &found {
        assert_valid(&chart.vega_lite());
        assert_drawn(chart);
    }
    assert_eq!(found[2].vega_lite()["encoding"]["x"]["bin"], "binned");
}

#[test]
fn no_number_makes_the_drawing_endless_or_fail() {
    let fields = fields(&[("x", Kind::Number), ("y", Kind::Number)]);
    let far = [
        [0.0, 0.0, 0.0],
        [1e300, -1e300, 0.0],
        [1e18, 1e18 + 256.0, 1e18 + 512.0],
        [f64::MIN_POSITIVE, 0.0, -f64::MIN_POSITIVE],
        [5e-324, 1e-323, 0.0],
        [0.1, 0.100_000_000_000_000_1, 0.1],
        [1e299, 1e-299, 1.0],
        [-3.0, -2.0, -1.0],
    ];
    for numbers in far {
        let rows: Vec<Vec<Value>> = numbers.iter().map(|n| vec![json!(n), json!(n)]).collect();
        for chart in of(&fields, &rows, true, &counted(&fields, 3)) {
            assert_valid(&chart.vega_lite());
            assert_drawn(&chart);
        }
    }
    // What JSON calls a number and is none.
    let rows: Vec<Vec<Value>> = ["NaN", "Infinity", "-Infinity"].iter().map(|n| vec![json!(n), json!(n)]).collect();
    assert_drawn(&of(&fields, &rows, true, &counted(&fields, 3))[0]);
}

#[test]
fn a_design_of_the_models_is_held_against_the_columns() {
    let fields = fields(&[("day", Kind::Time), ("city", Kind::Text), ("n", Kind::Number), ("doc", Kind::Other)]);
    let rows: Vec<Vec<Value>> =
        (1..=3).map(|n| vec![json!(format!("2024-01-0{n}")), json!(format!("c{n}")), json!(n), json!({})]).collect();
    let statistics = counted(&fields, 3);
    let material = Material { fields: &fields, rows: &rows, complete: true, statistics: &statistics };
    let design = |mark, x, y, color| material.designed(&Design { mark, x, y, color });
    for (mark, x, y, color) in
        [("line", "day", "n", None), ("point", "day", "n", Some("city")), ("bar", "city", "n", None), ("bar", "n", "city", None)]
    {
        let chart = design(mark, x, y, color).unwrap_or_else(|| panic!("{mark} {x} {y}"));
        assert_valid(&chart.vega_lite());
        assert_drawn(&chart);
    }
    for (mark, x, y, color) in [
        ("line", "city", "n", None),
        ("bar", "day", "n", None),
        ("pie", "city", "n", None),
        ("line", "n", "n", None),
        ("line", "day", "doc", None),
        ("line", "day", "nowhere", None),
        ("line", "day", "n", Some("n")),
        ("line", "day", "n", Some("nowhere")),
    ] {
        assert!(design(mark, x, y, color).is_none(), "{mark} {x} {y}");
    }
    let part = Material { complete: false, ..material };
    assert!(part.designed(&Design { mark: "line", x: "day", y: "n", color: None }).is_none(), "of a part of the rows no line is the whole");
}

#[test]
fn hostile_values_are_text_on_the_page_and_in_its_drawings() {
    let names: Vec<(&str, Kind)> = HOSTILE.iter().map(|name| (*name, Kind::Text)).chain([("n", Kind::Number)]).collect();
    let fields = fields(&names);
    let rows: Vec<Vec<Value>> =
        HOSTILE.iter().enumerate().map(|(at, value)| HOSTILE.iter().map(|_| json!(value)).chain([json!(at)]).collect()).collect();
    let statistics = Statistics {
        columns: HOSTILE
            .iter()
            .map(|value| json!({"name": value, "type": value, "count": 1, "min": value, "quartiles": [value], "top": [{"value": value, "count": 2}, {"value": "b", "count": 1}]}))
            .chain([json!({"name": "n"})])
            .collect(),
        ..counted(&fields, 12)
    };
    let found = of(&fields, &rows, true, &statistics);
    for chart in &found {
        assert_valid(&chart.vega_lite());
        assert_drawn(chart);
    }
    for hostile in HOSTILE {
        let html = page(&Page {
            title: hostile,
            sql: hostile,
            narrative: Some(hostile),
            origin: hostile,
            scope: hostile,
            columns: &statistics.columns,
            charts: &found,
        });
        for bad in [
            "<script",
            "<img",
            "<!--",
            "<iframe",
            "href=",
            "onerror=alert(1)>",
            "url(",
            "@import",
            "<textarea",
            "\u{0}",
            "\u{ffff}",
            "\u{202e}",
        ] {
            assert!(!html.contains(bad), "{bad}: {html}");
        }
        assert_eq!(html.matches("<title>").count() - found.len(), 1);
        assert_eq!((html.matches("<style>").count(), html.matches("</style>").count(), html.matches("</html>").count()), (1, 1, 1));
        assert_eq!(html.matches("<svg").count(), html.matches("</svg>").count());
        assert_eq!(
            html.matches("://").count(),
            html.matches("http://www.w3.org/2000/svg").count(),
            "no address but the name of SVG: {html}"
        );
    }
}

#[test]
fn a_chart_that_was_kept_is_the_same_again() {
    let fields = fields(&[("day", Kind::Time), ("n", Kind::Number)]);
    let rows: Vec<Vec<Value>> = (1..=3).map(|n| vec![json!(format!("2024-01-0{n}")), json!(n)]).collect();
    let chart = of(&fields, &rows, true, &counted(&fields, 3)).remove(0);
    let kept: Chart = serde_json::from_str(&serde_json::to_string(&chart).unwrap()).unwrap();
    assert_eq!((&kept, kept.svg()), (&chart, chart.svg()));
}
