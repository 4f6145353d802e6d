//! Jobs: submitted by anybody, run by this database's job worker, which alone changes what is submitted (`sql/16-jobs.sql`).

use std::time::Duration;

use pgrx::pg_sys::{INT8OID, JSONBOID, OIDOID, Oid, TEXTARRAYOID, TEXTOID};
use serde_json::Value;

use super::query::{Param, Row, Statement};
use crate::backend::calls::{Args, storable};
use crate::backend::errors::{SqlError, State};

static SUBMIT: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.jobs (id, role, instance_name, options, settings, max_concurrency, channel, total) \
     VALUES ($1::pg_catalog.uuid, $2::pg_catalog.regrole, $3, $4::pg_catalog.jsonb, $5::pg_catalog.jsonb, $6::pg_catalog.int4, $7, 0)",
    &[TEXTOID, OIDOID, TEXTOID, TEXTOID, TEXTOID, INT8OID, TEXTOID],
);
// A prompt that is NULL has been answered.
static SUBMIT_ROW: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.job_rows (job, ord, key, prompt, options, state, ended_at) \
     VALUES ($1::pg_catalog.uuid, $2, $3, $4, $5::pg_catalog.jsonb, CASE WHEN $4 IS NULL THEN 'done' ELSE 'queued' END, \
             CASE WHEN $4 IS NULL THEN pg_catalog.clock_timestamp() END)",
    &[TEXTOID, INT8OID, JSONBOID, TEXTOID, TEXTOID],
);
static SUBMIT_ROWS: Statement = Statement::new(
    "INSERT INTO _pg_llm_catalog.job_rows (job, ord, prompt, state, ended_at) \
     SELECT $1::pg_catalog.uuid, u.ord, u.prompt, CASE WHEN u.prompt IS NULL THEN 'done' ELSE 'queued' END, \
            CASE WHEN u.prompt IS NULL THEN pg_catalog.clock_timestamp() END \
       FROM pg_catalog.unnest($2) WITH ORDINALITY AS u (prompt, ord)",
    &[TEXTOID, TEXTARRAYOID],
);
static COUNT_ROWS: Statement = Statement::new(
    "UPDATE _pg_llm_catalog.jobs SET (total, done) = \
        (SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE r.prompt IS NULL) FROM _pg_llm_catalog.job_rows r \
          WHERE r.job OPERATOR(pg_catalog.=) $1::pg_catalog.uuid) \
      WHERE id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid",
    &[TEXTOID],
);
static SHOW: Statement = Statement::new(
    "SELECT pg_catalog.jsonb_build_object('job_id', j.id, 'instance_name', j.instance_name, 'role', j.role::pg_catalog.text, \
                'state', CASE WHEN j.ended_at IS NULL AND EXISTS (SELECT FROM _pg_llm_catalog.job_cancellations c WHERE c.job OPERATOR(pg_catalog.=) j.id) \
                              THEN 'cancelling' ELSE j.state END, \
                'total', j.total, 'done', j.done, 'failed', j.failed, 'submitted_at', j.submitted_at, 'started_at', j.started_at, \
                'ended_at', j.ended_at, 'error', j.error, \
                'result', (SELECT r.result FROM _pg_llm_catalog.job_rows r \
                            WHERE j.total OPERATOR(pg_catalog.=) 1 AND r.job OPERATOR(pg_catalog.=) j.id AND r.ord OPERATOR(pg_catalog.=) 1))::pg_catalog.text, \
            j.ended_at IS NULL \
       FROM _pg_llm_catalog.jobs j \
      WHERE j.id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid AND pg_catalog.pg_has_role($2, j.role::pg_catalog.oid, 'USAGE')",
    &[TEXTOID, OIDOID],
);
static CANCEL: Statement = Statement::new(
    "WITH open AS (SELECT j.id FROM _pg_llm_catalog.jobs j \
                    WHERE j.id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid AND j.ended_at IS NULL \
                      AND pg_catalog.pg_has_role($2, j.role::pg_catalog.oid, 'USAGE')), \
          asked AS (INSERT INTO _pg_llm_catalog.job_cancellations (job) SELECT o.id FROM open o ON CONFLICT (job) DO NOTHING) \
     SELECT EXISTS (SELECT FROM open)",
    &[TEXTOID, OIDOID],
);
static DELETE: Statement = Statement::new(
    "DELETE FROM _pg_llm_catalog.jobs WHERE id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid AND ended_at IS NOT NULL \
        AND pg_catalog.pg_has_role($2, role::pg_catalog.oid, 'USAGE') RETURNING true",
    &[TEXTOID, OIDOID],
);

// The oldest $1 of each role that are open and not among $2, which are separated by spaces.
static OPEN: Statement = Statement::new(
    "WITH RECURSIVE roles (role) AS ( \
        (SELECT j.role::pg_catalog.oid FROM _pg_llm_catalog.jobs j WHERE j.ended_at IS NULL ORDER BY j.role::pg_catalog.oid USING OPERATOR(pg_catalog.<) LIMIT 1) \
         UNION ALL \
         SELECT (SELECT j.role::pg_catalog.oid FROM _pg_llm_catalog.jobs j \
                  WHERE j.ended_at IS NULL AND j.role::pg_catalog.oid OPERATOR(pg_catalog.>) r.role ORDER BY j.role::pg_catalog.oid USING OPERATOR(pg_catalog.<) LIMIT 1) \
           FROM roles r WHERE r.role IS NOT NULL) \
     SELECT j.id::pg_catalog.text, j.role::pg_catalog.oid, j.instance_name, j.options::pg_catalog.text, j.settings::pg_catalog.text, \
            j.max_concurrency::pg_catalog.int8, j.channel, j.total, j.done OPERATOR(pg_catalog.+) j.failed, j.started_at IS NOT NULL \
       FROM roles r, LATERAL (SELECT * FROM _pg_llm_catalog.jobs o \
                               WHERE o.ended_at IS NULL AND o.role::pg_catalog.oid OPERATOR(pg_catalog.=) r.role \
                               ORDER BY o.id USING OPERATOR(pg_catalog.<) LIMIT $1) AS j \
      WHERE j.id::pg_catalog.text OPERATOR(pg_catalog.<>) ALL (pg_catalog.string_to_array($2, ' ')) \
      ORDER BY j.id USING OPERATOR(pg_catalog.<)",
    &[INT8OID, TEXTOID],
);
static ANY_OPEN: Statement = Statement::new("SELECT EXISTS (SELECT FROM _pg_llm_catalog.jobs j WHERE j.ended_at IS NULL)", &[]);
static TO_CANCEL: Statement = Statement::new(
    "SELECT c.job::pg_catalog.text, j.channel FROM _pg_llm_catalog.job_cancellations c \
       JOIN _pg_llm_catalog.jobs j ON j.id OPERATOR(pg_catalog.=) c.job WHERE j.ended_at IS NULL",
    &[],
);
static PUT_BACK_ALL: Statement = Statement::new(
    "UPDATE _pg_llm_catalog.job_rows r SET state = 'queued' FROM _pg_llm_catalog.jobs j \
      WHERE j.id OPERATOR(pg_catalog.=) r.job AND j.ended_at IS NULL AND j.started_at IS NOT NULL \
        AND r.state OPERATOR(pg_catalog.=) 'running' AND r.attempts OPERATOR(pg_catalog.<) $1::pg_catalog.int4",
    &[INT8OID],
);
static GIVE_UP: Statement = Statement::new(
    "WITH lost AS (UPDATE _pg_llm_catalog.job_rows r SET state = 'failed', error = $1::pg_catalog.jsonb, ended_at = pg_catalog.clock_timestamp() \
                     FROM _pg_llm_catalog.jobs j \
                    WHERE j.id OPERATOR(pg_catalog.=) r.job AND j.ended_at IS NULL AND j.started_at IS NOT NULL \
                      AND r.state OPERATOR(pg_catalog.=) 'running' RETURNING r.job), \
          counted (job, rows) AS (SELECT l.job, pg_catalog.count(*) FROM lost l GROUP BY l.job) \
     UPDATE _pg_llm_catalog.jobs j SET failed = j.failed OPERATOR(pg_catalog.+) c.rows FROM counted c WHERE c.job OPERATOR(pg_catalog.=) j.id",
    &[TEXTOID],
);
static CLAIM: Statement = Statement::new(
    "UPDATE _pg_llm_catalog.job_rows r SET state = 'running', attempts = r.attempts OPERATOR(pg_catalog.+) 1 \
       FROM (SELECT q.ord FROM _pg_llm_catalog.job_rows q \
              WHERE q.job OPERATOR(pg_catalog.=) $1::pg_catalog.uuid AND q.ord OPERATOR(pg_catalog.>) $2 AND q.state OPERATOR(pg_catalog.=) 'queued' \
              ORDER BY q.ord USING OPERATOR(pg_catalog.<) LIMIT $3) AS n \
      WHERE r.job OPERATOR(pg_catalog.=) $1::pg_catalog.uuid AND r.ord OPERATOR(pg_catalog.=) n.ord \
     RETURNING r.ord, r.prompt, r.options::pg_catalog.text",
    &[TEXTOID, INT8OID, INT8OID],
);
static START: Statement = Statement::new(
    "UPDATE _pg_llm_catalog.jobs SET state = 'running', started_at = pg_catalog.clock_timestamp() \
      WHERE id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid AND started_at IS NULL",
    &[TEXTOID],
);
static SAVE: Statement = Statement::new(
    "UPDATE _pg_llm_catalog.job_rows SET state = CASE WHEN $4 IS NULL THEN 'done' ELSE 'failed' END, result = $3::pg_catalog.jsonb, \
            error = $4::pg_catalog.jsonb, ended_at = pg_catalog.clock_timestamp() \
      WHERE job OPERATOR(pg_catalog.=) $1::pg_catalog.uuid AND ord OPERATOR(pg_catalog.=) $2",
    &[TEXTOID, INT8OID, TEXTOID, TEXTOID],
);
static COUNT: Statement = Statement::new(
    "UPDATE _pg_llm_catalog.jobs SET done = done OPERATOR(pg_catalog.+) $2, failed = failed OPERATOR(pg_catalog.+) $3 \
      WHERE id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid",
    &[TEXTOID, INT8OID, INT8OID],
);
static PUT_BACK: Statement = Statement::new(
    "UPDATE _pg_llm_catalog.job_rows SET state = 'queued' WHERE job OPERATOR(pg_catalog.=) $1::pg_catalog.uuid \
        AND ord OPERATOR(pg_catalog.=) $2 AND state OPERATOR(pg_catalog.=) 'running'",
    &[TEXTOID, INT8OID],
);
// $2: how it ends, where that is not decided by its rows. A job of which no row was answered has failed, with the first row's error.
static END: Statement = Statement::new(
    "WITH gone AS (DELETE FROM _pg_llm_catalog.job_cancellations WHERE job OPERATOR(pg_catalog.=) $1::pg_catalog.uuid) \
     UPDATE _pg_llm_catalog.jobs j \
        SET state = COALESCE($2, CASE WHEN j.done OPERATOR(pg_catalog.=) 0 AND j.failed OPERATOR(pg_catalog.>) 0 THEN 'failed' ELSE 'done' END), \
            error = COALESCE($3::pg_catalog.jsonb, \
                        CASE WHEN $2 IS NULL AND j.done OPERATOR(pg_catalog.=) 0 AND j.failed OPERATOR(pg_catalog.>) 0 \
                             THEN (SELECT r.error FROM _pg_llm_catalog.job_rows r WHERE r.job OPERATOR(pg_catalog.=) j.id \
                                      AND r.state OPERATOR(pg_catalog.=) 'failed' ORDER BY r.ord USING OPERATOR(pg_catalog.<) LIMIT 1) END), \
            ended_at = pg_catalog.clock_timestamp() \
      WHERE j.id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid AND j.ended_at IS NULL RETURNING j.state",
    &[TEXTOID, TEXTOID, TEXTOID],
);
static NOTIFY: Statement = Statement::new(
    "SELECT true FROM (SELECT pg_catalog.pg_notify($1, pg_catalog.jsonb_build_object('job_id', $2, 'state', $3)::pg_catalog.text) OFFSET 0) AS n",
    &[TEXTOID, TEXTOID, TEXTOID],
);
// A thousand rows of jobs that ended more than $1 seconds ago; then a thousand such jobs that have no row left.
static FORGET_ROWS: Statement = Statement::new(
    "WITH gone AS (DELETE FROM _pg_llm_catalog.job_rows WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY( \
        SELECT r.ctid FROM _pg_llm_catalog.jobs j JOIN _pg_llm_catalog.job_rows r ON r.job OPERATOR(pg_catalog.=) j.id \
         WHERE j.ended_at OPERATOR(pg_catalog.<=) (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => $1)) \
         LIMIT 1000 FOR UPDATE OF r SKIP LOCKED)) RETURNING 1) \
     SELECT pg_catalog.count(*) FROM gone",
    &[INT8OID],
);
static FORGET_JOBS: Statement = Statement::new(
    "WITH gone AS (DELETE FROM _pg_llm_catalog.jobs WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY( \
        SELECT j.ctid FROM _pg_llm_catalog.jobs j \
         WHERE j.ended_at OPERATOR(pg_catalog.<=) (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => $1)) \
           AND NOT EXISTS (SELECT FROM _pg_llm_catalog.job_rows r WHERE r.job OPERATOR(pg_catalog.=) j.id) \
         LIMIT 1000 FOR UPDATE SKIP LOCKED)) RETURNING 1) \
     SELECT pg_catalog.count(*) FROM gone",
    &[INT8OID],
);
// Later ones go over earlier ones.
static ROLE_SETTINGS: Statement = Statement::new(
    "SELECT c.setting FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) WITH ORDINALITY AS c (setting, place) \
      WHERE s.setrole OPERATOR(pg_catalog.=) $1 AND pg_catalog.starts_with(c.setting, 'pg_llm.') \
        AND (s.setdatabase OPERATOR(pg_catalog.=) 0::pg_catalog.oid \
             OR s.setdatabase OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())) \
      ORDER BY s.setdatabase USING OPERATOR(pg_catalog.<), c.place USING OPERATOR(pg_catalog.<)",
    &[OIDOID],
);

/// A job that is to be.
pub(crate) struct NewJob<'a> {
    /// A UUID in its text form.
    pub(crate) id: &'a str,
    pub(crate) role: Oid,
    pub(crate) instance: &'a str,
    pub(crate) options: &'a Value,
    pub(crate) settings: &'a Value,
    pub(crate) concurrency: Option<usize>,
    pub(crate) channel: Option<&'a str>,
}

/// A row of it.
pub(crate) struct NewRow<'a> {
    /// The bytes of a jsonb.
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) prompt: Option<&'a str>,
    pub(crate) options: Option<&'a Value>,
}

impl NewJob<'_> {
    /// Submits it, without rows yet.
    pub(crate) fn insert(&self) -> Result<(), SqlError> {
        let (options, settings) = (self.options.to_string(), self.settings.to_string());
        let concurrency = self.concurrency.and_then(|most| i64::try_from(most).ok());
        SUBMIT.write(&[
            Param::Text(self.id),
            Param::Role(self.role),
            Param::Text(self.instance),
            Param::Text(&options),
            Param::Text(&settings),
            concurrency.map_or(Param::Null, Param::Long),
            self.channel.map_or(Param::Null, Param::Text),
        ])?;
        Ok(())
    }

    /// Adds its row number `ord`, from 1.
    pub(crate) fn add(&self, ord: i64, row: &NewRow<'_>) -> Result<(), SqlError> {
        let options = row.options.map(Value::to_string);
        SUBMIT_ROW.write(&[
            Param::Text(self.id),
            Param::Long(ord),
            row.key.map_or(Param::Null, Param::Jsonb),
            row.prompt.map_or(Param::Null, Param::Text),
            options.as_deref().map_or(Param::Null, Param::Text),
        ])?;
        Ok(())
    }

    /// Adds a row for each element of the argument at `index`, an array of text. False where that is NULL.
    pub(crate) fn add_all(&self, args: &Args<'_>, index: usize) -> Result<bool, SqlError> {
        let Some(prompts) = args.as_it_came(index) else { return Ok(false) };
        SUBMIT_ROWS.write(&[Param::Text(self.id), Param::Argument(prompts)])?;
        Ok(true)
    }

    /// All rows are there.
    pub(crate) fn finish(&self) -> Result<(), SqlError> {
        COUNT_ROWS.write(&[Param::Text(self.id)]).map(drop)
    }
}

/// A job as its submitter sees it, and whether it is open. None where `role` has none of this id.
pub(crate) fn show(id: &str, role: Oid) -> Result<Option<(Value, bool)>, SqlError> {
    let rows = SHOW.read(&[Param::Text(id), Param::Role(role)])?;
    let Some(row) = rows.first() else { return Ok(None) };
    let shown = serde_json::from_str(&row.required_text(0)?)
        .map_err(|e| SqlError::new(State::Internal, format!("pg_llm: a job cannot be shown: {e}")))?;
    Ok(Some((shown, row.boolean(1))))
}

/// Asks for a job's end. False where `role` has none of this id that is open.
pub(crate) fn cancel(id: &str, role: Oid) -> Result<bool, SqlError> {
    Ok(CANCEL.write(&[Param::Text(id), Param::Role(role)])?.first().is_some_and(|row| row.boolean(0)))
}

/// Deletes a job that has ended. False where `role` has none such.
pub(crate) fn delete(id: &str, role: Oid) -> Result<bool, SqlError> {
    Ok(!DELETE.write(&[Param::Text(id), Param::Role(role)])?.is_empty())
}

/// A job that is open, as the worker finds it.
pub(crate) struct OpenJob {
    pub(crate) id: String,
    pub(crate) role: Oid,
    pub(crate) instance: String,
    pub(crate) options: Value,
    pub(crate) settings: Value,
    pub(crate) concurrency: Option<usize>,
    pub(crate) channel: Option<String>,
    pub(crate) total: i64,
    /// Rows that have ended.
    pub(crate) ended: i64,
    pub(crate) started: bool,
}

/// The oldest `most` of each role, in the order of their age, without those that are `known`.
pub(crate) fn open(most: usize, known: &[&str]) -> Result<Vec<OpenJob>, SqlError> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    OPEN.read(&[Param::Long(most), Param::Text(&known.join(" "))])?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<OpenJob, SqlError> {
    let json = |column| -> Result<Value, SqlError> {
        serde_json::from_str(&row.required_text(column)?)
            .map_err(|e| SqlError::new(State::Internal, format!("pg_llm: a job cannot be read: {e}")))
    };
    Ok(OpenJob {
        id: row.required_text(0)?,
        role: row.oid(1).unwrap_or_default(),
        instance: row.required_text(2)?,
        options: json(3)?,
        settings: json(4)?,
        concurrency: row.long(5).and_then(|most| usize::try_from(most).ok()),
        channel: row.text(6)?,
        total: row.long(7).unwrap_or(0),
        ended: row.long(8).unwrap_or(0),
        started: row.boolean(9),
    })
}

/// Whether any job is open.
pub(crate) fn any_open() -> Result<bool, SqlError> {
    Ok(ANY_OPEN.read(&[])?.first().is_some_and(|row| row.boolean(0)))
}

/// The jobs that are open and to end, each with its channel.
pub(crate) fn to_cancel() -> Result<Vec<(String, Option<String>)>, SqlError> {
    TO_CANCEL.read(&[])?.iter().map(|row| Ok((row.required_text(0)?, row.text(1)?))).collect()
}

/// What was in flight when the worker ended waits again, unless it was begun `most` times: then it has failed with `error`.
pub(crate) fn recover(most: i64, error: &Value) -> Result<(), SqlError> {
    PUT_BACK_ALL.write(&[Param::Long(most)])?;
    GIVE_UP.write(&[Param::Text(&error.to_string())]).map(drop)
}

/// A row that is to be asked.
pub(crate) struct Claimed {
    pub(crate) ord: i64,
    pub(crate) prompt: String,
    pub(crate) options: Option<String>,
}

/// Marks the next `most` rows after number `after` as in flight, in their order.
pub(crate) fn claim(id: &str, after: i64, most: usize) -> Result<Vec<Claimed>, SqlError> {
    let rows = CLAIM.write(&[Param::Text(id), Param::Long(after), Param::Long(i64::try_from(most).unwrap_or(i64::MAX))])?;
    let claimed = |row: &Row| Ok(Claimed { ord: row.long(0).unwrap_or(0), prompt: row.required_text(1)?, options: row.text(2)? });
    let mut claimed: Vec<Claimed> = rows.iter().map(claimed).collect::<Result<_, SqlError>>()?;
    claimed.sort_unstable_by_key(|row| row.ord);
    Ok(claimed)
}

/// A job's first rows are about to begin.
pub(crate) fn start(id: &str) -> Result<(), SqlError> {
    START.write(&[Param::Text(id)]).map(drop)
}

/// Keeps what came of a row: a result, or an error.
pub(crate) fn save(id: &str, ord: i64, came: &Result<Value, Value>) -> Result<(), SqlError> {
    let text = |value: &Value| storable(value.clone()).to_string();
    let (result, error) = match came {
        Ok(result) => (Some(text(result)), None),
        Err(error) => (None, Some(text(error))),
    };
    SAVE.write(&[
        Param::Text(id),
        Param::Long(ord),
        result.as_deref().map_or(Param::Null, Param::Text),
        error.as_deref().map_or(Param::Null, Param::Text),
    ])?;
    Ok(())
}

/// Counts rows that have ended.
pub(crate) fn count(id: &str, done: i64, failed: i64) -> Result<(), SqlError> {
    COUNT.write(&[Param::Text(id), Param::Long(done), Param::Long(failed)]).map(drop)
}

/// A row that was in flight waits again.
pub(crate) fn put_back(id: &str, ord: i64) -> Result<(), SqlError> {
    PUT_BACK.write(&[Param::Text(id), Param::Long(ord)]).map(drop)
}

/// Ends a job: in this state with this error, or, without, as its rows have ended. Gives back the state; none where it had ended before.
pub(crate) fn end(id: &str, state: Option<&str>, error: Option<&Value>) -> Result<Option<String>, SqlError> {
    let error = error.map(|error| storable(error.clone()).to_string());
    let ended = END.write(&[Param::Text(id), state.map_or(Param::Null, Param::Text), error.as_deref().map_or(Param::Null, Param::Text)])?;
    ended.first().map(|row| row.required_text(0)).transpose()
}

/// Tells who listens, when this transaction commits.
pub(crate) fn notify(channel: &str, id: &str, state: &str) -> Result<(), SqlError> {
    NOTIFY.write(&[Param::Text(channel), Param::Text(id), Param::Text(state)]).map(drop)
}

/// Deletes a batch of what ended longer ago than this. Says whether there was anything.
pub(crate) fn forget(retention: Duration) -> Result<bool, SqlError> {
    let older = Param::Long(i64::try_from(retention.as_secs()).unwrap_or(i64::MAX));
    let number = |rows: &[Row]| rows.first().and_then(|row| row.long(0)).unwrap_or(0);
    let rows = number(&FORGET_ROWS.write(&[older])?);
    let jobs = number(&FORGET_JOBS.write(&[older])?);
    Ok(rows + jobs > 0)
}

/// The extension's settings that this role's sessions in this database begin with, `name=value`.
pub(crate) fn role_settings(role: Oid) -> Result<Vec<String>, SqlError> {
    ROLE_SETTINGS.read(&[Param::Role(role)])?.iter().map(|row| row.required_text(0)).collect()
}
