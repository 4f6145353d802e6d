//! Recorded responses with something wrong in their midst.

use super::corpus::{Recording, recordings};
use super::{Replay, is_answer};

/// Marsaglia's xorshift: the same numbers each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % bound.max(1)
    }
}

/// The body with bytes changed, lost, said twice, and put in.
fn damaged(body: &[u8], numbers: &mut Numbers) -> Vec<Vec<u8>> {
    const STRANGE: [&[u8]; 8] = [b"\0", b"\"", b"}", b"[[[[", b"\n\n", b"\xf0\x9f", b"1e999", b"null"];
    let mut all = Vec::new();
    for way in 0..8 {
        let mut bytes = body.to_vec();
        let at = numbers.below(bytes.len());
        let end = (at + 1 + numbers.below(40)).min(bytes.len());
        match way % 4 {
            0 => bytes[at] ^= 1 << numbers.below(8),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..at, body[at..end].to_vec())),
            _ => drop(bytes.splice(at..end, STRANGE[numbers.below(STRANGE.len())].to_vec())),
        }
        all.push(bytes);
    }
    all
}

fn pieces(recording: &Recording, body: &[u8]) -> Vec<Vec<u8>> {
    body.chunks(if recording.stream { 11 } else { body.len().max(1) }).map(<[u8]>::to_vec).collect()
}

#[test]
fn a_damaged_recording_is_an_answer_or_an_error_of_the_providers_and_never_the_adapters() {
    let (mut replay, mut numbers) = (Replay::new(), Numbers(0x9e37_79b9_7f4a_7c15));
    for recording in recordings(|recording| is_answer(recording) && !recording.body.is_empty()) {
        if !replay.add(&recording) {
            continue;
        }
        for body in damaged(&recording.body, &mut numbers) {
            replay.serve(recording.reply_in(pieces(&recording, &body)));
            let function = if recording.stream { "pg_llm_chat_stream_json" } else { "pg_llm_chat_json" };
            let (_, error) = replay.rows(&format!("SELECT answer FROM {function}('r', 'Hello') AS answer"), &[]);
            let Some(error) = error else { continue };
            if !["08006", "38000", "53400", "54000"].contains(&error.code().code()) {
                let complaint = format!("{}: {}, {:?}", error.code().code(), error.message(), error.detail());
                replay.found.wrong(&recording, &String::from_utf8_lossy(&body), vec![complaint]);
            }
        }
    }
    replay.found.assert_none();
}
