-- Jobs: model calls that a background worker makes.
--
-- One writer: once a job is submitted, its rows change by this database's job worker alone, which so never waits for a session. What a session wants of a job that is
-- open is a row of job_cancellations; only what has ended it deletes itself.
--
-- A dump leaves jobs out: one that is open would be run, and paid for, again wherever the dump is restored.

CREATE TABLE _pg_llm_catalog.jobs (
    -- Time-ordered (UUID version 7): the oldest is first.
    id              uuid        NOT NULL PRIMARY KEY,
    role            regrole     NOT NULL,
    instance_name   text        NOT NULL,
    -- Of each call.
    options         jsonb       NOT NULL,
    -- Those of the submitter's session that shape its own calls.
    settings        jsonb       NOT NULL,
    -- Calls at a time; NULL: as many as the worker has places.
    max_concurrency integer,
    -- Where its end is told; NULL: nowhere.
    channel         text,
    state           text        NOT NULL DEFAULT 'queued'
                    CHECK (state OPERATOR(pg_catalog.=) ANY (ARRAY['queued', 'running', 'done', 'failed', 'cancelled'])),
    total           bigint      NOT NULL,
    done            bigint      NOT NULL DEFAULT 0,
    failed          bigint      NOT NULL DEFAULT 0,
    error           jsonb,
    submitted_at    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    started_at      timestamptz,
    ended_at        timestamptz
);
CREATE INDEX ON _pg_llm_catalog.jobs (role, id) WHERE ended_at IS NULL;
CREATE INDEX ON _pg_llm_catalog.jobs (ended_at) WHERE ended_at IS NOT NULL;
COMMENT ON TABLE _pg_llm_catalog.jobs IS 'Model calls that were submitted to run in the background, with their progress. Not dumped.';

CREATE TABLE _pg_llm_catalog.job_rows (
    job      uuid    NOT NULL REFERENCES _pg_llm_catalog.jobs ON DELETE CASCADE,
    -- From 1.
    ord      bigint  NOT NULL,
    key      jsonb,
    prompt   text,
    -- Over the job's.
    options  jsonb,
    state    text    NOT NULL DEFAULT 'queued'
             CHECK (state OPERATOR(pg_catalog.=) ANY (ARRAY['queued', 'running', 'done', 'failed'])),
    -- How often its call was begun. Committed before it is, so that a crash cannot hide one.
    attempts integer NOT NULL DEFAULT 0,
    -- As pg_llm_chat_json() returns it.
    result   jsonb,
    error    jsonb,
    ended_at timestamptz,
    PRIMARY KEY (job, ord)
);
-- Every row is written three times.
ALTER TABLE _pg_llm_catalog.job_rows SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.1);
COMMENT ON TABLE _pg_llm_catalog.job_rows IS 'The calls of jobs, each with what came of it. Not dumped.';

CREATE TABLE _pg_llm_catalog.job_cancellations (
    job uuid NOT NULL PRIMARY KEY REFERENCES _pg_llm_catalog.jobs ON DELETE CASCADE
);
COMMENT ON TABLE _pg_llm_catalog.job_cancellations IS 'Jobs that are to end, until the job worker has ended them. Not dumped.';

CREATE FUNCTION pg_llm_submit(instance_name text, prompt text, options jsonb DEFAULT '{}')
RETURNS uuid LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000
AS 'MODULE_PATHNAME', 'pg_llm_submit_wrapper';
COMMENT ON FUNCTION pg_llm_submit(text, text, jsonb) IS
'Has a background worker ask the model, once this transaction has committed, and gives back the job''s id for pg_llm_job(). Options are those of pg_llm_chat(), and notify. A NULL prompt is NULL and no job.';

CREATE FUNCTION pg_llm_submit_batch(instance_name text, prompts text[], options jsonb DEFAULT '{}')
RETURNS uuid LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000
AS 'MODULE_PATHNAME', 'pg_llm_submit_batch_wrapper';
COMMENT ON FUNCTION pg_llm_submit_batch(text, text[], jsonb) IS
'The same for many prompts in one job, max_concurrency of them at the same time. What came of each is in pg_llm_job_results(), as soon as it is there.';

CREATE FUNCTION pg_llm_submit_map(instance_name text, query text, options jsonb DEFAULT '{}')
RETURNS uuid LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000
AS 'MODULE_PATHNAME', 'pg_llm_submit_map_wrapper';
COMMENT ON FUNCTION pg_llm_submit_map(text, text, jsonb) IS
'The same for the rows of a query, which runs here and now, as the caller: SELECT prompt, or SELECT key, prompt, or SELECT key, prompt, options.';

CREATE FUNCTION pg_llm_job(job_id uuid)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000
AS 'MODULE_PATHNAME', 'pg_llm_job_wrapper';
COMMENT ON FUNCTION pg_llm_job(uuid) IS
'A job of the current role: state (queued, running, cancelling, done, failed, cancelled), total, done, failed, times, error; of a job of one prompt also its result, as pg_llm_chat_json() returns it.';

CREATE FUNCTION pg_llm_cancel_job(job_id uuid)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000
AS 'MODULE_PATHNAME', 'pg_llm_cancel_job_wrapper';
COMMENT ON FUNCTION pg_llm_cancel_job(uuid) IS
'Ends a job of the current role once this transaction has committed: its calls in flight are broken off, and what is finished stays. False when there is none that is open.';

CREATE FUNCTION pg_llm_delete_job(job_id uuid)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000
AS 'MODULE_PATHNAME', 'pg_llm_delete_job_wrapper';
COMMENT ON FUNCTION pg_llm_delete_job(uuid) IS
'Deletes a job of the current role that has ended, with its prompts and answers, before pg_llm.job_retention does. False when there is none that has ended.';
