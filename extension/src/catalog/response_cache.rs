//! Answers that were given before, in `_pg_llm_catalog.response_cache`.
//!
//! A call pays for none of this unless it asks for it. Nothing here waits for another session, nor makes a statement fail that would have succeeded without:
//! - The table has no unique index. Of two sessions that store the same answer in open transactions, one would wait on it for the other's end, which may be
//!   many model calls away. So there can be several entries of one fingerprint: the youngest counts, and who stores the next removes the older ones.
//! - What is deleted is locked first with SKIP LOCKED: a row that another session is deleting is left to it.
//! - Where a transaction sees as of its beginning, deleting a row that was deleted since is an error, so that nothing is deleted there. In a serializable one
//!   a look at what is missing and an insert, in each of two sessions, are a conflict: there the cache is read, and not written.

use std::cell::Cell;
use std::time::Instant;

use pg_llm_gateway::{CacheTerms, ChatCall, ChatOutcome};
use pgrx::pg_sys::{BOOLOID, BYTEAOID, INT8OID, InvalidOid, OIDOID, Oid, TEXTOID};

use super::query::{Param, Row, Statement};
use crate::backend::errors::{Failure, SqlError};
use crate::backend::transaction::{self, Isolation};
use crate::backend::{gucs, privileges};

static FIND: Statement = Statement::new(
    "SELECT c.answer FROM _pg_llm_catalog.response_cache c \
      WHERE c.fingerprint OPERATOR(pg_catalog.=) $1 AND c.role::pg_catalog.oid OPERATOR(pg_catalog.=) $2 \
        AND c.expires_at OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp() \
        AND c.created_at OPERATOR(pg_catalog.>) (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => $3)) \
      ORDER BY c.created_at DESC LIMIT 1",
    &[BYTEAOID, OIDOID, INT8OID],
);
static INSERT: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.response_cache (fingerprint, role, instance_name, answer, bytes, created_at, expires_at) \
     VALUES ($1, $2::pg_catalog.regrole, $3, $4, $5, pg_catalog.clock_timestamp(), \
             pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) pg_catalog.make_interval(secs => $6))",
    &[BYTEAOID, OIDOID, TEXTOID, BYTEAOID, INT8OID, INT8OID],
);
static DELETE_FORMER: Statement = Statement::new(
    "DELETE FROM _pg_llm_catalog.response_cache WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY( \
        SELECT c.ctid FROM _pg_llm_catalog.response_cache c \
         WHERE c.fingerprint OPERATOR(pg_catalog.=) $1 AND c.role::pg_catalog.oid OPERATOR(pg_catalog.=) $2 FOR UPDATE SKIP LOCKED))",
    &[BYTEAOID, OIDOID],
);
static DELETE_MODELS: Statement = Statement::new(
    "DELETE FROM _pg_llm_catalog.response_cache WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY( \
        SELECT c.ctid FROM _pg_llm_catalog.response_cache c WHERE c.instance_name OPERATOR(pg_catalog.=) $1 FOR UPDATE SKIP LOCKED))",
    &[TEXTOID],
);
// Its own entries; those of models that it owns; all, for a superuser.
static CLEAR: Statement = Statement::new(
    "WITH gone AS (DELETE FROM _pg_llm_catalog.response_cache WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY( \
        SELECT c.ctid FROM _pg_llm_catalog.response_cache c \
         WHERE ($1 IS NULL OR c.instance_name OPERATOR(pg_catalog.=) $1) \
           AND ($3 OR c.role::pg_catalog.oid OPERATOR(pg_catalog.=) $2 \
                OR EXISTS (SELECT FROM _pg_llm_catalog.grants g WHERE g.instance_name OPERATOR(pg_catalog.=) c.instance_name AND g.is_owner \
                              AND pg_catalog.pg_has_role($2, g.role::pg_catalog.oid, 'USAGE'))) \
           FOR UPDATE SKIP LOCKED)) RETURNING 1) \
     SELECT pg_catalog.count(*) FROM gone",
    &[TEXTOID, OIDOID, BOOLOID],
);
static ON_DISK: Statement =
    Statement::new("SELECT pg_catalog.pg_total_relation_size('_pg_llm_catalog.response_cache'::pg_catalog.regclass)", &[]);
static HELD: Statement =
    Statement::new("SELECT COALESCE(pg_catalog.sum(c.bytes), 0)::pg_catalog.int8 FROM _pg_llm_catalog.response_cache c", &[]);
static DELETE_EXPIRED: Statement = Statement::new(
    "WITH gone AS (DELETE FROM _pg_llm_catalog.response_cache WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY( \
        SELECT c.ctid FROM _pg_llm_catalog.response_cache c \
         WHERE c.expires_at OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp() LIMIT 1000 FOR UPDATE SKIP LOCKED)) RETURNING bytes) \
     SELECT COALESCE(pg_catalog.sum(gone.bytes), 0)::pg_catalog.int8 FROM gone",
    &[],
);
// As many of the oldest as make room for $1 bytes, a thousand at most.
static DELETE_OLDEST: Statement = Statement::new(
    "WITH oldest AS (SELECT c.ctid AS at, c.created_at, c.bytes FROM _pg_llm_catalog.response_cache c \
                      ORDER BY c.created_at LIMIT 1000 FOR UPDATE SKIP LOCKED), \
          running AS (SELECT o.at, (pg_catalog.sum(o.bytes) OVER (ORDER BY o.created_at ROWS UNBOUNDED PRECEDING)) OPERATOR(pg_catalog.-) o.bytes AS before \
                        FROM oldest o), \
          gone AS (DELETE FROM _pg_llm_catalog.response_cache WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY( \
                      SELECT r.at FROM running r WHERE r.before OPERATOR(pg_catalog.<) $1)) RETURNING bytes) \
     SELECT COALESCE(pg_catalog.sum(gone.bytes), 0)::pg_catalog.int8 FROM gone",
    &[INT8OID],
);

/// What an entry takes beside its answer: the row's head, its other columns, its place in the index.
const ENTRY_BYTES: i64 = 256;
/// An answer that is larger than this part of the whole cache is not kept: it would push out too many others.
const LARGEST: i64 = 8;
/// How much is stored, as a part of the bound, until it is looked again whether it still holds.
const BETWEEN_LOOKS: i64 = 64;

thread_local! {
    /// Bytes that this backend may still store before it looks. A backend's first entry looks: many short sessions must not grow past the bound.
    static UNTIL_LOOK: Cell<i64> = const { Cell::new(0) };
}

/// Whose entries a call on these terms sees: the current role's, or those of all who share.
fn reader(terms: CacheTerms) -> Oid {
    if terms.shared { InvalidOid } else { privileges::current_role() }
}

fn seconds(terms: CacheTerms) -> i64 {
    terms.ttl.map_or_else(gucs::cache_ttl_s, |ttl| i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX))
}

/// The answer to this call that was kept, if the call wants one and there is one. An entry that cannot be read is none.
pub(crate) fn find(call: &ChatCall) -> Result<Option<ChatOutcome>, Failure> {
    let Some(terms) = call.cache_terms() else { return Ok(None) };
    if gucs::cache_max_bytes() == 0 || transaction::in_recovery() {
        return Ok(None);
    }
    let begun = Instant::now();
    let rows = FIND.read(&[Param::Bytes(call.fingerprint()), Param::Role(reader(terms)), Param::Long(seconds(terms))])?;
    Ok(rows.first().and_then(|row| row.bytes(0)).and_then(|kept| call.from_kept(&kept, begun.elapsed())))
}

/// Keeps the outcome of this call, if the call wants that and it can be done. Where not, nothing is said.
pub(crate) fn keep(call: &ChatCall, outcome: &ChatOutcome) -> Result<(), Failure> {
    let Some(terms) = call.cache_terms() else { return Ok(()) };
    let (bound, isolation) = (gucs::cache_max_bytes(), transaction::isolation());
    if bound == 0 || !transaction::may_write() || isolation == Isolation::Serializable {
        return Ok(());
    }
    let Some(kept) = call.to_kept(outcome) else { return Ok(()) };
    let size = i64::try_from(kept.len()).unwrap_or(i64::MAX).saturating_add(ENTRY_BYTES);
    let changeable = isolation == Isolation::ReadCommitted;
    if size > bound / LARGEST || !make_room(size, bound, changeable)? {
        return Ok(());
    }
    let role = reader(terms);
    if changeable {
        DELETE_FORMER.write(&[Param::Bytes(call.fingerprint()), Param::Role(role)])?;
    }
    INSERT.write(&[
        Param::Bytes(call.fingerprint()),
        Param::Role(role),
        Param::Text(&call.route().instance),
        Param::Bytes(&kept),
        Param::Long(size),
        Param::Long(seconds(terms)),
    ])?;
    Ok(())
}

/// Whether there is room for an entry of this size. Looks now and then, and deletes, if it may, a thousand expired and a thousand old entries at most: as long
/// as that is not enough, nothing is stored, and the next call goes on.
fn make_room(size: i64, bound: i64, may_delete: bool) -> Result<bool, SqlError> {
    let left = UNTIL_LOOK.get();
    if left >= size {
        UNTIL_LOOK.set(left - size);
        return Ok(true);
    }
    // What deleted rows leave is used again once it is vacuumed: that the files are large does not mean that much is in them.
    if number(&ON_DISK.read(&[])?).saturating_add(size) > bound {
        let mut held = number(&HELD.read(&[])?).saturating_add(size);
        if held > bound && may_delete {
            held -= number(&DELETE_EXPIRED.write(&[])?);
            // More than must be, so that not each of the next has to.
            let spare = bound / LARGEST;
            if held > bound {
                held -= number(&DELETE_OLDEST.write(&[Param::Long(held - bound + spare)])?);
            }
        }
        if held > bound {
            return Ok(false);
        }
    }
    UNTIL_LOOK.set(bound / BETWEEN_LOOKS);
    Ok(true)
}

fn number(rows: &[Row]) -> i64 {
    rows.first().and_then(|row| row.long(0)).unwrap_or(0)
}

/// Deletes a model's entries: it is another now, or gone. The fingerprint holds all of it that decides an answer; what somebody mended behind an endpoint
/// that stayed the same is not in it.
pub(crate) fn forget(instance: &str) -> Result<(), SqlError> {
    DELETE_MODELS.write(&[Param::Text(instance)]).map(|_| ())
}

/// Deletes what `role` may delete, of one model or of all, and says how many entries that were.
pub(crate) fn clear(instance: Option<&str>, role: Oid) -> Result<i64, SqlError> {
    let instance = instance.map_or(Param::Null, Param::Text);
    Ok(number(&CLEAR.write(&[instance, Param::Role(role), Param::Bool(privileges::is_superuser(role))])?))
}
