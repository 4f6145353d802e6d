//! What a guest may ask of the host.

pub(crate) mod http;
pub(crate) mod keys;
pub(crate) mod log;
pub(crate) mod tokens;

/// A guest's word in a message of ours: escaped, and no more than its beginning.
fn shown(word: &str) -> String {
    let mut text: String = word.chars().take(64).flat_map(char::escape_default).collect();
    if word.chars().nth(64).is_some() {
        text.push_str("...");
    }
    text
}
