//! A report as one page of HTML that needs nothing beside it: no script, no address of anything.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use serde_json::Value;

use super::chart::{Chart, Point, words};
use super::prose;
use super::svg::escaped;

/// What a page shows.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    /// Its heading.
    pub title: &'a str,
    /// The query.
    pub sql: &'a str,
    /// What the model wrote, in Markdown; none where there is nothing of it.
    pub narrative: Option<&'a str>,
    /// What stands below the title: which model, when.
    pub origin: &'a str,
    /// What the statistics are of.
    pub scope: &'a str,
    /// One object a column.
    pub columns: &'a [Value],
    /// The best first.
    pub charts: &'a [Chart],
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}\
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2rem}pre{background:#f4f4f4;padding:.8rem;overflow:auto;white-space:pre-wrap}\
figure{margin:1.5rem 0;padding:0}figcaption{font-weight:600}svg{max-width:100%;height:auto}.origin{color:#555}\
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem}th,td{border:1px solid #bbb;padding:.2rem .5rem;text-align:left;vertical-align:top}\
td.n{text-align:right;font-variant-numeric:tabular-nums}caption{text-align:left;font-weight:600}summary{cursor:pointer}";

/// The page.
pub fn page(page: &Page<'_>) -> String {
    let title = shown(page.title, 300);
    let style = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n<p class=\"origin\">{}</p>\n",
        shown(page.origin, 500)
    );
    if let Some(narrative) = page.narrative {
        let _ = writeln!(html, "<section>\n{}</section>", prose::html(narrative));
    }
    if !page.charts.is_empty() {
        html.push_str("<h2>Charts</h2>\n");
        for chart in page.charts {
            put_chart(&mut html, chart);
        }
    }
    put_statistics(&mut html, page);
    let _ = writeln!(html, "<h2>Query</h2>\n<pre><code>{}</code></pre>\n</main>\n</body>\n</html>", code(page.sql));
    html
}

/// On one line.
fn shown(text: &str, most: usize) -> String {
    escaped(&words(text, most))
}

fn code(text: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .map(|line| escaped(&line.chars().map(|c| if super::chart::is_shown(c) { c } else { ' ' }).collect::<String>()))
        .collect();
    lines.join("\n")
}

fn put_chart(html: &mut String, chart: &Chart) {
    let title = shown(&chart.title, 200);
    let drawn = chart.svg().unwrap_or_else(|| "<p>There is nothing to draw.</p>\n".to_owned());
    let _ = writeln!(
        html,
        "<figure>\n{drawn}<figcaption>{title}</figcaption>\n<details><summary>Data of this chart</summary>\n<div class=\"wide\"><table>\n<caption>{title}</caption>"
    );
    let is_range = chart.points.iter().any(|point| point.end.is_some());
    let (x, y) = (shown(&chart.x.title, 200), shown(&chart.y.title, 200));
    let mut heads = if is_range { vec![format!("{x} from"), format!("{x} to"), y] } else { vec![x, y] };
    heads.extend(chart.color.as_ref().map(|color| shown(color, 200)));
    put_row(html, "th scope=\"col\"", "th", &heads);
    for Point { x, end, y, color } in &chart.points {
        let mut cells = vec![cell(x)];
        cells.extend(is_range.then(|| end.as_ref().map(cell).unwrap_or_default()));
        cells.push(cell(y));
        if chart.color.is_some() {
            cells.push(color.as_ref().map(|color| shown(color, 200)).unwrap_or_default());
        }
        put_row(html, "td", "td", &cells);
    }
    html.push_str("</table></div></details>\n</figure>\n");
}

fn put_row(html: &mut String, open: &str, close: &str, cells: &[String]) {
    html.push_str("<tr>");
    for cell in cells {
        let _ = write!(html, "<{open}>{cell}</{close}>");
    }
    html.push_str("</tr>\n");
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => shown(text, 200),
        Value::Number(number) => shown(&plain(&number.to_string()), 200),
        other => shown(&other.to_string(), 200),
    }
}

/// A mean has more digits than anybody reads.
fn plain(number: &str) -> String {
    let Some((whole, fraction)) = number.split_once('.').filter(|_| !number.contains(['e', 'E'])) else { return number.to_owned() };
    let kept = if whole.trim_start_matches(['-', '0']).is_empty() { fraction } else { fraction.get(..6).unwrap_or(fraction) };
    let kept = kept.trim_end_matches('0');
    if kept.is_empty() { whole.to_owned() } else { format!("{whole}.{kept}") }
}

fn put_statistics(html: &mut String, page: &Page<'_>) {
    let _ = writeln!(html, "<h2>Statistics</h2>\n<div class=\"wide\"><table>\n<caption>{}</caption>", shown(page.scope, 300));
    let heads = ["Column", "Type", "Values", "NULL", "Different", "Least", "Greatest", "Mean", "Quartiles", "Most frequent"];
    put_row(html, "th scope=\"col\"", "th", &heads.map(str::to_owned));
    for column in page.columns {
        let member = |name: &str| column.get(name).map(cell).unwrap_or_default();
        let quartiles = column.get("quartiles").and_then(Value::as_array).map(|list| list.iter().map(cell).collect::<Vec<_>>().join(", "));
        let top = column.get("top").and_then(Value::as_array).map(|list| {
            list.iter()
                .map(|one| {
                    format!("{} ({})", one.get("value").map(cell).unwrap_or_default(), one.get("count").map(cell).unwrap_or_default())
                })
                .collect::<Vec<_>>()
                .join(", ")
        });
        let cells = [
            member("name"),
            member("type"),
            member("count"),
            member("nulls"),
            member("distinct"),
            member("min"),
            member("max"),
            member("avg"),
            quartiles.unwrap_or_default(),
            top.unwrap_or_default(),
        ];
        put_row(html, "td", "td", &cells);
    }
    html.push_str("</table></div>\n");
}
