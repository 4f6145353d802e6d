//! What a model is told of a database: its tables in few words, and of many tables those that the question is about.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::relevance::Outline;

/// A table or something that can be selected from like one.
#[derive(Clone, Debug)]
pub struct Table {
    /// With its schema, quoted where SQL needs it.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its comment.
    pub comment: Option<String>,
    /// How many rows the server thinks that it has.
    pub rows: Option<i64>,
    /// Those that the caller may read.
    pub columns: Vec<Column>,
    /// Names of columns.
    pub primary_key: Vec<String>,
    /// To other tables.
    pub foreign_keys: Vec<ForeignKey>,
    /// Some of its rows, as text: values of the columns in their order.
    pub samples: Vec<Vec<Option<String>>>,
}

/// What a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Table,
    /// Whose partitions are not shown.
    Partitioned,
    View,
    MaterializedView,
}

/// A column.
#[derive(Clone, Debug, Default)]
pub struct Column {
    /// Quoted where SQL needs it.
    pub name: String,
    /// As SQL writes it.
    pub type_name: String,
    /// It is never NULL.
    pub not_null: bool,
    /// Its comment.
    pub comment: Option<String>,
    /// Of an enumeration.
    pub values: Vec<String>,
}

/// A foreign key.
#[derive(Clone, Debug)]
pub struct ForeignKey {
    /// Of this table.
    pub columns: Vec<String>,
    /// The other table's name.
    pub target: String,
    /// Of the other table.
    pub target_columns: Vec<String>,
}

/// A description that fits its budget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// For the model.
    pub text: String,
    /// Places of the tables in it.
    pub shown: Vec<usize>,
    /// How many tables are not in it.
    pub left_out: usize,
}

/// Bytes of text that make a token, roughly.
const BYTES_A_TOKEN: usize = 4;
/// Longest comment, in characters, and most values of an enumeration, that are shown.
const COMMENT: usize = 500;
const VALUES: usize = 30;
/// Longest value of a row that is shown, in characters.
const SAMPLE: usize = 40;

/// How many of the best tables are worth a closer look, where all of them would be far more than this many tokens. `order` is asked for their places, the best first.
///
/// None: all are.
pub fn worth_a_look(tables: &[Outline], tokens: usize, order: impl FnOnce() -> Vec<usize>) -> Option<Vec<usize>> {
    // The sizes are estimates, and a table that does not fit makes room for the next.
    let mut left = tokens.saturating_mul(BYTES_A_TOKEN).saturating_mul(3) / 2;
    if tables.iter().map(Outline::size).sum::<usize>() <= left {
        return None;
    }
    let mut chosen = order();
    let mut fits = |at: &usize| {
        let before = left;
        left = left.saturating_sub(tables.get(*at).map_or(0, Outline::size));
        before > 0
    };
    let count = chosen.iter().take_while(|at| fits(at)).count();
    chosen.truncate(count);
    Some(chosen)
}

/// Describes tables within this many tokens. A table that does not fit is left out; of one that alone does not fit, columns are. `order` is asked for the places of the
/// tables, the best first, where not all of them fit; `beside` are tables that there are besides.
pub fn render(tables: &[Table], beside: usize, tokens: usize, order: impl FnOnce() -> Vec<usize>) -> Rendered {
    let budget = tokens.saturating_mul(BYTES_A_TOKEN);
    let whole: Vec<String> = tables.iter().map(|table| table.lines(usize::MAX)).collect();
    let all_fit = whole.iter().map(String::len).sum::<usize>() <= budget;
    if all_fit && beside == 0 {
        return Rendered { text: whole.concat(), shown: (0..tables.len()).collect(), left_out: 0 };
    }
    let mut left = budget;
    let mut chosen: Vec<(usize, String)> = Vec::new();
    for at in if all_fit { (0..tables.len()).collect() } else { order() } {
        let text = if whole[at].len() <= left {
            whole[at].clone()
        } else if chosen.is_empty() {
            tables[at].lines(left)
        } else {
            continue;
        };
        left = left.saturating_sub(text.len());
        chosen.push((at, text));
    }
    chosen.sort_by_key(|(at, _)| *at);
    let left_out = beside + tables.len() - chosen.len();
    let mut text: String = chosen.iter().map(|(_, text)| text.as_str()).collect();
    let _ = writeln!(text, "-- {left_out} other tables are not shown");
    Rendered { text, shown: chosen.into_iter().map(|(at, _)| at).collect(), left_out }
}

/// What is known of each table, in few words.
pub fn outlines(tables: &[Table]) -> Vec<Outline> {
    let places: HashMap<&str, usize> = tables.iter().enumerate().map(|(at, table)| (table.name.as_str(), at)).collect();
    let joined = |words: &mut dyn Iterator<Item = &str>| words.collect::<Vec<_>>().join(" ");
    let outline = |table: &Table| Outline {
        name: table.name.clone(),
        comment: table.comment.clone(),
        columns: joined(&mut table.columns.iter().map(|column| column.name.as_str())),
        column_count: table.columns.len(),
        column_comments: joined(&mut table.columns.iter().filter_map(|column| column.comment.as_deref())),
        values: joined(&mut table.columns.iter().flat_map(|column| column.values.iter().map(String::as_str))),
        targets: table.foreign_keys.iter().filter_map(|key| places.get(key.target.as_str()).copied()).collect(),
    };
    tables.iter().map(outline).collect()
}

impl Table {
    /// A line for the table and one a column, in `most` bytes if it must be.
    fn lines(&self, most: usize) -> String {
        let kind = match self.kind {
            Kind::Table => "TABLE",
            Kind::Partitioned => "PARTITIONED TABLE",
            Kind::View => "VIEW",
            Kind::MaterializedView => "MATERIALIZED VIEW",
        };
        let mut text = format!("{kind} {}", self.name);
        if let Some(rows) = self.rows {
            let _ = write!(text, " (about {rows} rows)");
        }
        put_comment(&mut text, self.comment.as_deref());
        text.push('\n');
        let mut hidden = 0;
        for column in &self.columns {
            let line = self.line(column);
            let is_key = self.primary_key.contains(&column.name) || self.foreign_keys.iter().any(|key| key.columns.contains(&column.name));
            if is_key || text.len().saturating_add(line.len()) <= most {
                text.push_str(&line);
            } else {
                hidden += 1;
            }
        }
        for key in self.foreign_keys.iter().filter(|key| key.columns.len() != 1) {
            let _ = writeln!(text, "  ({}) -> {}({})", key.columns.join(", "), key.target, key.target_columns.join(", "));
        }
        if hidden > 0 {
            let _ = writeln!(text, "  -- {hidden} other columns are not shown");
        }
        for row in self.samples.iter().filter(|_| hidden == 0) {
            let values: Vec<String> = row.iter().map(|value| value.as_deref().map_or_else(|| "NULL".to_owned(), sample)).collect();
            let _ = writeln!(text, "  -- a row: ({})", values.join(", "));
        }
        text
    }

    fn line(&self, column: &Column) -> String {
        let mut text = format!("  {} {}", column.name, column.type_name);
        if !column.values.is_empty() {
            let more = if column.values.len() > VALUES { ", ..." } else { "" };
            let shown: Vec<String> =
                column.values.iter().take(VALUES).map(|value| format!("'{}'", one_line(value, COMMENT).replace('\'', "''"))).collect();
            let _ = write!(text, " ({}{more})", shown.join(", "));
        }
        match self.primary_key.as_slice() {
            [only] if *only == column.name => text.push_str(" PRIMARY KEY"),
            several if several.contains(&column.name) => text.push_str(" (part of the PRIMARY KEY)"),
            _ if column.not_null => text.push_str(" NOT NULL"),
            _ => {}
        }
        for key in self.foreign_keys.iter().filter(|key| key.columns == [column.name.as_str()]) {
            let _ = write!(text, " -> {}({})", key.target, key.target_columns.join(", "));
        }
        put_comment(&mut text, column.comment.as_deref());
        text.push('\n');
        text
    }
}

/// A comment is data, and stays on its line.
fn put_comment(text: &mut String, comment: Option<&str>) {
    if let Some(comment) = comment.map(|comment| one_line(comment, COMMENT)).filter(|comment| !comment.is_empty()) {
        let _ = write!(text, " -- {comment}");
    }
}

fn sample(value: &str) -> String {
    format!("'{}'", one_line(value, SAMPLE).replace('\'', "''"))
}

/// In at most so many characters, without what breaks a line.
pub(super) fn one_line(text: &str, most: usize) -> String {
    let mut line = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(most) {
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text2sql::relevance::ranked;

    fn orders() -> Table {
        let column = |name: &str, type_name: &str| Column { name: name.into(), type_name: type_name.into(), ..Column::default() };
        Table {
            name: "shop.orders".into(),
            kind: Kind::Partitioned,
            comment: Some("What was\nordered".into()),
            rows: Some(1200),
            columns: vec![
                Column { not_null: true, ..column("id", "bigint") },
                Column { not_null: true, ..column("customer_id", "bigint") },
                Column {
                    values: vec!["new".into(), "it's paid".into()],
                    comment: Some("-- DROP".into()),
                    ..column("\"Status\"", "shop.status")
                },
            ],
            primary_key: vec!["id".into()],
            foreign_keys: vec![ForeignKey {
                columns: vec!["customer_id".into()],
                target: "shop.customers".into(),
                target_columns: vec!["id".into()],
            }],
            samples: Vec::new(),
        }
    }

    fn render(tables: &[Table], question: &str, tokens: usize) -> Rendered {
        super::render(tables, 0, tokens, || ranked(&outlines(tables), question, &[]))
    }

    #[test]
    fn a_table_is_told_with_keys_values_and_comments() {
        let rendered = render(&[orders()], "x", 1000);
        assert_eq!(
            rendered.text,
            "PARTITIONED TABLE shop.orders (about 1200 rows) -- What was ordered\n  id bigint PRIMARY KEY\n  customer_id bigint NOT NULL -> shop.customers(id)\n  \
             \"Status\" shop.status ('new', 'it''s paid') -- -- DROP\n"
        );
        assert_eq!((rendered.shown, rendered.left_out), (vec![0], 0));
    }

    #[test]
    fn the_budget_holds_and_the_question_decides() {
        let mut tables: Vec<Table> =
            (0..1000).map(|n| Table { name: format!("public.table_{n}"), comment: None, foreign_keys: Vec::new(), ..orders() }).collect();
        tables[700].comment = Some("Invoices of suppliers".into());
        let rendered = render(&tables, "Which supplier sent the most invoices?", 300);
        assert_eq!((&*rendered.shown, rendered.left_out), (&[700][..], 999));
        assert!(rendered.text.len() <= 300 * 4 + 60, "{}", rendered.text);
    }

    #[test]
    fn of_a_wide_table_the_keys_stay() {
        let mut wide = orders();
        wide.columns.extend((0..5000).map(|n| Column { name: format!("c{n}"), type_name: "text".into(), ..Column::default() }));
        let rendered = render(&[wide], "orders", 200);
        assert!(rendered.text.contains("customer_id") && rendered.text.contains("other columns are not shown"), "{}", rendered.text);
        assert!(rendered.text.len() < 200 * 4 + 200);
    }

    #[test]
    fn a_key_of_several_columns_stands_on_its_own_line() {
        let mut table = orders();
        table.primary_key = vec!["id".into(), "customer_id".into()];
        table.foreign_keys = vec![ForeignKey {
            columns: vec!["id".into(), "customer_id".into()],
            target: "a.b".into(),
            target_columns: vec!["x".into(), "y".into()],
        }];
        let text = render(&[table], "x", 1000).text;
        assert!(text.contains("(id, customer_id) -> a.b(x, y)\n") && text.contains("id bigint (part of the PRIMARY KEY)"), "{text}");
    }

    #[test]
    fn rows_stay_on_their_lines_and_are_cut() {
        let row = vec![Some("1".into()), None, Some(format!("a\n\"b' {}", "x".repeat(100)))];
        let table = Table { samples: vec![row], ..orders() };
        let text = render(&[table], "x", 1000).text;
        assert!(text.contains("\n  -- a row: ('1', NULL, 'a \"b'' xxx") && text.contains("…')\n"), "{text}");
    }

    #[test]
    fn of_very_many_tables_only_the_best_are_looked_at_closely() {
        let outline = |n: usize| Outline { name: format!("public.t{n}"), columns: "a b c".into(), column_count: 3, ..Outline::default() };
        let tables: Vec<Outline> = (0..10_000).map(outline).collect();
        let order: Vec<usize> = (0..10_000).rev().collect();
        let chosen = worth_a_look(&tables, 8000, || order).unwrap();
        assert!((200..2000).contains(&chosen.len()) && chosen[0] == 9999, "{}", chosen.len());
        assert_eq!(worth_a_look(&tables[..3], 8000, || unreachable!()), None);
        assert_eq!(worth_a_look(&tables, 8000, || vec![2]), Some(vec![2]), "what has nothing to do with it is left out");
    }
}
