-- The ledger: a row for each request that was made of a provider, whatever became of the transaction that made it, and one with attempt 0 for a call that made none.
--
-- Rows are written by a background worker (extension/src/backend/ledger_writer.rs), never by the transaction itself. Their role is a number and a name: a role that
-- was renamed, or another one that has a dropped one's name or number, sees none of them (both must be right), and a dump can be restored where roles are missing.

CREATE TABLE _pg_llm_catalog.ledger (
    -- Of the call. All requests of one have it.
    request_id         uuid        NOT NULL,
    -- Which request of the call and its model, from 1; 0: none was made.
    attempt            integer     NOT NULL,
    -- The call's last row.
    final              boolean     NOT NULL,
    began_at           timestamptz NOT NULL,
    -- OpenTelemetry's gen_ai.operation.name, where it has a word.
    operation          text        NOT NULL,
    via                text        NOT NULL,
    role               oid         NOT NULL,
    role_name          text        NOT NULL,
    instance_name      text        NOT NULL,
    provider           text        NOT NULL,
    module_digest      bytea,
    model_name         text        NOT NULL,
    session_id         text,
    job_id             uuid,
    parent_request_id  uuid,
    input_tokens       bigint,
    output_tokens      bigint,
    cached_input_tokens bigint,
    cache_write_tokens bigint,
    reasoning_tokens   bigint,
    -- NULL where no price is known.
    cost               numeric,
    currency           text,
    queue_us           bigint,
    filter_us          bigint,
    guest_us           bigint,
    connect_us         bigint,
    first_byte_us      bigint,
    total_us           bigint      NOT NULL,
    outcome            text        NOT NULL,
    error_kind         text,
    sqlstate           text,
    http_status        integer,
    finish_reason      text,
    confidence         float8,
    filters            jsonb,
    streamed           boolean     NOT NULL,
    fallback_from      text
);
CREATE INDEX ON _pg_llm_catalog.ledger (request_id);
CREATE INDEX ON _pg_llm_catalog.ledger (began_at);
COMMENT ON TABLE _pg_llm_catalog.ledger IS 'Requests of providers, with what they took and what became of them. Written by a background worker; rows older than pg_llm.ledger_retention go.';
SELECT pg_catalog.pg_extension_config_dump('_pg_llm_catalog.ledger', '');

CREATE TABLE _pg_llm_catalog.traces (
    request_id uuid        NOT NULL,
    attempt    integer     NOT NULL,
    instance_name text     NOT NULL,
    at         timestamptz NOT NULL,
    -- Messages, or texts, as they were sent; redacted.
    prompt     text,
    -- What came back; redacted.
    answer     text
);
CREATE INDEX ON _pg_llm_catalog.traces (request_id);
CREATE INDEX ON _pg_llm_catalog.traces (at);
COMMENT ON TABLE _pg_llm_catalog.traces IS 'Prompts and answers of requests that were made while pg_llm.trace_enabled was on, redacted. In no dump; rows older than pg_llm.trace_retention go.';

-- Whose rows they see is decided in C. PARALLEL RESTRICTED: the leader's transaction is the one that asks.
CREATE FUNCTION _pg_llm_catalog.audit_log(options jsonb)
RETURNS TABLE (request_id uuid, event_type text, instance_name text, session_id text, success boolean, confidence_score float8, metadata jsonb)
LANGUAGE c VOLATILE PARALLEL RESTRICTED COST 1000 ROWS 100
AS 'MODULE_PATHNAME', 'pg_llm_get_audit_log_wrapper';
COMMENT ON FUNCTION _pg_llm_catalog.audit_log(jsonb) IS 'What pg_llm_get_audit_log is made of.';

CREATE FUNCTION pg_llm_get_audit_log(options jsonb DEFAULT '{}')
RETURNS TABLE (request_id uuid, event_type text, instance_name text, session_id text, success boolean, confidence_score float8, metadata jsonb)
LANGUAGE sql STABLE PARALLEL RESTRICTED COST 1000 ROWS 100
BEGIN ATOMIC
  SELECT (l.entry).request_id, (l.entry).event_type, (l.entry).instance_name, (l.entry).session_id, (l.entry).success, (l.entry).confidence_score, (l.entry).metadata
    FROM (SELECT _pg_llm_catalog.audit_log(options) AS entry OFFSET 0) AS l;
END;
COMMENT ON FUNCTION pg_llm_get_audit_log(jsonb) IS
'Rows of the ledger, the latest first: those of the current role, and all for members of pg_read_all_stats. Options such as {"limit": 100, "instance_name": "...", "since": "2026-01-01", "outcome": "error", "event_type": "chat"}. No prompts, no answers.';

CREATE FUNCTION pg_llm_get_trace(request_id uuid)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL RESTRICTED COST 1000
AS 'MODULE_PATHNAME', 'pg_llm_get_trace_wrapper';
COMMENT ON FUNCTION pg_llm_get_trace(uuid) IS
'All requests of one call and of its parts, in their order, as {"request_id", "events": [...]}. Prompts and answers only to the role that made the call, and where pg_llm.trace_enabled was on. NULL where there is nothing that the current role may see.';

CREATE FUNCTION pg_llm_flush_ledger(timeout_ms integer DEFAULT 30000)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL RESTRICTED COST 100000
AS 'MODULE_PATHNAME', 'pg_llm_flush_ledger_wrapper';
COMMENT ON FUNCTION pg_llm_flush_ledger(integer) IS
'Waits until all entries of this database that are there by now are written, so that a new statement sees them. False: they were not within timeout_ms. On a standby: until they are in the server''s log.';

CREATE FUNCTION _pg_llm_catalog.ledger_state()
RETURNS TABLE (kept text, written bigint, dropped bigint, waiting boolean)
LANGUAGE c VOLATILE PARALLEL RESTRICTED COST 1000 ROWS 1
AS 'MODULE_PATHNAME', 'pg_llm_ledger_state_wrapper';
COMMENT ON FUNCTION _pg_llm_catalog.ledger_state() IS 'What pg_llm_ledger_state is made of.';

CREATE FUNCTION pg_llm_ledger_state()
RETURNS TABLE (kept text, written bigint, dropped bigint, waiting boolean)
LANGUAGE sql STABLE PARALLEL RESTRICTED COST 1000 ROWS 1
BEGIN ATOMIC
  SELECT (l.state).kept, (l.state).written, (l.state).dropped, (l.state).waiting FROM (SELECT _pg_llm_catalog.ledger_state() AS state OFFSET 0) AS l;
END;
COMMENT ON FUNCTION pg_llm_ledger_state() IS
'What becomes of entries of the ledger here: kept in a table, in the log (on a standby), or nowhere (pg_llm is not preloaded). How many of all databases were written and dropped since the server''s start, and whether some of this database wait.';
