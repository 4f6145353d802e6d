-- The response cache.
--
-- Unlogged: an entry is worth no write-ahead log, and a crash empties it. A dump leaves it out. No unique index, so that two sessions which store the same
-- answer in open transactions do not wait for each other; the youngest entry of a fingerprint counts, and older ones are removed by who stores the next.

CREATE UNLOGGED TABLE _pg_llm_catalog.response_cache (
    -- SHA-256 of all that decides the answer.
    fingerprint   bytea       NOT NULL,
    -- Whose it is. 0: of all who share.
    role          regrole     NOT NULL,
    instance_name text        NOT NULL,
    -- In a form of the library's own, so that it comes back to the digit.
    answer        bytea       NOT NULL,
    -- What it counts for pg_llm.cache_max_mb.
    bytes         bigint      NOT NULL,
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL
);
CREATE INDEX ON _pg_llm_catalog.response_cache (fingerprint);
-- Rows come and go, and what is expired waits here to be vacuumed.
ALTER TABLE _pg_llm_catalog.response_cache SET (autovacuum_vacuum_scale_factor = 0.1);
COMMENT ON TABLE _pg_llm_catalog.response_cache IS 'Answers that were given before, for calls with the option cache. Unlogged, not dumped, and in clear until they expire.';

CREATE FUNCTION pg_llm_cache_clear(instance_name text DEFAULT NULL)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_cache_clear_wrapper';
COMMENT ON FUNCTION pg_llm_cache_clear(text) IS
'Deletes answers from the response cache, of one model or of all: the caller''s own, those of anybody where the caller owns the model, and all for a superuser. Gives back how many.';
