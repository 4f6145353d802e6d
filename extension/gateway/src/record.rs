//! Records of the contract as bytes: unambiguous, so that two values have the same bytes only where they are equal, and to be read back.
//!
//! Every value says where it ends: numbers have eight bytes (little end first), texts and lists begin with their length, options and variants with a byte
//! that says which. A record is its fields, one after another.

use pg_llm_sandbox::types::{
    Answer, ChatRequest, FinishReason, JsonSchemaFormat, Media, MediaSource, Message, Part, Reasoning, ResponseFormat, Role, Sampling,
    Thinking, TokenLogprob, Tool, ToolCall, ToolChoice, ToolResult, TopLogprob, Usage,
};

use crate::filters::{Acted, Action, Side};

/// Takes bytes.
pub(crate) type Sink<'s> = &'s mut dyn FnMut(&[u8]);

/// What has such a form.
pub(crate) trait Record: Sized {
    /// Gives the value's bytes away.
    fn put(&self, sink: Sink<'_>);
    /// Reads a value from the beginning of `bytes` and leaves the rest. None for what `put` did not write; it takes no more memory than a multiple of what it reads.
    fn read(bytes: &mut &[u8]) -> Option<Self>;
}

fn split<'b>(bytes: &mut &'b [u8], count: usize) -> Option<&'b [u8]> {
    let (head, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(head)
}

fn take_length(bytes: &mut &[u8]) -> Option<usize> {
    usize::try_from(u64::read(bytes)?).ok()
}

/// A text's form, without owning it.
pub(crate) fn put_text(text: &str, sink: Sink<'_>) {
    (text.len() as u64).put(sink);
    sink(text.as_bytes());
}

macro_rules! eight_bytes {
    ($($number:ty),*) => {$(
        impl Record for $number {
            fn put(&self, sink: Sink<'_>) {
                sink(&self.to_le_bytes());
            }
            fn read(bytes: &mut &[u8]) -> Option<Self> {
                split(bytes, size_of::<Self>())?.try_into().ok().map(Self::from_le_bytes)
            }
        }
    )*};
}
eight_bytes!(u64, i64, f64);

impl Record for u32 {
    fn put(&self, sink: Sink<'_>) {
        u64::from(*self).put(sink);
    }
    fn read(bytes: &mut &[u8]) -> Option<Self> {
        u64::read(bytes)?.try_into().ok()
    }
}

impl Record for bool {
    fn put(&self, sink: Sink<'_>) {
        sink(&[u8::from(*self)]);
    }
    fn read(bytes: &mut &[u8]) -> Option<Self> {
        match split(bytes, 1)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

impl Record for String {
    fn put(&self, sink: Sink<'_>) {
        put_text(self, sink);
    }
    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let length = take_length(bytes)?;
        String::from_utf8(split(bytes, length)?.to_vec()).ok()
    }
}

impl Record for Vec<u8> {
    fn put(&self, sink: Sink<'_>) {
        (self.len() as u64).put(sink);
        sink(self);
    }
    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let length = take_length(bytes)?;
        split(bytes, length).map(<[u8]>::to_vec)
    }
}

impl<T: Record> Record for Vec<T> {
    fn put(&self, sink: Sink<'_>) {
        (self.len() as u64).put(sink);
        for item in self {
            item.put(sink);
        }
    }
    fn read(bytes: &mut &[u8]) -> Option<Self> {
        // Grows as it reads: a length that lies takes no memory.
        let mut items = Vec::new();
        for _ in 0..take_length(bytes)? {
            items.push(T::read(bytes)?);
        }
        Some(items)
    }
}

impl<T: Record> Record for Option<T> {
    fn put(&self, sink: Sink<'_>) {
        self.is_some().put(sink);
        if let Some(value) = self {
            value.put(sink);
        }
    }
    fn read(bytes: &mut &[u8]) -> Option<Self> {
        Some(if bool::read(bytes)? { Some(T::read(bytes)?) } else { None })
    }
}

/// A record of all its fields: one that the contract gains does not compile before it stands here.
macro_rules! record {
    ($($name:ident { $($field:ident),* $(,)? })*) => {$(
        impl Record for $name {
            fn put(&self, sink: Sink<'_>) {
                let Self { $($field),* } = self;
                $($field.put(sink);)*
            }
            fn read(bytes: &mut &[u8]) -> Option<Self> {
                Some(Self { $($field: Record::read(bytes)?),* })
            }
        }
    )*};
}

/// One of several, each with its number.
macro_rules! variant {
    ($($name:ident { $($tag:literal => $case:ident $(($value:ident))?),* $(,)? })*) => {$(
        impl Record for $name {
            fn put(&self, sink: Sink<'_>) {
                match self {
                    $(Self::$case $(($value))? => {
                        sink(&[$tag]);
                        $($value.put(sink);)?
                    })*
                }
            }
            fn read(bytes: &mut &[u8]) -> Option<Self> {
                match split(bytes, 1)? {
                    $([$tag] => {
                        $(let $value = Record::read(bytes)?;)?
                        Some(Self::$case $(($value))?)
                    })*
                    _ => None,
                }
            }
        }
    )*};
}

record! {
    ChatRequest { model, settings, messages, sampling, tools, tool_choice, response_format, reasoning, extra_body }
    Message { role, parts }
    Media { source, media_type, name, detail }
    ToolCall { id, name, arguments, signature }
    ToolResult { call_id, name, content, is_error }
    Thinking { text, signature, redacted }
    Sampling { temperature, top_p, top_k, max_tokens, stop, seed, presence_penalty, frequency_penalty, logprobs }
    Tool { name, description, parameters, strict }
    JsonSchemaFormat { name, schema, strict }
    Reasoning { effort, budget_tokens }
    Answer { id, model, parts, finish_reason, usage, logprobs, raw }
    Usage { input_tokens, output_tokens, cached_tokens, cache_write_tokens, reasoning_tokens, raw }
    TokenLogprob { token, logprob, alternatives }
    TopLogprob { token, logprob }
    Acted { name, side, action }
}

variant! {
    Role { 0 => System, 1 => User, 2 => Assistant, 3 => Tool }
    MediaSource { 0 => Bytes(bytes_of_it), 1 => Url(url) }
    Part { 0 => Text(text), 1 => Image(media), 2 => Document(media), 3 => ToolCall(call), 4 => ToolResult(result), 5 => Thinking(thinking) }
    ToolChoice { 0 => Auto, 1 => None, 2 => Required, 3 => Named(name) }
    ResponseFormat { 0 => Text, 1 => JsonObject, 2 => JsonSchema(format) }
    Side { 0 => Prompt, 1 => Response }
    Action { 0 => Changed, 1 => Cut, 2 => LeftOut }
    FinishReason { 0 => Stop, 1 => Length, 2 => ToolCalls, 3 => ContentFilter, 4 => Other(word) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(value: &impl Record) -> Vec<u8> {
        let mut bytes = Vec::new();
        value.put(&mut |more| bytes.extend_from_slice(more));
        bytes
    }

    fn usage() -> Usage {
        Usage {
            input_tokens: Some(3),
            output_tokens: Some(u64::MAX),
            cached_tokens: None,
            cache_write_tokens: Some(0),
            reasoning_tokens: None,
            raw: Some("{\"n\": 1.10}".into()),
        }
    }

    fn answer() -> Answer {
        let media = |source| Media { source, media_type: Some("image/png".into()), name: None, detail: Some(String::new()) };
        Answer {
            id: Some("id".into()),
            model: None,
            parts: vec![
                Part::Thinking(Thinking { text: "hm\0".into(), signature: Some("signed".into()), redacted: true }),
                Part::Text("Grüße 🦀".into()),
                Part::Image(media(MediaSource::Bytes(vec![0, 255]))),
                Part::Document(media(MediaSource::Url("https://x".into()))),
                Part::ToolCall(ToolCall { id: "1".into(), name: "f".into(), arguments: "{".into(), signature: None }),
                Part::ToolResult(ToolResult { call_id: "1".into(), name: Some("f".into()), content: String::new(), is_error: true }),
            ],
            finish_reason: Some(FinishReason::Other("tired".into())),
            usage: Some(usage()),
            logprobs: vec![
                TokenLogprob {
                    token: "a".into(),
                    logprob: -0.1 - 0.2,
                    alternatives: vec![TopLogprob { token: "b".into(), logprob: f64::NEG_INFINITY }],
                },
                TokenLogprob { token: String::new(), logprob: -5e-324, alternatives: vec![] },
            ],
            raw: Some("{}".into()),
        }
    }

    #[test]
    fn what_was_put_is_read_back_to_the_bit_and_nothing_is_left() {
        let whole = bytes(&answer());
        let mut rest = whole.as_slice();
        assert_eq!(Answer::read(&mut rest).unwrap(), answer());
        assert!(rest.is_empty());
    }

    #[test]
    fn a_part_of_it_is_nothing() {
        let whole = bytes(&answer());
        for end in 0..whole.len() {
            assert!(Answer::read(&mut &whole[..end]).is_none(), "{end} of {} bytes", whole.len());
        }
    }

    /// So two values never have the same bytes, nor does one begin like another: fields cannot run into each other.
    #[test]
    fn whatever_can_be_read_has_just_these_bytes() {
        let whole = bytes(&answer());
        let (mut read, mut random) = (0, 1_u64);
        for _ in 0..200_000 {
            let mut damaged = whole.clone();
            for _ in 0..2 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let place = usize::try_from(random >> 33).unwrap() % damaged.len();
                damaged[place] = random.to_le_bytes()[3] >> (random & 7);
            }
            let mut rest = damaged.as_slice();
            if let Some(value) = Answer::read(&mut rest) {
                read += 1;
                assert_eq!(bytes(&value), damaged[..damaged.len() - rest.len()]);
            }
        }
        assert!(read > 1000, "{read} could be read: enough to say something");
    }

    #[test]
    fn a_length_that_lies_takes_no_memory() {
        for length in [u64::MAX, u64::MAX / 2, 1 << 40] {
            assert!(Vec::<Part>::read(&mut bytes(&length).as_slice()).is_none());
            assert!(String::read(&mut bytes(&length).as_slice()).is_none());
            assert!(Vec::<u8>::read(&mut bytes(&length).as_slice()).is_none());
        }
    }
}
