//! A recorded stream that lacks its end.

use pg_llm_upstream::Ending;

use super::corpus::{Recording, recordings};
use super::{Replay, is_answer};

/// Places in a stream: between some of its events, in the midst of some, and all those near its end.
fn places(recording: &Recording) -> Vec<usize> {
    let lengths: Vec<usize> = recording.events().iter().map(Vec::len).collect();
    let starts = lengths.iter().scan(0, |start, length| Some(std::mem::replace(start, *start + length)));
    let near_the_end = lengths.len().saturating_sub(3);
    let step = lengths.len() / 3 + 1;
    let wanted = starts.zip(&lengths).enumerate().filter(|(at, _)| at % step == 0 || *at >= near_the_end);
    let mut places: Vec<usize> = wanted.flat_map(|(_, (start, length))| [start, start + length / 2]).collect();
    places.dedup();
    places
}

#[test]
fn a_recorded_stream_that_lacks_its_end_is_an_error_after_the_rows_that_came() {
    let mut replay = Replay::new();
    for recording in recordings(|recording| is_answer(recording) && recording.stream && !recording.must_fail()) {
        if !replay.add(&recording) {
            continue;
        }
        let mut so_far = 0;
        for place in places(&recording) {
            let mut came = Vec::new();
            for (way, reply) in [
                ("ended", recording.reply_in(vec![recording.body[..place].to_vec()])),
                ("closed", recording.reply_in(recording.events()).cut(place, Ending::Close)),
                ("reset", recording.reply_in(recording.events()).cut(place, Ending::Reset)),
            ] {
                replay.serve(reply);
                let streamed = replay.streamed();
                let mut wrong = streamed.form_complaints();
                let text = streamed.text();
                match &streamed.error {
                    // Only what follows the provider's last word may be missing: the usage, `[DONE]`.
                    None if text == recording.text() => {}
                    None => wrong.push(format!("no error after {text:?}")),
                    Some(error) => {
                        if !["08006", "38000"].contains(&error.code().code()) {
                            wrong.push(format!("{error:?}"));
                        }
                        if !recording.text().starts_with(&text) {
                            wrong.push(format!("{text:?} is not how it begins"));
                        }
                    }
                }
                replay.found.wrong(&recording, &format!("{way} after {place} bytes of {}", recording.body.len()), wrong);
                came.push(text.len());
            }
            // A reset may overtake what was sent before it; nothing else may lose rows.
            if came[0] != came[1] || came[0] < so_far {
                replay.found.wrong(&recording, "rows", vec![format!("{came:?} bytes came of the first {place}, and {so_far} of fewer")]);
            }
            so_far = came[0];
        }
    }
    replay.found.assert_none();
}
