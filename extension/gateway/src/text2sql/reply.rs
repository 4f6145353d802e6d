//! The query in what a model wrote: as JSON, in a code fence, or with words before and after it.

use serde_json::Value;

use crate::error::clip;
use crate::extract;

/// What a model answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A statement, whatever it is: whoever runs it decides.
    Sql {
        /// Its text.
        sql: String,
        /// What the model says of it.
        explanation: Option<String>,
    },
    /// No statement: what it said instead.
    NoSql(String),
}

/// Words that statements begin with.
const BEGINNINGS: [&str; 52] = [
    "abort",
    "alter",
    "analyze",
    "begin",
    "call",
    "checkpoint",
    "close",
    "cluster",
    "comment",
    "commit",
    "copy",
    "create",
    "deallocate",
    "declare",
    "delete",
    "discard",
    "do",
    "drop",
    "end",
    "execute",
    "explain",
    "fetch",
    "grant",
    "import",
    "insert",
    "listen",
    "load",
    "lock",
    "merge",
    "move",
    "notify",
    "prepare",
    "reassign",
    "refresh",
    "reindex",
    "release",
    "reset",
    "revoke",
    "rollback",
    "savepoint",
    "security",
    "select",
    "set",
    "show",
    "start",
    "table",
    "truncate",
    "unlisten",
    "update",
    "vacuum",
    "values",
    "with",
];
/// Longest quotation of what was said instead of a query, in bytes.
const SAID: usize = 600;

impl Reply {
    /// Reads an answer.
    pub fn read(text: &str) -> Self {
        // What some servers leave in the text of models that think.
        let text = text.rsplit_once("</think>").map_or(text, |(_, said)| said).trim_start_matches('\u{feff}').trim();
        let objects = extract::candidates(text).into_iter().filter_map(Result::ok).map(|found| found.value);
        for object in objects {
            if let Some(sql) = object.get("sql") {
                let explanation = object.get("explanation").and_then(Value::as_str).map(str::trim).filter(|words| !words.is_empty());
                return match sql.as_str().map(trimmed) {
                    Some(sql) if !without_comments(sql).is_empty() => {
                        Self::Sql { sql: sql.to_owned(), explanation: explanation.map(str::to_owned) }
                    }
                    _ => Self::NoSql(clip(explanation.unwrap_or(text), SAID)),
                };
            }
        }
        match in_fence(text).or_else(|| amid_words(text)) {
            Some(sql) => Self::Sql { sql: trimmed(sql).to_owned(), explanation: None },
            None => Self::NoSql(clip(text, SAID)),
        }
    }
}

fn trimmed(sql: &str) -> &str {
    sql.trim().trim_end_matches([';', ' ', '\n', '\r', '\t'])
}

/// The last code fence that begins like a statement.
fn in_fence(text: &str) -> Option<&str> {
    let inside = text.split("```").skip(1).step_by(2).map(|block| match block.split_once('\n') {
        // The language.
        Some((first, rest)) if !first.trim().contains(' ') && !is_statement(first.trim()) => rest,
        _ => block,
    });
    inside.filter(|block| is_statement(block)).last()
}

/// A statement at the beginning of the text or of a line, up to its end.
fn amid_words(text: &str) -> Option<&str> {
    let begins = |line: &str| is_one_case(first_word(line)) && is_query(line);
    let from = if is_one_case(first_word(without_comments(text))) && is_statement(text) {
        0
    } else {
        let lines = text.split_inclusive('\n').scan(0, |at, line| {
            let begin = *at;
            *at += line.len();
            Some((begin, line))
        });
        lines.into_iter().find(|(at, line)| begins(line) && is_query(&text[*at..])).map(|(at, _)| at)?
    };
    let statement = &text[from..];
    let Some(end) = end_of_statement(statement) else { return Some(before_prose(statement)) };
    let rest = without_comments(statement[end..].trim_start_matches(|c: char| c == ';' || c.is_whitespace()));
    // Another statement is not for us to leave out.
    let another = is_one_case(first_word(rest)) && is_statement(rest);
    Some(if another { statement } else { &statement[..end] })
}

/// Up to a paragraph that begins like a sentence.
fn before_prose(statement: &str) -> &str {
    let sentence = |paragraph: &str| {
        let word = first_word(paragraph);
        word.len() > 1 && word.starts_with(char::is_uppercase) && word.chars().skip(1).all(char::is_lowercase)
    };
    let end = statement.match_indices("\n\n").map(|(at, _)| at).find(|at| sentence(statement[*at..].trim_start()));
    &statement[..end.unwrap_or(statement.len())]
}

fn first_word(text: &str) -> &str {
    let text = text.trim_start();
    &text[..text.find(|c: char| !c.is_alphabetic()).unwrap_or(text.len())]
}

/// SELECT or select, and not Select, as a sentence would begin.
fn is_one_case(word: &str) -> bool {
    word.is_empty() || word.chars().all(char::is_uppercase) || word.chars().all(char::is_lowercase)
}

fn is_statement(text: &str) -> bool {
    let text = without_comments(text);
    text.starts_with('(') || BEGINNINGS.iter().any(|word| first_word(text).eq_ignore_ascii_case(word))
}

/// Begins like a query, and not like a sentence in small letters.
fn is_query(text: &str) -> bool {
    let text = text.trim_start();
    let word = first_word(text).to_ascii_lowercase();
    let rest = text[word.len()..].trim_start();
    match word.as_str() {
        "select" => true,
        "values" => rest.starts_with('('),
        "table" => rest.trim_end_matches([';', ' ', '\n']).split_whitespace().count() == 1,
        "with" => {
            let mut words = rest.split(|c: char| c.is_whitespace() || c == '(').filter(|word| !word.is_empty());
            let first = words.next().unwrap_or_default();
            first.eq_ignore_ascii_case("recursive")
                || words.next().is_some_and(|second| second.eq_ignore_ascii_case("as"))
                || rest[first.len()..].trim_start().starts_with('(')
        }
        _ => false,
    }
}

/// Without white space and comments at its beginning.
fn without_comments(text: &str) -> &str {
    let mut text = text.trim_start();
    loop {
        let rest = if text.starts_with("--") {
            text.split_once('\n').map_or("", |(_, rest)| rest)
        } else if text.starts_with("/*") {
            &text[end_of_comment(text)..]
        } else {
            return text;
        };
        text = rest.trim_start();
    }
}

/// Behind the comment that the text begins with; comments nest.
fn end_of_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(found) = text[at..].find(['*', '/']) {
        at += found;
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth = depth.saturating_sub(1);
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// Where the first semicolon is that stands in no string, name or comment.
fn end_of_statement(text: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = text[at..].find([';', '\'', '"', '$', '-', '/']) {
        at += found;
        let rest = &text[at..];
        at += match rest.as_bytes().first()? {
            b';' => return Some(at),
            quote @ (b'\'' | b'"') => 1 + rest[1..].find(char::from(*quote))? + 1,
            b'$' => match rest[1..].find('$').map(|end| &rest[..end + 2]) {
                Some(tag) if tag[1..tag.len() - 1].chars().all(|c| c.is_alphanumeric() || c == '_') => {
                    tag.len() + rest[tag.len()..].find(tag)? + tag.len()
                }
                _ => 1,
            },
            b'-' if rest.starts_with("--") => rest.find('\n')?,
            b'/' if rest.starts_with("/*") => end_of_comment(rest),
            _ => 1,
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sql(text: &str) -> String {
        match Reply::read(text) {
            Reply::Sql { sql, .. } => sql,
            Reply::NoSql(words) => panic!("no query in {text:?}: {words}"),
        }
    }

    #[test]
    fn a_query_is_found_whatever_stands_around_it() {
        for text in [
            "SELECT 1",
            "select 1;",
            "  \n SELECT 1 ; ",
            "```sql\nSELECT 1;\n```",
            "```\nSELECT 1\n```",
            "```SELECT 1```",
            "Of course! Here it is:\n\n```postgresql\nSELECT 1;\n```\nIt returns 1; nothing more.",
            "```sql\nSELECT 1",
            "Here is the query:\nSELECT 1;\nIt returns one.",
            "SELECT 1\n\nThis query returns one.",
            "SELECT 1; -- that is all",
            "<think>SELECT 2? No.</think>\nSELECT 1",
            "\u{feff}SELECT 1",
            "First I thought of\n```sql\nSELECT 2\n```\nbut better is\n```sql\nSELECT 1\n```",
            "With this in mind:\nSELECT 1",
            "{\"sql\": \"SELECT 1;\", \"explanation\": \"One.\"}",
            "```json\n{\"sql\": \"SELECT 1\"}\n```",
        ] {
            assert_eq!(sql(text).to_lowercase(), "select 1", "{text:?}");
        }
    }

    #[test]
    fn every_form_of_a_query_is_one() {
        for query in [
            "WITH a AS (SELECT 1) SELECT * FROM a",
            "WITH RECURSIVE a(n) AS (SELECT 1) SELECT * FROM a",
            "with a(x) as (values (1)) table a",
            "VALUES (1), (2)",
            "TABLE orders",
            "(SELECT 1) UNION (SELECT 2)",
            "-- how many\nSELECT count(*) FROM t",
            "/* a /* nested */ comment */ SELECT 1",
            "SELECT ';', \";\", $$;$$, $a$;$$;$a$ /* ; */ -- ;\n, 1",
            "SELECT a - b / c, $1",
        ] {
            assert_eq!(sql(query), query);
            assert_eq!(sql(&format!("Here:\n```sql\n{query};\n```")), query);
        }
        assert_eq!(sql("It is this:\nWITH a AS (SELECT 1)\nSELECT * FROM a;\nGood luck!"), "WITH a AS (SELECT 1)\nSELECT * FROM a");
    }

    #[test]
    fn what_is_to_be_refused_is_not_left_out() {
        for bad in [
            "SELECT 1; DROP TABLE t",
            "SELECT 1; ;; DROP TABLE t",
            "SELECT 1;\ndelete from t",
            "SELECT 1; /* harmless */ COMMIT",
            "COMMIT; DROP TABLE t",
            "DROP TABLE t",
            "EXPLAIN ANALYZE DELETE FROM t",
            "COPY t TO PROGRAM 'sh'",
            "SELECT 1 -- ;\n; DROP TABLE t",
        ] {
            assert_eq!(sql(bad), bad);
            assert_eq!(sql(&format!("```sql\n{bad};\n```")), bad);
        }
    }

    #[test]
    fn who_gives_no_query_is_quoted() {
        for text in [
            "I'm sorry, but I cannot answer that from these tables.",
            "The tables have no such column. Select another question; update the schema first.",
            "",
            "-- CANNOT ANSWER: there is no table of customers",
            "```\nsome output\n```",
            "With the tables given, this is impossible.",
            "Table orders has no price.",
        ] {
            assert_eq!(Reply::read(text), Reply::NoSql(text.to_owned()), "{text:?}");
        }
        let refusal = json!({"sql": null, "explanation": "There is no such table."}).to_string();
        assert_eq!(Reply::read(&refusal), Reply::NoSql("There is no such table.".into()));
        assert_eq!(Reply::read("{\"sql\": \" -- nothing\"}"), Reply::NoSql("{\"sql\": \" -- nothing\"}".into()));
    }

    #[test]
    fn the_explanation_comes_with_the_query() {
        let text = json!({"sql": "SELECT 1", "explanation": " One. "}).to_string();
        assert_eq!(Reply::read(&text), Reply::Sql { sql: "SELECT 1".into(), explanation: Some("One.".into()) });
    }

    #[test]
    fn hostile_texts_end() {
        for text in [
            "/*".repeat(10_000),
            "'".repeat(10_001),
            "$a$".repeat(9_999),
            "```".repeat(9_999),
            "SELECT ".repeat(20_000),
            "\n\n".repeat(20_000),
            "-".repeat(20_000),
            "äöü;é$ü$".repeat(2000),
        ] {
            let _ = Reply::read(&text);
        }
    }
}
