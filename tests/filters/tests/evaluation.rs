//! Precision and recall on the sets in `evaluation/`, which were written for this. Every template is filled with values from five seeds. The tables that this
//! prints (`--nocapture`) stand in `docs/filters.md`; below the thresholds, the test fails.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use pg_llm_filter_pii_redact::PiiRedact;
use pg_llm_filter_prompt_guard::assess;
use pg_llm_filter_secret_redact::SecretRedact;
use pg_llm_filter_tests::prompt;
use pg_llm_filter_tests::values::{Line, expand};
use pg_llm_guest::prelude::*;
use pg_llm_guest::serde_json;
use pg_llm_guest::testing::mutation::Random;

const SEEDS: u64 = 5;

fn set(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn lines(set: &str, seed: u64) -> impl Iterator<Item = Line> + '_ {
    let mut random = Random::new(seed * 7919 + 1);
    set.lines().map(move |line| {
        let line: Value = serde_json::from_str(line).unwrap();
        expand(line["text"].as_str().unwrap(), &mut random)
    })
}

#[derive(Default, Clone)]
struct Score {
    hit: usize,
    missed: usize,
    wrong: usize,
}

impl Score {
    #[allow(clippy::cast_precision_loss)]
    fn share(part: usize, rest: usize) -> f64 {
        if part + rest == 0 { 1.0 } else { part as f64 / (part + rest) as f64 }
    }

    fn precision(&self) -> f64 {
        Self::share(self.hit, self.wrong)
    }

    fn recall(&self) -> f64 {
        Self::share(self.hit, self.missed)
    }
}

fn table(scores: &BTreeMap<String, Score>) -> String {
    let mut table = "| kind | to be found | found | missed | wrong | precision | recall |\n|---|---|---|---|---|---|---|\n".to_owned();
    for (kind, score) in scores {
        let Score { hit, missed, wrong } = score;
        let _ = writeln!(
            table,
            "| {kind} | {} | {hit} | {missed} | {wrong} | {:.3} | {:.3} |",
            hit + missed,
            score.precision(),
            score.recall()
        );
    }
    table
}

/// Where the filter found something: `[KIND_1]` or `[KIND]` in what it made of the text.
fn detections(line: &str, out: &str, memo: Option<&str>) -> Vec<(String, Range<usize>)> {
    let memo: Value = memo.map_or(Value::Null, |memo| serde_json::from_str(memo).unwrap());
    let (mut at, mut rest, mut all) = (0, out, Vec::new());
    while !rest.is_empty() {
        if line[at..].starts_with(rest.chars().next().unwrap()) && !is_placeholder(line, at, rest) {
            let length = rest.chars().next().unwrap().len_utf8();
            (at, rest) = (at + length, &rest[length..]);
            continue;
        }
        let end = rest.find(']').unwrap();
        let placeholder = &rest[..=end];
        rest = &rest[end + 1..];
        let name = placeholder.trim_matches(['[', ']']).trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_').to_lowercase();
        // Up to where the text goes on, when the value is not known.
        let next: String = rest.chars().take_while(|c| *c != '[').take(12).collect();
        let to_next = if next.is_empty() { None } else { line[at..].find(&next) };
        let length = memo[placeholder].as_str().map(str::len).or(to_next).unwrap_or(line.len() - at);
        all.push((name, at..at + length));
        at += length;
    }
    all
}

/// A placeholder of the filter's, rather than a bracket of the text.
fn is_placeholder(line: &str, at: usize, rest: &str) -> bool {
    let names = ["[EMAIL", "[PHONE", "[CARD", "[IBAN", "[NATIONAL_ID", "[IP", "[API_KEY]", "[TOKEN]", "[PASSWORD]", "[PRIVATE_KEY]"];
    names.iter().any(|name| rest.starts_with(name) && !line[at..].starts_with(name))
}

/// One filter on one set. `same` says whether a detection of this kind counts for that label.
fn evaluate(set: &str, run: impl Fn(&str) -> (String, Option<String>), same: impl Fn(&str, &str) -> bool) -> BTreeMap<String, Score> {
    let mut scores: BTreeMap<String, Score> = BTreeMap::new();
    for seed in 0..SEEDS {
        for line in lines(set, seed) {
            let (out, memo) = run(&line.text);
            let found = detections(&line.text, &out, memo.as_deref());
            for (label, place) in &line.labels {
                let hit = found.iter().any(|(kind, range)| same(kind, label) && range.start <= place.start && place.end <= range.end);
                let score = scores.entry((*label).to_owned()).or_default();
                score.hit += usize::from(hit);
                score.missed += usize::from(!hit);
                if !hit {
                    println!("missed {label} {:?} in {:?} -> {out:?}", &line.text[place.clone()], line.text);
                }
            }
            for (kind, range) in &found {
                if !line.labels.iter().any(|(label, place)| same(kind, label) && range.start < place.end && place.start < range.end) {
                    scores.entry(kind.clone()).or_default().wrong += 1;
                    println!("wrong {kind} {:?} in {:?}", &line.text[range.clone()], line.text);
                }
            }
        }
    }
    let mut all = Score::default();
    for score in scores.values() {
        all = Score { hit: all.hit + score.hit, missed: all.missed + score.missed, wrong: all.wrong + score.wrong };
    }
    scores.insert("(all)".to_owned(), all);
    println!("{}", table(&scores));
    scores
}

#[test]
fn personal_data_is_found_and_what_only_looks_like_it_is_left() {
    let scores = evaluate(
        include_str!("../evaluation/pii.jsonl"),
        |text| prompt::<PiiRedact>(r#"{"reversible":true}"#, text),
        |kind, label| kind == label,
    );
    for (kind, score) in &scores {
        assert!(score.precision() >= 0.99 && score.recall() >= 0.99, "{kind}: {:.3} {:.3}", score.precision(), score.recall());
    }
}

#[test]
fn secrets_are_found_and_what_only_looks_like_them_is_left() {
    // A key may be found as the password that it is assigned as, and the other way round: it is gone either way.
    let scores = evaluate(include_str!("../evaluation/secrets.jsonl"), |text| prompt::<SecretRedact>("", text), |_, _| true);
    for (kind, score) in &scores {
        assert!(score.precision() >= 0.99 && score.recall() >= 0.99, "{kind}: {:.3} {:.3}", score.precision(), score.recall());
    }
}

#[test]
fn injections_are_found_and_talk_about_them_passes() {
    let set = set(include_str!("../evaluation/injections.jsonl"));
    for threshold in [0.3, 0.4, 0.5, 0.6, 0.7] {
        let mut scores: BTreeMap<String, Score> = BTreeMap::new();
        let mut all = Score::default();
        for line in &set {
            let (text, injection) = (line["text"].as_str().unwrap(), line["injection"].as_bool().unwrap());
            let assessment = assess(text);
            let flagged = assessment.score >= threshold;
            match (injection, flagged) {
                (true, true) => all.hit += 1,
                (true, false) => all.missed += 1,
                (false, true) => all.wrong += 1,
                (false, false) => {}
            }
            if let Some(language) = line["language"].as_str() {
                let score = scores.entry(language.to_owned()).or_default();
                score.hit += usize::from(flagged);
                score.missed += usize::from(!flagged);
            }
            if (threshold - 0.5_f64).abs() < 0.01 && injection != flagged {
                println!("{} {:.2} {:?}: {text:?}", if injection { "missed" } else { "wrong" }, assessment.score, assessment.findings);
            }
        }
        println!("threshold {threshold}: precision {:.3}, recall {:.3}", all.precision(), all.recall());
        if (threshold - 0.5_f64).abs() < 0.01 {
            println!("{}", table(&scores));
            assert!(all.precision() >= 0.98 && all.recall() >= 0.98, "{:.3} {:.3}", all.precision(), all.recall());
        }
    }
}

/// Lines that were written when the patterns stood, and that no pattern was written for: what is to be expected of new words. Printed; a threshold would
/// only invite tuning.
#[test]
fn words_that_no_pattern_was_written_for_are_counted() {
    let mut all = Score::default();
    for line in set(include_str!("../evaluation/injections-held-out.jsonl")) {
        let (text, injection) = (line["text"].as_str().unwrap(), line["injection"].as_bool().unwrap());
        let flagged = assess(text).score >= 0.5;
        if injection != flagged {
            println!("held out, {}: {text:?}", if injection { "missed" } else { "wrong" });
        }
        match (injection, flagged) {
            (true, true) => all.hit += 1,
            (true, false) => all.missed += 1,
            (false, true) => all.wrong += 1,
            (false, false) => {}
        }
    }
    println!(
        "held out: {} found, {} missed, {} wrong; precision {:.3}, recall {:.3}",
        all.hit,
        all.missed,
        all.wrong,
        all.precision(),
        all.recall()
    );
    assert!(all.hit > all.missed && all.hit > 4 * all.wrong, "worse than a coin");
}
