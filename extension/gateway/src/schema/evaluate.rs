//! A value held against the rules.

use std::collections::HashSet;

use serde_json::Value;

use super::decimal::Decimal;
use super::document::escape;
use super::rules::{Node, NodeIndex, Rule};
use super::values::{equal, named, quoted};

/// Where a value is not what its schema wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// JSON pointer (RFC 6901) into the value; empty for the whole.
    pub(crate) place: String,
    /// What is wrong there.
    pub(crate) what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = if self.place.is_empty() { "the whole" } else { &self.place };
        write!(f, "{place}: {}", self.what)
    }
}

/// Why a value was not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// The call is to end.
    Stopped,
    /// More steps than there are allowed.
    TooMuch,
    /// Schemas within schemas, deeper than the stack may be used.
    TooDeep,
    /// A string too long for a pattern.
    LongText,
}

/// Violations that are reported; with as many, nothing more is looked for.
const MOST_VIOLATIONS: usize = 8;
/// Steps of one judgement, and so many more for each value in what is judged.
const MOST_STEPS: u64 = 1_000_000;
const STEPS_A_VALUE: u64 = 20;
/// Between two questions whether to stop: well below a millisecond.
const STEPS_BETWEEN_QUESTIONS: u64 = 4096;
/// Levels of schemas within schemas, which nest on the native stack.
const MOST_LEVELS: usize = 300;
/// Longest string that a pattern is tried on, in bytes.
pub(super) const MOST_PATTERN_TEXT: usize = 64 * 1024;
/// What some keyword has looked at, for `unevaluatedProperties` and `unevaluatedItems`.
#[derive(Default)]
pub(super) struct Seen<'v> {
    pub(super) properties: HashSet<&'v str>,
    pub(super) all_properties: bool,
    pub(super) items: HashSet<usize>,
    pub(super) first_items: usize,
    pub(super) all_items: bool,
}

impl Seen<'_> {
    fn add(&mut self, other: Self) {
        self.properties.extend(other.properties);
        self.all_properties |= other.all_properties;
        self.items.extend(other.items);
        self.first_items = self.first_items.max(other.first_items);
        self.all_items |= other.all_items;
    }
}

/// What a judgement may cost.
pub(crate) struct Steps<'s> {
    pub(super) made: u64,
    pub(super) most: u64,
    pub(super) stopped: &'s dyn Fn() -> bool,
}

impl Steps<'_> {
    /// One more.
    pub(crate) fn step(&mut self) -> Result<(), Halt> {
        self.steps(1)
    }

    /// As many more.
    pub(super) fn steps(&mut self, number: usize) -> Result<(), Halt> {
        let before = self.made / STEPS_BETWEEN_QUESTIONS;
        self.made += number as u64;
        if self.made > self.most {
            return Err(Halt::TooMuch);
        }
        if self.made / STEPS_BETWEEN_QUESTIONS > before && (self.stopped)() {
            return Err(Halt::Stopped);
        }
        Ok(())
    }
}

pub(super) struct Evaluation<'s, 'v> {
    pub(super) nodes: &'s [Node],
    pub(super) steps: Steps<'s>,
    pub(super) levels: usize,
    pub(super) place: Vec<Step<'v>>,
    pub(super) violations: Vec<Violation>,
}

#[derive(Clone, Copy)]
pub(super) enum Step<'v> {
    Name(&'v str),
    Item(usize),
}

pub(crate) fn violations(nodes: &[Node], value: &Value, stopped: &dyn Fn() -> bool) -> Result<Vec<Violation>, Halt> {
    let most = MOST_STEPS + STEPS_A_VALUE * values(value);
    let mut evaluation =
        Evaluation { nodes, steps: Steps { made: 0, most, stopped }, levels: 0, place: Vec::new(), violations: Vec::new() };
    let fits = evaluation.node(0, value, None)?;
    if !fits && evaluation.violations.is_empty() {
        evaluation.report("is not what the schema wants".to_owned());
    }
    Ok(if fits { Vec::new() } else { evaluation.violations })
}

/// How many values there are in one.
fn values(value: &Value) -> u64 {
    match value {
        Value::Array(items) => 1 + items.iter().map(values).sum::<u64>(),
        Value::Object(members) => 1 + members.values().map(values).sum::<u64>(),
        _ => 1,
    }
}

impl<'s, 'v> Evaluation<'s, 'v> {
    /// Says what is wrong here, and that it is.
    pub(super) fn report(&mut self, what: String) -> bool {
        if self.violations.len() < MOST_VIOLATIONS {
            let place = self.place.iter().fold(String::new(), |place, step| match step {
                Step::Name(name) => place + "/" + &escape(name),
                Step::Item(index) => format!("{place}/{index}"),
            });
            self.violations.push(Violation { place: crate::error::clip(&place, 200), what });
        }
        false
    }

    pub(super) fn enough(&self) -> bool {
        self.violations.len() >= MOST_VIOLATIONS
    }

    /// Whether `value` fits a schema; `seen` learns what the schema looked at.
    pub(super) fn node(&mut self, index: NodeIndex, value: &'v Value, seen: Option<&mut Seen<'v>>) -> Result<bool, Halt> {
        self.steps.step()?;
        let nodes = self.nodes;
        let node = &nodes[index];
        if node.rules.is_empty() && node.unevaluated_items.is_none() && node.unevaluated_properties.is_none() {
            return Ok(true);
        }
        if self.levels >= MOST_LEVELS {
            return Err(Halt::TooDeep);
        }
        self.levels += 1;
        let watches = seen.is_some() || node.unevaluated_items.is_some() || node.unevaluated_properties.is_some();
        let mut own = watches.then(Seen::default);
        let mut fits = true;
        for rule in &node.rules {
            fits &= self.rule(rule, value, own.as_mut())?;
            if !fits && (self.enough() || matches!(rule, Rule::Type(_))) {
                break;
            }
        }
        if fits && let Some(own) = own.as_mut() {
            fits = self.unevaluated(node, value, own)?;
        }
        if fits && let (Some(seen), Some(own)) = (seen, own) {
            seen.add(own);
        }
        self.levels -= 1;
        Ok(fits)
    }

    fn rule(&mut self, rule: &'s Rule, value: &'v Value, seen: Option<&mut Seen<'v>>) -> Result<bool, Halt> {
        match rule {
            Rule::Never => Ok(self.report("must not be there".to_owned())),
            Rule::Type(types) => Ok(types.fit(value) || self.report(format!("must be {}, not {}", types.names(), named(value)))),
            Rule::Enum(values) => {
                for allowed in values {
                    if equal(allowed, value, &mut self.steps)? {
                        return Ok(true);
                    }
                }
                let listed = values.iter().take(20).map(quoted).collect::<Vec<_>>().join(", ");
                let more = if values.len() > 20 { ", ..." } else { "" };
                Ok(self.report(format!("must be one of {listed}{more}, not {}", quoted(value))))
            }
            Rule::Const(wanted) => {
                Ok(equal(wanted, value, &mut self.steps)? || self.report(format!("must be {}, not {}", quoted(wanted), quoted(value))))
            }
            Rule::Ref(node) => self.node(*node, value, seen),
            Rule::AllOf(nodes) => self.all_of(nodes, value, seen),
            Rule::AnyOf(nodes) => self.any_of(nodes, value, seen),
            Rule::OneOf(nodes) => self.one_of(nodes, value, seen),
            Rule::Not(node) => {
                let (fits, _) = self.aside(*node, value, None)?;
                Ok(!fits || self.report("must not be what \"not\" says".to_owned()))
            }
            Rule::If { condition, then, otherwise } => self.condition(*condition, *then, *otherwise, value, seen),
            _ => match value {
                Value::Number(number) => Ok(self.number(rule, &Decimal::of(number), value)),
                Value::String(text) => self.string(rule, text),
                Value::Array(items) => self.array(rule, items, seen),
                Value::Object(members) => self.object(rule, members, value, seen),
                Value::Null | Value::Bool(_) => Ok(true),
            },
        }
    }

    /// A schema whose verdict is not yet that of the whole: its violations are handed back.
    pub(super) fn aside(&mut self, node: NodeIndex, value: &'v Value, seen: Option<&mut Seen<'v>>) -> Result<(bool, Vec<Violation>), Halt> {
        let others = std::mem::take(&mut self.violations);
        let fits = self.node(node, value, seen)?;
        Ok((fits, std::mem::replace(&mut self.violations, others)))
    }

    fn all_of(&mut self, nodes: &[NodeIndex], value: &'v Value, mut seen: Option<&mut Seen<'v>>) -> Result<bool, Halt> {
        let mut fits = true;
        for node in nodes {
            fits &= self.node(*node, value, seen.as_deref_mut())?;
            if !fits && self.enough() {
                break;
            }
        }
        Ok(fits)
    }

    fn any_of(&mut self, nodes: &[NodeIndex], value: &'v Value, mut seen: Option<&mut Seen<'v>>) -> Result<bool, Halt> {
        let mut fits = false;
        let mut reasons = Vec::new();
        for node in nodes {
            let (this, why) = self.aside(*node, value, seen.as_deref_mut())?;
            fits |= this;
            // What each of them looks at counts, so where somebody asks, none is left out.
            if fits && seen.is_none() {
                return Ok(true);
            }
            reasons.push(why);
        }
        Ok(fits || self.none_fits("anyOf", reasons))
    }

    fn one_of(&mut self, nodes: &[NodeIndex], value: &'v Value, mut seen: Option<&mut Seen<'v>>) -> Result<bool, Halt> {
        let mut fitting = Vec::new();
        let mut reasons = Vec::new();
        for (i, node) in nodes.iter().enumerate() {
            let (fits, why) = self.aside(*node, value, seen.as_deref_mut())?;
            if fits {
                fitting.push(i);
            }
            reasons.push(why);
        }
        match fitting[..] {
            [_] => Ok(true),
            [] => Ok(self.none_fits("oneOf", reasons)),
            [first, second, ..] => {
                Ok(self.report(format!("fits alternatives {} and {} of \"oneOf\", and may fit one alone", first + 1, second + 1)))
            }
        }
    }

    /// The alternative that went deepest into the value is the one that was meant; without such, all say why not.
    fn none_fits(&mut self, word: &str, reasons: Vec<Vec<Violation>>) -> bool {
        let depth = |reasons: &[Violation]| reasons.iter().map(|v| v.place.matches('/').count()).min().unwrap_or(0);
        let deepest = reasons.iter().map(|r| depth(r)).max().unwrap_or(0);
        if deepest > self.place.len() && reasons.iter().filter(|r| depth(r) == deepest).count() == 1 {
            let meant = reasons.into_iter().find(|r| depth(r) == deepest).unwrap_or_default();
            self.violations.extend(meant);
            self.violations.truncate(MOST_VIOLATIONS);
            return false;
        }
        let each = reasons.iter().take(4).filter_map(|r| r.first()).map(|v| v.what.as_str()).collect::<Vec<_>>().join("; or ");
        self.report(crate::error::clip(&format!("fits none of {} alternatives of \"{word}\": {each}", reasons.len()), 400))
    }

    fn condition(
        &mut self,
        condition: NodeIndex,
        then: Option<NodeIndex>,
        otherwise: Option<NodeIndex>,
        value: &'v Value,
        mut seen: Option<&mut Seen<'v>>,
    ) -> Result<bool, Halt> {
        let (holds, _) = self.aside(condition, value, seen.as_deref_mut())?;
        match if holds { then } else { otherwise } {
            Some(node) => self.node(node, value, seen),
            None => Ok(true),
        }
    }

    fn number(&mut self, rule: &Rule, number: &Decimal, value: &Value) -> bool {
        let (fits, what) = match rule {
            Rule::Minimum { bound, exclusive: false } => (number >= bound, "is too small"),
            Rule::Minimum { bound, exclusive: true } => (number > bound, "is too small"),
            Rule::Maximum { bound, exclusive: false } => (number <= bound, "is too large"),
            Rule::Maximum { bound, exclusive: true } => (number < bound, "is too large"),
            Rule::MultipleOf(unit) => (number.is_multiple_of(unit).unwrap_or(true), "is not a multiple of what \"multipleOf\" says"),
            _ => (true, ""),
        };
        fits || self.report(format!("{} {what}", quoted(value)))
    }

    fn string(&mut self, rule: &Rule, text: &str) -> Result<bool, Halt> {
        let length = || text.chars().count() as u64;
        Ok(match rule {
            Rule::MinLength(least) => length() >= *least || self.report(format!("must have at least {least} characters, not {}", length())),
            Rule::MaxLength(most) => length() <= *most || self.report(format!("must have at most {most} characters, not {}", length())),
            Rule::Pattern(_) if text.len() > MOST_PATTERN_TEXT => return Err(Halt::LongText),
            Rule::Pattern(pattern) => {
                self.steps.steps(text.len() / 8)?;
                pattern.is_match(text) || self.report(format!("must match the pattern {}", crate::error::clip(pattern.as_str(), 100)))
            }
            _ => true,
        })
    }
}
