//! The response side: personal data of the answer's own replaced, placeholders put back.

use pg_llm_guest::filter::{Channel, Found, Redactor, ResponseFilter, Verdict};
use pg_llm_guest::json;
use pg_llm_guest::prelude::*;

use crate::placeholders::{could_become_placeholder, name, placeholder_end};
use crate::scan::PiiScan;
use crate::settings::Settings;

/// One channel of an answer.
pub struct AnswerSide {
    redactor: Option<Redactor<PiiScan>>,
    values: Map<String, Value>,
    /// Values stand inside JSON strings.
    in_json: bool,
    /// What could still become a placeholder.
    held: String,
}

impl AnswerSide {
    pub(crate) fn new(settings: Settings, channel: Channel, memo: Option<&str>) -> Result<Self, String> {
        let mut values = match memo.map(json::read) {
            None => Map::new(),
            Some(Ok(Value::Object(values))) => values,
            Some(_) => return Err("the memo of the prompt side is damaged".to_owned()),
        };
        if channel == Channel::Thinking {
            // Signed as it is, and so sent back: with the placeholders, which the next prompt has again.
            values = Map::new();
        }
        // Arguments are what a tool is to work with.
        let redacts = settings.answers && channel == Channel::Text;
        Ok(Self {
            redactor: redacts.then(|| Redactor::new(settings.scan)),
            values,
            in_json: channel == Channel::ToolArguments,
            held: String::new(),
        })
    }

    fn restore(&mut self, text: &str, ended: bool) -> String {
        if self.values.is_empty() {
            return text.to_owned();
        }
        self.held.push_str(text);
        let held = std::mem::take(&mut self.held);
        let mut out = String::with_capacity(held.len());
        let mut rest = &held[..];
        while let Some(at) = rest.find('[') {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(end) = placeholder_end(rest) {
                let (placeholder, after) = rest.split_at(end);
                match self.values.get(placeholder).and_then(Value::as_str) {
                    Some(value) if self.in_json => out.push_str(inside(&json::text(&json::string(value)))),
                    Some(value) => out.push_str(value),
                    None => out.push_str(placeholder),
                }
                rest = after;
            } else if !ended && could_become_placeholder(rest) {
                rest.clone_into(&mut self.held);
                return out;
            } else {
                out.push('[');
                rest = &rest[1..];
            }
        }
        out.push_str(rest);
        out
    }

    fn take(&mut self, text: &str, ended: bool) -> Verdict {
        let Some(redactor) = &mut self.redactor else { return Verdict::Emit(self.restore(text, ended)) };
        let mut clean = String::with_capacity(text.len());
        let mut replace = |found: Found, _: &str| ["[", &name(found.kind), "]"].concat();
        redactor.push(text, &mut clean, &mut replace);
        if ended {
            redactor.finish(&mut clean, &mut replace);
        }
        Verdict::Emit(self.restore(&clean, ended))
    }
}

impl ResponseFilter for AnswerSide {
    fn push(&mut self, text: &str) -> Result<Verdict, String> {
        Ok(self.take(text, false))
    }

    fn finish(&mut self) -> Result<Verdict, String> {
        Ok(self.take("", true))
    }
}

/// A JSON string without its quotes.
fn inside(quoted: &str) -> &str {
    quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(quoted)
}
