//! `pg_llm_generate_report`, `pg_llm_report_html` and `pg_llm_delete_report`: statistics by the database, words by a model, charts by rules, a page that keeps.

use pg_llm_gateway::ledger::Uuid;
use pg_llm_gateway::report::{
    Chart, Field, Kind, Material, Narrative, Narrator, Page, ReportOptions, Statistics, charts, page, statistics_query,
};
use pg_llm_gateway::{ChatOutcome, OnError};
use pgrx::pg_sys;
use serde_json::json;

use super::query_bounds::{self, execution};
use super::{chat, model_call};
use crate::backend::calls::{Args, Returned, sql_functions};
use crate::backend::errors::{Failure, SqlError, State};
use crate::backend::generated_query::{self, Answer, Bounds, QueryError, Wanted};
use crate::backend::generated_rows::Column;
use crate::backend::interrupts;
use crate::catalog::reports::{self, Kept, Made};

sql_functions! {
    pg_llm_generate_report_wrapper, pg_finfo_pg_llm_generate_report_wrapper => generate;
    pg_llm_report_html_wrapper, pg_finfo_pg_llm_report_html_wrapper => html;
    pg_llm_delete_report_wrapper, pg_finfo_pg_llm_delete_report_wrapper => delete;
}

/// `(instance_name, sql, options)`.
fn generate(args: &Args<'_>) -> Result<Returned, Failure> {
    let Some(sql) = args.text(1)? else { return Ok(Returned::Null) };
    let options = match args.json(2)? {
        Some(options) => ReportOptions::parse(&options).map_err(SqlError::from)?,
        None => ReportOptions::default(),
    };
    let route = model_call::resolve_chat(args, &options.chat)?;
    let on_error = model_call::on_error(options.chat.call.on_error, &route);
    let instance = route.instance.clone();
    let bounds = query_bounds::below_settings(&options.bounds);
    let answer = query_bounds::run(&sql, bounds, Wanted { rows: true, ..Wanted::default() })?;
    let fields: Vec<Field> = answer.columns.iter().map(field).collect();
    let Computed { statistics, scope, is_whole, note } = compute(&answer, &fields, bounds, options.of_rows_read)?;
    let material = Material { fields: &fields, rows: &answer.rows, complete: !answer.truncated, statistics: &statistics };
    let mut charts = charts(&material);

    let narrator = Narrator { sql: &answer.statement, scope: &scope, material, charts: &charts };
    let call = narrator.call(route, &options).map_err(SqlError::from)?;
    let request_id = call.route().origin.request_id;
    let (outcome, error) = match chat::answered(&call)? {
        Ok(outcome) => (Some(outcome), None),
        Err(error) => match on_error {
            OnError::Error => return Err(SqlError::from(error).into()),
            OnError::Null => return Ok(Returned::Null),
            // What was computed is there without it.
            OnError::Object => (None, Some(error)),
        },
    };
    let narrative = outcome.as_ref().map(|outcome| Narrative::read(outcome, &material, &charts));
    let chosen = narrative.as_ref().and_then(|narrative| narrative.chart.clone());
    let is_models = chosen.is_some();
    if let Some(chosen) = chosen {
        charts.retain(|chart| chart.id != chosen.id);
        charts.insert(0, chosen);
    }
    let title = narrative.as_ref().and_then(|narrative| narrative.title.clone()).unwrap_or_else(|| "Report".to_owned());
    let text = narrative.as_ref().map(|narrative| narrative.text.clone());
    let columns = statistics.shown(&fields);
    // An answer that was kept has another call's id: each report has its own.
    let request_id = request_id.to_string();
    let stored = options.store
        && reports::keep(&Made {
            request_id: &request_id,
            instance: &instance,
            title: &title,
            sql: &answer.statement,
            page: &json!({
                "narrative": text, "scope": scope, "columns": columns, "charts": charts,
                "model_name": outcome.as_ref().map(|outcome| &outcome.model_name),
            }),
        })?;
    Ok(Returned::Json(json!({
        "request_id": request_id,
        "instance_name": instance,
        "model_name": outcome.as_ref().map(|outcome| &outcome.model_name),
        "sql": answer.statement,
        "title": title,
        "narrative": text,
        "statistics": { "rows": statistics.rows, "scope": if is_whole { "whole" } else { "rows" }, "note": note, "columns": columns },
        "vega_lite": charts.first().map(Chart::vega_lite),
        "charts": charts.iter().map(|chart| json!({ "id": chart.id, "title": chart.title, "vega_lite": chart.vega_lite() })).collect::<Vec<_>>(),
        "chart_chosen_by": if is_models { "model" } else { "rules" },
        "chart_refused": narrative.as_ref().and_then(|narrative| narrative.chart_refused),
        "execution": execution(&answer, false),
        "stored": stored,
        "usage": outcome.as_ref().map(ChatOutcome::usage_json),
        "error": error.map(model_call::error_json),
    })))
}

/// `(request_id)`.
fn html(args: &Args<'_>) -> Result<Returned, Failure> {
    let Some(id) = args.uuid(0) else { return Ok(Returned::Null) };
    let id = Uuid::from_bytes(id).to_string();
    let Some(kept) = reports::find(&id)? else {
        // Another role's is none.
        return Err(SqlError::new(State::Undefined, format!("pg_llm: there is no report \"{id}\"")).into());
    };
    Ok(Returned::Text(page_of(&kept)))
}

/// `(request_id)`.
fn delete(args: &Args<'_>) -> Result<Returned, Failure> {
    let Some(id) = args.uuid(0) else { return Ok(Returned::Null) };
    Ok(Returned::Bool(reports::delete(&Uuid::from_bytes(id).to_string())?))
}

fn page_of(kept: &Kept) -> String {
    let charts: Vec<Chart> = serde_json::from_value(kept.page["charts"].clone()).unwrap_or_default();
    let model = kept.page["model_name"].as_str().map_or_else(String::new, |name| format!(" ({name})"));
    page(&Page {
        title: &kept.title,
        sql: &kept.sql,
        narrative: kept.page["narrative"].as_str(),
        origin: &format!("{} UTC. Words by the model \"{}\"{model}; statistics and charts by the database.", kept.made_at, kept.instance),
        scope: kept.page["scope"].as_str().unwrap_or_default(),
        columns: kept.page["columns"].as_array().map(Vec::as_slice).unwrap_or_default(),
        charts: &charts,
    })
}

/// What a value of the column can be shown by.
fn field(column: &Column) -> Field {
    let kind = match column.base_type {
        pg_sys::INT2OID
        | pg_sys::INT4OID
        | pg_sys::INT8OID
        | pg_sys::FLOAT4OID
        | pg_sys::FLOAT8OID
        | pg_sys::NUMERICOID
        | pg_sys::MONEYOID => Kind::Number,
        pg_sys::DATEOID | pg_sys::TIMESTAMPOID | pg_sys::TIMESTAMPTZOID => Kind::Time,
        pg_sys::TIMEOID | pg_sys::TIMETZOID | pg_sys::INTERVALOID => Kind::Clock,
        pg_sys::BOOLOID => Kind::Boolean,
        pg_sys::TEXTOID
        | pg_sys::VARCHAROID
        | pg_sys::BPCHAROID
        | pg_sys::NAMEOID
        | pg_sys::CHAROID
        | pg_sys::UUIDOID
        | pg_sys::INETOID
        | pg_sys::CIDROID => Kind::Text,
        _ if column.is_enum => Kind::Text,
        _ => Kind::Other,
    };
    Field { name: column.name.clone(), type_name: column.type_name.clone(), kind }
}

struct Computed {
    statistics: Statistics,
    /// In words, for model and page.
    scope: String,
    is_whole: bool,
    /// Why they are not of the whole, where that was wanted.
    note: Option<String>,
}

/// Statistics of the whole result; of the rows that were read, where that is wanted, or the whole is too dear.
fn compute(answer: &Answer, fields: &[Field], bounds: Bounds, of_rows_read: bool) -> Result<Computed, Failure> {
    interrupts::check();
    let mut note = None;
    if !of_rows_read {
        match run(&statistics_query(&answer.statement, fields, None), fields, bounds)? {
            Ok(statistics) => return Ok(Computed { statistics, scope: "of the whole result".to_owned(), is_whole: true, note }),
            Err(error) if is_about_cost(&error) => note = Some(error.message),
            Err(error) => return Err(error.cause),
        }
    }
    let most = bounds.rows;
    let statistics = run(&statistics_query(&answer.statement, fields, Some(most)), fields, bounds)?.map_err(|error| error.cause)?;
    let (scope, is_whole) =
        if answer.truncated { (format!("of the first {most} rows alone"), false) } else { ("of the whole result".to_owned(), true) };
    Ok(Computed { statistics, scope, is_whole, note })
}

/// Too dear, too slow, too much on disk.
fn is_about_cost(error: &QueryError) -> bool {
    matches!(error.sqlstate.as_str(), "54000" | "57014" | "53400")
}

fn run(sql: &str, fields: &[Field], bounds: Bounds) -> Result<Result<Statistics, QueryError>, Failure> {
    // Its one row is as large as it is, whatever the caller wants to see of the query's own rows.
    let bounds = Bounds { rows: 1, bytes: bounds.bytes.max(MOST_BYTES), ..bounds };
    let found = generated_query::run(sql, bounds, Wanted { rows: true, ..Wanted::default() })?;
    Ok(found.map(|answer| Statistics::read(fields, answer.rows.first().map(Vec::as_slice).unwrap_or_default())))
}

/// Of the statistics of some fifty columns.
const MOST_BYTES: usize = 4 << 20;
