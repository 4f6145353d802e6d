//! The score of a text.

use crate::context;
use crate::decode::{encoded, rot13};
use crate::invisible::hidden;
use crate::patterns::{MARKS, PATTERNS};
use crate::phrases;
use crate::words::Words;

/// What was found in a text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assessment {
    /// From 0 to 1.
    pub score: f64,
    /// In words, the gravest first, each once.
    pub findings: Vec<String>,
}

/// So deep an encoded text is looked into: base64 of base64.
const DEPTH: u32 = 2;

/// Looks at a text.
pub fn assess(text: &str) -> Assessment {
    let mut findings = Vec::new();
    collect(text, DEPTH, "", &mut findings);
    // Only the gravest of a kind counts: a text is not worse for saying it twice.
    findings.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let mut once: Vec<(String, f64)> = Vec::new();
    for finding in findings {
        if !once.iter().any(|known| known.0 == finding.0) {
            once.push(finding);
        }
    }
    Assessment {
        score: 1.0 - once.iter().map(|(_, weight)| 1.0 - weight).product::<f64>(),
        findings: once.into_iter().map(|(finding, _)| finding).collect(),
    }
}

fn collect(text: &str, depth: u32, how: &str, findings: &mut Vec<(String, f64)>) {
    let begin = findings.len();
    plain(text, how, findings);
    let hidden = hidden(text);
    findings.extend(hidden.findings.iter().map(|(finding, weight)| ([*finding, how].concat(), *weight)));
    let Some(depth) = depth.checked_sub(1) else { return };
    if !hidden.text.is_empty() {
        collect(&hidden.text, depth, " (hidden)", findings);
    }
    let decoded = encoded(text);
    if !decoded.is_empty() {
        let before = findings.len();
        collect(&decoded, depth, " (encoded)", findings);
        // Who encodes it has a reason.
        for finding in &mut findings[before..] {
            finding.1 = (finding.1 + 0.15).min(1.0);
        }
    }
    // Where nothing is said in plain words.
    if findings.len() == begin {
        plain(&rot13(text), " (in ROT13)", findings);
    }
}

fn plain(text: &str, how: &str, findings: &mut Vec<(String, f64)>) {
    let words = Words::of(text);
    for hit in phrases::find(&words) {
        let pattern = &PATTERNS[hit.pattern];
        findings.push(([pattern.finding, how].concat(), pattern.weight * context::weight(text, &words, hit)));
    }
    if text.contains(['<', '[', ':']) {
        let lower = text.to_ascii_lowercase();
        for (mark, weight) in MARKS {
            if lower.contains(mark) {
                findings.push((["brings signs of a conversation's wire format", how].concat(), weight));
            }
        }
    }
}
