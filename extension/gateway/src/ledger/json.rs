//! An entry as JSON: an object whose members have the names of the ledger's columns. What is unknown is left out.

use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use pg_llm_sandbox::Digest;
use serde_json::Value;

use super::Entry;

/// Longest text of an entry, in bytes: names are short, and what is not is clipped.
const TEXT_BYTES: usize = 1024;

impl Entry {
    /// Adds the members of the object to `out`, without its braces.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let mut m = Members { out };
        m.raw("request_id", format_args!("\"{}\"", self.origin.request_id));
        m.raw("attempt", format_args!("{}", self.attempt));
        m.raw("final", format_args!("{}", self.last));
        let began = self.began_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        m.raw("began_us", format_args!("{}", microseconds(began)));
        m.text("operation", self.operation.name());
        m.text("via", self.origin.via.name());
        m.text("instance_name", &self.instance);
        m.text("provider", &self.provider);
        m.digest("module_digest", &self.module);
        m.text("model_name", &self.model_name);
        m.text_if("session_id", self.origin.session.as_deref());
        for (name, id) in [("job_id", self.origin.job), ("parent_request_id", self.origin.parent)] {
            if let Some(id) = id {
                m.raw(name, format_args!("\"{id}\""));
            }
        }
        if let Some(usage) = &self.usage {
            for (name, count) in [
                ("input_tokens", usage.input_tokens),
                ("output_tokens", usage.output_tokens),
                ("cached_input_tokens", usage.cached_tokens),
                ("cache_write_tokens", usage.cache_write_tokens),
                ("reasoning_tokens", usage.reasoning_tokens),
            ] {
                if let Some(count) = count {
                    m.raw(name, format_args!("{}", count.min(i64::MAX as u64)));
                }
            }
        }
        if let Some(cost) = self.cost {
            m.raw("cost_nano", format_args!("{cost}"));
        }
        m.text_if("currency", self.currency.as_deref());
        let spent = &self.spent;
        for (name, time) in [
            ("queue_us", Some(spent.queue)),
            ("filter_us", Some(spent.filter)),
            ("guest_us", spent.guest),
            ("connect_us", spent.connect),
            ("first_byte_us", spent.first_byte),
            ("total_us", Some(spent.total)),
        ] {
            if let Some(time) = time {
                m.raw(name, format_args!("{}", microseconds(time)));
            }
        }
        m.text("outcome", self.outcome.name());
        m.text_if("error_kind", self.error.map(crate::ErrorKind::name));
        if let Some(status) = self.http_status {
            m.raw("http_status", format_args!("{status}"));
        }
        m.text_if("finish_reason", self.finish_reason.as_deref());
        if let Some(confidence) = self.confidence.filter(|confidence| confidence.is_finite()) {
            m.raw("confidence", format_args!("{confidence}"));
        }
        if !self.filters.is_empty() {
            m.raw("filters", format_args!("{}", Value::Array(self.filters.clone())));
        }
        m.raw("streamed", format_args!("{}", self.streamed));
        m.text_if("fallback_from", self.fallback_from.as_deref());
        if let Some(content) = &self.content {
            m.raw("traced", format_args!("true"));
            m.whole("prompt", content.prompt.as_deref());
            m.whole("answer", content.answer.as_deref());
        }
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).min(i64::MAX as u64)
}

struct Members<'a> {
    out: &'a mut Vec<u8>,
}

impl Members<'_> {
    fn name(&mut self, name: &str) {
        if !self.out.is_empty() {
            self.out.push(b',');
        }
        // Names are ours: nothing in them is to be escaped.
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// A value that is JSON.
    fn raw(&mut self, name: &str, value: std::fmt::Arguments<'_>) {
        self.name(name);
        let _ = self.out.write_fmt(value);
    }

    fn text(&mut self, name: &str, text: &str) {
        self.whole(name, Some(if text.len() > TEXT_BYTES { &text[..text.floor_char_boundary(TEXT_BYTES)] } else { text }));
    }

    fn text_if(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// A text of any length. Postgres keeps no U+0000.
    fn whole(&mut self, name: &str, text: Option<&str>) {
        let Some(text) = text else { return };
        self.name(name);
        let replaced;
        let text = if text.contains('\0') {
            replaced = text.replace('\0', "\u{fffd}");
            &replaced
        } else {
            text
        };
        let _ = serde_json::to_writer(&mut *self.out, text);
    }

    fn digest(&mut self, name: &str, digest: &Digest) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.name(name);
        self.out.push(b'"');
        for byte in digest {
            self.out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        self.out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Operation, Origin, Outcome, Spent, Via};
    use super::*;

    #[test]
    fn an_entry_is_an_object_whatever_stands_in_it() {
        let entry = Entry {
            origin: Origin { session: Some("a\"b\0c".to_owned()), ..Origin::of(Via::Batch).another() },
            attempt: 2,
            last: true,
            began_at: UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456),
            operation: Operation::Chat,
            instance: "é".repeat(2000),
            provider: "openai".to_owned(),
            module: [0xab; 32],
            model_name: "m\\\n".to_owned(),
            usage: None,
            cost: Some(-5),
            currency: Some("USD".to_owned()),
            spent: Spent { total: Duration::MAX, ..Spent::default() },
            outcome: Outcome::Error,
            error: Some(crate::ErrorKind::Broken),
            http_status: Some(500),
            finish_reason: None,
            confidence: Some(f64::NAN),
            filters: vec![serde_json::json!({"name": "f"})],
            streamed: false,
            fallback_from: None,
            content: None,
        };
        let mut out = Vec::new();
        entry.write_json(&mut out);
        let value: Value = serde_json::from_str(&format!("{{{}}}", String::from_utf8(out).unwrap())).unwrap();
        assert_eq!(value["session_id"], "a\"b\u{fffd}c");
        assert_eq!(value["began_us"], 1_700_000_000_123_456_u64);
        assert_eq!(value["total_us"], i64::MAX);
        assert_eq!(value["module_digest"], "ab".repeat(32));
        assert_eq!(value["instance_name"].as_str().unwrap().len(), 1024);
        assert_eq!((&value["confidence"], &value["error_kind"]), (&Value::Null, &Value::from("broken")));
    }
}
