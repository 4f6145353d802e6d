//! The tables of the database, as a role may read them: for a model that is to write queries.

use std::collections::HashMap;

use pg_llm_gateway::text2sql::{Column, ForeignKey, Kind, Table};
use pgrx::pg_sys::{OIDOID, Oid, TEXTOID};

use super::query::{Param, Statement};
use crate::backend::errors::{SqlError, State};

static SCHEMAS: Statement = Statement::new(
    "SELECT w.name, n.oid FROM pg_catalog.jsonb_array_elements_text($1::pg_catalog.jsonb) AS w (name) \
       LEFT JOIN pg_catalog.pg_namespace n ON n.nspname::pg_catalog.text OPERATOR(pg_catalog.=) w.name",
    &[TEXTOID],
);
// Partitions are their parents; foreign tables cannot be asked; what an extension brings is not what questions are about.
static TABLES: Statement = Statement::new(
    "SELECT c.oid, pg_catalog.concat(pg_catalog.quote_ident(n.nspname::pg_catalog.text), '.', pg_catalog.quote_ident(c.relname::pg_catalog.text)), \
            c.relkind::pg_catalog.text, c.reltuples::pg_catalog.int8, pg_catalog.obj_description(c.oid, 'pg_class') \
       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
      WHERE c.relnamespace OPERATOR(pg_catalog.=) ANY (pg_catalog.string_to_array($2, ' ')::pg_catalog.oid[]) \
        AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m}'::pg_catalog.\"char\"[]) AND NOT c.relispartition \
        AND pg_catalog.has_schema_privilege($1, n.oid, 'USAGE') AND pg_catalog.has_any_column_privilege($1, c.oid, 'SELECT') \
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid \
                           AND d.objid OPERATOR(pg_catalog.=) c.oid AND d.deptype OPERATOR(pg_catalog.=) 'e'::pg_catalog.\"char\") \
      ORDER BY pg_catalog.array_position(pg_catalog.string_to_array($2, ' ')::pg_catalog.oid[], c.relnamespace), c.relname",
    &[OIDOID, TEXTOID],
);
static COLUMNS: Statement = Statement::new(
    "SELECT a.attrelid, pg_catalog.quote_ident(a.attname::pg_catalog.text), pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, \
            pg_catalog.col_description(a.attrelid, a.attnum::pg_catalog.int4), \
            (SELECT pg_catalog.jsonb_agg(e.enumlabel ORDER BY e.enumsortorder)::pg_catalog.text FROM pg_catalog.pg_enum e WHERE e.enumtypid OPERATOR(pg_catalog.=) a.atttypid) \
       FROM pg_catalog.pg_attribute a \
      WHERE a.attrelid OPERATOR(pg_catalog.=) ANY (pg_catalog.string_to_array($2, ' ')::pg_catalog.oid[]) \
        AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped AND pg_catalog.has_column_privilege($1, a.attrelid, a.attnum, 'SELECT') \
      ORDER BY a.attrelid, a.attnum",
    &[OIDOID, TEXTOID],
);
static KEYS: Statement = Statement::new(
    "SELECT k.conrelid, k.confrelid, \
            (SELECT pg_catalog.jsonb_agg(pg_catalog.quote_ident(a.attname::pg_catalog.text) ORDER BY u.at)::pg_catalog.text \
               FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY AS u (attnum, at) JOIN pg_catalog.pg_attribute a ON a.attnum OPERATOR(pg_catalog.=) u.attnum \
              WHERE a.attrelid OPERATOR(pg_catalog.=) k.conrelid), \
            (SELECT pg_catalog.jsonb_agg(pg_catalog.quote_ident(a.attname::pg_catalog.text) ORDER BY u.at)::pg_catalog.text \
               FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY AS u (attnum, at) JOIN pg_catalog.pg_attribute a ON a.attnum OPERATOR(pg_catalog.=) u.attnum \
              WHERE a.attrelid OPERATOR(pg_catalog.=) k.confrelid) \
       FROM pg_catalog.pg_constraint k \
      WHERE k.conrelid OPERATOR(pg_catalog.=) ANY (pg_catalog.string_to_array($1, ' ')::pg_catalog.oid[]) \
        AND k.contype OPERATOR(pg_catalog.=) ANY ('{p,f}'::pg_catalog.\"char\"[]) \
      ORDER BY k.conname",
    &[TEXTOID],
);

/// The schemas of these names.
///
/// # Errors
/// 42704 where there is none.
pub(crate) fn schemas_named(names: &[String]) -> Result<Vec<Oid>, SqlError> {
    let rows = SCHEMAS.read(&[Param::Text(&serde_json::json!(names).to_string())])?;
    let found = |row: &super::query::Row| {
        let name = row.required_text(0)?;
        row.oid(1).ok_or_else(|| SqlError::new(State::Undefined, format!("pg_llm: schema \"{name}\" does not exist")))
    };
    rows.iter().map(found).collect()
}

/// The tables of these schemas that `role` may read something of, with the columns that it may read.
pub(crate) fn readable_by(role: Oid, schemas: &[Oid]) -> Result<Vec<Table>, SqlError> {
    let mut tables = Vec::new();
    let mut places: HashMap<Oid, usize> = HashMap::new();
    for row in TABLES.read(&[Param::Role(role), Param::Text(&listed(schemas.iter().copied()))])? {
        let kind = match row.required_text(2)?.as_str() {
            "p" => Kind::Partitioned,
            "v" => Kind::View,
            "m" => Kind::MaterializedView,
            _ => Kind::Table,
        };
        places.insert(row.oid(0).unwrap_or_default(), tables.len());
        tables.push(Table {
            name: row.required_text(1)?,
            kind,
            comment: row.text(4)?,
            // -1 is unknown, and views have none.
            rows: row.long(3).filter(|rows| *rows >= 0 && kind != Kind::View),
            columns: Vec::new(),
            primary_key: Vec::new(),
            foreign_keys: Vec::new(),
        });
    }
    if tables.is_empty() {
        return Ok(tables);
    }
    let relations = listed(places.keys().copied());
    for row in COLUMNS.read(&[Param::Role(role), Param::Text(&relations)])? {
        let Some(table) = row.oid(0).and_then(|oid| places.get(&oid)).and_then(|at| tables.get_mut(*at)) else { continue };
        table.columns.push(Column {
            name: row.required_text(1)?,
            type_name: row.required_text(2)?,
            not_null: row.boolean(3),
            comment: row.text(4)?,
            values: names(row.text(5)?),
        });
    }
    for row in KEYS.read(&[Param::Text(&relations)])? {
        let Some(from) = row.oid(0).and_then(|oid| places.get(&oid)).copied() else { continue };
        let (columns, target_columns) = (names(row.text(2)?), names(row.text(3)?));
        // What the role may not read it is not told of.
        let shown = |at: usize, columns: &[String]| columns.iter().all(|name| tables[at].columns.iter().any(|column| column.name == *name));
        if !shown(from, &columns) {
            continue;
        }
        match row.oid(1).filter(|target| *target != pgrx::pg_sys::InvalidOid) {
            None => tables[from].primary_key = columns,
            Some(target) => {
                if let Some(to) = places.get(&target).copied().filter(|to| shown(*to, &target_columns)) {
                    let target = tables[to].name.clone();
                    tables[from].foreign_keys.push(ForeignKey { columns, target, target_columns });
                }
            }
        }
    }
    Ok(tables)
}

fn listed(oids: impl Iterator<Item = Oid>) -> String {
    oids.map(|oid| oid.to_u32().to_string()).collect::<Vec<_>>().join(" ")
}

fn names(json: Option<String>) -> Vec<String> {
    json.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default()
}
