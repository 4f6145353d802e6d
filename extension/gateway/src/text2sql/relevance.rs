//! Which tables a question is about: by the words that it shares with their names and comments, and by foreign keys.

use std::collections::{HashMap, HashSet};

use super::schema::Table;

/// How much a table's own words count, by where they stand.
const NAME: f64 = 4.0;
const COMMENT: f64 = 2.0;
const COLUMN: f64 = 2.0;
const COLUMN_COMMENT: f64 = 1.0;
const VALUE: f64 = 1.5;
/// The share that a table has in its best neighbour's.
const NEIGHBOUR: f64 = 0.4;

/// The tables by their places, the likeliest first. Those that have nothing to do with the question are left out, unless all have nothing.
pub(super) fn ranked(tables: &[Table], question: &str) -> Vec<usize> {
    let asked: HashSet<String> = words(question).into_iter().collect();
    let found: Vec<HashMap<&String, f64>> = tables.iter().map(|table| shared(table, &asked)).collect();
    let mut rarity: HashMap<&String, f64> = HashMap::new();
    for word in found.iter().flat_map(HashMap::keys) {
        *rarity.entry(word).or_default() += 1.0;
    }
    #[allow(clippy::cast_precision_loss, reason = "there are not that many tables")]
    let count = tables.len() as f64;
    let own: Vec<f64> = found
        .iter()
        .map(|words| words.iter().map(|(word, weight)| weight * (1.0 + count / rarity.get(word).copied().unwrap_or(1.0)).ln()).sum())
        .collect();
    let mut score = own.clone();
    let places: HashMap<&str, usize> = tables.iter().enumerate().map(|(at, table)| (table.name.as_str(), at)).collect();
    for (from, table) in tables.iter().enumerate() {
        for to in table.foreign_keys.iter().filter_map(|key| places.get(key.target.as_str()).copied()) {
            score[from] = score[from].max(own[from] + NEIGHBOUR * own[to]);
            score[to] = score[to].max(own[to] + NEIGHBOUR * own[from]);
        }
    }
    let mut order: Vec<usize> = (0..tables.len()).collect();
    order.sort_by(|a, b| {
        score[*b].total_cmp(&score[*a]).then_with(|| tables[*b].foreign_keys.len().cmp(&tables[*a].foreign_keys.len())).then(a.cmp(b))
    });
    if score.iter().any(|score| *score > 0.0) {
        order.retain(|at| score[*at] > 0.0);
    }
    order
}

/// The words of the question that a table has, each where it weighs most.
fn shared<'a>(table: &Table, asked: &'a HashSet<String>) -> HashMap<&'a String, f64> {
    let mut found = HashMap::new();
    let mut look = |text: &str, weight: f64| {
        for word in words(text) {
            if let Some(word) = asked.get(&word) {
                let heaviest: &mut f64 = found.entry(word).or_default();
                *heaviest = heaviest.max(weight);
            }
        }
    };
    look(table.name.rsplit('.').next().unwrap_or_default(), NAME);
    look(table.comment.as_deref().unwrap_or_default(), COMMENT);
    for column in &table.columns {
        look(&column.name, COLUMN);
        look(column.comment.as_deref().unwrap_or_default(), COLUMN_COMMENT);
        for value in &column.values {
            look(value, VALUE);
        }
    }
    found
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
    use crate::text2sql::schema::{Column, ForeignKey, Kind};

    fn table(name: &str, columns: &[&str], targets: &[&str]) -> Table {
        Table {
            name: name.into(),
            kind: Kind::Table,
            comment: None,
            rows: None,
            columns: columns.iter().map(|name| Column { name: (*name).into(), ..Column::default() }).collect(),
            primary_key: Vec::new(),
            foreign_keys: targets
                .iter()
                .map(|target| ForeignKey { columns: vec!["x".into()], target: (*target).into(), target_columns: vec!["id".into()] })
                .collect(),
        }
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
        let tables = [
            table("public.weather", &["id"], &[]),
            table("public.order_lines", &["order_id", "product_id"], &["public.orders", "public.products"]),
            table("public.orders", &["id"], &["public.customers"]),
            table("public.products", &["id", "price"], &[]),
            table("public.customers", &["id", "name"], &[]),
        ];
        assert_eq!(ranked(&tables, "How many orders does each customer have?"), [4, 2, 1, 3]);
    }

    #[test]
    fn where_nothing_fits_all_may() {
        assert_eq!(super::ranked(&[table("a.b", &[], &[]), table("a.c", &[], &["a.b"])], "xyz"), [1, 0]);
        assert!(super::ranked(&[], "xyz").is_empty());
    }
}
