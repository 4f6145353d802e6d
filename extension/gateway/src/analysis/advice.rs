//! What a model advises.

use serde_json::Value;

use crate::error::clip;
use crate::outcome::ChatOutcome;

/// An answer, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advice {
    /// In a few sentences.
    pub summary: String,
    /// What it sees in the plan.
    pub findings: Vec<Finding>,
    /// Queries that give the same, it says.
    pub rewrites: Vec<Suggestion>,
    /// Statements that make an index.
    pub indexes: Vec<Suggestion>,
}

/// Something in the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `high`, `medium` or `low`.
    pub severity: &'static str,
    /// In a few words.
    pub title: String,
    /// In sentences.
    pub detail: String,
}

/// SQL that it suggests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// As it wrote it, without a semicolon at the end.
    pub sql: String,
    /// Why.
    pub reason: String,
}

/// Most of each kind that are looked at, and longest text, in bytes.
const MOST: usize = 5;
const MOST_FINDINGS: usize = 20;
const TEXT: usize = 2000;
const SQL: usize = 64 << 10;

impl Advice {
    /// Reads an answer that fits the form that was asked for.
    pub fn read(outcome: &ChatOutcome) -> Self {
        outcome.structured_value().map_or_else(Self::default, Self::of)
    }

    fn of(value: &Value) -> Self {
        let text = |value: &Value| clip(value.as_str().unwrap_or_default().trim(), TEXT);
        let list = |name: &str| value[name].as_array().map(Vec::as_slice).unwrap_or_default();
        let findings = list("findings").iter().take(MOST_FINDINGS).map(|finding| Finding {
            severity: match finding["severity"].as_str() {
                Some("high") => "high",
                Some("medium") => "medium",
                _ => "low",
            },
            title: text(&finding["title"]),
            detail: text(&finding["detail"]),
        });
        let suggestions = |name: &str| {
            let read = list(name).iter().filter_map(|suggestion| {
                let sql = suggestion["sql"].as_str()?.trim().trim_end_matches(';').trim_end();
                (!sql.is_empty() && sql.len() <= SQL).then(|| Suggestion { sql: sql.to_owned(), reason: text(&suggestion["reason"]) })
            });
            let mut kept: Vec<Suggestion> = Vec::new();
            for suggestion in read {
                if kept.len() < MOST && kept.iter().all(|other| other.sql != suggestion.sql) {
                    kept.push(suggestion);
                }
            }
            kept
        };
        Self {
            summary: text(&value["summary"]),
            findings: findings.collect(),
            rewrites: suggestions("rewrites"),
            indexes: suggestions("indexes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_is_read_within_bounds() {
        let many: Vec<Value> = (0..100).map(|n| json!({"sql": format!("SELECT {n};"), "reason": "x".repeat(5000)})).collect();
        let advice = Advice::of(&json!({
            "summary": " s ",
            "findings": [{"severity": "high", "title": "t", "detail": "d"}, {"severity": "catastrophic", "title": "u", "detail": 1}],
            "rewrites": many,
            "indexes": [{"sql": "CREATE INDEX ON t (a);"}, {"sql": "CREATE INDEX ON t (a)"}, {"sql": " ; "}, {"reason": "no sql"}, 7],
        }));
        assert_eq!((advice.summary.as_str(), advice.findings.len(), advice.findings[1].severity), ("s", 2, "low"));
        assert_eq!((advice.rewrites.len(), advice.rewrites[0].sql.as_str()), (5, "SELECT 0"));
        assert!(advice.rewrites[0].reason.len() <= 2100);
        assert_eq!(advice.indexes, [Suggestion { sql: "CREATE INDEX ON t (a)".into(), reason: String::new() }]);
        assert_eq!(Advice::of(&json!([])), Advice::default());
    }
}
