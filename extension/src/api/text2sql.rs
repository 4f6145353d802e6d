//! `pg_llm_text2sql`, `pg_llm_text2sql_json` and `pg_llm_query`: a question, a query that a model writes, its rows.

use pg_llm_gateway::ledger::{Origin, Via};
use pg_llm_gateway::text2sql::{Fault, Question, Reply, Text2SqlOptions, Tried, is_repeated, text_table};
use pg_llm_gateway::{CallError, ChatOutcome, OnError, Route};
use pgrx::pg_sys;
use serde_json::{Map, Value, json};

use super::schema_context::Context;
use super::{chat, model_call, query_bounds};
use crate::backend::calls::{Args, Returned, sql_functions};
use crate::backend::errors::{Failure, SqlError, State};
use crate::backend::generated_query::{self, Answer, QueryError, Wanted};
use crate::backend::rows::{Rows, ready, sql_set_functions};
use crate::backend::{interrupts, privileges};
use crate::catalog::notes;

sql_functions! {
    pg_llm_text2sql_wrapper, pg_finfo_pg_llm_text2sql_wrapper => text2sql;
    pg_llm_text2sql_json_wrapper, pg_finfo_pg_llm_text2sql_json_wrapper => text2sql_json;
}
sql_set_functions! {
    pg_llm_query_wrapper, pg_finfo_pg_llm_query_wrapper => query;
}

/// `(instance_name, prompt, schema_info, use_vector_search)`.
fn text2sql(args: &Args<'_>) -> Result<Returned, Failure> {
    let Some(prompt) = args.text(1)? else { return Ok(Returned::Null) };
    let asked = Asked {
        prompt,
        schema_info: args.text(2)?,
        use_vector_search: args.boolean(3).unwrap_or(true),
        options: Text2SqlOptions::default(),
    };
    let (solved, on_error) = solve(args, &asked)?;
    match solved.end {
        Ok(found) => {
            let columns: Vec<String> = found.answer.columns.into_iter().map(|column| column.name).collect();
            Ok(Returned::Text(format!("{}\n\n{}", found.sql, text_table(&columns, &found.answer.rows, found.answer.truncated))))
        }
        Err(_) if on_error == OnError::Null => Ok(Returned::Null),
        Err(end) => Err(end.raised()),
    }
}

/// `(instance_name, prompt, schema_info, use_vector_search, options)`.
fn text2sql_json(args: &Args<'_>) -> Result<Returned, Failure> {
    let Some(prompt) = args.text(1)? else { return Ok(Returned::Null) };
    let asked =
        Asked { prompt, schema_info: args.text(2)?, use_vector_search: args.boolean(3).unwrap_or(true), options: options(args, 4)? };
    let (solved, on_error) = solve(args, &asked)?;
    match (&solved.end, on_error) {
        (Err(End::Model(_)), OnError::Null) => Ok(Returned::Null),
        (Err(End::Model(_)), OnError::Error) => match solved.end {
            Err(end) => Err(end.raised()),
            Ok(_) => Ok(Returned::Null),
        },
        _ => Ok(Returned::Json(solved.into_json(&asked))),
    }
}

/// `(instance_name, prompt, options)`.
fn query(args: &Args<'_>) -> Result<Option<Box<dyn Rows>>, Failure> {
    let Some(prompt) = args.text(1)? else { return Ok(None) };
    let asked = Asked { prompt, schema_info: None, use_vector_search: true, options: options(args, 2)? };
    for (given, name) in [(asked.options.dry_run, "dry_run"), (asked.options.explain, "explain")] {
        if given {
            let message = format!("pg_llm: option \"{name}\" is not for pg_llm_query(), which gives rows alone");
            return Err(SqlError::new(State::InvalidArgument, message).hint("Use pg_llm_text2sql_json().").into());
        }
    }
    model_call::refuse_error_objects(asked.options.chat.call.on_error, "Use pg_llm_text2sql_json(), or \"null\" for no rows.")?;
    let (solved, on_error) = solve(args, &asked)?;
    match solved.end {
        Ok(found) => Ok(ready(found.answer.objects().into_iter().map(|row| vec![Returned::Json(row)]).collect())),
        Err(_) if on_error == OnError::Null => Ok(None),
        Err(end) => Err(end.raised()),
    }
}

fn options(args: &Args<'_>, at: usize) -> Result<Text2SqlOptions, SqlError> {
    match args.json(at)? {
        Some(options) => Ok(Text2SqlOptions::parse(&options)?),
        None => Ok(Text2SqlOptions::default()),
    }
}

struct Asked {
    prompt: String,
    /// In place of what the catalog says.
    schema_info: Option<String>,
    use_vector_search: bool,
    options: Text2SqlOptions,
}

/// A question and what came of it.
struct Solved {
    instance: String,
    context: Context,
    tried: Vec<Tried>,
    /// The latest answer of the model.
    outcome: Option<ChatOutcome>,
    usage: Vec<Value>,
    end: Result<Found, End>,
}

/// A query that ran, or could.
struct Found {
    sql: String,
    explanation: Option<String>,
    answer: Answer,
}

/// Why there is none.
enum End {
    /// The model cannot be asked.
    Model(CallError),
    /// It gave no query, or none that runs.
    Query { sql: Option<String>, error: QueryError },
}

impl End {
    fn raised(self) -> Failure {
        match self {
            Self::Model(error) => SqlError::from(error).into(),
            Self::Query { error, .. } => error.cause,
        }
    }
}

fn solve(args: &Args<'_>, asked: &Asked) -> Result<(Solved, OnError), Failure> {
    let Asked { prompt, schema_info, use_vector_search, options } = asked;
    let mut route = model_call::resolve_chat(args, &options.chat)?;
    route.origin = Origin::parts_of_one(Via::Text2Sql);
    let on_error = model_call::on_error(options.chat.call.on_error, &route);
    let context = match schema_info.as_ref().filter(|info| !info.trim().is_empty()) {
        Some(info) => Context::given(info),
        None => Context::of_role(prompt, options, *use_vector_search)?,
    };
    let question = Question {
        prompt: prompt.clone(),
        schema: context.schema.clone(),
        notes: context.notes.text.clone(),
        version: pg_sys::PG_VERSION_NUM / 10_000,
    };
    let (bounds, wanted) =
        (query_bounds::below_settings(&options.bounds), Wanted { rows: !options.dry_run, plan: options.explain, ..Wanted::default() });
    let mut solved = Solved {
        instance: route.instance.clone(),
        context,
        tried: Vec::new(),
        outcome: None,
        usage: Vec::new(),
        end: Err(nothing(&route)),
    };
    while solved.tried.len() < options.max_attempts {
        let outcome = match chat::answered(&question.call(route.clone(), options, &solved.tried))? {
            Ok(outcome) => outcome,
            Err(error) => {
                solved.end = Err(End::Model(error));
                break;
            }
        };
        let (answer, request_id) = (outcome.text(), outcome.request_id.to_string());
        solved.usage.push(outcome.usage_json());
        solved.outcome = Some(outcome);
        let (sql, explanation) = match Reply::read(&answer) {
            Reply::Sql { sql, explanation } => (sql, explanation),
            Reply::NoSql(said) => {
                let error = SqlError::new(State::Provider, format!("pg_llm: model \"{}\" gave no query", route.instance)).detail(said);
                solved.end = Err(End::Query { sql: None, error: error.into() });
                break;
            }
        };
        interrupts::check();
        match generated_query::run(&sql, bounds, wanted)? {
            Ok(answer) => {
                if wanted.rows {
                    notes::remember(privileges::current_role(), &request_id, prompt, &sql, &answer.reads)?;
                }
                solved.end = Ok(Found { sql, explanation, answer });
                break;
            }
            Err(error) => {
                let repeated = is_repeated(&sql, &solved.tried);
                solved.tried.push(Tried { answer, sql: sql.clone(), fault: fault(&error) });
                solved.end = Err(End::Query { sql: Some(sql), error });
                if repeated {
                    break;
                }
            }
        }
    }
    Ok((solved, on_error))
}

/// What is so before the first attempt, of which there is at least one.
fn nothing(route: &Route) -> End {
    let error = SqlError::new(State::Internal, format!("pg_llm: internal error: model \"{}\" was not asked", route.instance));
    End::Query { sql: None, error: error.into() }
}

fn fault(error: &QueryError) -> Fault {
    Fault {
        sqlstate: error.sqlstate.clone(),
        message: error.message.clone(),
        detail: error.detail.clone(),
        hint: error.hint.clone(),
        position: error.position,
    }
}

fn failed(error: &Value, dry_run: bool) -> Value {
    json!({
        "success": false, "dry_run": dry_run, "columns": [], "column_types": [], "rows": [], "row_count": 0, "truncated": false, "explain": null, "error": error,
    })
}

fn fault_json(fault: &Fault) -> Value {
    let Fault { sqlstate, message, detail, hint, position } = fault;
    json!({ "sqlstate": sqlstate, "message": message, "detail": detail, "hint": hint, "position": position })
}

impl Solved {
    fn into_json(self, asked: &Asked) -> Value {
        let dry_run = asked.options.dry_run;
        let mut attempts: Vec<Value> =
            self.tried.iter().map(|tried| json!({ "sql": tried.sql, "success": false, "error": fault_json(&tried.fault) })).collect();
        let (sql, explanation, execution) = match self.end {
            Ok(found) => {
                attempts.push(json!({ "sql": found.sql, "success": true, "error": null }));
                let execution = query_bounds::execution(&found.answer, dry_run);
                (Some(found.sql), found.explanation, execution)
            }
            Err(End::Query { sql, error }) => (sql, None, failed(&query_bounds::error_json(&error), dry_run)),
            Err(End::Model(error)) => {
                (self.tried.last().map(|tried| tried.sql.clone()), None, failed(&model_call::error_json(error), dry_run))
            }
        };
        let outcome = self.outcome.as_ref();
        json!({
            "request_id": outcome.map(|outcome| outcome.request_id.to_string()),
            "instance_name": self.instance,
            "model_name": outcome.map(|outcome| &outcome.model_name),
            "prompt": asked.prompt,
            "generated_sql": sql,
            "explanation": explanation,
            "execution": execution,
            "attempts": attempts,
            "tables": self.context.tables,
            "tables_left_out": self.context.left_out,
            "chosen_by": self.context.chosen_by,
            "vector_search": self.context.vector_search,
            "facts": self.context.notes.facts,
            "examples": self.context.notes.examples,
            "usage": sum(&self.usage),
        })
    }
}

/// Token counts of all requests; what one of them does not know is unknown.
fn sum(usage: &[Value]) -> Value {
    const COUNTS: [&str; 3] = ["input_tokens", "output_tokens", "total_tokens"];
    let total = |name: &str| usage.iter().map(|one| one[name].as_u64()).sum::<Option<u64>>();
    Value::Object(COUNTS.into_iter().map(|name| (name.to_owned(), json!(total(name)))).collect::<Map<_, _>>())
}
