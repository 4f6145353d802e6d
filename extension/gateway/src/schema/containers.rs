//! Arrays and objects held against the rules.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::evaluate::{Evaluation, Halt, MOST_PATTERN_TEXT, Seen, Step, Steps};
use super::rules::{Node, NodeIndex, Rule};
use super::values::{canonical, quote, quoted};

impl<'s, 'v> Evaluation<'s, 'v> {
    pub(super) fn array(&mut self, rule: &Rule, items: &'v [Value], seen: Option<&mut Seen<'v>>) -> Result<bool, Halt> {
        let length = items.len() as u64;
        match rule {
            Rule::MinItems(least) => Ok(length >= *least || self.report(format!("must have at least {least} items, not {length}"))),
            Rule::MaxItems(most) => Ok(length <= *most || self.report(format!("must have at most {most} items, not {length}"))),
            Rule::UniqueItems => self.unique(items),
            Rule::Items { prefix, rest } => {
                let mut fits = true;
                for (i, item) in items.iter().enumerate() {
                    let Some(node) = prefix.get(i).copied().or(*rest) else { break };
                    fits &= self.within(Step::Item(i), node, item)?;
                    if !fits && self.enough() {
                        break;
                    }
                }
                if let Some(seen) = seen {
                    seen.first_items = seen.first_items.max(prefix.len());
                    seen.all_items |= rest.is_some();
                }
                Ok(fits)
            }
            Rule::Contains { schema, least, most } => {
                let mut found = Vec::new();
                for (i, item) in items.iter().enumerate() {
                    if self.aside(*schema, item, None)?.0 {
                        found.push(i);
                    }
                }
                let number = found.len() as u64;
                if let Some(seen) = seen {
                    seen.items.extend(found);
                }
                if number < *least {
                    return Ok(self.report(format!("must have at least {least} items of a kind (\"contains\"), not {number}")));
                }
                Ok(most.is_none_or(|most| number <= most)
                    || self.report(format!("has {number} items of a kind (\"contains\"), more than \"maxContains\"")))
            }
            _ => Ok(true),
        }
    }

    pub(super) fn object(
        &mut self,
        rule: &'s Rule,
        members: &'v Map<String, Value>,
        value: &'v Value,
        mut seen: Option<&mut Seen<'v>>,
    ) -> Result<bool, Halt> {
        let number = members.len() as u64;
        let mut fits = true;
        match rule {
            Rule::MinProperties(least) => {
                fits = number >= *least || self.report(format!("must have at least {least} properties, not {number}"));
            }
            Rule::MaxProperties(most) => {
                fits = number <= *most || self.report(format!("must have at most {most} properties, not {number}"));
            }
            Rule::Required(names) => {
                for name in names {
                    self.steps.step()?;
                    fits &= members.contains_key(name) || self.report(format!("must have the property {}", quote(name)));
                }
            }
            Rule::DependentRequired(list) => {
                for (given, names) in list.iter().filter(|(given, _)| members.contains_key(given)) {
                    for name in names {
                        self.steps.step()?;
                        fits &= members.contains_key(name)
                            || self.report(format!("must have the property {}, as it has {}", quote(name), quote(given)));
                    }
                }
            }
            Rule::DependentSchemas(list) => {
                for (_, node) in list.iter().filter(|(given, _)| members.contains_key(given)) {
                    fits &= self.node(*node, value, seen.as_deref_mut())?;
                }
            }
            Rule::PropertyNames(node) => {
                for name in members.keys() {
                    let text = Value::String(name.clone());
                    // Of a text that only lives here, so by an evaluation of its own, with the same count of steps.
                    let mut names = Evaluation {
                        nodes: self.nodes,
                        steps: Steps { made: self.steps.made, most: self.steps.most, stopped: self.steps.stopped },
                        levels: self.levels,
                        place: Vec::new(),
                        violations: Vec::new(),
                    };
                    let this = names.node(*node, &text, None);
                    let why = names.violations.first().map(|v| v.what.clone()).unwrap_or_default();
                    self.steps.made = names.steps.made;
                    fits &= this? || self.report(format!("has the property {}, whose name {why}", quote(name)));
                    if !fits && self.enough() {
                        break;
                    }
                }
            }
            Rule::Properties { named, patterns, others } => {
                for (name, node) in named {
                    self.steps.step()?;
                    if let Some((name, member)) = members.get_key_value(name) {
                        fits &= self.within(Step::Name(name), *node, member)?;
                        if let Some(seen) = seen.as_deref_mut() {
                            seen.properties.insert(name);
                        }
                    }
                }
                if !patterns.is_empty() || others.is_some() {
                    fits &= self.other_properties(named, patterns, *others, members, seen)?;
                }
            }
            _ => {}
        }
        Ok(fits)
    }

    fn other_properties(
        &mut self,
        named: &[(String, NodeIndex)],
        patterns: &[(regex_lite::Regex, NodeIndex)],
        others: Option<NodeIndex>,
        members: &'v Map<String, Value>,
        mut seen: Option<&mut Seen<'v>>,
    ) -> Result<bool, Halt> {
        let known: HashSet<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
        let mut fits = true;
        for (name, member) in members {
            let mut other = !known.contains(name.as_str());
            for (pattern, node) in patterns {
                self.steps.steps(1 + name.len() / 8)?;
                if name.len() > MOST_PATTERN_TEXT {
                    return Err(Halt::LongText);
                }
                if pattern.is_match(name) {
                    other = false;
                    fits &= self.within(Step::Name(name), *node, member)?;
                    if let Some(seen) = seen.as_deref_mut() {
                        seen.properties.insert(name);
                    }
                }
            }
            if let Some(node) = others.filter(|_| other) {
                fits &= self.within(Step::Name(name), node, member)?;
            }
            if !fits && self.enough() {
                break;
            }
        }
        if let Some(seen) = seen {
            seen.all_properties |= others.is_some();
        }
        Ok(fits)
    }

    fn within(&mut self, step: Step<'v>, node: NodeIndex, value: &'v Value) -> Result<bool, Halt> {
        self.place.push(step);
        let fits = self.node(node, value, None)?;
        self.place.pop();
        Ok(fits)
    }

    pub(super) fn unevaluated(&mut self, node: &Node, value: &'v Value, seen: &mut Seen<'v>) -> Result<bool, Halt> {
        let mut fits = true;
        match value {
            Value::Object(members) => {
                if let Some(schema) = node.unevaluated_properties {
                    for (name, member) in
                        members.iter().filter(|(name, _)| !seen.all_properties && !seen.properties.contains(name.as_str()))
                    {
                        fits &= self.within(Step::Name(name), schema, member)?;
                    }
                    seen.all_properties = true;
                }
            }
            Value::Array(items) => {
                if let Some(schema) = node.unevaluated_items {
                    let first = seen.first_items;
                    for (i, item) in items.iter().enumerate().skip(first).filter(|(i, _)| !seen.all_items && !seen.items.contains(i)) {
                        fits &= self.within(Step::Item(i), schema, item)?;
                    }
                    seen.all_items = true;
                }
            }
            _ => {}
        }
        Ok(fits)
    }

    /// By neighbours in an order, as comparing each with each would take a square of their number.
    fn unique(&mut self, items: &'v [Value]) -> Result<bool, Halt> {
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            let mut text = String::new();
            canonical(item, &mut text, &mut self.steps)?;
            texts.push((text, item));
        }
        texts.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        match texts.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            None => Ok(true),
            Some(pair) => Ok(self.report(format!("has {} twice", quoted(pair[0].1)))),
        }
    }
}
