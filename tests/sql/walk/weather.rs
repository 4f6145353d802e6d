//! An upstream that behaves badly at random.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pg_llm_upstream::{Ending, Received, Reply, Upstream, openai};
use serde_json::json;

use super::Random;

/// The requests' answers are drawn one after the other.
pub(super) fn over(upstream: &Upstream, seed: u64) {
    let drawn = AtomicU64::new(seed);
    upstream.otherwise(move |request| {
        let mut random = Random(drawn.fetch_add(0x9e37, Ordering::Relaxed).wrapping_mul(0x2545_f491_4f6c_dd1d));
        reply(request, &mut random)
    });
}

fn sound(request: &Received) -> Reply {
    let body = request.json();
    if request.path().ends_with("/embeddings") {
        let inputs = body["input"].as_array().map_or(1, Vec::len);
        return openai::embeddings(&vec![&[0.5_f32, 0.25][..]; inputs]);
    }
    if body["stream"] == true { openai::stream(&["some ", "words ", "and ", "an end"]) } else { openai::completion("an answer {\"a\": 1}") }
}

fn reply(request: &Received, random: &mut Random) -> Reply {
    let sound = sound(request);
    match random.below(40) {
        0 => Reply::hang(),
        1 => Reply::reset(),
        2 => Reply::close(),
        3 => Reply::malformed_status_line(),
        4 => Reply::oversized_header(20_000),
        5 => Reply::gzip_bomb(64),
        6 => Reply::redirect(307, "https://elsewhere.example/"),
        7 => Reply::echo_headers(401),
        8 => openai::error(429, "rate_limit", "slow_down", "Slow down.")
            .header("retry-after", random.of(&["0", "1", "-1", "999999999999", "x"])),
        9 => openai::error(500, "server_error", "x", "No."),
        10 => openai::error(400, "invalid", "x", "No."),
        11 => openai::malformed(),
        12 => openai::empty(),
        13 => openai::html(502),
        14 => openai::no_choices(),
        15 => openai::wrong_shape(),
        16 => openai::stream_endless("more and more "),
        17 => openai::stream_without_end(&["a", "b"]),
        18 => openai::stream_with_error(&["a"], "server_error", "x", "Broken."),
        19 => sound.truncate(random.below(200)),
        20 => sound.reset_after(random.below(200)),
        21 => sound.hang_after(random.below(200)),
        22 => sound.drip(1 + random.below(40), Duration::from_millis(1)),
        23 => sound.gzip().chunked(),
        24 => sound.delay_headers(Duration::from_millis(random.below(300) as u64)),
        25 => sound.ending(Ending::Close),
        26 => sound.claim_length(random.below(100_000) as u64),
        27 | 28 => Reply::raw(noise(random)).ending([Ending::Close, Ending::Reset, Ending::Hang, Ending::KeepAlive][random.below(4)]),
        29 => Reply::json(200, json!({"choices": [{"message": {"content": "x".repeat(random.below(300_000))}, "finish_reason": "stop"}]})),
        _ => sound,
    }
}

/// A response with bytes changed, in its head or in its body.
fn noise(random: &mut Random) -> Vec<u8> {
    let body = openai::completion_body("noise").to_string();
    let mut bytes = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\nx-y: z\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    )
    .into_bytes();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len());
        match random.below(5) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            2 => drop(bytes.drain(at..(at + 1 + random.below(9)).min(bytes.len() - 1).max(at))),
            3 => drop(
                bytes.splice(
                    at..at,
                    random
                        .of(&["\r\n", "\0", "\n\n", "content-length: 7\r\n", "ffffffffffffffff\r\n", "HTTP/1.1 100 Continue\r\n\r\n"])
                        .bytes(),
                ),
            ),
            _ => {
                let end = (at + random.below(60)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, piece));
            }
        }
    }
    bytes
}
