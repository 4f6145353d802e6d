//! The tables of the database, as a role may read them: for a model that is to write queries.

use std::collections::HashMap;

use pg_llm_gateway::text2sql::{Column, ForeignKey, Kind, Outline, Table};
use pgrx::pg_sys::{InvalidOid, OIDOID, Oid, TEXTOID};

use super::query::{Param, Statement};
use crate::backend::errors::{SqlError, State};

static SCHEMAS: Statement = Statement::new(
    "SELECT w.name, n.oid FROM pg_catalog.jsonb_array_elements_text($1::pg_catalog.jsonb) AS w (name) \
       LEFT JOIN pg_catalog.pg_namespace n ON n.nspname::pg_catalog.text OPERATOR(pg_catalog.=) w.name",
    &[TEXTOID],
);
// Partitions are their parents; foreign tables cannot be asked; what an extension brings is not what questions are about. obj_description() and its like are queries of
// their own for each row: a join is many times faster.
static TABLES: Statement = Statement::new(
    "SELECT c.oid, pg_catalog.concat(pg_catalog.quote_ident(n.nspname::pg_catalog.text), '.', pg_catalog.quote_ident(c.relname::pg_catalog.text)), \
            c.relkind::pg_catalog.text, c.reltuples::pg_catalog.int8, d.description, pg_catalog.has_table_privilege($1, c.oid, 'SELECT') \
       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
       LEFT JOIN pg_catalog.pg_description d ON d.objoid OPERATOR(pg_catalog.=) c.oid AND d.objsubid OPERATOR(pg_catalog.=) 0 \
            AND d.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid \
      WHERE c.relnamespace OPERATOR(pg_catalog.=) ANY (pg_catalog.string_to_array($2, ' ')::pg_catalog.oid[]) \
        AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m}'::pg_catalog.\"char\"[]) AND NOT c.relispartition \
        AND pg_catalog.has_schema_privilege($1, n.oid, 'USAGE') AND pg_catalog.has_any_column_privilege($1, c.oid, 'SELECT') \
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid \
                           AND d.objid OPERATOR(pg_catalog.=) c.oid AND d.deptype OPERATOR(pg_catalog.=) 'e'::pg_catalog.\"char\") \
      ORDER BY pg_catalog.array_position(pg_catalog.string_to_array($2, ' ')::pg_catalog.oid[], c.relnamespace), c.relname",
    &[OIDOID, TEXTOID],
);
// Of the tables in $2 all columns may be read, of those in $3 it depends.
static OUTLINES: Statement = Statement::new(
    "SELECT w.oid, pg_catalog.string_agg(a.attname::pg_catalog.text, ' '), pg_catalog.count(*), \
            pg_catalog.string_agg(d.description, ' '), \
            pg_catalog.string_agg(CASE WHEN a.atttypid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid THEN \
               (SELECT pg_catalog.string_agg(e.enumlabel::pg_catalog.text, ' ') FROM pg_catalog.pg_enum e WHERE e.enumtypid OPERATOR(pg_catalog.=) a.atttypid) END, ' ') \
       FROM (SELECT u.oid, true AS whole FROM pg_catalog.unnest(pg_catalog.string_to_array($2, ' ')::pg_catalog.oid[]) AS u (oid) \
             UNION ALL SELECT u.oid, false FROM pg_catalog.unnest(pg_catalog.string_to_array($3, ' ')::pg_catalog.oid[]) AS u (oid)) AS w \
       JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) w.oid \
       LEFT JOIN pg_catalog.pg_description d ON d.objoid OPERATOR(pg_catalog.=) a.attrelid AND d.objsubid OPERATOR(pg_catalog.=) a.attnum::pg_catalog.int4 \
            AND d.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid \
      WHERE a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped \
        AND (w.whole OR pg_catalog.has_column_privilege($1, a.attrelid, a.attnum, 'SELECT')) \
      GROUP BY w.oid",
    &[OIDOID, TEXTOID, TEXTOID],
);
static LINKS: Statement = Statement::new(
    "SELECT k.conrelid, k.confrelid FROM pg_catalog.unnest(pg_catalog.string_to_array($1, ' ')::pg_catalog.oid[]) AS u (oid) \
       JOIN pg_catalog.pg_constraint k ON k.conrelid OPERATOR(pg_catalog.=) u.oid AND k.contype OPERATOR(pg_catalog.=) 'f'::pg_catalog.\"char\"",
    &[TEXTOID],
);
static COLUMNS: Statement = Statement::new(
    "SELECT a.attrelid, pg_catalog.quote_ident(a.attname::pg_catalog.text), pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, d.description, \
            CASE WHEN a.atttypid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid THEN \
               (SELECT pg_catalog.jsonb_agg(e.enumlabel ORDER BY e.enumsortorder)::pg_catalog.text FROM pg_catalog.pg_enum e WHERE e.enumtypid OPERATOR(pg_catalog.=) a.atttypid) END \
       FROM (SELECT u.oid, true AS whole FROM pg_catalog.unnest(pg_catalog.string_to_array($2, ' ')::pg_catalog.oid[]) AS u (oid) \
             UNION ALL SELECT u.oid, false FROM pg_catalog.unnest(pg_catalog.string_to_array($3, ' ')::pg_catalog.oid[]) AS u (oid)) AS w \
       JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) w.oid \
       LEFT JOIN pg_catalog.pg_description d ON d.objoid OPERATOR(pg_catalog.=) a.attrelid AND d.objsubid OPERATOR(pg_catalog.=) a.attnum::pg_catalog.int4 \
            AND d.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid \
      WHERE a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped \
        AND (w.whole OR pg_catalog.has_column_privilege($1, a.attrelid, a.attnum, 'SELECT')) \
      ORDER BY a.attrelid, a.attnum",
    &[OIDOID, TEXTOID, TEXTOID],
);
static KEYS: Statement = Statement::new(
    "SELECT k.conrelid, k.confrelid, \
            (SELECT pg_catalog.jsonb_agg(pg_catalog.quote_ident(a.attname::pg_catalog.text) ORDER BY u.at)::pg_catalog.text \
               FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY AS u (attnum, at) JOIN pg_catalog.pg_attribute a ON a.attnum OPERATOR(pg_catalog.=) u.attnum \
              WHERE a.attrelid OPERATOR(pg_catalog.=) k.conrelid), \
            (SELECT pg_catalog.jsonb_agg(pg_catalog.quote_ident(a.attname::pg_catalog.text) ORDER BY u.at)::pg_catalog.text \
               FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY AS u (attnum, at) JOIN pg_catalog.pg_attribute a ON a.attnum OPERATOR(pg_catalog.=) u.attnum \
              WHERE a.attrelid OPERATOR(pg_catalog.=) k.confrelid) \
       FROM pg_catalog.unnest(pg_catalog.string_to_array($1, ' ')::pg_catalog.oid[]) AS w (oid) \
       JOIN pg_catalog.pg_constraint k ON k.conrelid OPERATOR(pg_catalog.=) w.oid \
      WHERE k.contype OPERATOR(pg_catalog.=) ANY ('{p,f}'::pg_catalog.\"char\"[]) \
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

/// The tables of some schemas that a role may read something of.
pub(crate) struct Readable {
    role: Oid,
    tables: Vec<Table>,
    oids: Vec<Oid>,
    /// All columns may be read.
    whole: Vec<bool>,
}

impl Readable {
    /// Their names, kinds and comments.
    pub(crate) fn list(role: Oid, schemas: &[Oid]) -> Result<Self, SqlError> {
        let mut found = Self { role, tables: Vec::new(), oids: Vec::new(), whole: Vec::new() };
        for row in TABLES.read(&[Param::Role(role), Param::Text(&listed(schemas.iter().copied()))])? {
            let kind = match row.required_text(2)?.as_str() {
                "p" => Kind::Partitioned,
                "v" => Kind::View,
                "m" => Kind::MaterializedView,
                _ => Kind::Table,
            };
            let name = row.required_text(1)?;
            if breaks_lines(&name) {
                continue;
            }
            found.oids.push(row.oid(0).unwrap_or_default());
            found.whole.push(row.boolean(5));
            found.tables.push(Table {
                name,
                kind,
                comment: row.text(4)?,
                // -1 is unknown, and views have none.
                rows: row.long(3).filter(|rows| *rows >= 0 && kind != Kind::View),
                columns: Vec::new(),
                primary_key: Vec::new(),
                foreign_keys: Vec::new(),
                samples: Vec::new(),
            });
        }
        Ok(found)
    }

    pub(crate) fn len(&self) -> usize {
        self.tables.len()
    }

    /// The tables in few words, for the choice among many.
    pub(crate) fn outlines(&self) -> Result<Vec<Outline>, SqlError> {
        let like = |table: &Table| Outline { name: table.name.clone(), comment: table.comment.clone(), ..Outline::default() };
        let mut outlines: Vec<Outline> = self.tables.iter().map(like).collect();
        let places = self.places();
        let [whole, partly] = self.by_right();
        for row in OUTLINES.read(&[Param::Role(self.role), Param::Text(&whole), Param::Text(&partly)])? {
            let Some(outline) = row.oid(0).and_then(|oid| places.get(&oid)).and_then(|at| outlines.get_mut(*at)) else { continue };
            outline.columns = row.text(1)?.unwrap_or_default();
            outline.column_count = row.long(2).and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
            outline.column_comments = row.text(3)?.unwrap_or_default();
            outline.values = row.text(4)?.unwrap_or_default();
        }
        for row in LINKS.read(&[Param::Text(&listed(self.oids.iter().copied()))])? {
            let place = |column| row.oid(column).and_then(|oid| places.get(&oid)).copied();
            if let (Some(from), Some(to)) = (place(0), place(1)) {
                outlines[from].targets.push(to);
            }
        }
        Ok(outlines)
    }

    /// Leaves only these.
    pub(crate) fn keep(&mut self, chosen: &[usize]) {
        let mut kept: Vec<usize> = chosen.iter().copied().filter(|at| *at < self.tables.len()).collect();
        kept.sort_unstable();
        self.tables = kept.iter().map(|at| self.tables[*at].clone()).collect();
        self.oids = kept.iter().map(|at| self.oids[*at]).collect();
        self.whole = kept.iter().map(|at| self.whole[*at]).collect();
    }

    /// With the columns that the role may read, and the keys of which it may read all columns.
    pub(crate) fn in_detail(mut self) -> Result<Vec<Table>, SqlError> {
        if self.tables.is_empty() {
            return Ok(self.tables);
        }
        let places = self.places();
        let [whole, partly] = self.by_right();
        let tables = &mut self.tables;
        for row in COLUMNS.read(&[Param::Role(self.role), Param::Text(&whole), Param::Text(&partly)])? {
            let Some(table) = row.oid(0).and_then(|oid| places.get(&oid)).and_then(|at| tables.get_mut(*at)) else { continue };
            let name = row.required_text(1)?;
            if breaks_lines(&name) {
                continue;
            }
            table.columns.push(Column {
                name,
                type_name: row.required_text(2)?,
                not_null: row.boolean(3),
                comment: row.text(4)?,
                values: names(row.text(5)?),
            });
        }
        for row in KEYS.read(&[Param::Text(&listed(self.oids.iter().copied()))])? {
            let Some(from) = row.oid(0).and_then(|oid| places.get(&oid)).copied() else { continue };
            let (columns, target_columns) = (names(row.text(2)?), names(row.text(3)?));
            // What the role may not read it is not told of.
            let shown =
                |at: usize, columns: &[String]| columns.iter().all(|name| tables[at].columns.iter().any(|column| column.name == *name));
            if !shown(from, &columns) {
                continue;
            }
            match row.oid(1).filter(|target| *target != InvalidOid) {
                None => tables[from].primary_key = columns,
                Some(target) => {
                    if let Some(to) = places.get(&target).copied().filter(|to| shown(*to, &target_columns)) {
                        let target = tables[to].name.clone();
                        tables[from].foreign_keys.push(ForeignKey { columns, target, target_columns });
                    }
                }
            }
        }
        Ok(self.tables)
    }

    fn places(&self) -> HashMap<Oid, usize> {
        self.oids.iter().enumerate().map(|(at, oid)| (*oid, at)).collect()
    }

    /// Those of which all columns may be read, and the others.
    fn by_right(&self) -> [String; 2] {
        [true, false].map(|wanted| listed(self.oids.iter().zip(&self.whole).filter(|(_, whole)| **whole == wanted).map(|(oid, _)| *oid)))
    }
}

/// A name must be told as it is, and one that would look like more than a name is not told.
fn breaks_lines(name: &str) -> bool {
    name.chars().any(char::is_control)
}

/// Oids as the statements here take them.
pub(crate) fn listed(oids: impl Iterator<Item = Oid>) -> String {
    oids.map(|oid| oid.to_u32().to_string()).collect::<Vec<_>>().join(" ")
}

fn names(json: Option<String>) -> Vec<String> {
    json.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default()
}
