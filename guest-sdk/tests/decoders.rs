//! The stream decoders: the rules of their formats, and that nothing which arrives makes them panic or grow.
#![allow(clippy::unwrap_used, clippy::panic)] // this is how a test fails

use pg_llm_guest::ndjson::{MAX_LINE, NdjsonDecoder};
use pg_llm_guest::sse::{MAX_FRAME, SseDecoder, SseFrame};
use pg_llm_guest::testing::every_cut;
use pg_llm_guest::{Failure, FailureKind};

/// The frames of a text that arrives in these pieces, and what its end leaves.
fn frames(pieces: &[Vec<u8>]) -> (Vec<SseFrame>, Option<SseFrame>) {
    let mut decoder = SseDecoder::default();
    let mut frames = Vec::new();
    for piece in pieces {
        frames.extend(decoder.push(piece).unwrap());
    }
    let rest = decoder.finish();
    (frames, rest)
}

fn data_of(text: &str) -> Vec<String> {
    frames(&[text.as_bytes().to_vec()]).0.into_iter().map(|frame| frame.data).collect()
}

#[test]
fn sse_lines_end_in_lf_or_cr_or_both() {
    for end in ["\n", "\r", "\r\n"] {
        let text = ["event: x", "data: 1", "", "data: 2", "", ""].join(end);
        let (got, rest) = frames(&[text.into_bytes()]);
        assert_eq!(got, [SseFrame { event: "x".into(), data: "1".into() }, SseFrame { event: String::new(), data: "2".into() }]);
        assert_eq!(rest, None);
    }
}

#[test]
fn sse_data_comes_with_a_space_or_without_and_in_several_lines() {
    assert_eq!(data_of("data: 1\n\ndata:2\n\ndata:  3\n\n"), ["1", "2", " 3"]);
    assert_eq!(data_of("data: a\ndata: b\ndata\ndata: c\n\n"), ["a\nb\n\nc"]);
    assert_eq!(data_of("data\n\n"), [""]);
}

#[test]
fn sse_comments_unknown_fields_and_events_without_data_say_nothing() {
    assert_eq!(data_of(": keep-alive\n\n:HTTP_STATUS/200\nid:1\nretry: 5\nfoo: bar\nevent: x\n\nDATA: no\n\ndata: yes\n\n"), ["yes"]);
    // An event's name does not outlive it.
    assert_eq!(frames(&[b"event: x\n\ndata: y\n\n".to_vec()]).0[0].event, "");
}

#[test]
fn sse_has_a_byte_order_mark_at_the_beginning_only() {
    assert_eq!(data_of("\u{FEFF}data: 1\n\n\u{FEFF}data: 2\n\n"), ["1"]);
}

#[test]
fn sse_that_ends_without_its_blank_line_leaves_a_rest() {
    let rest = |text: &str| frames(&[text.as_bytes().to_vec()]).1.map(|frame| frame.data);
    assert_eq!(rest("data: 1\n\ndata: [DONE]"), Some("[DONE]".into()));
    assert_eq!(rest("data: 1\n\ndata: [DONE]\n"), Some("[DONE]".into()));
    assert_eq!(rest("data: 1\n\n: bye"), None);
    assert_eq!(rest(""), None);
}

#[test]
fn sse_is_the_same_however_it_is_cut() {
    let text = "\u{FEFF}: hi\r\nevent: grüße\rdata: 🦀\r\ndata: é\n\r\n\r\rdata: {\"a\":1}\n\ndata: end";
    let once = frames(&[text.as_bytes().to_vec()]);
    assert_eq!(once.0.len(), 2);
    for pieces in every_cut(text.as_bytes()) {
        assert_eq!(frames(&pieces), once);
    }
    assert_eq!(frames(&text.bytes().map(|byte| vec![byte]).collect::<Vec<_>>()), once);
}

#[test]
fn what_is_not_utf8_does_not_stop_the_stream() {
    let (got, _) = frames(&[b"data: a\xFFb\n\ndata: \xF0\x9F\n\n".to_vec()]);
    assert_eq!([got[0].data.as_str(), got[1].data.as_str()], ["a\u{FFFD}b", "\u{FFFD}"]);
}

fn until_it_fails(mut push: impl FnMut(&[u8]) -> Result<usize, Failure>, piece: &[u8], cap: usize) {
    for _ in 0..=10 * cap / piece.len() {
        match push(piece) {
            Ok(kept) => assert!(kept <= cap, "keeps {kept} bytes"),
            Err(failure) => {
                assert_eq!(failure.kind, FailureKind::Protocol);
                assert!(failure.raw.unwrap_or_default().len() <= 16 * 1024);
                return;
            }
        }
    }
    panic!("grows without end");
}

#[test]
fn what_is_kept_between_pieces_is_bounded() {
    let long = vec![b'x'; 64 * 1024];
    let mut lines: Vec<u8> = Vec::new();
    for _ in 0..1000 {
        lines.extend_from_slice(b"data: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n");
    }
    for piece in [&long, &lines] {
        let mut decoder = SseDecoder::default();
        until_it_fails(
            |piece| {
                decoder.push(piece)?;
                Ok(decoder.kept())
            },
            piece,
            MAX_FRAME,
        );
    }
    let mut decoder = NdjsonDecoder::default();
    until_it_fails(
        |piece| {
            decoder.push(piece)?;
            Ok(decoder.kept())
        },
        &long,
        MAX_LINE,
    );
}

#[test]
fn empty_data_lines_count_too() {
    // A million lines that add nothing but line feeds must not slip under the bound for ever.
    let mut decoder = SseDecoder::default();
    let piece = b"data\n".repeat(100_000);
    until_it_fails(
        |piece| {
            decoder.push(piece)?;
            Ok(decoder.kept())
        },
        &piece,
        MAX_FRAME,
    );
}

#[test]
fn ndjson_is_a_text_a_line() {
    let lines = |pieces: &[Vec<u8>]| {
        let mut decoder = NdjsonDecoder::default();
        let mut lines: Vec<String> = pieces.iter().flat_map(|piece| decoder.push(piece).unwrap()).collect();
        lines.extend(decoder.finish());
        lines
    };
    let text = "{\"a\":\"ä\"}\r\n\n  \n{\"b\":2}\n{\"c\":3}";
    for pieces in every_cut(text.as_bytes()) {
        assert_eq!(lines(&pieces), ["{\"a\":\"ä\"}", "{\"b\":2}", "{\"c\":3}"]);
    }
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
fn no_bytes_in_no_cut_make_a_decoder_panic_or_change_its_mind() {
    const WORDS: [&[u8]; 14] = [
        b"data",
        b"data:",
        b"data: ",
        b"event:",
        b":",
        b" ",
        b"\r",
        b"\n",
        b"\r\n",
        b"\n\n",
        b"\xEF\xBB\xBF",
        b"\xF0\x9F\xA6\x80",
        b"\xFF",
        b"{\"a\":",
    ];
    let mut random = Random(0x5EED);
    for _ in 0..5_000 {
        let text: Vec<u8> = (0..random.below(40)).flat_map(|_| WORDS[random.below(WORDS.len())].to_vec()).collect();
        let once = frames(std::slice::from_ref(&text));
        let mut pieces = Vec::new();
        let mut rest = &text[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(1 + random.below(rest.len().min(7)));
            pieces.push(piece.to_vec());
            rest = after;
        }
        assert_eq!(frames(&pieces), once, "{text:?}");
        let mut lines = NdjsonDecoder::default();
        for piece in &pieces {
            lines.push(piece).unwrap();
        }
    }
}
