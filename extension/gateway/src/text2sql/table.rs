//! Rows as a table of text, as psql shows them.

use serde_json::Value;

/// Widest cell, in characters.
const WIDEST: usize = 80;

/// Columns and rows, and how many rows they are.
pub fn text_table(columns: &[String], rows: &[Vec<Value>], truncated: bool) -> String {
    let header: Vec<String> = columns.iter().map(|name| cell(&Value::String(name.clone()))).collect();
    let cells: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    let widths: Vec<usize> = header
        .iter()
        .enumerate()
        .map(|(at, name)| cells.iter().filter_map(|row| row.get(at)).chain([name]).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let numeric: Vec<bool> = (0..header.len())
        .map(|at| {
            rows.iter().any(|row| row.get(at).is_some_and(Value::is_number))
                && rows.iter().all(|row| matches!(row.get(at), Some(Value::Number(_) | Value::Null)))
        })
        .collect();
    let line = |row: &[String]| {
        let padded = row.iter().zip(&widths).zip(&numeric).map(|((cell, width), numeric)| {
            let fill = " ".repeat(width - cell.chars().count());
            if *numeric { format!(" {fill}{cell} ") } else { format!(" {cell}{fill} ") }
        });
        padded.collect::<Vec<_>>().join("|").trim_end().to_owned()
    };
    let rule = widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("+");
    let count = match (rows.len(), truncated) {
        (1, false) => "(1 row)".to_owned(),
        (n, false) => format!("({n} rows)"),
        (n, true) => format!("(the first {n} rows: there are more)"),
    };
    let mut lines = vec![line(&header), rule];
    lines.extend(cells.iter().map(|row| line(row)));
    lines.push(count);
    lines.join("\n")
}

/// On one line. NULL is nothing, as in psql.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().count() <= WIDEST { text } else { text.chars().take(WIDEST - 1).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_is_aligned_and_says_how_many_rows_it_has() {
        let rows = vec![vec![json!("Köln"), json!(1_000_000)], vec![json!(null), json!(7)], vec![json!("a\nb"), json!(null)]];
        let table = text_table(&["city".into(), "people".into()], &rows, false);
        assert_eq!(
            table,
            " city | people\n------+---------\n Köln | 1000000\n      |       7\n a b  |\n(3 rows)"
                .replace("people\n------+---------", " people\n------+---------")
        );
    }

    #[test]
    fn nothing_and_too_much_are_said() {
        assert_eq!(text_table(&["n".into()], &[], false), " n\n---\n(0 rows)");
        assert_eq!(text_table(&["n".into()], &[vec![json!(1)]], true), " n\n---\n 1\n(the first 1 rows: there are more)");
        assert!(text_table(&["n".into()], &[vec![json!("x".repeat(500))]], false).contains('…'));
        assert_eq!(text_table(&[], &[vec![]], false), "\n\n\n(1 row)");
    }
}
