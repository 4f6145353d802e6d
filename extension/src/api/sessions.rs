//! Sessions: making, showing, changing, deleting them. Their turns are in `session_chat`.

use serde_json::{Value, json};

use super::required;
use crate::backend::calls::{Args, Returned, sql_functions};
use crate::backend::errors::{Failure, SqlError, State};
use crate::backend::privileges;
use crate::backend::rows::{Rows, ready, sql_set_functions};
use crate::backend::transaction;
use crate::catalog::sessions;

sql_functions! {
    pg_llm_create_session_wrapper, pg_finfo_pg_llm_create_session_wrapper => create;
    pg_llm_set_max_messages_wrapper, pg_finfo_pg_llm_set_max_messages_wrapper => set_max_messages;
    pg_llm_get_session_wrapper, pg_finfo_pg_llm_get_session_wrapper => get;
    pg_llm_update_session_state_wrapper, pg_finfo_pg_llm_update_session_state_wrapper => update_state;
    pg_llm_fork_session_wrapper, pg_finfo_pg_llm_fork_session_wrapper => fork;
    pg_llm_delete_session_wrapper, pg_finfo_pg_llm_delete_session_wrapper => delete;
    pg_llm_cleanup_sessions_wrapper, pg_finfo_pg_llm_cleanup_sessions_wrapper => cleanup;
}
sql_set_functions! {
    pg_llm_get_sessions_wrapper, pg_finfo_pg_llm_get_sessions_wrapper => list;
    pg_llm_get_session_messages_wrapper, pg_finfo_pg_llm_get_session_messages_wrapper => messages;
}

/// Most that `max_messages` may be.
const MOST_MESSAGES: i32 = 10_000;

/// 25006 where nothing can be stored.
pub(super) fn check_writable() -> Result<(), SqlError> {
    if transaction::may_write() {
        return Ok(());
    }
    Err(SqlError::new(State::ReadOnly, "pg_llm: a session cannot be changed in a read-only transaction")
        .hint("A turn that cannot be stored is not made. pg_llm_chat_json() with the option messages needs no session."))
}

fn max_messages(args: &Args<'_>, index: usize) -> Result<i32, SqlError> {
    let given = required(args.int(index), "max_messages")?;
    if (1..=MOST_MESSAGES).contains(&given) {
        return Ok(given);
    }
    Err(SqlError::new(State::InvalidArgument, format!("pg_llm: max_messages must be from 1 to {MOST_MESSAGES}, not {given}"))
        .hint("It counts earlier messages that go along with a prompt; a plain turn has two."))
}

/// `(max_messages)`.
fn create(args: &Args<'_>) -> Result<Returned, Failure> {
    let max_messages = max_messages(args, 0)?;
    check_writable()?;
    Ok(Returned::Text(sessions::create(privileges::current_role(), max_messages)?))
}

/// `(session_id, max_messages)`.
fn set_max_messages(args: &Args<'_>) -> Result<Returned, Failure> {
    let session = required(args.text(0)?, "session_id")?;
    let max_messages = max_messages(args, 1)?;
    check_writable()?;
    sessions::set_max_messages(&session, privileges::current_role(), max_messages)?;
    Ok(Returned::Void)
}

/// `(session_id, state)`.
fn update_state(args: &Args<'_>) -> Result<Returned, Failure> {
    let session = required(args.text(0)?, "session_id")?;
    let state = required(args.json(1)?, "state")?;
    check_writable()?;
    sessions::set_state(&session, privileges::current_role(), &state)?;
    Ok(Returned::Void)
}

/// `(session_id)`.
fn get(args: &Args<'_>) -> Result<Returned, Failure> {
    let Some(session) = args.text(0)? else { return Ok(Returned::Null) };
    let role = privileges::current_role();
    let mut shown = sessions::show(&session, role)?;
    let messages = sessions::messages(&session, role)?.into_iter().map(|message| {
        json!({
            "id": message.id,
            "request_id": message.request_id_text,
            "role": message.role,
            "content": message.shown.text,
            "created_at": message.created_text,
            "message": message.shown.message,
        })
    });
    shown["messages"] = Value::Array(messages.collect());
    Ok(Returned::Json(shown))
}

/// `(session_id, message_id)`.
fn fork(args: &Args<'_>) -> Result<Returned, Failure> {
    let session = required(args.text(0)?, "session_id")?;
    check_writable()?;
    let up_to = args.long(1);
    let made = sessions::fork(&session, privileges::current_role(), up_to)?;
    Ok(Returned::Text(made.ok_or_else(|| {
        let message = format!("pg_llm: the session has no message {}", up_to.unwrap_or_default());
        SqlError::new(State::InvalidArgument, message).hint("Their ids are in pg_llm_get_session_messages(); 0 is before the first.")
    })?))
}

/// `(session_id)`.
fn delete(args: &Args<'_>) -> Result<Returned, Failure> {
    let Some(session) = args.text(0)? else { return Ok(Returned::Null) };
    check_writable()?;
    Ok(Returned::Bool(sessions::delete(&session, privileges::current_role())?))
}

/// `(timeout_seconds)`.
fn cleanup(args: &Args<'_>) -> Result<Returned, Failure> {
    let seconds = required(args.int(0), "timeout_seconds")?;
    if seconds < 0 {
        return Err(SqlError::new(State::InvalidArgument, format!("pg_llm: timeout_seconds must not be negative: {seconds}")).into());
    }
    check_writable()?;
    sessions::delete_idle(privileges::current_role(), seconds)?;
    Ok(Returned::Void)
}

fn list(_: &Args<'_>) -> Result<Option<Box<dyn Rows>>, Failure> {
    let count = |count: i64| Returned::Int(i32::try_from(count).unwrap_or(i32::MAX));
    let row = |session: sessions::Listed| {
        vec![Returned::Text(session.id), count(session.message_count), count(session.max_messages), Returned::Long(session.last_active)]
    };
    Ok(ready(sessions::list(privileges::current_role())?.into_iter().map(row).collect()))
}

/// `(session_id)`.
fn messages(args: &Args<'_>) -> Result<Option<Box<dyn Rows>>, Failure> {
    let Some(session) = args.text(0)? else { return Ok(None) };
    let row = |message: sessions::Message| {
        vec![
            Returned::Long(message.id),
            Returned::Uuid(message.request_id),
            Returned::Text(message.role),
            Returned::Text(message.shown.text),
            Returned::Long(message.created),
        ]
    };
    Ok(ready(sessions::messages(&session, privileges::current_role())?.into_iter().map(row).collect()))
}
