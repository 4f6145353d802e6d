//! What a model is told of the database before it writes a query: the tables that the caller may read and the question is about, and what was noted of them.

use pg_llm_gateway::text2sql::{self, Outline, Rendered, Table, Text2SqlOptions, Told, outlines, ranked, render, worth_a_look};
use serde_json::Value;

use super::schema_vectors::{self, Likeness};
use crate::backend::errors::Failure;
use crate::backend::generated_query::{self, Bounds, Wanted};
use crate::backend::{privileges, search_path};
use crate::catalog::notes;
use crate::catalog::user_tables::{self, Readable};

/// Tables of which all columns are looked at, without a choice before.
const FEW: usize = 60;
/// The part of the tokens of the schema that facts, and examples, may take in bytes: a quarter of 4 bytes a token.
const NOTE_BYTES_A_TOKEN: usize = 1;
/// Most tables that rows are shown of.
const SAMPLED: usize = 20;
/// What looking at some rows of a table may cost.
const SAMPLE_BOUNDS: Bounds = Bounds { time: std::time::Duration::from_millis(500), rows: 5, bytes: 64 << 10, cost: 100_000.0 };
/// Names of columns, or parts of them, whose values are not shown.
const SECRET: [&str; 14] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "credential",
    "api_key",
    "apikey",
    "private_key",
    "ssn",
    "iban",
    "cvv",
    "pin",
];

/// What is told, and how it was chosen.
#[derive(Debug, Default)]
pub(super) struct Context {
    pub(super) schema: String,
    pub(super) notes: Told,
    /// Names of the tables in it.
    pub(super) tables: Vec<String>,
    pub(super) left_out: usize,
    /// By what the tables were chosen; empty where there was nothing to choose.
    pub(super) chosen_by: Vec<&'static str>,
    /// Whether and how meanings were compared.
    pub(super) vector_search: String,
}

impl Context {
    /// What the caller says in place of the catalog.
    pub(super) fn given(schema: &str) -> Self {
        Self { schema: schema.to_owned(), vector_search: "not needed".to_owned(), ..Self::default() }
    }

    /// What the current role may read.
    pub(super) fn of_role(prompt: &str, options: &Text2SqlOptions, use_vector_search: bool) -> Result<Self, Failure> {
        let role = privileges::current_role();
        let schemas = match &options.schemas {
            Some(names) => user_tables::schemas_named(names)?,
            None => search_path::schemas(),
        };
        let mut readable = Readable::list(role, &schemas)?;
        let noted = notes::of(role, &user_tables::listed(schemas.iter().copied()))?;
        let mut choice =
            Choice { prompt, options, use_vector_search, order: None, chosen_by: Vec::new(), vector_search: "not needed".to_owned() };
        let all = readable.len();
        if all > FEW {
            let mut few_words = readable.outlines()?;
            text2sql::describe_outlines(&mut few_words, &noted);
            let mut failure = None;
            let chosen = worth_a_look(&few_words, options.schema_tokens, || choice.order(&few_words, &mut failure));
            if let Some(error) = failure {
                return Err(error);
            }
            if let Some(chosen) = chosen {
                readable.keep(&chosen);
                choice.keep(&chosen);
            }
        }
        let beside = all - readable.len();
        let mut tables = readable.in_detail()?;
        text2sql::describe(&mut tables, &noted);
        let mut rendered = choice.rendered(&tables, beside)?;
        if options.sample_rows > 0 {
            for at in rendered.shown.iter().take(SAMPLED) {
                tables[*at].samples = samples(&tables[*at], options.sample_rows)?;
            }
            rendered = choice.rendered(&tables, beside)?;
        }
        let shown: Vec<&Table> = rendered.shown.iter().map(|at| &tables[*at]).collect();
        let told = text2sql::told(&noted, &shown, prompt, options.schema_tokens.saturating_mul(NOTE_BYTES_A_TOKEN));
        let names = shown.iter().map(|table| table.name.clone()).collect();
        Ok(Self {
            schema: rendered.text,
            notes: told,
            tables: names,
            left_out: rendered.left_out,
            chosen_by: choice.chosen_by,
            vector_search: choice.vector_search,
        })
    }
}

/// How tables are chosen for a question.
struct Choice<'a> {
    prompt: &'a str,
    options: &'a Text2SqlOptions,
    use_vector_search: bool,
    /// Once it was made.
    order: Option<Vec<usize>>,
    chosen_by: Vec<&'static str>,
    vector_search: String,
}

impl Choice<'_> {
    /// The tables by their places, the likeliest first.
    fn order(&mut self, tables: &[Outline], failure: &mut Option<Failure>) -> Vec<usize> {
        if let Some(order) = &self.order {
            return order.clone();
        }
        let named = self.options.embedding_instance.as_deref();
        let likeness =
            if self.use_vector_search { schema_vectors::likeness(tables, self.prompt, named) } else { Ok(Likeness::Not("off".to_owned())) };
        self.chosen_by = vec!["words", "trigrams", "foreign_keys"];
        let cosines = match likeness {
            Ok(Likeness::Measured { cosines, of }) => {
                self.chosen_by.push("vectors");
                self.vector_search = format!("used, with vectors of {of} of {} tables", tables.len());
                cosines
            }
            Ok(Likeness::Not(why)) => {
                self.vector_search = why;
                Vec::new()
            }
            Err(error) => {
                *failure = Some(error);
                return Vec::new();
            }
        };
        let order = ranked(tables, self.prompt, &cosines);
        self.order = Some(order.clone());
        order
    }

    /// Of the tables only these are left, in the order in which they stood.
    fn keep(&mut self, chosen: &[usize]) {
        let mut kept = chosen.to_vec();
        kept.sort_unstable();
        self.order = Some(chosen.iter().filter_map(|at| kept.binary_search(at).ok()).collect());
    }

    fn rendered(&mut self, tables: &[Table], beside: usize) -> Result<Rendered, Failure> {
        let mut failure = None;
        let rendered = render(tables, beside, self.options.schema_tokens, || self.order(&outlines(tables), &mut failure));
        failure.map_or(Ok(rendered), Err)
    }
}

/// Some rows of a table as the caller sees them, under the rules for generated queries; none where these refuse it.
fn samples(table: &Table, rows: usize) -> Result<Vec<Vec<Option<String>>>, Failure> {
    let columns: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    // Names come quoted from the server's own quote_ident().
    let sql = format!("SELECT {} FROM {} LIMIT {rows}", columns.join(", "), table.name);
    let Ok(answer) = generated_query::run(&sql, SAMPLE_BOUNDS, Wanted { rows: true, ..Wanted::default() })? else { return Ok(Vec::new()) };
    let hidden: Vec<bool> = table.columns.iter().map(|column| is_secret(&column.name) || column.type_name == "bytea").collect();
    let shown = |(value, hidden): (Value, &bool)| match value {
        Value::Null => None,
        _ if *hidden => Some("[redacted]".to_owned()),
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    };
    Ok(answer.rows.into_iter().map(|row| row.into_iter().zip(&hidden).map(shown).collect()).collect())
}

fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    SECRET
        .iter()
        .any(|word| if word.len() > 4 { name.contains(word) } else { name.split(|c: char| !c.is_alphanumeric()).any(|part| part == *word) })
}
