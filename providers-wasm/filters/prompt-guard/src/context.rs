//! Whether a text does a thing or speaks of it.

use crate::phrases::Hit;
use crate::words::Words;

/// Words of those who speak about injections.
const TALK: [&str; 57] = [
    "attack",
    "attacks",
    "attacker",
    "attackers",
    "injection",
    "injections",
    "phrase",
    "phrases",
    "example",
    "examples",
    "eg",
    "classifier",
    "detect",
    "detects",
    "detection",
    "jailbreaks",
    "jailbreaking",
    "red",
    "defense",
    "defences",
    "defenses",
    "mitigation",
    "mitigations",
    "vulnerable",
    "vulnerability",
    "researchers",
    "paper",
    "article",
    "blog",
    "tutorial",
    "payload",
    "payloads",
    "string",
    "strings",
    "malicious",
    "filter",
    "called",
    "known",
    "titled",
    "quote",
    "quotes",
    "asked",
    "tried",
    "angriff",
    "angriffe",
    "beispiel",
    "ataque",
    "ataques",
    "ejemplo",
    "attaque",
    "attaques",
    "exemple",
    "атака",
    "атаки",
    "пример",
    "attacco",
    "esempio",
];
const TALK_RUNS: [&str; 6] = ["攻击", "注入", "例如", "攻撃", "공격", "예를"];
const NOT: [&str; 14] =
    ["not", "dont", "never", "cannot", "cant", "shouldnt", "wont", "didnt", "nicht", "nie", "no", "nunca", "jamais", "не"];
const THEY: [&str; 22] = [
    "that",
    "who",
    "they",
    "which",
    "users",
    "attackers",
    "people",
    "customers",
    "drivers",
    "employees",
    "students",
    "children",
    "doctors",
    "players",
    "we",
    "i",
    "he",
    "she",
    "often",
    "sometimes",
    "managers",
    "staff",
];
const NEAR: usize = 14;

/// By how much talk makes a hit weigh less: 1 when it is meant.
pub(crate) fn weight(original: &str, words: &Words, hit: Hit) -> f64 {
    let word = |at: usize| words.words.get(at).map_or("", |word| &words.text[word.start..word.end]);
    let before = |count: usize| (hit.first.saturating_sub(count)..hit.first).map(word);
    let mut weight = 1.0;
    if before(3).any(|word| NOT.contains(&word)) || before(1).any(|word| THEY.contains(&word)) {
        weight *= 0.4;
    }
    // What is done in order to ignore something, unless somebody is to do it.
    let told = ["you", "want", "need", "have", "asked", "now"];
    if before(1).any(|word| word == "to") && !before(3).any(|word| told.contains(&word)) {
        weight *= 0.6;
    }
    let around = hit.first.saturating_sub(NEAR)..(hit.last + NEAR).min(words.words.len());
    // Words in names of hosts and files say nothing.
    let in_name = |at: &usize| words.words.get(*at).is_some_and(|word| original[..word.origin].ends_with(['.', '@', '/', '-']));
    let outside = around.filter(|at| (*at < hit.first || *at > hit.last) && !in_name(at)).map(word);
    let talk = outside.clone().filter(|word| TALK.contains(word)).count()
        + outside.filter(|word| TALK_RUNS.iter().any(|talk| word.starts_with(talk))).count();
    let quoted = is_quoted(original, words, hit);
    weight
        * match (talk, quoted) {
            (0, false) => 1.0,
            (0, true) | (1, false) => 0.75,
            (1, true) => 0.5,
            (_, false) => 0.55,
            (_, true) => 0.4,
        }
}

/// Between quotation marks, the first not far before it and the second not far behind.
fn is_quoted(original: &str, words: &Words, hit: Hit) -> bool {
    const FAR: usize = 60;
    const OPEN: [char; 10] = ['"', '\u{201C}', '\u{201E}', '\u{AB}', '\u{2018}', '`', '\u{300C}', '\u{300E}', '\'', '\u{BB}'];
    const CLOSE: [char; 10] = ['"', '\u{201D}', '\u{201C}', '\u{BB}', '\u{2019}', '`', '\u{300D}', '\u{300F}', '\'', '\u{AB}'];
    let start = words.words.get(hit.first).map_or(0, |word| word.origin);
    let end = words.words.get(hit.last).map_or(0, |word| word.origin);
    let line = |c: &char| *c != '\n';
    let opens = original[..start].chars().rev().take(FAR).take_while(line).collect::<Vec<_>>();
    // An apostrophe inside of a word is no quotation mark.
    let marks = opens
        .iter()
        .enumerate()
        .filter(|(at, c)| OPEN.contains(c) && !(**c == '\'' && opens.get(at + 1).is_some_and(|c| c.is_alphanumeric())));
    marks.count() % 2 == 1 && original[end..].chars().take(FAR + 40).take_while(line).any(|c| CLOSE.contains(&c))
}
