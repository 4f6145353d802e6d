//! What people have said of a database beside its comments: descriptions, facts, and questions with queries that answer them. All of it is data, as comments are.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::relevance::{Outline, common_words};
use super::schema::{Table, one_line};

/// Something that was said.
#[derive(Clone, Debug)]
pub struct Note {
    /// Its number.
    pub id: i64,
    /// What kind of thing it is.
    pub kind: NoteKind,
    /// The tables that it speaks of.
    pub about: Vec<About>,
    /// The description, the fact, the question.
    pub words: String,
    /// Whoever asks has said it.
    pub own: bool,
}

/// What was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoteKind {
    /// What a table or a column is.
    Description,
    /// Something to know.
    Fact,
    /// A question, and its query.
    Example(String),
}

/// A table, and columns of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// With its schema, quoted where SQL needs it.
    pub table: String,
    /// Quoted where SQL needs it; none: the table as a whole.
    pub columns: Vec<String>,
}

/// The notes that a model is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// For the model.
    pub text: String,
    /// Numbers of the facts.
    pub facts: Vec<i64>,
    /// Numbers of the examples.
    pub examples: Vec<i64>,
}

/// Most facts and examples that are told.
const FACTS: usize = 20;
const EXAMPLES: usize = 5;
/// Longest fact or question, in characters.
const WORDS: usize = 1000;

/// One's own last, so that they go before others'.
fn descriptions(notes: &[Note]) -> Vec<&Note> {
    let mut descriptions: Vec<&Note> = notes.iter().filter(|note| note.kind == NoteKind::Description).collect();
    descriptions.sort_by_key(|note| note.own);
    descriptions
}

/// Puts descriptions in the place of comments; one's own go before others'.
pub fn describe(tables: &mut [Table], notes: &[Note]) {
    let places: HashMap<String, usize> = tables.iter().enumerate().map(|(at, table)| (table.name.clone(), at)).collect();
    for note in descriptions(notes) {
        for About { table, columns } in &note.about {
            let Some(table) = places.get(table).and_then(|at| tables.get_mut(*at)) else { continue };
            match columns.as_slice() {
                [] => table.comment = Some(note.words.clone()),
                named => {
                    for column in table.columns.iter_mut().filter(|column| named.contains(&column.name)) {
                        column.comment = Some(note.words.clone());
                    }
                }
            }
        }
    }
}

/// The same where columns are not looked at one by one.
pub fn describe_outlines(tables: &mut [Outline], notes: &[Note]) {
    let places: HashMap<String, usize> = tables.iter().enumerate().map(|(at, table)| (table.name.clone(), at)).collect();
    for note in descriptions(notes) {
        for About { table, columns } in &note.about {
            let Some(table) = places.get(table).and_then(|at| tables.get_mut(*at)) else { continue };
            if columns.is_empty() {
                table.comment = Some(note.words.clone());
            } else {
                table.column_comments.push(' ');
                table.column_comments.push_str(&note.words);
            }
        }
    }
}

/// The facts and examples that speak of nothing but `shown` tables and of columns that are among theirs, those first that share most words with the question, in at most
/// `most` bytes.
pub fn told(notes: &[Note], shown: &[&Table], question: &str, most: usize) -> Told {
    let tables: HashMap<&str, &Table> = shown.iter().map(|table| (table.name.as_str(), *table)).collect();
    let readable = |about: &About| {
        let table = tables.get(about.table.as_str());
        table.is_some_and(|table| about.columns.iter().all(|name| table.columns.iter().any(|column| column.name == *name)))
    };
    let mut rest: Vec<(usize, &Note)> = notes
        .iter()
        .filter(|note| note.kind != NoteKind::Description && note.about.iter().all(readable))
        .map(|note| (common_words(question, &note.words), note))
        .collect();
    rest.sort_by_key(|(common, note)| (std::cmp::Reverse(*common), note.id));
    let mut told = Told::default();
    let (mut facts, mut examples) = (String::new(), String::new());
    for (common, note) in rest {
        let words = one_line(&note.words, WORDS);
        let (text, into, ids, count) = match &note.kind {
            NoteKind::Example(sql) if common > 0 => {
                (format!("- {words}\n```sql\n{}\n```\n", sql.trim()), &mut examples, &mut told.examples, EXAMPLES)
            }
            NoteKind::Fact => (format!("- {words}\n"), &mut facts, &mut told.facts, FACTS),
            _ => continue,
        };
        let used = into.len();
        if ids.len() < count && used + text.len() <= most {
            into.push_str(&text);
            ids.push(note.id);
        }
    }
    for (title, lines) in [("Facts:", facts), ("Queries that answered other questions:", examples)] {
        if !lines.is_empty() {
            let _ = write!(told.text, "{title}\n{lines}\n");
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text2sql::{Column, Kind};

    fn table(name: &str, columns: &[&str]) -> Table {
        Table {
            name: name.into(),
            kind: Kind::Table,
            comment: Some("as it was".into()),
            rows: None,
            columns: columns.iter().map(|name| Column { name: (*name).into(), ..Column::default() }).collect(),
            primary_key: Vec::new(),
            foreign_keys: Vec::new(),
            samples: Vec::new(),
        }
    }

    fn note(id: i64, kind: NoteKind, about: &[(&str, &[&str])], words: &str) -> Note {
        let about = about
            .iter()
            .map(|(table, columns)| About { table: (*table).into(), columns: columns.iter().map(|name| (*name).into()).collect() })
            .collect();
        Note { id, kind, about, words: words.into(), own: true }
    }

    #[test]
    fn descriptions_stand_in_place_of_comments_and_ones_own_go_first() {
        let mut tables = [table("s.t", &["a", "b"])];
        let theirs = Note { own: false, ..note(2, NoteKind::Description, &[("s.t", &[])], "theirs") };
        let own = note(1, NoteKind::Description, &[("s.t", &[])], "mine");
        let column = note(3, NoteKind::Description, &[("s.t", &["b"])], "of b");
        let elsewhere = note(4, NoteKind::Description, &[("s.u", &["a"])], "of a");
        describe(&mut tables, &[own, theirs, column, elsewhere]);
        assert_eq!(tables[0].comment.as_deref(), Some("mine"));
        assert_eq!((tables[0].columns[0].comment.as_deref(), tables[0].columns[1].comment.as_deref()), (None, Some("of b")));
    }

    #[test]
    fn what_speaks_of_something_that_is_not_shown_is_not_told() {
        let (t, u) = (table("s.t", &["a"]), table("s.u", &["b"]));
        let notes = [
            note(1, NoteKind::Fact, &[], "General."),
            note(2, NoteKind::Fact, &[("s.t", &["a"])], "Of a."),
            note(3, NoteKind::Fact, &[("s.t", &["secret"])], "Of a secret."),
            note(4, NoteKind::Fact, &[("s.t", &[]), ("s.hidden", &[])], "Of both."),
            note(5, NoteKind::Example("SELECT 1".into()), &[("s.u", &["b"])], "How many orders\nare there?"),
            note(6, NoteKind::Example("SELECT 2".into()), &[("s.u", &["b"])], "Something else"),
        ];
        let told = told(&notes, &[&t, &u], "How many orders has Ada?", 1000);
        assert_eq!((told.facts, told.examples), (vec![1, 2], vec![5]));
        assert_eq!(
            told.text,
            "Facts:\n- General.\n- Of a.\n\nQueries that answered other questions:\n- How many orders are there?\n```sql\nSELECT 1\n```\n\n"
        );
    }

    #[test]
    fn the_bounds_hold() {
        let t = table("s.t", &["a"]);
        let facts: Vec<Note> = (0..100).map(|id| note(id, NoteKind::Fact, &[], &"word ".repeat(10))).collect();
        assert_eq!(told(&facts, &[&t], "x", 100_000).facts.len(), FACTS);
        assert_eq!(told(&facts, &[&t], "x", 130).facts.len(), 2);
        assert_eq!(told(&facts, &[&t], "x", 10), Told::default());
    }
}
