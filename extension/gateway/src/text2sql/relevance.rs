//! Which tables a question is about: by the words that it shares with their names, comments, columns and values, by words that are nearly the same, by foreign keys, and
//! by the likeness of meaning where somebody measured it.

use std::collections::{HashMap, HashSet};

use super::trigrams::Vocabulary;

/// What is known of a table before its columns are looked at one by one.
#[derive(Clone, Debug, Default)]
pub struct Outline {
    /// With its schema, quoted where SQL needs it.
    pub name: String,
    /// Its comment.
    pub comment: Option<String>,
    /// Names of its columns, one after another.
    pub columns: String,
    /// How many they are.
    pub column_count: usize,
    /// Comments of its columns.
    pub column_comments: String,
    /// Values of its enumerations.
    pub values: String,
    /// Places of the tables that its foreign keys lead to.
    pub targets: Vec<usize>,
}

/// How much a table's own words count, by where they stand.
const NAME: f64 = 4.0;
const COMMENT: f64 = 2.0;
const COLUMN: f64 = 2.0;
const COLUMN_COMMENT: f64 = 1.0;
const VALUE: f64 = 1.5;
/// The share that a table has in its best neighbour's.
const NEIGHBOUR: f64 = 0.4;

/// The tables by their places, the likeliest first. Those that have nothing to do with the question are left out, unless all have nothing. `likeness` is that of each table's meaning to
/// the question's, as a cosine; empty where nobody measured it.
pub fn ranked(tables: &[Outline], question: &str, likeness: &[f32]) -> Vec<usize> {
    let mut own = by_words(tables, question);
    add_likeness(&mut own, likeness);
    let mut score = own.clone();
    for (from, table) in tables.iter().enumerate() {
        for to in table.targets.iter().copied().filter(|to| *to < tables.len()) {
            score[from] = score[from].max(own[from] + NEIGHBOUR * own[to]);
            score[to] = score[to].max(own[to] + NEIGHBOUR * own[from]);
        }
    }
    let mut order: Vec<usize> = (0..tables.len()).collect();
    order.sort_by(|a, b| {
        score[*b].total_cmp(&score[*a]).then_with(|| tables[*b].targets.len().cmp(&tables[*a].targets.len())).then(a.cmp(b))
    });
    if score.iter().any(|score| *score > 0.0) {
        order.retain(|at| score[*at] > 0.0);
    }
    order
}

/// Each table's score by its words, rare words counting more; the best has 1.
#[allow(clippy::cast_precision_loss, reason = "there are not that many tables")]
fn by_words(tables: &[Outline], question: &str) -> Vec<f64> {
    let asked: HashSet<String> = words(question).into_iter().collect();
    let known: Vec<Vec<(String, f64)>> = tables.iter().map(Outline::words).collect();
    let alike = alike(&asked, &known);
    let found: Vec<HashMap<&str, f64>> = known.iter().map(|words| shared(words, &alike)).collect();
    let mut rarity: HashMap<&str, f64> = HashMap::new();
    for word in found.iter().flat_map(HashMap::keys) {
        *rarity.entry(word).or_default() += 1.0;
    }
    let count = tables.len() as f64;
    let score = |words: &HashMap<&str, f64>| -> f64 {
        words.iter().map(|(word, weight)| weight * (1.0 + count / rarity.get(word).copied().unwrap_or(1.0)).ln()).sum()
    };
    scaled(found.iter().map(score).collect())
}

/// Adds what is above the average likeness, the best by 1.
fn add_likeness(scores: &mut [f64], likeness: &[f32]) {
    if likeness.len() != scores.len() || likeness.is_empty() {
        return;
    }
    #[allow(clippy::cast_precision_loss, reason = "there are not that many tables")]
    let average = likeness.iter().copied().map(f64::from).sum::<f64>() / likeness.len() as f64;
    let above = scaled(likeness.iter().map(|one| (f64::from(*one) - average).max(0.0).powi(2)).collect());
    for (score, above) in scores.iter_mut().zip(above) {
        *score += above;
    }
}

fn scaled(mut scores: Vec<f64>) -> Vec<f64> {
    let best = scores.iter().copied().fold(0.0, f64::max);
    if best > 0.0 {
        for score in &mut scores {
            *score /= best;
        }
    }
    scores
}

/// Words of tables, with the word of the question that each stands for and how nearly.
fn alike<'a>(asked: &'a HashSet<String>, known: &[Vec<(String, f64)>]) -> HashMap<String, (&'a str, f64)> {
    let vocabulary = Vocabulary::of(known.iter().flatten().map(|(word, _)| word.as_str()));
    let mut alike: HashMap<String, (&str, f64)> = HashMap::new();
    for word in asked {
        for (found, likeness) in vocabulary.like(word) {
            let best = alike.entry(found.to_owned()).or_insert((word, 0.0));
            if likeness > best.1 {
                *best = (word, likeness);
            }
        }
    }
    alike
}

/// The words of the question that a table has, each where it weighs most.
fn shared<'a>(words: &[(String, f64)], alike: &HashMap<String, (&'a str, f64)>) -> HashMap<&'a str, f64> {
    let mut found = HashMap::new();
    for (word, weight) in words {
        if let Some((asked, likeness)) = alike.get(word) {
            let heaviest: &mut f64 = found.entry(*asked).or_default();
            *heaviest = heaviest.max(weight * likeness);
        }
    }
    found
}

/// How many words of `text` stand in the question as well.
pub(super) fn common_words(question: &str, text: &str) -> usize {
    let asked: HashSet<String> = words(question).into_iter().collect();
    words(text).into_iter().collect::<HashSet<_>>().intersection(&asked).count()
}

impl Outline {
    /// Its words, and how much each counts.
    fn words(&self) -> Vec<(String, f64)> {
        let parts = [
            (self.name.rsplit('.').next().unwrap_or_default(), NAME),
            (self.comment.as_deref().unwrap_or_default(), COMMENT),
            (self.columns.as_str(), COLUMN),
            (self.column_comments.as_str(), COLUMN_COMMENT),
            (self.values.as_str(), VALUE),
        ];
        parts.into_iter().flat_map(|(text, weight)| words(text).into_iter().map(move |word| (word, weight))).collect()
    }

    /// What a model of meanings is told of it, in at most some 2,000 bytes.
    pub fn described(&self) -> String {
        let parts = [self.name.as_str(), self.comment.as_deref().unwrap_or_default(), &self.columns, &self.column_comments, &self.values];
        crate::error::clip(&parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n"), 2000)
    }

    /// Bytes that it takes when it is told, roughly.
    pub(super) fn size(&self) -> usize {
        let comments = self.comment.as_ref().map_or(0, String::len).min(200) + self.column_comments.len();
        30 + self.name.len() + self.columns.len() + 14 * self.column_count + comments + self.values.len()
    }
}

/// Lower-case words: of names, their parts; without the endings of plurals and tenses; of scripts without spaces, pairs of characters.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut before: Option<char> = None;
    for c in text.chars() {
        if is_ideograph(c) {
            finish(&mut word, &mut words);
            if let Some(before) = before.filter(|before| is_ideograph(*before)) {
                words.push([before, c].iter().collect());
            }
        } else if c.is_alphanumeric() {
            if c.is_uppercase() && before.is_some_and(char::is_lowercase) {
                finish(&mut word, &mut words);
            }
            word.extend(c.to_lowercase());
        } else {
            finish(&mut word, &mut words);
        }
        before = Some(c);
    }
    finish(&mut word, &mut words);
    words
}

fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}')
}

fn finish(word: &mut String, words: &mut Vec<String>) {
    let whole = std::mem::take(word);
    if whole.chars().count() > 1 && !is_stop_word(&whole) {
        words.push(stem(whole));
    }
}

fn is_stop_word(word: &str) -> bool {
    const WORDS: [&str; 40] = [
        "an", "and", "are", "as", "at", "by", "did", "do", "does", "each", "every", "for", "from", "give", "had", "has", "have", "how",
        "id", "in", "is", "it", "list", "many", "me", "much", "of", "on", "or", "per", "show", "that", "the", "their", "to", "was", "what",
        "which", "who", "with",
    ];
    WORDS.contains(&word)
}

fn stem(word: String) -> String {
    let cut = |ending: &str, instead: &str| {
        word.strip_suffix(ending).filter(|rest| rest.chars().count() > 2).map(|rest| format!("{rest}{instead}"))
    };
    cut("ies", "y")
        .or_else(|| cut("sses", "ss"))
        .or_else(|| if word.ends_with("ss") { None } else { cut("s", "") })
        .or_else(|| cut("ing", ""))
        .or_else(|| cut("ed", ""))
        .unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, columns: &str, targets: &[usize]) -> Outline {
        Outline { name: name.into(), columns: columns.into(), targets: targets.to_vec(), ..Outline::default() }
    }

    fn shop() -> [Outline; 5] {
        [
            table("public.weather", "id", &[]),
            table("public.order_lines", "order_id product_id", &[2, 3]),
            table("public.orders", "id", &[4]),
            table("public.products", "id price", &[]),
            table("public.customers", "id name", &[]),
        ]
    }

    #[test]
    fn names_are_split_and_endings_cut() {
        assert_eq!(words("public.\"OrderLines\""), ["public", "order", "line"]);
        assert_eq!(words("How many categories were shipped?"), ["category", "were", "shipp"]);
        assert_eq!(words("order_lines addresses glass"), ["order", "line", "address", "glass"]);
        assert_eq!(words("上海的订单"), ["上海", "海的", "的订", "订单"]);
    }

    #[test]
    fn tables_that_are_named_go_before_their_neighbours_and_the_rest_is_left_out() {
        assert_eq!(ranked(&shop(), "How many orders does each customer have?", &[]), [4, 2, 1, 3]);
    }

    #[test]
    fn a_word_that_is_nearly_the_same_counts_too() {
        assert_eq!(ranked(&shop(), "Wich custmers?", &[])[0], 4);
        assert_eq!(ranked(&shop(), "Wetter und weathr", &[]), [0]);
    }

    #[test]
    fn likeness_of_meaning_finds_what_shares_no_word() {
        let found = ranked(&shop(), "What did people buy?", &[0.1, 0.1, 0.8, 0.1, 0.2]);
        assert_eq!(found[0], 2);
        assert_eq!(found[1..3].iter().copied().collect::<HashSet<_>>(), HashSet::from([1, 4]), "and its neighbours after it");
        assert_eq!(ranked(&shop(), "customers", &[0.9, 0.1, 0.1, 0.1, 0.8])[0], 4, "both together count most");
        assert_eq!(ranked(&shop(), "customers", &[0.9])[0], 4, "what was measured of other tables is none");
    }

    #[test]
    fn where_nothing_fits_all_may() {
        assert_eq!(ranked(&[table("a.b", "", &[]), table("a.c", "", &[0])], "xyz", &[]), [1, 0]);
        assert!(ranked(&[], "xyz", &[]).is_empty());
    }
}
