//! A filter that replaces what regular expressions match, line by line.
//!
//! Configuration: `rules`, an array of objects, applied in their order:
//! - `pattern`: a regular expression in the syntax of Rust's `regex-lite`: no look-around and no back-references, so that the time is linear in the text
//!   whatever the pattern. `\d`, `\w`, `\s` and `\b` are of ASCII.
//! - `replacement`: what stands there instead; `$1` or `${name}` is a group, `$$` a dollar.
//! - `ignore_case`: of ASCII letters; by default not.
//! - `sides`: `prompt`, `answer` or `both` (default).
//!
//! A line is what stands between line feeds, and of a longer one 4,096 bytes; no match reaches beyond it, and an answer is held back up to it. At most 64
//! rules of at most 1,024 bytes each; a text may grow to sixteen times its length, and 64 kB.

use std::mem::take;

use pg_llm_guest::filter::{Channel, Config, FilterDescription, PromptVerdict, ResponseFilter, Sides, Verdict, change_json, change_texts};
use pg_llm_guest::prelude::*;
use regex_lite::{Regex, RegexBuilder};

const SCHEMA: &str = r#"{"type":"object","required":["rules"],"properties":{"rules":{"type":"array","maxItems":64,"items":{"type":"object","required":["pattern"],"properties":{"pattern":{"type":"string","maxLength":1024},"replacement":{"type":"string","maxLength":1024},"ignore_case":{"type":"boolean"},"sides":{"enum":["prompt","answer","both"]}},"additionalProperties":false}}},"additionalProperties":false}"#;
const RULES: usize = 64;
const RULE_BYTES: usize = 1024;
/// Bytes of a compiled pattern.
const COMPILED_BYTES: usize = 256 << 10;
/// Longest line, in bytes; cut after white space where there is any in its second half.
const LINE: usize = 4096;

/// The filter.
pub struct RegexReplace;

impl Filter for RegexReplace {
    type Response = AnswerSide;

    fn describe() -> FilterDescription {
        let summary = "Replaces what regular expressions match.";
        FilterDescription::new("regex-replace", env!("CARGO_PKG_VERSION"), summary, Sides::PROMPT | Sides::RESPONSE, SCHEMA)
    }

    fn prompt(config: &str, mut messages: Vec<Message>) -> Result<PromptVerdict, String> {
        // The rules for answers are compiled too, so that a mistake in one is told at once.
        let rules = Rule::parse(config)?;
        let changed = change_texts(&mut messages, &mut |_, text| replace_all(&rules, Rule::in_prompts, text))?;
        Ok(if changed { PromptVerdict::Change((messages, None)) } else { PromptVerdict::Pass })
    }

    fn response(config: &str, channel: Channel, _memo: Option<&str>) -> Result<AnswerSide, String> {
        let mut rules = Rule::parse(config)?;
        rules.retain(|rule| rule.in_answers() && channel != Channel::Thinking);
        Ok(AnswerSide { rules, in_json: channel == Channel::ToolArguments, held: String::new(), growth: Growth::default() })
    }
}

struct Rule {
    regex: Regex,
    replacement: String,
    side: &'static str,
}

impl Rule {
    fn parse(config: &str) -> Result<Vec<Self>, String> {
        let config = Config::parse(config, &["rules"])?;
        let rules = config
            .objects("rules", &["pattern", "replacement", "ignore_case", "sides"])?
            .ok_or("configuration key \"rules\" is missing")?;
        if rules.len() > RULES {
            return Err(format!("more than {RULES} rules"));
        }
        rules.iter().map(Self::of).collect()
    }

    fn of(rule: &Config) -> Result<Self, String> {
        let pattern = rule.text("pattern")?.ok_or("a rule has no \"pattern\"")?;
        let replacement = rule.text("replacement")?.unwrap_or_default();
        if pattern.len() > RULE_BYTES || replacement.len() > RULE_BYTES {
            return Err(format!("a pattern or replacement is longer than {RULE_BYTES} bytes"));
        }
        let regex = RegexBuilder::new(pattern)
            .case_insensitive(rule.flag("ignore_case")?.unwrap_or_default())
            .size_limit(COMPILED_BYTES)
            .nest_limit(32)
            .build()
            .map_err(|error| format!("the pattern \"{pattern}\" cannot be used: {error}"))?;
        let side = rule.word("sides", &["prompt", "answer", "both"])?.unwrap_or("both");
        Ok(Self { regex, replacement: replacement.to_owned(), side })
    }

    fn in_prompts(&self) -> bool {
        self.side != "answer"
    }

    fn in_answers(&self) -> bool {
        self.side != "prompt"
    }
}

/// How much a text has grown.
#[derive(Default)]
struct Growth {
    taken: usize,
    given: usize,
}

impl Growth {
    fn add(&mut self, taken: usize, given: usize) -> Result<(), String> {
        self.taken += taken;
        self.given += given;
        if self.given > self.taken.saturating_mul(16).saturating_add(64 << 10) {
            return Err("the replacements make the text more than sixteen times longer".to_owned());
        }
        Ok(())
    }
}

/// One line, without its end, through all rules.
fn replace_line(rules: &[Rule], used: impl Fn(&Rule) -> bool, line: &str, growth: &mut Growth) -> Result<String, String> {
    let mut text = line.to_owned();
    for rule in rules.iter().filter(|rule| used(rule)) {
        if rule.regex.is_match(&text) {
            text = rule.regex.replace_all(&text, rule.replacement.as_str()).into_owned();
            growth.add(0, text.len().saturating_sub(line.len()))?;
        }
    }
    growth.add(line.len(), 0)?;
    Ok(text)
}

/// Where the first line of a text ends, its line feed included; none when that is not known yet.
fn line_end(text: &str) -> Option<usize> {
    let mut most = text.len().min(LINE);
    if let Some(at) = text.as_bytes()[..most].iter().position(|byte| *byte == b'\n') {
        return Some(at + 1);
    }
    if text.len() < LINE {
        return None;
    }
    while !text.is_char_boundary(most) {
        most -= 1;
    }
    let space = text.as_bytes()[..most].iter().rposition(u8::is_ascii_whitespace).map(|at| at + 1);
    Some(space.filter(|at| *at >= LINE / 2).unwrap_or(most))
}

fn replace(
    rules: &[Rule],
    used: impl Fn(&Rule) -> bool + Copy,
    text: &str,
    ended: bool,
    growth: &mut Growth,
) -> Result<(String, usize), String> {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let end = match line_end(rest) {
            Some(end) => end,
            None if ended && !rest.is_empty() => rest.len(),
            None => return Ok((out, at)),
        };
        let line = &rest[..end];
        let body = line.strip_suffix('\n').unwrap_or(line);
        out.push_str(&replace_line(rules, used, body, growth)?);
        out.push_str(&line[body.len()..]);
        at += end;
    }
}

fn replace_all(rules: &[Rule], used: impl Fn(&Rule) -> bool + Copy, text: &str) -> Result<Option<String>, String> {
    let (out, _) = replace(rules, used, text, true, &mut Growth::default())?;
    Ok((out != text).then_some(out))
}

/// One channel of an answer.
pub struct AnswerSide {
    rules: Vec<Rule>,
    in_json: bool,
    held: String,
    growth: Growth,
}

impl ResponseFilter for AnswerSide {
    fn push(&mut self, text: &str) -> Result<Verdict, String> {
        if self.rules.is_empty() {
            return Ok(Verdict::Emit(text.to_owned()));
        }
        self.held.push_str(text);
        if self.in_json {
            return Ok(Verdict::Emit(String::new()));
        }
        let held = take(&mut self.held);
        let (out, done) = replace(&self.rules, |_| true, &held, false, &mut self.growth)?;
        held[done..].clone_into(&mut self.held);
        Ok(Verdict::Emit(out))
    }

    fn finish(&mut self) -> Result<Verdict, String> {
        let held = take(&mut self.held);
        if self.in_json {
            let changed = change_json(&held, &mut |text| replace_all(&self.rules, |_| true, text))?;
            return Ok(Verdict::Emit(changed.unwrap_or(held)));
        }
        let (out, _) = replace(&self.rules, |_| true, &held, true, &mut self.growth)?;
        Ok(Verdict::Emit(out))
    }
}

pg_llm_guest::filter!(RegexReplace);
