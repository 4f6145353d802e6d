//! Which charts a result can have, by the types of its columns. Of these a model may choose, or put another together from the same columns.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::chart::{Axis, Chart, Mark, Point, Scale, rounded, words};
use super::field::{Field, Kind};
use super::instant;
use super::statistics::{Bins, Statistics, pairs};

/// What charts are made of.
#[derive(Clone, Copy, Debug)]
pub struct Material<'a> {
    /// The columns.
    pub fields: &'a [Field],
    /// Rows that were read.
    pub rows: &'a [Vec<Value>],
    /// There are no others.
    pub complete: bool,
    /// What the database computed.
    pub statistics: &'a Statistics,
}

/// Rows of which each is a point. More are shown by what the database computes of them.
const MOST_POINTS: usize = 500;
/// Bars that fit one chart.
const MOST_BARS: usize = 30;
/// Colours that are told apart.
const MOST_COLORS: usize = 8;
/// Charts of one report, and of one kind.
const MOST_CHARTS: usize = 8;
const OF_A_KIND: usize = 3;

/// The charts of a result, the best first; none only for a result without columns.
pub fn charts(material: &Material<'_>) -> Vec<Chart> {
    let mut found = material.of_rows();
    if found.is_empty() {
        found.extend(material.over_time());
        found.extend(material.by_category());
    }
    found.extend(material.distributions());
    found.extend(material.frequencies());
    found.retain(|chart| chart.points.len() > 1);
    if found.is_empty() {
        found.extend(material.completeness());
    }
    found.truncate(MOST_CHARTS);
    for (at, chart) in found.iter_mut().enumerate() {
        chart.id = format!("c{}", at + 1);
    }
    found
}

/// How a model puts a chart together.
#[derive(Clone, Debug, Default)]
pub(super) struct Design<'a> {
    pub(super) mark: &'a str,
    pub(super) x: &'a str,
    pub(super) y: &'a str,
    pub(super) color: Option<&'a str>,
}

impl Material<'_> {
    /// The chart of a design, where the columns and their types can have it.
    pub(super) fn designed(&self, design: &Design<'_>) -> Option<Chart> {
        let at = |name: &str| self.fields.iter().position(|field| field.name == name);
        let (x, y) = (at(design.x)?, at(design.y)?);
        let (kind_x, kind_y) = (self.fields[x].kind, self.fields[y].kind);
        let is_category = |kind| matches!(kind, Kind::Text | Kind::Boolean);
        let color = match design.color {
            Some(name) => Some(at(name).filter(|at| is_category(self.fields[*at].kind))?),
            None => None,
        };
        if !self.has_points() || x == y {
            return None;
        }
        let chart = match (design.mark, kind_x, kind_y) {
            // Lying, whichever axis it was given: names have room there.
            ("bar", category, Kind::Number) if is_category(category) && color.is_none() => self.bars(x, y)?,
            ("bar", Kind::Number, category) if is_category(category) && color.is_none() => self.bars(y, x)?,
            ("line", Kind::Time | Kind::Number, Kind::Number) => self.points(Mark::Line, x, y, color)?,
            ("point", Kind::Time | Kind::Number, Kind::Number) => self.points(Mark::Point, x, y, color)?,
            _ => return None,
        };
        (!chart.points.is_empty()).then_some(chart)
    }

    fn has_points(&self) -> bool {
        self.complete && self.rows.len() <= MOST_POINTS
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = usize> + use<'_> {
        (0..self.fields.len()).filter(move |at| self.fields[*at].kind == kind)
    }

    /// Numbers that measure something; keys, where there is nothing else.
    fn measures(&self) -> Vec<usize> {
        let all: Vec<usize> = self.of_kind(Kind::Number).collect();
        let others: Vec<usize> = all.iter().copied().filter(|at| !self.fields[*at].is_key()).collect();
        if others.is_empty() { all } else { others }
    }

    fn name(&self, at: usize) -> String {
        words(&self.fields[at].name, 80)
    }

    fn distinct(&self, at: usize) -> HashSet<String> {
        self.rows.iter().filter_map(|row| row.get(at)).filter(|value| !value.is_null()).map(Value::to_string).collect()
    }

    /// Whether each row has another value, one of them perhaps NULL.
    fn is_once(&self, at: usize) -> bool {
        let nulls = self.rows.iter().filter(|row| row[at].is_null()).count();
        nulls <= 1 && self.distinct(at).len() + nulls == self.rows.len()
    }

    /// Charts whose points are the rows.
    fn of_rows(&self) -> Vec<Chart> {
        if !self.has_points() || self.rows.len() < 2 {
            return Vec::new();
        }
        let measures = self.measures();
        let mut found = Vec::new();
        if let Some(time) = self.of_kind(Kind::Time).next() {
            let color = self.of_kind(Kind::Text).find(|at| (2..=MOST_COLORS).contains(&self.distinct(*at).len()));
            for measure in measures.iter().take(OF_A_KIND) {
                found.extend(self.points(self.mark_over(time, color), time, *measure, color));
            }
        } else if let Some(category) = self.of_kind(Kind::Text).find(|at| self.is_once(*at)) {
            for measure in measures.iter().take(OF_A_KIND) {
                found.extend(self.bars(category, *measure));
            }
        }
        if let [x, y, ..] = measures.as_slice()
            && self.rows.len() > 2
        {
            found.extend(self.points(Mark::Point, *x, *y, None));
        }
        found
    }

    /// A line, where no time has two values.
    fn mark_over(&self, time: usize, color: Option<usize>) -> Mark {
        let mut seen = HashSet::new();
        let once = self.rows.iter().all(|row| seen.insert((row[time].to_string(), color.map(|at| row[at].to_string()))));
        if once { Mark::Line } else { Mark::Point }
    }

    fn points(&self, mark: Mark, x: usize, y: usize, color: Option<usize>) -> Option<Chart> {
        let scale_of = |at: usize| if self.fields[at].kind == Kind::Time { Scale::Temporal } else { Scale::Quantitative };
        let (scale_x, scale_y) = (scale_of(x), scale_of(y));
        if color.is_some_and(|at| self.distinct(at).len() > MOST_COLORS) {
            return None;
        }
        let mut points: Vec<Point> = self
            .rows
            .iter()
            .filter_map(|row| {
                let color = color.map(|at| Scale::Nominal.value(&row[at]).map_or_else(String::new, |value| text_of(&value)));
                Some(Point { x: scale_x.value(&row[x])?, end: None, y: scale_y.value(&row[y])?, color })
            })
            .collect();
        points.sort_by(|a, b| scale_x.place(&a.x).unwrap_or(0.0).total_cmp(&scale_x.place(&b.x).unwrap_or(0.0)));
        Some(Chart {
            id: String::new(),
            title: match mark {
                Mark::Line => format!("{} over {}", self.name(y), self.name(x)),
                _ => format!("{} and {}", self.name(x), self.name(y)),
            },
            mark,
            x: Axis::new(&self.fields[x].name, scale_x),
            y: Axis::new(&self.fields[y].name, scale_y),
            color: color.map(|at| self.name(at)),
            points,
        })
    }

    fn bars(&self, category: usize, measure: usize) -> Option<Chart> {
        if self.rows.len() > MOST_BARS || !self.is_once(category) {
            return None;
        }
        let bars = self.rows.iter().filter_map(|row| {
            let category = Scale::Nominal.value(&row[category]).unwrap_or_else(|| json!("(NULL)"));
            Some((text_of(&category), Scale::Quantitative.value(&row[measure])?))
        });
        let title = format!("{} by {}", self.name(measure), self.name(category));
        Some(category_bars(title, &self.fields[measure].name, &self.fields[category].name, bars))
    }

    fn over_time(&self) -> Option<Chart> {
        let (time, _, measure) = pairs(self.fields);
        let bins = Bins::read(self.statistics.by_time.as_ref()?)?;
        let points = bins.filled.iter().filter_map(|(part, mean)| {
            let (from, to) = bins.edges(*part);
            Some(Point {
                x: json!(instant::iso(f64::midpoint(from, to))?),
                end: None,
                y: Scale::Quantitative.value(&json!(mean))?,
                color: None,
            })
        });
        let (time, measure) = (time?, measure?);
        Some(Chart {
            id: String::new(),
            title: format!("Mean of {} over {}", self.name(measure), self.name(time)),
            mark: Mark::Line,
            x: Axis::new(&self.fields[time].name, Scale::Temporal),
            y: Axis::new(&format!("mean of {}", self.fields[measure].name), Scale::Quantitative),
            color: None,
            points: points.collect(),
        })
    }

    fn by_category(&self) -> Option<Chart> {
        let (_, category, measure) = pairs(self.fields);
        let (category, measure) = (category?, measure?);
        let means = self.statistics.by_category.as_ref()?.as_array()?;
        let bars = means.iter().filter_map(|pair| Some((pair[0].as_str()?.to_owned(), Scale::Quantitative.value(&pair[1])?)));
        let title = format!("Mean of {} by {}, the most frequent", self.name(measure), self.name(category));
        Some(category_bars(title, &format!("mean of {}", self.fields[measure].name), &self.fields[category].name, bars))
    }

    fn distributions(&self) -> Vec<Chart> {
        let shown = self.measures().into_iter().take(OF_A_KIND).chain(self.of_kind(Kind::Time).take(1));
        shown
            .filter_map(|at| {
                let bins = Bins::read(self.statistics.columns.get(at)?.get("bins")?)?;
                let is_time = self.fields[at].kind == Kind::Time;
                let edge = |place: f64| if is_time { instant::iso(place).map(Value::String) } else { rounded(place).map(Value::Number) };
                let points = bins.filled.iter().filter_map(|(part, count)| {
                    let (from, to) = bins.edges(*part);
                    Some(Point { x: edge(from)?, end: Some(edge(to)?), y: Value::Number(rounded(*count)?), color: None })
                });
                Some(Chart {
                    id: String::new(),
                    title: format!("Distribution of {}", self.name(at)),
                    mark: Mark::Bar,
                    x: Axis::new(&self.fields[at].name, if is_time { Scale::Temporal } else { Scale::Quantitative }),
                    y: Axis::new("rows", Scale::Quantitative),
                    color: None,
                    points: points.collect(),
                })
            })
            .collect()
    }

    fn frequencies(&self) -> Vec<Chart> {
        let texts = self.of_kind(Kind::Text).take(OF_A_KIND).filter_map(|at| {
            let top = self.statistics.columns.get(at)?.get("top")?.as_array()?;
            // Where every value is another, it says nothing.
            top.first().filter(|first| first["count"].as_u64() > Some(1))?;
            let bars = top.iter().filter_map(|one| Some((one["value"].as_str()?.to_owned(), one["count"].clone())));
            Some(category_bars(format!("Most frequent {}", self.name(at)), "rows", &self.fields[at].name, bars))
        });
        let booleans = self.of_kind(Kind::Boolean).take(OF_A_KIND).filter_map(|at| {
            let column = self.statistics.columns.get(at)?;
            let bars = [("true", "true"), ("false", "false"), ("(NULL)", "nulls")]
                .into_iter()
                .filter_map(|(shown, member)| Some((shown.to_owned(), column.get(member)?.clone())));
            Some(category_bars(format!("Values of {}", self.name(at)), "rows", &self.fields[at].name, bars))
        });
        texts.chain(booleans).collect()
    }

    /// How many values each column has that are not NULL.
    fn completeness(&self) -> Option<Chart> {
        let columns = self.statistics.columns.iter().zip(self.fields).take(MOST_BARS);
        let bars = columns.map(|(column, field)| (field.name.clone(), column.get("count").cloned().unwrap_or_else(|| json!(0))));
        (!self.fields.is_empty()).then(|| category_bars("Values that are not NULL".to_owned(), "rows", "column", bars))
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Lying bars. Categories that look the same once they are cut get a number.
fn category_bars(title: String, measure: &str, category: &str, bars: impl Iterator<Item = (String, Value)>) -> Chart {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let points = bars.map(|(category, value)| {
        let shown = words(&category, 200);
        let times = seen.entry(shown.clone()).and_modify(|times| *times += 1).or_insert(1);
        let shown = if *times > 1 { format!("{shown} ({times})") } else { shown };
        Point { x: value, end: None, y: Value::String(shown), color: None }
    });
    let points = points.collect();
    Chart {
        id: String::new(),
        title,
        mark: Mark::Bar,
        x: Axis::new(measure, Scale::Quantitative),
        y: Axis::new(category, Scale::Nominal),
        color: None,
        points,
    }
}
