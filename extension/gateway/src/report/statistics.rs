//! The query that computes statistics of another query's result, and what it gives.
//!
//! It only names columns by position (`c1`, `c2`, ...) and holds no value; it runs under the same rules as the query in it.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::chart::rounded;
use super::field::{Field, Kind};
use super::instant;

/// Columns that have statistics; of those after them the name and the type are told.
const MOST_FIELDS: usize = 50;
/// Bars of a distribution.
const BINS: u32 = 20;
/// Points of a series over time.
const TIME_BINS: u32 = 60;
/// Most frequent values that are told, and categories that are compared.
const TOP: u32 = 10;
const CATEGORIES: u32 = 20;
/// Longest shown value, in characters.
const SHOWN: u32 = 200;

/// A distribution over equal parts of a range.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bins {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) parts: u32,
    /// Which part, from 1, and how much is in it.
    pub(super) filled: Vec<(u32, f64)>,
}

/// What the statistics query gave.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    /// Rows of the result, or of the part of it that was looked at.
    pub rows: u64,
    /// One object a column: `name`, `type`, and what its type has.
    pub columns: Vec<Value>,
    /// The mean of the first measure over time, and by category, as `(time, measure)` and `(category, measure)` of the fields.
    pub(super) by_time: Option<Value>,
    pub(super) by_category: Option<Value>,
}

/// The query for statistics of `query`, which must be one statement that reads, without a semicolon: of its whole result, or its first rows.
pub fn statistics_query(query: &str, fields: &[Field], first: Option<usize>) -> String {
    let shown = &fields[..fields.len().min(MOST_FIELDS)];
    let mut sql = String::from("WITH q AS MATERIALIZED (SELECT ");
    let taken: Vec<String> = shown.iter().enumerate().map(|(at, field)| taken(at + 1, field.kind)).collect();
    sql.push_str(&taken.join(", "));
    let _ = write!(sql, " FROM (\n{query}\n) AS r");
    if !fields.is_empty() {
        let names: Vec<String> = (1..=fields.len()).map(|at| format!("c{at}")).collect();
        let _ = write!(sql, " ({})", names.join(", "));
    }
    if let Some(first) = first {
        let _ = write!(sql, " LIMIT {first}");
    }
    sql.push_str(") SELECT pg_catalog.count(*) AS rows");
    for (at, field) in shown.iter().enumerate() {
        let _ = write!(sql, ", {} AS s{}", of_column(at + 1, field.kind), at + 1);
    }
    let (time, category, measure) = pairs(shown);
    let mean = |measure: usize| format!("pg_catalog.avg(q.c{})", measure + 1);
    if let (Some(time), Some(measure)) = (time, measure) {
        let _ = write!(sql, ", {} AS by_time", binned(&place(time + 1, Kind::Time), TIME_BINS, &mean(measure)));
    }
    if let (Some(category), Some(measure)) = (category, measure) {
        let _ = write!(
            sql,
            ", (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(pg_catalog.left(t.v, {SHOWN}), t.m) ORDER BY t.n DESC, t.v) \
              FROM (SELECT q.c{0} AS v, {1} AS m, pg_catalog.count(*) AS n FROM q WHERE q.c{0} IS NOT NULL GROUP BY q.c{0} ORDER BY 3 DESC, 1 LIMIT {CATEGORIES}) AS t) \
             AS by_category",
            category + 1,
            mean(measure)
        );
    }
    sql + " FROM q"
}

/// A time, a category and a measure that are shown together.
pub(super) fn pairs(fields: &[Field]) -> (Option<usize>, Option<usize>, Option<usize>) {
    let fields = &fields[..fields.len().min(MOST_FIELDS)];
    let first = |kind| fields.iter().position(|field| field.kind == kind);
    let measure = fields.iter().position(|field| field.kind == Kind::Number && !field.is_key()).or_else(|| first(Kind::Number));
    (first(Kind::Time), first(Kind::Text), measure)
}

/// Numbers are numeric, where no sum overflows; texts are compared byte by byte, where every collation is known.
fn taken(at: usize, kind: Kind) -> String {
    match kind {
        Kind::Number => format!("r.c{at}::pg_catalog.numeric AS c{at}"),
        Kind::Text => format!("(r.c{at}::pg_catalog.text COLLATE pg_catalog.\"C\") AS c{at}"),
        Kind::Other => format!("pg_catalog.md5(r.c{at}::pg_catalog.text) AS c{at}"),
        Kind::Time | Kind::Clock | Kind::Boolean => format!("r.c{at} AS c{at}"),
    }
}

fn of_column(at: usize, kind: Kind) -> String {
    let c = format!("c{at}");
    let mut members = format!("'count', pg_catalog.count({c}), 'distinct', pg_catalog.count(DISTINCT {c})");
    match kind {
        Kind::Number => {
            let _ = write!(
                members,
                ", 'min', pg_catalog.min({c}), 'max', pg_catalog.max({c}), 'avg', pg_catalog.avg({c}), 'stddev', pg_catalog.stddev_samp({c}), \
                 'quartiles', pg_catalog.percentile_disc('{{0.25,0.5,0.75}}'::pg_catalog.float8[]) WITHIN GROUP (ORDER BY {c}), 'bins', {}",
                binned(&place(at, kind), BINS, "pg_catalog.count(*)")
            );
        }
        Kind::Time => {
            let _ = write!(
                members,
                ", 'min', pg_catalog.min({c}), 'max', pg_catalog.max({c}), 'bins', {}",
                binned(&place(at, kind), BINS, "pg_catalog.count(*)")
            );
        }
        Kind::Clock => {
            let _ = write!(members, ", 'min', pg_catalog.min({c})::pg_catalog.text, 'max', pg_catalog.max({c})::pg_catalog.text");
        }
        Kind::Boolean => {
            let _ =
                write!(members, ", 'true', pg_catalog.count(*) FILTER (WHERE {c}), 'false', pg_catalog.count(*) FILTER (WHERE NOT {c})");
        }
        Kind::Text => {
            let length = format!("pg_catalog.char_length({c})");
            let _ = write!(
                members,
                ", 'min_length', pg_catalog.min({length}), 'max_length', pg_catalog.max({length}), 'top', \
                 (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('value', pg_catalog.left(t.v, {SHOWN}), 'count', t.n) ORDER BY t.n DESC, t.v) \
                    FROM (SELECT q.{c} AS v, pg_catalog.count(*) AS n FROM q WHERE q.{c} IS NOT NULL GROUP BY q.{c} ORDER BY 2 DESC, 1 LIMIT {TOP}) AS t)"
            );
        }
        Kind::Other => {}
    }
    format!("pg_catalog.jsonb_build_object({members})")
}

/// A value's place on an axis of double precision; NULL where it has none.
fn place(at: usize, kind: Kind) -> String {
    let c = format!("q.c{at}");
    if kind == Kind::Time {
        format!("CASE WHEN pg_catalog.isfinite({c}) THEN pg_catalog.date_part('epoch', {c}) END")
    } else {
        // Beyond are overflow, underflow, infinity and NaN.
        format!(
            "CASE WHEN ({c} OPERATOR(pg_catalog.>=) (-1e300)::pg_catalog.numeric) AND ({c} OPERATOR(pg_catalog.<=) 1e300::pg_catalog.numeric) \
             THEN pg_catalog.round({c}, 100)::pg_catalog.float8 END"
        )
    }
}

/// `{"low", "high", "parts", "filled": [[part, measure], ...]}`.
fn binned(place: &str, parts: u32, measure: &str) -> String {
    format!(
        "(SELECT pg_catalog.jsonb_build_object('low', pg_catalog.min(b.low), 'high', pg_catalog.max(b.high), 'parts', {parts}, \
           'filled', pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(b.part, b.m) ORDER BY b.part)) \
         FROM (SELECT e.low, e.high, CASE WHEN e.low OPERATOR(pg_catalog.<) e.high \
                        THEN LEAST(pg_catalog.width_bucket({place}, e.low, e.high, {parts}), {parts}) ELSE 1 END AS part, {measure} AS m \
                 FROM q, (SELECT pg_catalog.min({place}) AS low, pg_catalog.max({place}) AS high FROM q) AS e \
                WHERE ({place}) IS NOT NULL GROUP BY 1, 2, 3) AS b)"
    )
}

impl Bins {
    pub(super) fn read(value: &Value) -> Option<Self> {
        let filled = value["filled"].as_array()?;
        Some(Self {
            low: value["low"].as_f64()?,
            high: value["high"].as_f64()?,
            parts: u32::try_from(value["parts"].as_u64()?).ok().filter(|parts| *parts > 0)?,
            filled: filled.iter().filter_map(|pair| Some((u32::try_from(pair[0].as_u64()?).ok()?, pair[1].as_f64()?))).collect(),
        })
    }

    /// Where a part begins and ends.
    pub(super) fn edges(&self, part: u32) -> (f64, f64) {
        let width = (self.high - self.low) / f64::from(self.parts);
        (self.low + width * f64::from(part.saturating_sub(1)), self.low + width * f64::from(part))
    }
}

impl Statistics {
    /// Reads the one row that [`statistics_query`] gives, in the order of its columns.
    pub fn read(fields: &[Field], row: &[Value]) -> Self {
        let mut values = row.iter();
        let rows = values.next().and_then(Value::as_u64).unwrap_or(0);
        let columns = fields
            .iter()
            .enumerate()
            .map(|(at, field)| {
                let mut column = Map::new();
                column.insert("name".into(), json!(field.name));
                column.insert("type".into(), json!(field.type_name));
                if let Some(Value::Object(members)) = (at < MOST_FIELDS).then(|| values.next()).flatten() {
                    let count = members.get("count").and_then(Value::as_u64).unwrap_or(0);
                    column.insert("nulls".into(), json!(rows.saturating_sub(count)));
                    column.extend(members.clone());
                }
                Value::Object(column)
            })
            .collect();
        let (time, category, measure) = pairs(fields);
        let mut next = |is_there: bool| is_there.then(|| values.next().filter(|value| !value.is_null()).cloned()).flatten();
        let by_time = next(time.is_some() && measure.is_some());
        let by_category = next(category.is_some() && measure.is_some());
        Self { rows, columns, by_time, by_category }
    }

    /// What is shown of a column: its distribution as ranges with counts.
    pub fn shown(&self, fields: &[Field]) -> Vec<Value> {
        self.columns
            .iter()
            .zip(fields)
            .map(|(column, field)| {
                let mut column = column.clone();
                if let Some(members) = column.as_object_mut()
                    && let Some(bins) = members.remove("bins")
                {
                    members.insert("histogram".into(), histogram(&bins, field.kind));
                }
                column
            })
            .collect()
    }

    /// Counts, types and names alone, without any value.
    pub(super) fn without_values(&self) -> Vec<Value> {
        const COUNTS: [&str; 9] = ["name", "type", "count", "nulls", "distinct", "true", "false", "min_length", "max_length"];
        self.columns
            .iter()
            .map(|column| match column {
                Value::Object(members) => Value::Object(
                    members.iter().filter(|(name, _)| COUNTS.contains(&name.as_str())).map(|(name, v)| (name.clone(), v.clone())).collect(),
                ),
                other => other.clone(),
            })
            .collect()
    }
}

fn histogram(given: &Value, kind: Kind) -> Value {
    let Some(bins) = Bins::read(given) else { return Value::Null };
    let edge = |at: f64| if kind == Kind::Time { json!(instant::iso(at)) } else { json!(rounded(at)) };
    let bars = bins.filled.iter().enumerate().map(|(at, (part, _))| {
        let (from, to) = bins.edges(*part);
        json!({"from": edge(from), "to": edge(to), "count": given["filled"][at][1]})
    });
    Value::Array(bars.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, kind: Kind) -> Field {
        Field { name: name.into(), type_name: "t".into(), kind }
    }

    #[test]
    fn no_name_of_the_result_gets_into_the_query() {
        let kinds = [Kind::Number, Kind::Time, Kind::Clock, Kind::Boolean, Kind::Text, Kind::Other];
        let fields: Vec<Field> = kinds.map(|kind| field("\"; DROP TABLE t --", kind)).to_vec();
        let sql = statistics_query("SELECT 1 -- a comment", &fields, Some(10));
        assert!(!sql.contains("DROP") && sql.contains("SELECT 1 -- a comment\n) AS r (c1, c2, c3, c4, c5, c6) LIMIT 10)"), "{sql}");
    }

    #[test]
    fn a_wide_result_has_statistics_of_its_first_columns_and_the_names_of_all() {
        let fields: Vec<Field> = (0..1600).map(|n| field(&format!("n{n}"), Kind::Number)).collect();
        assert!(statistics_query("SELECT 1", &fields, None).len() < 128 << 10);
        let row: Vec<Value> = std::iter::once(json!(3)).chain((0..MOST_FIELDS).map(|_| json!({"count": 1}))).collect();
        let statistics = Statistics::read(&fields, &row);
        assert_eq!((statistics.rows, statistics.columns.len()), (3, 1600));
        assert_eq!((&statistics.columns[0]["nulls"], statistics.columns[1599].get("nulls")), (&json!(2), None));
    }

    #[test]
    fn pairs_are_read_where_the_query_asks_for_them() {
        let fields = [field("at", Kind::Time), field("city", Kind::Text), field("customer_id", Kind::Number), field("price", Kind::Number)];
        assert_eq!(pairs(&fields), (Some(0), Some(1), Some(3)));
        let row = [json!(1), json!({}), json!({}), json!({}), json!({}), json!({"parts": 60}), json!([["Bonn", 1]])];
        let statistics = Statistics::read(&fields, &row);
        assert_eq!((statistics.by_time, statistics.by_category), (Some(json!({"parts": 60})), Some(json!([["Bonn", 1]]))));
        let statistics = Statistics::read(&fields[1..], &[json!(1), json!({}), json!({}), json!({}), json!([["Bonn", 1]])]);
        assert_eq!((statistics.by_time, statistics.by_category), (None, Some(json!([["Bonn", 1]]))));
    }

    #[test]
    fn without_values_there_are_counts_alone() {
        let column = json!({"name": "a", "type": "text", "count": 1, "top": [{"value": "secret"}], "min": "secret", "bins": {}});
        let statistics = Statistics { rows: 1, columns: vec![column], by_time: None, by_category: None };
        assert_eq!(json!(statistics.without_values()), json!([{"name": "a", "type": "text", "count": 1}]));
    }
}
