//! What `ALTER DEFAULT PRIVILEGES` has granted on objects of the extension, while its script made them.

use super::query::{Statement, execute};
use crate::backend::errors::SqlError;

/// A REVOKE for each right that another role than the owner has on the catalog's schema and tables (PUBLIC too) and on views, and on the functions that PUBLIC was not
/// left: those that only an administrator grants. Where PUBLIC has no function at all by default, each role keeps what it was given.
static GRANTED: Statement = Statement::new(
    "WITH ours AS ( \
       SELECT d.classid, d.objid FROM pg_catalog.pg_depend d \
         JOIN pg_catalog.pg_extension e ON d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass \
              AND d.refobjid OPERATOR(pg_catalog.=) e.oid AND e.extname OPERATOR(pg_catalog.=) 'pg_llm'::pg_catalog.name \
        WHERE d.deptype OPERATOR(pg_catalog.=) 'e'), \
     functions AS ( \
       SELECT p.oid, p.proowner, p.proname, COALESCE(p.proacl, pg_catalog.acldefault('f', p.proowner)) AS acl, \
              pg_catalog.has_function_privilege('public', p.oid, 'EXECUTE') AS open \
         FROM pg_catalog.pg_proc p JOIN ours o ON o.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass \
              AND o.objid OPERATOR(pg_catalog.=) p.oid), \
     objects AS ( \
       SELECT 'SCHEMA' AS kind, pg_catalog.quote_ident(n.nspname) AS name, n.nspowner AS owner, n.nspacl AS acl \
         FROM pg_catalog.pg_namespace n JOIN ours o ON o.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass \
              AND o.objid OPERATOR(pg_catalog.=) n.oid \
       UNION ALL \
       SELECT CASE WHEN c.relkind OPERATOR(pg_catalog.=) 'S' THEN 'SEQUENCE' WHEN c.relkind OPERATOR(pg_catalog.=) 'v' THEN 'VIEW' ELSE 'TABLE' END, \
              pg_catalog.format('%I.%I', n.nspname, c.relname), c.relowner, c.relacl \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
         JOIN ours o ON o.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND o.objid OPERATOR(pg_catalog.=) c.oid \
        WHERE n.nspname OPERATOR(pg_catalog.=) '_pg_llm_catalog'::pg_catalog.name OR c.relkind OPERATOR(pg_catalog.=) 'v' \
       UNION ALL \
       SELECT 'FUNCTION', f.oid::pg_catalog.regprocedure::pg_catalog.text, f.proowner, f.acl FROM functions f \
        WHERE NOT f.open AND (SELECT pg_catalog.bool_and(g.open) FROM functions g WHERE g.proname OPERATOR(pg_catalog.=) 'pg_llm_chat'::pg_catalog.name)) \
     SELECT pg_catalog.format('REVOKE ALL ON %s %s FROM %s CASCADE', CASE WHEN o.kind OPERATOR(pg_catalog.=) 'VIEW' THEN 'TABLE' ELSE o.kind END, o.name, \
                              COALESCE(pg_catalog.quote_ident(r.rolname), 'PUBLIC')) \
       FROM objects o CROSS JOIN LATERAL pg_catalog.aclexplode(o.acl) a LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) a.grantee \
      WHERE a.grantee OPERATOR(pg_catalog.<>) o.owner \
        AND (r.oid IS NOT NULL OR (a.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid AND o.kind OPERATOR(pg_catalog.<>) 'VIEW')) \
      GROUP BY o.kind, o.name, r.rolname",
    &[],
);

/// Takes it back; says how much that was.
pub(crate) fn revoke() -> Result<i64, SqlError> {
    let rows = GRANTED.write(&[])?;
    for row in &rows {
        execute(&row.required_text(0)?)?;
    }
    Ok(i64::try_from(rows.len()).unwrap_or(i64::MAX))
}
