//! The binary event stream: the format's own examples, and that nothing which arrives makes the decoder panic or grow.
#![allow(clippy::unwrap_used, clippy::panic)] // this is how a test fails

use pg_llm_guest::event_stream::{EventStreamDecoder, EventStreamMessage, HeaderValue, MAX_MESSAGE};
use pg_llm_guest::testing::{every_cut, in_chunks};
use pg_llm_guest::{Failure, FailureKind};

/// The messages of bytes that arrive in these pieces, and the failure that ended them.
fn messages(pieces: &[Vec<u8>]) -> (Vec<EventStreamMessage>, Option<Failure>) {
    let mut decoder = EventStreamDecoder::default();
    let mut messages = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.message() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(failure) => return (messages, Some(failure)),
            }
        }
    }
    (messages, None)
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn message(headers: Vec<(&str, HeaderValue)>, payload: &[u8]) -> EventStreamMessage {
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    EventStreamMessage { headers, payload: payload.to_vec() }
}

fn text(text: &str) -> HeaderValue {
    HeaderValue::Text(text.to_owned())
}

/// Every type of header.
fn all_types() -> EventStreamMessage {
    let headers = vec![
        ("yes", HeaderValue::Bool(true)),
        ("no", HeaderValue::Bool(false)),
        ("byte", HeaderValue::Byte(-49)),
        ("short", HeaderValue::Short(-4242)),
        ("int", HeaderValue::Int(-40972)),
        ("long", HeaderValue::Long(-42_424_242)),
        ("bytes", HeaderValue::Bytes(b"\x00\xFFapplication/json".to_vec())),
        ("text", text("grüße 🦀")),
        ("time", HeaderValue::Timestamp(8_675_309)),
        ("uuid", HeaderValue::Uuid(*b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10")),
    ];
    message(headers, b"{'foo':'bar'}")
}

#[test]
fn the_examples_of_the_format_are_read_and_written() {
    let examples = [
        (message(vec![], b""), "00000010 00000000 05c248eb 7d98c8ff"),
        (message(vec![], b"{'foo':'bar'}"), "0000001d 00000000 fd528c5a 7b27666f6f273a27626172277d c3653936"),
        (
            message(vec![("content-type", text("application/json"))], b"{'foo':'bar'}"),
            "0000003d 00000020 07fd8396 0c636f6e74656e742d74797065 07 0010 6170706c69636174696f6e2f6a736f6e 7b27666f6f273a27626172277d 8d9c08b1",
        ),
        (
            message(vec![("event-type", HeaderValue::Int(40972))], b"{'foo':'bar'}"),
            "0000002d 00000010 41c424b8 0a6576656e742d74797065 04 0000a00c 7b27666f6f273a27626172277d 36f480a0",
        ),
    ];
    for (wanted, bytes) in examples {
        let bytes = hex(bytes);
        assert_eq!(messages(std::slice::from_ref(&bytes)), (vec![wanted.clone()], None));
        assert_eq!(wanted.to_bytes(), bytes);
    }
}

#[test]
fn headers_have_ten_types() {
    let wanted = all_types();
    assert_eq!(messages(&[wanted.to_bytes()]), (vec![wanted.clone()], None));
    assert_eq!((wanted.text("text"), wanted.text("int"), wanted.text("none")), (Some("grüße 🦀"), None, None));
}

#[test]
fn messages_are_the_same_however_they_are_cut() {
    let wanted = vec![all_types(), message(vec![], b""), message(vec![(":event-type", text("x"))], b"{}")];
    let bytes: Vec<u8> = wanted.iter().flat_map(EventStreamMessage::to_bytes).collect();
    for pieces in every_cut(&bytes).chain([in_chunks(&bytes, 1), in_chunks(&bytes, 3)]) {
        assert_eq!(messages(&pieces), (wanted.clone(), None));
    }
    // Cut short: what is whole is there, and the rest is waited for.
    for at in 0..bytes.len() {
        let (got, failure) = messages(&[bytes[..at].to_vec()]);
        assert!(failure.is_none() && got.len() < wanted.len() && wanted.starts_with(&got), "cut at {at}");
    }
}

#[test]
fn no_bit_may_be_wrong() {
    let first = message(vec![(":event-type", text("x"))], b"first");
    let second = all_types().to_bytes();
    for bit in 0..second.len() * 8 {
        let mut damaged = second.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let (got, failure) = messages(&[first.to_bytes(), damaged]);
        // What came before is told; the damaged message never is.
        assert_eq!(got, std::slice::from_ref(&first), "bit {bit}");
        assert_eq!(failure.unwrap().kind, FailureKind::Protocol, "bit {bit}");
    }
}

/// Bytes with these lengths and right checksums.
fn forged(total: u32, headers_length: u32, rest: &[u8]) -> Vec<u8> {
    fn crc(bytes: &[u8]) -> [u8; 4] {
        let crc = bytes.iter().fold(!0_u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
        });
        (!crc).to_be_bytes()
    }
    let mut bytes = [total.to_be_bytes(), headers_length.to_be_bytes()].concat();
    bytes.extend(crc(&bytes));
    bytes.extend_from_slice(rest);
    bytes.extend(crc(&bytes));
    bytes
}

#[test]
fn lengths_that_cannot_be_are_refused_before_anything_is_kept_for_them() {
    let longest = u32::try_from(MAX_MESSAGE).unwrap();
    for (total, headers) in [(0, 0), (15, 0), (16, 1), (20, 5), (u32::MAX, 0), (longest + 1, 0), (16, u32::MAX), (longest, 128 * 1024 + 1)]
    {
        let (got, failure) = messages(&[forged(total, headers, b"")[..12].to_vec()]);
        assert_eq!((got.len(), failure.unwrap().kind), (0, FailureKind::Protocol), "{total} {headers}");
    }
    assert!(messages(&[forged(longest, 0, b"")[..12].to_vec()]).1.is_none());
}

#[test]
fn headers_that_cannot_be_are_refused() {
    let refused = |headers: &[u8]| {
        let length = u32::try_from(headers.len()).unwrap();
        let (got, failure) = messages(&[forged(16 + length, length, headers)]);
        failure.is_some_and(|failure| failure.kind == FailureKind::Protocol) && got.is_empty()
    };
    for headers in [
        &b"\x00\x00"[..], // without a name
        b"\x05ab",        // a name that is cut short
        b"\x01a",         // without a type
        b"\x01a\x0A",     // of a type that does not exist
        // Values that are cut short.
        b"\x01a\x02",
        b"\x01a\x03\x00",
        b"\x01a\x04\x00\x00\x00",
        b"\x01a\x05\x00\x00\x00\x00",
        b"\x01a\x06\x00",
        b"\x01a\x06\x00\x02x",
        b"\x01a\x07\xFF\xFFx",
        b"\x01a\x08\x00\x00\x00\x00\x00",
        b"\x01a\x09\x00\x00\x00\x00\x00",
        b"\x01a\x00\x01b", // a good one before a bad one
    ] {
        assert!(refused(headers), "{headers:?}");
    }
    assert!(!refused(b"\x01a\x00\x01b\x01"));
}

#[test]
fn what_is_no_event_stream_is_refused_at_once() {
    for body in ["{\"message\":\"hello\"}", "<html>busy</html>", "data: {\"a\":1}\n\n"] {
        let failure = messages(&[body.as_bytes().to_vec()]).1.unwrap();
        assert_eq!((failure.kind, failure.raw.as_deref()), (FailureKind::Protocol, Some(body)));
    }
}

#[test]
fn what_is_kept_between_pieces_is_bounded() {
    let mut decoder = EventStreamDecoder::default();
    let piece = vec![0; 64 * 1024];
    decoder.push(&forged(u32::try_from(MAX_MESSAGE).unwrap(), 0, b"")[..12]);
    for _ in 0..=MAX_MESSAGE / piece.len() {
        decoder.push(&piece);
        match decoder.message() {
            Ok(message) => assert!(message.is_none() && decoder.kept() <= MAX_MESSAGE, "keeps {}", decoder.kept()),
            Err(failure) => {
                assert_eq!(failure.kind, FailureKind::Protocol);
                assert!(failure.raw.unwrap_or_default().len() <= 16 * 1024);
                return;
            }
        }
    }
    panic!("grows without end");
}

/// A small generator of its own: the same bytes in every run (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % bound
    }
}

#[test]
fn no_headers_with_right_checksums_make_it_panic_or_change_its_mind() {
    let mut random = Random(0x5EED);
    let good = all_types().to_bytes();
    let headers = &good[12..good.len() - 17];
    for _ in 0..5_000 {
        let mut headers = headers.to_vec();
        for _ in 0..=random.below(3) {
            let at = random.below(headers.len());
            match random.below(3) {
                0 => headers[at] = u8::try_from(random.below(256)).unwrap(),
                1 => drop(headers.drain(at..(at + random.below(9)).min(headers.len()))),
                _ => headers.truncate(at),
            }
            if headers.is_empty() {
                headers.push(0);
            }
        }
        let length = u32::try_from(headers.len()).unwrap();
        let bytes = forged(16 + length, length, &headers);
        let once = messages(std::slice::from_ref(&bytes));
        let (cut, failure) = messages(&in_chunks(&bytes, 1 + random.below(40)));
        assert_eq!((cut, failure.map(|failure| failure.kind)), (once.0, once.1.map(|failure| failure.kind)));
    }
}
