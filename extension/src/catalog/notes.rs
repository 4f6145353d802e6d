//! Descriptions, facts and examples (`_pg_llm_catalog.notes`), and the questions that a good rating can make examples of.
//!
//! A note is its role's. One that is shared reaches others only while its role owns everything that it speaks of, as a comment does: whoever may write what models are told of
//! a table is the one who may change the table. Whether a reader may see what a note speaks of is decided where notes are told.

use std::cell::Cell;

use pg_llm_gateway::text2sql::{About, Note, NoteKind};
use pgrx::pg_sys::{BOOLOID, INT8OID, OIDOID, Oid, TEXTOID};
use serde_json::{Value, json};

use super::query::{Param, Statement};
use crate::backend::errors::{SqlError, State};
use crate::backend::plan_reads::Read;
use crate::backend::transaction::{self, Isolation};
use crate::backend::{gucs, privileges};

/// Most notes that a role may have.
const MOST: i64 = 10_000;
/// Most shared and own notes that are looked at for a question.
const LOOKED_AT: i64 = 20_000;
/// Longest words and longest query of a note, in bytes.
pub(crate) const MOST_WORDS: usize = 8 << 10;
pub(crate) const MOST_SQL: usize = 32 << 10;
/// Questions that a backend keeps until it looks whether there are too many.
const BETWEEN_LOOKS: u32 = 16;

static OBJECT: Statement = Statement::new(
    "SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, \
            pg_catalog.has_schema_privilege($1, n.oid, 'USAGE') AND pg_catalog.has_any_column_privilege($1, c.oid, 'SELECT'), \
            pg_catalog.pg_has_role($1, c.relowner, 'USAGE'), \
            c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m}'::pg_catalog.\"char\"[]) AND NOT c.relispartition, \
            $3 IS NULL OR EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid \
                                     AND a.attname::pg_catalog.text OPERATOR(pg_catalog.=) $3 AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 \
                                     AND NOT a.attisdropped AND pg_catalog.has_column_privilege($1, c.oid, a.attnum, 'SELECT')) \
       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace WHERE c.oid OPERATOR(pg_catalog.=) $2",
    &[OIDOID, OIDOID, TEXTOID],
);
// Whether a role owns all that is spoken of; of nothing in particular speak superusers.
static OWNS: Statement = Statement::new(
    "SELECT CASE WHEN $2::pg_catalog.jsonb OPERATOR(pg_catalog.=) '[]'::pg_catalog.jsonb THEN (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.oid OPERATOR(pg_catalog.=) $1) \
            ELSE NOT EXISTS (SELECT FROM pg_catalog.jsonb_to_recordset($2::pg_catalog.jsonb) AS o (\"schema\" pg_catalog.text, \"table\" pg_catalog.text) \
              LEFT JOIN (pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace) \
                ON c.relname::pg_catalog.text OPERATOR(pg_catalog.=) o.\"table\" AND n.nspname::pg_catalog.text OPERATOR(pg_catalog.=) o.\"schema\" \
             WHERE c.oid IS NULL OR NOT pg_catalog.pg_has_role($1, c.relowner, 'USAGE')) END",
    &[OIDOID, TEXTOID],
);
static DESCRIBE: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.notes (kind, role, about, words, shared) VALUES ('description', $1::pg_catalog.regrole, $2::pg_catalog.jsonb, $3, $4) \
     ON CONFLICT (role, about) WHERE kind OPERATOR(pg_catalog.=) 'description' \
     DO UPDATE SET words = EXCLUDED.words, shared = EXCLUDED.shared, created_at = EXCLUDED.created_at",
    &[OIDOID, TEXTOID, TEXTOID, BOOLOID],
);
static UNDESCRIBE: Statement = Statement::new(
    "DELETE FROM _pg_llm_catalog.notes WHERE kind OPERATOR(pg_catalog.=) 'description' AND role::pg_catalog.oid OPERATOR(pg_catalog.=) $1 \
        AND about OPERATOR(pg_catalog.=) $2::pg_catalog.jsonb RETURNING id",
    &[OIDOID, TEXTOID],
);
static COUNT: Statement = Statement::new(
    "SELECT pg_catalog.count(*) FROM _pg_llm_catalog.notes n WHERE n.role::pg_catalog.oid OPERATOR(pg_catalog.=) $1",
    &[OIDOID],
);
static ADD: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.notes (kind, role, about, words, sql, shared) \
     VALUES ($2, $1::pg_catalog.regrole, $3::pg_catalog.jsonb, $4, $5, $6) RETURNING id",
    &[OIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, BOOLOID],
);
static REMOVE: Statement = Statement::new(
    "DELETE FROM _pg_llm_catalog.notes WHERE id OPERATOR(pg_catalog.=) $1 AND kind OPERATOR(pg_catalog.=) $2 \
        AND ($4 OR role::pg_catalog.oid OPERATOR(pg_catalog.=) $3) RETURNING id",
    &[INT8OID, TEXTOID, OIDOID, BOOLOID],
);
// Names of these schemas alone; of others' notes those whose role owns what they speak of.
static READ: Statement = Statement::new(
    "SELECT s.id, s.kind, \
            (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object( \
                      'table', pg_catalog.concat(pg_catalog.quote_ident(o.\"schema\"), '.', pg_catalog.quote_ident(o.\"table\")), \
                      'columns', COALESCE((SELECT pg_catalog.jsonb_agg(pg_catalog.quote_ident(x.name)) FROM pg_catalog.jsonb_array_elements_text(o.columns) AS x (name)), '[]'::pg_catalog.jsonb))) \
               FROM pg_catalog.jsonb_to_recordset(s.about) AS o (\"schema\" pg_catalog.text, \"table\" pg_catalog.text, columns pg_catalog.jsonb))::pg_catalog.text, \
            s.words, s.sql, s.role::pg_catalog.oid OPERATOR(pg_catalog.=) $1 \
       FROM _pg_llm_catalog.notes s \
      WHERE (s.role::pg_catalog.oid OPERATOR(pg_catalog.=) $1 OR s.shared) \
        AND NOT EXISTS (SELECT FROM pg_catalog.jsonb_to_recordset(s.about) AS o (\"schema\" pg_catalog.text) \
                         WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname::pg_catalog.text OPERATOR(pg_catalog.=) o.\"schema\" \
                                              AND n.oid OPERATOR(pg_catalog.=) ANY (pg_catalog.string_to_array($2, ' ')::pg_catalog.oid[]))) \
        AND (s.role::pg_catalog.oid OPERATOR(pg_catalog.=) $1 \
             OR CASE WHEN s.about OPERATOR(pg_catalog.=) '[]'::pg_catalog.jsonb \
                     THEN (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.oid OPERATOR(pg_catalog.=) s.role::pg_catalog.oid) \
                     ELSE NOT EXISTS (SELECT FROM pg_catalog.jsonb_to_recordset(s.about) AS o (\"schema\" pg_catalog.text, \"table\" pg_catalog.text) \
                            LEFT JOIN (pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace) \
                              ON c.relname OPERATOR(pg_catalog.=) o.\"table\"::pg_catalog.name AND n.nspname OPERATOR(pg_catalog.=) o.\"schema\"::pg_catalog.name \
                           WHERE c.oid IS NULL OR NOT pg_catalog.pg_has_role(s.role::pg_catalog.oid, c.relowner, 'USAGE')) END) \
      ORDER BY s.role::pg_catalog.oid OPERATOR(pg_catalog.=) $1 DESC, s.id DESC LIMIT $3",
    &[OIDOID, TEXTOID, INT8OID],
);
static REMEMBER: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.text2sql_requests (request_id, role, question, sql, about, at) \
     VALUES ($2::pg_catalog.uuid, $1::pg_catalog.regrole, $3, $4, $5::pg_catalog.jsonb, pg_catalog.clock_timestamp()) ON CONFLICT DO NOTHING",
    &[OIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID],
);
// What another session is deleting is left to it.
static FORGET: Statement = Statement::new(
    "DELETE FROM _pg_llm_catalog.text2sql_requests WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY( \
        SELECT r.ctid FROM _pg_llm_catalog.text2sql_requests r WHERE r.role::pg_catalog.oid OPERATOR(pg_catalog.=) $1 \
           AND r.at OPERATOR(pg_catalog.<=) (SELECT x.at FROM _pg_llm_catalog.text2sql_requests x WHERE x.role::pg_catalog.oid OPERATOR(pg_catalog.=) $1 \
                                              ORDER BY x.at DESC OFFSET $2 LIMIT 1) FOR UPDATE SKIP LOCKED))",
    &[OIDOID, INT8OID],
);

// A question that was answered, once; its own role's.
static LEARN: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.notes (kind, role, about, words, sql, shared, request_id) \
     SELECT 'example', r.role, r.about, r.question, r.sql, false, r.request_id FROM _pg_llm_catalog.text2sql_requests r \
      WHERE r.request_id OPERATOR(pg_catalog.=) $2::pg_catalog.uuid AND r.role::pg_catalog.oid OPERATOR(pg_catalog.=) $1 \
        AND NOT EXISTS (SELECT FROM _pg_llm_catalog.notes n WHERE n.request_id OPERATOR(pg_catalog.=) r.request_id AND n.role::pg_catalog.oid OPERATOR(pg_catalog.=) $1) \
     RETURNING id",
    &[OIDOID, TEXTOID],
);
static LEARNT: Statement = Statement::new(
    "SELECT n.id FROM _pg_llm_catalog.notes n WHERE n.request_id OPERATOR(pg_catalog.=) $2::pg_catalog.uuid AND n.role::pg_catalog.oid OPERATOR(pg_catalog.=) $1",
    &[OIDOID, TEXTOID],
);

static UNLEARN: Statement = Statement::new(
    "DELETE FROM _pg_llm_catalog.notes WHERE request_id OPERATOR(pg_catalog.=) $2::pg_catalog.uuid AND role::pg_catalog.oid OPERATOR(pg_catalog.=) $1 RETURNING id",
    &[OIDOID, TEXTOID],
);

/// A table or a column, found.
pub(crate) struct Object {
    /// As a note speaks of it.
    pub(crate) about: Value,
    /// The role has the rights of its owner.
    pub(crate) owned: bool,
}

/// Looks up what is to be spoken of.
///
/// # Errors
/// 42501 where the role may not read it, 42704 where there is no such column, 22023 where it is nothing that queries read, or a partition.
pub(crate) fn object(role: Oid, relation: Oid, column: Option<&str>) -> Result<Object, SqlError> {
    let column_param = column.map_or(Param::Null, Param::Text);
    let rows = OBJECT.read(&[Param::Role(role), Param::Role(relation), column_param])?;
    let row = rows.first().ok_or_else(|| SqlError::new(State::Undefined, "pg_llm: there is no such table"))?;
    let (schema, table) = (row.required_text(0)?, row.required_text(1)?);
    if !row.boolean(2) {
        return Err(SqlError::new(State::Forbidden, format!("pg_llm: no right to read \"{schema}\".\"{table}\"")));
    }
    if !row.boolean(4) {
        let error = SqlError::new(State::InvalidArgument, format!("pg_llm: \"{schema}\".\"{table}\" is not what models are told of"));
        return Err(error.hint("Tables, views and materialized views are; a partition is its parent."));
    }
    if let Some(column) = column.filter(|_| !row.boolean(5)) {
        return Err(SqlError::new(State::Undefined, format!("pg_llm: \"{schema}\".\"{table}\" has no column \"{column}\" to be read")));
    }
    Ok(Object {
        about: json!({"schema": schema, "table": table, "columns": column.into_iter().collect::<Vec<_>>()}),
        owned: row.boolean(3),
    })
}

/// Describes a table or a column; no words: no longer. Says whether anything has changed.
pub(crate) fn describe(role: Oid, object: Object, words: Option<&str>) -> Result<bool, SqlError> {
    let about = Value::Array(vec![object.about]).to_string();
    let Some(words) = words else { return Ok(!UNDESCRIBE.write(&[Param::Role(role), Param::Text(&about)])?.is_empty()) };
    check_room(role)?;
    DESCRIBE.write(&[Param::Role(role), Param::Text(&about), Param::Text(words), Param::Bool(object.owned)])?;
    Ok(true)
}

/// Adds a fact, or an example where there is a query.
///
/// # Errors
/// 42501 where it is to be shared and the role does not own all that it speaks of.
pub(crate) fn add(role: Oid, about: Vec<Value>, words: &str, sql: Option<&str>, shared: bool) -> Result<i64, SqlError> {
    let about = Value::Array(about).to_string();
    if shared && !OWNS.read(&[Param::Role(role), Param::Text(&about)])?.first().is_some_and(|row| row.boolean(0)) {
        let error = SqlError::new(State::Forbidden, "pg_llm: only the owner of all that it speaks of can share it");
        return Err(error.hint("What speaks of no table is shared by superusers. Without shared it is the current role's own."));
    }
    check_room(role)?;
    let kind = if sql.is_some() { "example" } else { "fact" };
    let params = [
        Param::Role(role),
        Param::Text(kind),
        Param::Text(&about),
        Param::Text(words),
        sql.map_or(Param::Null, Param::Text),
        Param::Bool(shared),
    ];
    let rows = ADD.write(&params)?;
    rows.first().and_then(|row| row.long(0)).ok_or_else(|| SqlError::new(State::Internal, "pg_llm: a note has no number"))
}

fn has_room(role: Oid) -> Result<bool, SqlError> {
    Ok(COUNT.read(&[Param::Role(role)])?.first().and_then(|row| row.long(0)).unwrap_or(0) < MOST)
}

fn check_room(role: Oid) -> Result<(), SqlError> {
    if has_room(role)? {
        return Ok(());
    }
    let error = SqlError::new(State::TooLarge, format!("pg_llm: role \"{}\" has {MOST} notes already", privileges::role_name(role)));
    Err(error.hint("Remove some; they are in the view pg_llm_notes."))
}

/// Makes an example of a question of the role's that was answered. Gives back its number, the same for the same request; none where nothing is known of the request.
pub(crate) fn learn(role: Oid, request_id: &str) -> Result<Option<i64>, SqlError> {
    let params = [Param::Role(role), Param::Text(request_id)];
    if let Some(id) = LEARNT.read(&params)?.first().and_then(|row| row.long(0)) {
        return Ok(Some(id));
    }
    check_room(role)?;
    Ok(LEARN.write(&params)?.first().and_then(|row| row.long(0)))
}

/// What a rating from 1 to 5 makes of a question that was answered: from 4 on an example, if there is room for one; of one that was an example, up to 2 none.
pub(crate) fn rated(role: Oid, request_id: &str, stars: i32) -> Result<(), SqlError> {
    if stars >= 4 && has_room(role)? {
        learn(role, request_id)?;
    } else if stars <= 2 {
        UNLEARN.write(&[Param::Role(role), Param::Text(request_id)])?;
    }
    Ok(())
}

/// Removes a note of the role's; a superuser anybody's. Says whether there was one.
pub(crate) fn remove(role: Oid, id: i64, kind: &str) -> Result<bool, SqlError> {
    let rows = REMOVE.write(&[Param::Long(id), Param::Text(kind), Param::Role(role), Param::Bool(privileges::is_superuser(role))])?;
    Ok(!rows.is_empty())
}

/// What the role has noted of tables in these schemas, and what their owners share.
pub(crate) fn of(role: Oid, schemas: &str) -> Result<Vec<Note>, SqlError> {
    let rows = READ.read(&[Param::Role(role), Param::Text(schemas), Param::Long(LOOKED_AT)])?;
    rows.iter()
        .map(|row| {
            let kind = match (row.required_text(1)?.as_str(), row.text(4)?) {
                ("example", Some(sql)) => NoteKind::Example(sql),
                ("description", _) => NoteKind::Description,
                _ => NoteKind::Fact,
            };
            let about = row.text(2)?.and_then(|json| serde_json::from_str::<Vec<Value>>(&json).ok()).unwrap_or_default();
            let about = about.iter().map(named).collect();
            Ok(Note { id: row.long(0).unwrap_or(0), kind, about, words: row.required_text(3)?, own: row.boolean(5) })
        })
        .collect()
}

fn named(about: &Value) -> About {
    let columns = about["columns"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    About { table: about["table"].as_str().unwrap_or_default().to_owned(), columns }
}

/// What a query reads, as a note speaks of it.
pub(crate) fn about(reads: &[Read]) -> Vec<Value> {
    reads.iter().map(|read| json!({"schema": read.schema, "table": read.table, "columns": read.columns})).collect()
}

/// Keeps a question and its query for a good rating to come, where something can be written.
pub(crate) fn remember(role: Oid, request_id: &str, question: &str, sql: &str, reads: &[Read]) -> Result<(), SqlError> {
    thread_local! {
        static UNTIL_LOOK: Cell<u32> = const { Cell::new(0) };
    }
    let most = gucs::text2sql_remembered_requests();
    if most == 0 || !transaction::may_write() || question.len() > MOST_WORDS || sql.len() > MOST_SQL {
        return Ok(());
    }
    let about = Value::Array(about(reads)).to_string();
    REMEMBER.write(&[Param::Role(role), Param::Text(request_id), Param::Text(question), Param::Text(sql), Param::Text(&about)])?;
    let left = UNTIL_LOOK.get();
    UNTIL_LOOK.set(left.checked_sub(1).unwrap_or(BETWEEN_LOOKS));
    if left == 0 && transaction::isolation() == Isolation::ReadCommitted {
        FORGET.write(&[Param::Role(role), Param::Long(most)])?;
    }
    Ok(())
}
