//! The functions that return vectors: declared with pgvector's type where that is there, else with arrays of `real`.
//!
//! A function's result type is fixed when it is created, and pgvector may be installed before us, after us, or never. So these functions are created by
//! this code: from the extension's script, and again by `pg_llm_use_vector_type`. With pgvector's type in their signatures the extension depends on
//! pgvector, which is told to Postgres, so that a dump restores both in the right order.

use pgrx::pg_sys;
use pgrx::pg_sys::Oid;

use super::query::{Param, Statement, execute};
use crate::backend::errors::{SqlError, State};

const TEXT: Oid = pg_sys::TEXTOID;

/// Schema of the extension, and the library that its functions are in, as they stand in SQL. A function of this name may be anybody's: the extension's own is meant.
static SELF: Statement = Statement::new(
    "SELECT pg_catalog.quote_ident(n.nspname), pg_catalog.quote_literal(f.probin), e.oid \
       FROM pg_catalog.pg_extension e \
       JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace \
       JOIN pg_catalog.pg_proc f ON f.pronamespace OPERATOR(pg_catalog.=) n.oid \
                                AND f.proname OPERATOR(pg_catalog.=) 'pg_llm_use_vector_type'::pg_catalog.name \
       JOIN pg_catalog.pg_depend d ON d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass \
                                  AND d.refobjid OPERATOR(pg_catalog.=) e.oid AND d.deptype OPERATOR(pg_catalog.=) 'e' \
                                  AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass \
                                  AND d.objid OPERATOR(pg_catalog.=) f.oid \
      WHERE e.extname OPERATOR(pg_catalog.=) 'pg_llm'::pg_catalog.name",
    &[],
);

/// pgvector's type, which must be a member of the extension: a type of that name may be anybody's.
static VECTOR: Statement = Statement::new(
    "SELECT pg_catalog.format('%I.vector', n.nspname), e.oid \
       FROM pg_catalog.pg_extension e \
       JOIN pg_catalog.pg_depend d ON d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass \
                                  AND d.refobjid OPERATOR(pg_catalog.=) e.oid \
                                  AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass \
                                  AND d.deptype OPERATOR(pg_catalog.=) 'e' \
       JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) d.objid AND t.typname OPERATOR(pg_catalog.=) 'vector'::pg_catalog.name \
       JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace \
      WHERE e.extname OPERATOR(pg_catalog.=) 'vector'::pg_catalog.name",
    &[],
);

/// Whether a function that returns a vector returns something else than an array.
static USED: Statement = Statement::new(
    "SELECT pg_catalog.bool_or(p.prorettype OPERATOR(pg_catalog.<>) 'pg_catalog.float4[]'::pg_catalog.regtype) \
       FROM pg_catalog.pg_proc p \
       JOIN pg_catalog.pg_depend d ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass \
                                  AND d.objid OPERATOR(pg_catalog.=) p.oid AND d.deptype OPERATOR(pg_catalog.=) 'e' \
       JOIN pg_catalog.pg_extension e ON e.oid OPERATOR(pg_catalog.=) d.refobjid AND e.extname OPERATOR(pg_catalog.=) 'pg_llm'::pg_catalog.name \
      WHERE p.proname OPERATOR(pg_catalog.=) 'pg_llm_get_embedding'::pg_catalog.name",
    &[],
);

/// Whether a function of this signature is there.
static EXISTS: Statement = Statement::new("SELECT pg_catalog.to_regprocedure($1) IS NOT NULL", &[TEXT]);

/// With every type qualified: a search path may have others of their names. Signature, arguments as declared, what is returned, the rest of the declaration, and a comment. `{vector}` stands for the vector's type, `{own}` for the
/// extension's schema, `{library}` for its library. A function comes after those that it is made of.
const FUNCTIONS: [[&str; 5]; 5] = [
    [
        "{own}.pg_llm_get_embedding(pg_catalog.text, pg_catalog.text)",
        "instance_name pg_catalog.text, text_var pg_catalog.text",
        "{vector}",
        "LANGUAGE c VOLATILE PARALLEL SAFE COST 100000 AS {library}, 'pg_llm_get_embedding_wrapper'",
        "The text's embedding by this model: pgvector's vector where pgvector is installed, else real[]. A NULL text is NULL and no call.",
    ],
    [
        "{own}.pg_llm_get_embedding(pg_catalog.text, pg_catalog.text, pg_catalog.jsonb)",
        "instance_name pg_catalog.text, text_var pg_catalog.text, options pg_catalog.jsonb",
        "{vector}",
        "LANGUAGE c VOLATILE PARALLEL SAFE COST 100000 AS {library}, 'pg_llm_get_embedding_wrapper'",
        "The same with options: dimensions, purpose (document, query, classification, clustering), timeout_ms, max_attempts, on_error, extra_body.",
    ],
    [
        "{own}.pg_llm_get_embeddings(pg_catalog.text, pg_catalog.text[], pg_catalog.jsonb)",
        "instance_name pg_catalog.text, texts pg_catalog.text[], options pg_catalog.jsonb DEFAULT '{}'",
        "TABLE(ord pg_catalog.int8, embedding {vector})",
        "LANGUAGE c VOLATILE PARALLEL SAFE COST 100000 ROWS 100 AS {library}, 'pg_llm_get_embeddings_wrapper'",
        "The embeddings of many texts, in as few requests as the provider allows; ord is the text's place, from 1. NULL for a NULL text.",
    ],
    // As _pg_llm_catalog.map and pg_llm_map (07-batch.sql).
    [
        "_pg_llm_catalog.map_embeddings(pg_catalog.text, pg_catalog.text, pg_catalog.jsonb)",
        "instance_name pg_catalog.text, query pg_catalog.text, options pg_catalog.jsonb",
        "TABLE(key pg_catalog.jsonb, embedding {vector}, error pg_catalog.jsonb, usage pg_catalog.jsonb)",
        "LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000 ROWS 1000 AS {library}, 'pg_llm_map_embeddings_wrapper'",
        "What pg_llm_map_embeddings is made of.",
    ],
    [
        "{own}.pg_llm_map_embeddings(pg_catalog.text, pg_catalog.text, pg_catalog.jsonb)",
        "instance_name pg_catalog.text, query pg_catalog.text, options pg_catalog.jsonb DEFAULT '{}'",
        "TABLE(key pg_catalog.jsonb, embedding {vector}, error pg_catalog.jsonb, usage pg_catalog.jsonb)",
        "LANGUAGE sql STABLE PARALLEL UNSAFE COST 100000 ROWS 1000 BEGIN ATOMIC \
           SELECT (s.answer).key, (s.answer).embedding, (s.answer).error, (s.answer).usage \
             FROM (SELECT _pg_llm_catalog.map_embeddings(instance_name, query, options) AS answer OFFSET 0) AS s; END",
        "The embeddings of the rows of a query, which runs as the caller: SELECT text, or SELECT key, text. As many rows in a request as the provider allows, \
         max_concurrency requests at the same time (16). Rows come as requests end, or with {\"order\": \"ord\"} in the query's order; those of a request that \
         fails have an error, and the others go on. usage is a request's, in its first row.",
    ],
];

/// Whether pgvector is in this database, and whether the functions that return vectors are declared with its type.
pub(crate) fn installed_and_used() -> Result<(bool, bool), SqlError> {
    let installed = !VECTOR.read(&[])?.is_empty();
    Ok((installed, USED.read(&[])?.first().is_some_and(|row| row.boolean(0))))
}

/// Declares the functions with pgvector's type if that is `wanted` and there, else with `real[]`. Says whether it was pgvector's.
pub(crate) fn declare(wanted: bool) -> Result<bool, SqlError> {
    let missing = || SqlError::new(State::SetUp, "pg_llm: the extension is not in this database").hint("CREATE EXTENSION pg_llm;");
    let rows = SELF.read(&[])?;
    let own = rows.first().ok_or_else(missing)?;
    let (schema, library, extension) = (own.required_text(0)?, own.required_text(1)?, own.oid(2).ok_or_else(missing)?);
    let rows = VECTOR.read(&[])?;
    let vector = rows.first().filter(|_| wanted);
    let (declared, pgvector) = match vector {
        Some(row) => (row.required_text(0)?, row.oid(1)),
        None => ("pg_catalog.float4[]".to_owned(), None),
    };
    // SAFETY: reads a flag of the backend.
    let by_script = unsafe { pg_sys::creating_extension };
    let filled = |text: &str| text.replace("{own}", &schema).replace("{library}", &library).replace("{vector}", &declared);
    for [signature, ..] in FUNCTIONS.iter().rev() {
        let signature = filled(signature);
        if EXISTS.read(&[Param::Text(&signature)])?.first().is_some_and(|row| row.boolean(0)) {
            execute(&format!("ALTER EXTENSION pg_llm DROP FUNCTION {signature}"))?;
            execute(&format!("DROP FUNCTION {signature}"))?;
        }
    }
    for [signature, arguments, returned, code, comment] in FUNCTIONS {
        let signature = filled(signature);
        let name = signature.split('(').next().unwrap_or_default();
        execute(&format!("CREATE FUNCTION {name}({arguments}) RETURNS {} {}", filled(returned), filled(code)))?;
        execute(&format!("COMMENT ON FUNCTION {signature} IS '{}'", comment.replace('\'', "''")))?;
        if !by_script {
            execute(&format!("ALTER EXTENSION pg_llm ADD FUNCTION {signature}"))?;
        }
    }
    depend_on(extension, pgvector);
    Ok(pgvector.is_some())
}

/// The extension depends on pgvector, or no longer does.
fn depend_on(extension: Oid, pgvector: Option<Oid>) {
    let address = |oid| pg_sys::ObjectAddress { classId: pg_sys::ExtensionRelationId, objectId: oid, objectSubId: 0 };
    // SAFETY: changes to the dependencies of an extension that the caller owns, as ALTER EXTENSION makes them. pg_llm requires no other extension, so that
    // those on extensions are all ours.
    unsafe {
        let normal = libc::c_char::try_from(pg_sys::DependencyType::DEPENDENCY_NORMAL).unwrap_or(0);
        pg_sys::deleteDependencyRecordsForClass(pg_sys::ExtensionRelationId, extension, pg_sys::ExtensionRelationId, normal);
        if let Some(pgvector) = pgvector {
            let (ours, theirs) = (address(extension), address(pgvector));
            pg_sys::recordDependencyOn(&raw const ours, &raw const theirs, pg_sys::DependencyType::DEPENDENCY_NORMAL);
        }
    }
}
