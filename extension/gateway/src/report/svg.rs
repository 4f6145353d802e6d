//! Charts as SVG, drawn with plotters.
//!
//! Its own axes of floating point numbers walk from mark to mark by addition, which need not end for every range. Ours have at most a dozen marks, whatever the data is.

use std::ops::Range;

use plotters::chart::{ChartBuilder, ChartContext, SeriesLabelPosition};
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::drawing::{DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Rectangle};
use plotters::series::LineSeries;
use plotters::style::{BLACK, Color, RGBColor, WHITE};
use plotters_svg::SVGBackend;

use super::chart::{Axis, Chart, Mark, Point, Scale};
use super::instant;

/// Pixels.
const WIDTH: u32 = 720;
const HEIGHT: u32 = 360;
const BAR: u32 = 26;
/// Longest label of a category, in characters: the whole one is in the table beside the chart.
const LABEL: usize = 22;
/// Marks on an axis.
const MARKS: u32 = 8;
/// Colours that differ for the colour-blind too (Okabe and Ito).
const COLORS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(102, 102, 102),
    RGBColor(0, 0, 0),
];

type Drawn<T> = Result<T, DrawingAreaErrorKind<std::io::Error>>;
/// A colour's name and the places of its points.
type Group<'n> = (Option<&'n str>, Vec<(f64, f64)>);
type Canvas<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Line, Line>>;

impl Chart {
    /// An `svg` element with its title in it. None where nothing can be drawn.
    pub(super) fn svg(&self) -> Option<String> {
        let shown: Vec<&Point> = self.points.iter().filter(|point| self.places(point).is_some()).collect();
        if shown.is_empty() {
            return None;
        }
        let mut drawn = String::new();
        self.draw(&shown, &mut drawn).ok()?;
        let (head, rest) = drawn.split_once('>')?;
        let title = escaped(&self.title);
        Some(format!("{head} role=\"img\" aria-label=\"{title}\"><title>{title}</title>{rest}"))
    }

    /// Where a point is, if it is anywhere.
    fn places(&self, point: &Point) -> Option<(f64, f64)> {
        let x = self.x.scale.place(&point.x)?;
        match self.y.scale {
            Scale::Nominal => Some((x, 0.0)),
            scale => Some((x, scale.place(&point.y)?)),
        }
    }

    fn draw(&self, shown: &[&Point], into: &mut String) -> Drawn<()> {
        let names: Vec<String> = shown.iter().map(|point| label_of(point)).collect();
        let is_lying = self.y.scale == Scale::Nominal;
        let xs =
            shown.iter().flat_map(|point| [Some(&point.x), point.end.as_ref()]).flatten().filter_map(|value| self.x.scale.place(value));
        let x = Line::over(xs, &self.x, is_lying);
        let y = if is_lying {
            Line::of_names(names)
        } else {
            Line::over(shown.iter().filter_map(|point| self.y.scale.place(&point.y)), &self.y, self.mark == Mark::Bar)
        };
        let height = if is_lying { 90 + BAR * u32::try_from(shown.len()).unwrap_or(1).min(60) } else { HEIGHT };
        let area = SVGBackend::with_string(into, (WIDTH, height)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut canvas = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(46)
            .y_label_area_size(if is_lying { 190 } else { 80 })
            .build_cartesian_2d(x, y)?;
        let mut mesh = canvas.configure_mesh();
        mesh.light_line_style(WHITE).bold_line_style(BLACK.mix(0.1)).axis_style(BLACK.mix(0.5)).x_desc(short(&self.x.title, 60));
        if is_lying {
            mesh.disable_y_mesh().y_labels(shown.len());
        } else {
            mesh.y_desc(short(&self.y.title, 40));
        }
        mesh.draw()?;
        match self.mark {
            Mark::Bar if is_lying => self.draw_lying(shown, &mut canvas)?,
            Mark::Bar => self.draw_standing(shown, &mut canvas)?,
            Mark::Line | Mark::Point => self.draw_points(shown, &mut canvas)?,
        }
        drop(canvas);
        area.present()
    }

    fn draw_lying(&self, shown: &[&Point], canvas: &mut Canvas<'_, '_>) -> Drawn<()> {
        let bars = shown.iter().enumerate().filter_map(|(at, point)| {
            let (value, _) = self.places(point)?;
            let middle = position(at);
            Some(Rectangle::new([(0.0, middle - 0.35), (value, middle + 0.35)], COLORS[0].filled()))
        });
        canvas.draw_series(bars).map(|_| ())
    }

    fn draw_standing(&self, shown: &[&Point], canvas: &mut Canvas<'_, '_>) -> Drawn<()> {
        let bars = shown.iter().filter_map(|point| {
            let (from, height) = self.places(point)?;
            let to = point.end.as_ref().and_then(|end| self.x.scale.place(end)).unwrap_or(from);
            Some(Rectangle::new([(from, 0.0), (to, height)], COLORS[0].mix(0.8).filled()))
        });
        canvas.draw_series(bars).map(|_| ())
    }

    fn draw_points<'a, 'b: 'a>(&self, shown: &[&Point], canvas: &mut Canvas<'a, 'b>) -> Drawn<()> {
        let mut groups: Vec<Group<'_>> = Vec::new();
        for point in shown {
            let Some(place) = self.places(point) else { continue };
            let color = point.color.as_deref();
            match groups.iter_mut().find(|(name, _)| *name == color) {
                Some((_, places)) => places.push(place),
                None => groups.push((color, vec![place])),
            }
        }
        let has_names = groups.iter().any(|(name, _)| name.is_some());
        for ((name, places), color) in groups.into_iter().zip(COLORS.iter().cycle()) {
            let color = *color;
            if self.mark == Mark::Line {
                canvas.draw_series(LineSeries::new(places.iter().copied(), color.stroke_width(2)))?;
            }
            let dots = places.iter().map(|place| Circle::new(*place, 3, color.mix(0.7).filled()));
            let series = canvas.draw_series(dots)?;
            if let Some(name) = name {
                series.label(short(name, LABEL)).legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 14, y)], color.stroke_width(4)));
            }
        }
        if has_names {
            let mut legend = canvas.configure_series_labels();
            legend.position(SeriesLabelPosition::UpperRight).background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.2));
            legend.draw()?;
        }
        Ok(())
    }
}

fn label_of(point: &Point) -> String {
    short(point.y.as_str().unwrap_or_default(), LABEL)
}

fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most { text.to_owned() } else { text.chars().take(most - 1).chain(['…']).collect() }
}

/// The middle of a bar.
fn position(at: usize) -> f64 {
    f64::from(u32::try_from(at).unwrap_or(u32::MAX)) + 0.5
}

/// For an attribute or text.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// A direction of a chart: a range of places, and a dozen of them with labels.
#[derive(Clone)]
struct Line {
    range: Range<f64>,
    marks: Vec<f64>,
    labels: Vec<String>,
    /// The first is on top.
    down: bool,
}

impl Line {
    /// Over all these places, and zero if it must be.
    fn over(places: impl Iterator<Item = f64>, axis: &Axis, with_zero: bool) -> Self {
        let is_time = axis.scale == Scale::Temporal;
        let zero = (with_zero && !is_time).then_some(0.0);
        let (low, high) = places.chain(zero).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), at| (low.min(at), high.max(at)));
        // A range of nothing is widened to something that its digits can tell apart.
        let room = if high > low { 0.0 } else { (low.abs() * 0.1).max(if is_time { 43_200.0 } else { 0.5 }) };
        let (low, high) = (low - room, high + room);
        let (marks, step) = marks(low, high, is_time);
        let labels = marks.iter().map(|mark| if is_time { instant::label(*mark, step) } else { number(*mark, step) }).collect();
        Self { range: low..high, marks, labels, down: false }
    }

    fn of_names(labels: Vec<String>) -> Self {
        let marks: Vec<f64> = (0..labels.len()).map(position).collect();
        Self { range: 0.0..marks.last().map_or(1.0, |last| last + 0.5), marks, labels, down: true }
    }
}

/// Round numbers in a range, and how far they are apart.
fn marks(low: f64, high: f64, is_time: bool) -> (Vec<f64>, f64) {
    const TIMES: [f64; 16] = [
        1.0,
        5.0,
        15.0,
        60.0,
        300.0,
        900.0,
        3600.0,
        10_800.0,
        21_600.0,
        86_400.0,
        172_800.0,
        604_800.0,
        2_629_746.0,
        7_889_238.0,
        31_556_952.0,
        157_784_760.0,
    ];
    let rough = (high - low) / f64::from(MARKS);
    let power = 10f64.powf(rough.log10().floor());
    let decimal = [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|step| *step >= rough).unwrap_or(rough);
    let step = if is_time { TIMES.into_iter().find(|step| *step >= rough).unwrap_or(decimal) } else { decimal };
    let first = (low / step).ceil();
    let marks =
        (0..=MARKS).map(|at| (first + f64::from(at)) * step).filter(|mark| mark.is_finite() && (low..=high).contains(mark)).collect();
    (marks, step)
}

/// With as many decimals as the step has.
fn number(value: f64, step: f64) -> String {
    let size = value.abs().max(step);
    if !(1e-6..1e9).contains(&size) {
        return format!("{value:.3e}");
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let decimals = (-step.log10()).ceil().clamp(0.0, 9.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.trim_start_matches('-').chars().all(|c| matches!(c, '0' | '.')) { "0".to_owned() } else { text }
}

impl Ranged for Line {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    #[allow(clippy::cast_possible_truncation, reason = "pixels")]
    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let part = ((value - self.range.start) / (self.range.end - self.range.start)).clamp(0.0, 1.0);
        let part = if self.down { 1.0 - part } else { part };
        let (from, to) = (f64::from(limit.0), f64::from(limit.1));
        if part.is_finite() { (from + (to - from) * part).round() as i32 } else { limit.0 }
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.marks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Line {
    fn format_ext(&self, value: &f64) -> String {
        let at = self.marks.iter().position(|mark| (mark - value).abs() <= f64::EPSILON * value.abs());
        at.and_then(|at| self.labels.get(at)).cloned().unwrap_or_default()
    }
}
