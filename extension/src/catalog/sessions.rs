//! Sessions and what was said in them.
//!
//! A session is its owner's: that of whoever has the rights of the role that made it. To others there is none of this name, and nothing here locks a row of theirs.

use pg_llm_gateway::history::{Earlier, Said, Shown};
use pgrx::pg_sys::{BYTEAOID, INT8OID, OIDOID, Oid, TEXTOID};
use serde_json::Value;

use super::query::{Param, Row, Statement};
use crate::backend::errors::{SqlError, State};

macro_rules! of_owner {
    ($begin:literal, $role:literal $(, $rest:literal)?) => {
        concat!(
            $begin,
            " s.session_id OPERATOR(pg_catalog.=) $1 AND pg_catalog.pg_has_role(",
            $role,
            ", s.role::pg_catalog.oid, 'USAGE')",
            $($rest,)?
        )
    };
}

static INSERT: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.sessions (role, max_messages) VALUES ($1::pg_catalog.regrole, $2::pg_catalog.int4) RETURNING session_id",
    &[OIDOID, INT8OID],
);
// A turn excludes another, and nobody else: not who forks the session, which changes no message.
static LOCK: Statement = Statement::new(
    of_owner!(
        "SELECT s.session_id, s.max_messages::pg_catalog.int8, s.message_count::pg_catalog.int8, s.summary, s.summarized_to::pg_catalog.int8 \
           FROM _pg_llm_catalog.sessions s WHERE",
        "$2",
        " FOR NO KEY UPDATE OF s"
    ),
    &[TEXTOID, OIDOID],
);
// Instructions, whenever they were given; and what was said last: at least the latest turn, but nothing that the summary stands for.
static RECENT: Statement = Statement::new(
    "WITH start AS (SELECT GREATEST($2, LEAST($3, COALESCE((SELECT pg_catalog.max(u.id) FROM _pg_llm_catalog.session_messages u \
                     WHERE u.session_id OPERATOR(pg_catalog.=) $1 AND u.role OPERATOR(pg_catalog.=) 'user'), 1) OPERATOR(pg_catalog.-) 1)) AS id) \
     SELECT m.id::pg_catalog.int8, m.message, start.id, m.provider FROM start, _pg_llm_catalog.session_messages m \
      WHERE m.session_id OPERATOR(pg_catalog.=) $1 AND m.role OPERATOR(pg_catalog.=) 'system' AND m.id OPERATOR(pg_catalog.<=) start.id \
     UNION ALL \
     SELECT m.id::pg_catalog.int8, m.message, start.id, m.provider FROM start, _pg_llm_catalog.session_messages m \
      WHERE m.session_id OPERATOR(pg_catalog.=) $1 AND m.id OPERATOR(pg_catalog.>) start.id \
     ORDER BY 1",
    &[TEXTOID, INT8OID, INT8OID],
);
static TURN: Statement = Statement::new(
    "UPDATE _pg_llm_catalog.sessions SET message_count = message_count OPERATOR(pg_catalog.+) $2::pg_catalog.int4, \
            summary = COALESCE($3, summary), summarized_to = GREATEST($4::pg_catalog.int4, summarized_to), last_active_at = pg_catalog.clock_timestamp() \
      WHERE session_id OPERATOR(pg_catalog.=) $1 RETURNING message_count::pg_catalog.int8",
    &[TEXTOID, INT8OID, TEXTOID, INT8OID],
);
static SAY: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.session_messages (session_id, id, request_id, role, message, provider) \
     VALUES ($1, $2::pg_catalog.int4, $3::pg_catalog.uuid, $4, $5, $6)",
    &[TEXTOID, INT8OID, TEXTOID, TEXTOID, BYTEAOID, TEXTOID],
);
static SET_MAX: Statement = Statement::new(
    of_owner!("UPDATE _pg_llm_catalog.sessions s SET max_messages = $3::pg_catalog.int4 WHERE", "$2", " RETURNING true"),
    &[TEXTOID, OIDOID, INT8OID],
);
static SET_STATE: Statement = Statement::new(
    of_owner!(
        "UPDATE _pg_llm_catalog.sessions s SET state = $3::pg_catalog.jsonb, last_active_at = pg_catalog.clock_timestamp() WHERE",
        "$2",
        " RETURNING true"
    ),
    &[TEXTOID, OIDOID, TEXTOID],
);
static LIST: Statement = Statement::new(
    "SELECT s.session_id, s.message_count::pg_catalog.int8, s.max_messages::pg_catalog.int8, s.last_active_at FROM _pg_llm_catalog.sessions s \
      WHERE pg_catalog.pg_has_role($1, s.role::pg_catalog.oid, 'USAGE') ORDER BY s.last_active_at DESC, s.session_id",
    &[OIDOID],
);
static SHOW: Statement = Statement::new(
    of_owner!(
        "SELECT pg_catalog.jsonb_build_object('session_id', s.session_id, 'role', s.role::pg_catalog.text, 'state', s.state, 'max_messages', s.max_messages, \
                'message_count', s.message_count, 'summary', s.summary, 'summarized_to', NULLIF(s.summarized_to, 0), 'created_at', s.created_at, \
                'last_active_at', s.last_active_at)::pg_catalog.text FROM _pg_llm_catalog.sessions s WHERE",
        "$2"
    ),
    &[TEXTOID, OIDOID],
);
static EXISTS: Statement = Statement::new(of_owner!("SELECT true FROM _pg_llm_catalog.sessions s WHERE", "$2"), &[TEXTOID, OIDOID]);
static MESSAGES: Statement = Statement::new(
    "SELECT m.id::pg_catalog.int8, pg_catalog.uuid_send(m.request_id), m.role, m.message, m.created_at, \
            pg_catalog.to_jsonb(m.created_at) OPERATOR(pg_catalog.#>>) '{}'::pg_catalog.text[], m.request_id::pg_catalog.text \
       FROM _pg_llm_catalog.session_messages m WHERE m.session_id OPERATOR(pg_catalog.=) $1 ORDER BY m.id",
    &[TEXTOID],
);
// What it is made from stays until the copy is whole; a turn that is being made there goes on.
static SOURCE: Statement = Statement::new(
    of_owner!("SELECT s.message_count::pg_catalog.int8 FROM _pg_llm_catalog.sessions s WHERE", "$2", " FOR KEY SHARE OF s"),
    &[TEXTOID, OIDOID],
);
static FORK: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.sessions (role, max_messages, message_count, state, summary, summarized_to) \
     SELECT $2::pg_catalog.regrole, s.max_messages, $3::pg_catalog.int4, s.state, \
            CASE WHEN s.summarized_to OPERATOR(pg_catalog.<=) $3 THEN s.summary END, \
            CASE WHEN s.summarized_to OPERATOR(pg_catalog.<=) $3 THEN s.summarized_to ELSE 0 END \
       FROM _pg_llm_catalog.sessions s WHERE s.session_id OPERATOR(pg_catalog.=) $1 RETURNING session_id",
    &[TEXTOID, OIDOID, INT8OID],
);
static COPY: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.session_messages (session_id, id, request_id, role, message, provider, created_at) \
     SELECT $2, m.id, m.request_id, m.role, m.message, m.provider, m.created_at FROM _pg_llm_catalog.session_messages m \
      WHERE m.session_id OPERATOR(pg_catalog.=) $1 AND m.id OPERATOR(pg_catalog.<=) $3",
    &[TEXTOID, TEXTOID, INT8OID],
);
static LOCK_TO_DELETE: Statement =
    Statement::new(of_owner!("SELECT true FROM _pg_llm_catalog.sessions s WHERE", "$2", " FOR UPDATE OF s"), &[TEXTOID, OIDOID]);
// Messages by name, though the foreign key cascades: not where triggers are off (session_replication_role).
static DELETE_MESSAGES: Statement =
    Statement::new("DELETE FROM _pg_llm_catalog.session_messages WHERE session_id OPERATOR(pg_catalog.=) $1", &[TEXTOID]);
static DELETE: Statement = Statement::new("DELETE FROM _pg_llm_catalog.sessions WHERE session_id OPERATOR(pg_catalog.=) $1", &[TEXTOID]);
// One whose turn is being made is not idle. One whose turn was made since the statement began is looked at again by the lock, and left.
static DELETE_IDLE: Statement = Statement::new(
    "WITH idle AS (SELECT s.session_id FROM _pg_llm_catalog.sessions s \
                    WHERE pg_catalog.pg_has_role($1, s.role::pg_catalog.oid, 'USAGE') \
                      AND s.last_active_at OPERATOR(pg_catalog.<=) (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => $2)) \
                      FOR UPDATE OF s SKIP LOCKED), \
          gone AS (DELETE FROM _pg_llm_catalog.session_messages m USING idle WHERE m.session_id OPERATOR(pg_catalog.=) idle.session_id) \
     DELETE FROM _pg_llm_catalog.sessions s USING idle WHERE s.session_id OPERATOR(pg_catalog.=) idle.session_id",
    &[OIDOID, INT8OID],
);

/// Messages that are read to be summarized at most.
const MOST_SUMMARIZED: i64 = 2_000;

/// A session that no other turn is made of until the transaction ends.
pub(crate) struct Locked {
    pub(crate) id: String,
    /// Messages that go along with a prompt.
    pub(crate) max_messages: usize,
    pub(crate) summary: Option<String>,
    message_count: i64,
    summarized_to: i64,
}

/// The latest messages of a session.
pub(crate) struct Recent {
    pub(crate) messages: Vec<Earlier>,
    /// There are none before them, but those of the summary.
    pub(crate) whole: bool,
}

/// A summary, and the number of the last message that it stands for.
pub(crate) struct Summary<'s> {
    pub(crate) text: &'s str,
    pub(crate) up_to: i64,
}

/// A session in the list.
pub(crate) struct Listed {
    pub(crate) id: String,
    pub(crate) message_count: i64,
    pub(crate) max_messages: i64,
    /// In microseconds, as Postgres counts them.
    pub(crate) last_active: i64,
}

/// A message of a session.
pub(crate) struct Message {
    pub(crate) id: i64,
    pub(crate) request_id: [u8; 16],
    pub(crate) role: String,
    pub(crate) shown: Shown,
    /// In microseconds, as Postgres counts them.
    pub(crate) created: i64,
    /// As jsonb shows it.
    pub(crate) created_text: String,
    pub(crate) request_id_text: String,
}

/// 42704.
fn unknown(session: &str) -> SqlError {
    let session = pg_llm_gateway::clip(session, 100);
    SqlError::new(State::Undefined, format!("pg_llm: session \"{session}\" does not exist"))
        .hint("Yours are in pg_llm_get_sessions(); pg_llm_create_session() makes one.")
}

fn found(rows: &[Row], session: &str) -> Result<(), SqlError> {
    if rows.is_empty() { Err(unknown(session)) } else { Ok(()) }
}

fn long(row: &Row, column: usize) -> i64 {
    row.long(column).unwrap_or(0)
}

/// Makes a session of `role`, and gives back its id.
pub(crate) fn create(role: Oid, max_messages: i32) -> Result<String, SqlError> {
    let rows = INSERT.write(&[Param::Role(role), Param::Long(max_messages.into())])?;
    rows.first().map_or_else(|| Err(unknown("")), |row| row.required_text(0))
}

/// Locks a session of `role` for a turn; waits for a turn that is being made. In a transaction that sees as of its beginning, a turn that was made since is 40001.
pub(crate) fn lock(session: &str, role: Oid) -> Result<Locked, SqlError> {
    let rows = LOCK.write(&[Param::Text(session), Param::Role(role)])?;
    let row = rows.first().ok_or_else(|| unknown(session))?;
    Ok(Locked {
        id: row.required_text(0)?,
        max_messages: usize::try_from(long(row, 1)).unwrap_or(0),
        message_count: long(row, 2),
        summary: row.text(3)?,
        summarized_to: long(row, 4),
    })
}

/// What was said last in it: as much as may go along with a prompt, or, to be summarized, more.
pub(crate) fn recent(session: &Locked, to_summarize: bool) -> Result<Recent, SqlError> {
    let most = if to_summarize { MOST_SUMMARIZED } else { i64::try_from(session.max_messages).unwrap_or(i64::MAX) };
    let from = session.message_count.saturating_sub(most);
    // As a writer does: what another's turn has added while we waited for the lock is newer than our statement.
    let rows = RECENT.write(&[Param::Text(&session.id), Param::Long(session.summarized_to), Param::Long(from)])?;
    let messages = rows.iter().map(|row| {
        let id = long(row, 0);
        Earlier::read(id, &row.bytes(1).unwrap_or_default(), row.text(3)?).ok_or_else(|| damaged(&session.id, id))
    });
    let start = rows.first().map_or(0, |row| long(row, 2));
    Ok(Recent { messages: messages.collect::<Result<_, _>>()?, whole: start <= session.summarized_to })
}

fn damaged(session: &str, id: i64) -> SqlError {
    SqlError::new(State::SetUp, format!("pg_llm: message {id} of session \"{session}\" is damaged"))
        .hint("pg_llm_fork_session() makes a session of the messages before it.")
}

/// Adds a turn to a session, and gives back how many messages it has then. It may have been deleted since it was locked, in the same transaction.
pub(crate) fn add(session: &str, request_id: &str, said: &[Said], summary: Option<&Summary<'_>>) -> Result<i64, SqlError> {
    let count = i64::try_from(said.len()).unwrap_or(i64::MAX);
    let (text, up_to) = summary.map_or((Param::Null, 0), |summary| (Param::Text(summary.text), summary.up_to));
    let rows = TURN.write(&[Param::Text(session), Param::Long(count), text, Param::Long(up_to)])?;
    let total = rows.first().and_then(|row| row.long(0)).ok_or_else(|| unknown(session))?;
    for (said, id) in said.iter().zip(total - count + 1..) {
        let provider = said.provider.as_deref().map_or(Param::Null, Param::Text);
        let message =
            [Param::Text(session), Param::Long(id), Param::Text(request_id), Param::Text(said.role), Param::Bytes(&said.json), provider];
        SAY.write(&message)?;
    }
    Ok(total)
}

/// Sets how many messages go along with a prompt.
pub(crate) fn set_max_messages(session: &str, role: Oid, max_messages: i32) -> Result<(), SqlError> {
    found(&SET_MAX.write(&[Param::Text(session), Param::Role(role), Param::Long(max_messages.into())])?, session)
}

/// Sets the application's state.
pub(crate) fn set_state(session: &str, role: Oid, state: &Value) -> Result<(), SqlError> {
    found(&SET_STATE.write(&[Param::Text(session), Param::Role(role), Param::Text(&state.to_string())])?, session)
}

/// The sessions of `role`, the latest first.
pub(crate) fn list(role: Oid) -> Result<Vec<Listed>, SqlError> {
    let rows = LIST.read(&[Param::Role(role)])?;
    let listed = |row: &Row| {
        Ok(Listed { id: row.required_text(0)?, message_count: long(row, 1), max_messages: long(row, 2), last_active: long(row, 3) })
    };
    rows.iter().map(listed).collect()
}

/// A session as an object, without its messages.
pub(crate) fn show(session: &str, role: Oid) -> Result<Value, SqlError> {
    let rows = SHOW.read(&[Param::Text(session), Param::Role(role)])?;
    let text = rows.first().ok_or_else(|| unknown(session))?.required_text(0)?;
    serde_json::from_str(&text)
        .map_err(|e| SqlError::new(State::InvalidArgument, format!("pg_llm: this session's state cannot be shown: {e}")))
}

/// All that was said in a session of `role`.
pub(crate) fn messages(session: &str, role: Oid) -> Result<Vec<Message>, SqlError> {
    found(&EXISTS.read(&[Param::Text(session), Param::Role(role)])?, session)?;
    let rows = MESSAGES.read(&[Param::Text(session)])?;
    let message = |row: &Row| {
        let id = long(row, 0);
        Ok(Message {
            id,
            request_id: row.bytes(1).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default(),
            role: row.required_text(2)?,
            shown: Shown::read(&row.bytes(3).unwrap_or_default()).ok_or_else(|| damaged(session, id))?,
            created: long(row, 4),
            created_text: row.required_text(5)?,
            request_id_text: row.required_text(6)?,
        })
    };
    rows.iter().map(message).collect()
}

/// Copies a session of `role`, up to a message, to a new one of its own. None: there is no such message.
pub(crate) fn fork(session: &str, role: Oid, up_to: Option<i64>) -> Result<Option<String>, SqlError> {
    let rows = SOURCE.write(&[Param::Text(session), Param::Role(role)])?;
    let count = long(rows.first().ok_or_else(|| unknown(session))?, 0);
    let up_to = up_to.unwrap_or(count);
    if !(0..=count).contains(&up_to) {
        return Ok(None);
    }
    let made = FORK.write(&[Param::Text(session), Param::Role(role), Param::Long(up_to)])?;
    let made = made.first().ok_or_else(|| unknown(session))?.required_text(0)?;
    COPY.write(&[Param::Text(session), Param::Text(&made), Param::Long(up_to)])?;
    Ok(Some(made))
}

/// Deletes a session of `role`. False when there is none.
pub(crate) fn delete(session: &str, role: Oid) -> Result<bool, SqlError> {
    if LOCK_TO_DELETE.write(&[Param::Text(session), Param::Role(role)])?.is_empty() {
        return Ok(false);
    }
    DELETE_MESSAGES.write(&[Param::Text(session)])?;
    DELETE.write(&[Param::Text(session)])?;
    Ok(true)
}

/// Deletes the sessions of `role` that were idle for so many seconds.
pub(crate) fn delete_idle(role: Oid, seconds: i32) -> Result<(), SqlError> {
    DELETE_IDLE.write(&[Param::Role(role), Param::Long(seconds.into())]).map(|_| ())
}
