//! A filter that finds prompt injections: what in a user's words, a tool's result or a document speaks to the model instead of to the reader.
//!
//! Known patterns in several languages, characters that cannot be seen, and either in base64, hexadecimal or ROT13. A text gets a score from 0 to 1: each
//! finding has a weight w, and the score is 1 minus the product of all (1 - w). Talk about such patterns (quoted, among words such as "attack") weighs less.
//! It is a net with holes, one line of defence among others.
//!
//! Configuration, all optional:
//! - `threshold`: the score from which on a prompt is blocked; 0.5 by default.
//! - `action`: `block` (default), `strip` (block nothing, take out characters that cannot be seen and are not needed to write), `both`.
//! - `roles`: whose messages are looked at, of `user`, `tool`, `assistant`, `system`; by default `user` and `tool`.

mod context;
mod decode;
mod invisible;
mod patterns;
mod phrases;
mod score;
mod words;

pub use score::{Assessment, assess};

use pg_llm_guest::filter::{Channel, Config, FilterDescription, PassThrough, PromptVerdict, Sides, change_texts};
use pg_llm_guest::prelude::*;

const SCHEMA: &str = r#"{"type":"object","properties":{"threshold":{"type":"number","minimum":0,"maximum":1},"action":{"enum":["block","strip","both"]},"roles":{"type":"array","items":{"enum":["user","tool","assistant","system"]}}},"additionalProperties":false}"#;
const ROLES: [&str; 4] = ["user", "tool", "assistant", "system"];

/// The filter.
pub struct PromptGuard;

impl Filter for PromptGuard {
    type Response = PassThrough;

    fn describe() -> FilterDescription {
        FilterDescription::new("prompt-guard", env!("CARGO_PKG_VERSION"), "Blocks prompt injections.", Sides::PROMPT, SCHEMA)
    }

    fn prompt(config: &str, mut messages: Vec<Message>) -> Result<PromptVerdict, String> {
        let config = Config::parse(config, &["threshold", "action", "roles"])?;
        let threshold = config.share("threshold")?.unwrap_or(0.5);
        let action = config.word("action", &["block", "strip", "both"])?.unwrap_or("block");
        let roles = config.words("roles", &ROLES)?.unwrap_or(ROLES[..2].to_vec());
        let mut worst: Option<(Role, Assessment)> = None;
        let changed = change_texts(&mut messages, &mut |role, text| {
            if !roles.contains(&name(role)) {
                return Ok(None);
            }
            if action != "strip" {
                let assessment = assess(text);
                if worst.as_ref().is_none_or(|(_, worst)| assessment.score > worst.score) {
                    worst = Some((role, assessment));
                }
            }
            Ok(if action == "block" { None } else { invisible::stripped(text) })
        })?;
        if let Some((role, assessment)) = worst.filter(|(_, worst)| worst.score >= threshold && worst.score > 0.0) {
            let (role, score) = (name(role), assessment.score);
            let findings = assessment.findings.join("; ");
            return Ok(PromptVerdict::Block(format!(
                "prompt injection suspected in a message of role {role} (score {score:.2}): {findings}"
            )));
        }
        Ok(if changed { PromptVerdict::Change((messages, None)) } else { PromptVerdict::Pass })
    }

    fn response(_config: &str, _channel: Channel, _memo: Option<&str>) -> Result<PassThrough, String> {
        Ok(PassThrough)
    }
}

fn name(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Tool => "tool",
        Role::Assistant => "assistant",
        Role::System => "system",
    }
}

pg_llm_guest::filter!(PromptGuard);
