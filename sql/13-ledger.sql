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
