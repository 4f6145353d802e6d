//! What the catalog knows of the tables of a query: for a model that is to say why the query is slow.
//!
//! Of columns it tells what the planner estimates of them, and no value: most common values and histograms are rows of the table.

use pgrx::pg_sys::{OIDOID, Oid, TEXTOID};
use serde_json::Value;

use super::query::{Param, Statement};
use crate::backend::errors::SqlError;

// Statistics of columns that the role may read, of tables whose rows it sees all.
static TABLES: Statement = Statement::new(
    "SELECT pg_catalog.jsonb_build_object( \
            'name', pg_catalog.concat(pg_catalog.quote_ident(n.nspname::pg_catalog.text), '.', pg_catalog.quote_ident(c.relname::pg_catalog.text)), \
            'kind', CASE c.relkind::pg_catalog.text WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'other' END, \
            'rows', CASE WHEN c.reltuples OPERATOR(pg_catalog.>=) 0::pg_catalog.float4 THEN c.reltuples::pg_catalog.int8 END, \
            'bytes', CASE WHEN c.relkind OPERATOR(pg_catalog.=) ANY ('{r,m}'::pg_catalog.\"char\"[]) THEN pg_catalog.pg_table_size(c.oid) END, \
            'last_analyze', GREATEST(s.last_analyze, s.last_autoanalyze), \
            'indexes', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('definition', pg_catalog.pg_get_indexdef(i.indexrelid), \
                                  'bytes', pg_catalog.pg_relation_size(i.indexrelid), 'valid', i.indisvalid)) \
                          FROM pg_catalog.pg_index i WHERE i.indrelid OPERATOR(pg_catalog.=) c.oid), \
            'columns', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('name', a.attname, 'type', pg_catalog.format_type(a.atttypid, a.atttypmod), \
                                  'null_frac', t.stanullfrac, 'n_distinct', t.stadistinct, 'avg_width', t.stawidth) ORDER BY a.attnum) \
                          FROM pg_catalog.pg_attribute a \
                          LEFT JOIN pg_catalog.pg_statistic t ON (t.starelid OPERATOR(pg_catalog.=) a.attrelid) AND (t.staattnum OPERATOR(pg_catalog.=) a.attnum) \
                                AND (NOT c.relrowsecurity) AND (t.stainherit OPERATOR(pg_catalog.=) (c.relkind OPERATOR(pg_catalog.=) 'p'::pg_catalog.\"char\")) \
                         WHERE (a.attrelid OPERATOR(pg_catalog.=) c.oid) AND (a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2) AND (NOT a.attisdropped) \
                           AND pg_catalog.has_column_privilege($1, a.attrelid, a.attnum, 'SELECT')))::pg_catalog.text \
       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
       LEFT JOIN pg_catalog.pg_stat_all_tables s ON s.relid OPERATOR(pg_catalog.=) c.oid \
      WHERE c.oid OPERATOR(pg_catalog.=) ANY (pg_catalog.string_to_array($2, ' ')::pg_catalog.oid[]) ORDER BY 1",
    &[OIDOID, TEXTOID],
);
static HYPOPG: Statement = Statement::new(
    "SELECT pg_catalog.quote_ident(n.nspname::pg_catalog.text) FROM pg_catalog.pg_extension e \
       JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace WHERE e.extname OPERATOR(pg_catalog.=) 'hypopg'::pg_catalog.name",
    &[],
);

/// The tables and views, each an object, as `role` may know them.
pub(crate) fn of_relations(relations: &[Oid], role: Oid) -> Result<Vec<Value>, SqlError> {
    let listed = relations.iter().map(|oid| oid.to_u32().to_string()).collect::<Vec<_>>().join(" ");
    let rows = TABLES.read(&[Param::Role(role), Param::Text(&listed)])?;
    rows.iter().map(|row| Ok(serde_json::from_str(&row.required_text(0)?).unwrap_or_default())).collect()
}

/// The schema of hypopg, quoted; none where it is not installed.
pub(crate) fn hypopg_schema() -> Result<Option<String>, SqlError> {
    HYPOPG.read(&[])?.first().map(|row| row.required_text(0)).transpose()
}
