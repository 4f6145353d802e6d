-- Feedback on answers: a rating for a call that is in the caller's own ledger.
--
-- Models and instances are kept with it, as the ledger forgets its rows after a while.

CREATE SEQUENCE _pg_llm_catalog.feedback_ids;
CREATE TABLE _pg_llm_catalog.feedback (
    id            bigint      NOT NULL DEFAULT pg_catalog.nextval('_pg_llm_catalog.feedback_ids'::regclass),
    request_id    uuid        NOT NULL,
    role          regrole     NOT NULL,
    -- 1: of no use, to 5: just right.
    rating        integer     NOT NULL CHECK (rating OPERATOR(pg_catalog.>=) 1 AND rating OPERATOR(pg_catalog.<=) 5),
    feedback      text,
    metadata      jsonb       NOT NULL DEFAULT '{}',
    at            timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    -- Who answered; NULL where several models did.
    instance_name text,
    model_name    text,
    PRIMARY KEY (request_id, role)
);
COMMENT ON TABLE _pg_llm_catalog.feedback IS 'What callers thought of answers: one rating for each role and call.';
SELECT pg_catalog.pg_extension_config_dump('_pg_llm_catalog.feedback', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = role)');
SELECT pg_catalog.pg_extension_config_dump('_pg_llm_catalog.feedback_ids', '');

CREATE FUNCTION pg_llm_record_feedback(request_id uuid, rating integer, feedback text, metadata jsonb DEFAULT '{}')
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_record_feedback_wrapper';
COMMENT ON FUNCTION pg_llm_record_feedback(uuid, integer, text, jsonb) IS
'Rates an answer from 1 (of no use) to 5 (just right), with words or NULL; metadata is an object, whose member prompt names the prompt. The call must be the caller''s own and in the ledger. A second rating of the same call takes the place of the first. Gives back its id.';
