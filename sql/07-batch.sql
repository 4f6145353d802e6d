-- Many rows through one model.
--
-- As with streams (03-chat.sql): wrappers in SQL that Postgres inlines, over functions in C that give row after row.

CREATE FUNCTION _pg_llm_catalog.chat_batch(instance_name text, prompts text[], options jsonb)
RETURNS TABLE (ord bigint, response text, error jsonb, usage jsonb)
LANGUAGE c VOLATILE PARALLEL RESTRICTED COST 100000 ROWS 100
AS 'MODULE_PATHNAME', 'pg_llm_chat_batch_wrapper';
COMMENT ON FUNCTION _pg_llm_catalog.chat_batch(text, text[], jsonb) IS 'What pg_llm_chat_batch is made of.';

CREATE FUNCTION pg_llm_chat_batch(instance_name text, prompts text[], options jsonb DEFAULT '{}')
RETURNS TABLE (ord bigint, response text, error jsonb, usage jsonb)
LANGUAGE sql STABLE PARALLEL RESTRICTED COST 100000 ROWS 100
BEGIN ATOMIC
  SELECT (s.answer).ord, (s.answer).response, (s.answer).error, (s.answer).usage
    FROM (SELECT _pg_llm_catalog.chat_batch(instance_name, prompts, options) AS answer OFFSET 0) AS s;
END;
COMMENT ON FUNCTION pg_llm_chat_batch(text, text[], jsonb) IS
'The model''s answers to many prompts, max_concurrency of them asked at the same time (16); ord is the prompt''s place, from 1. Rows come as answers do, or with {"order": "ord"} in the prompts'' order. A prompt that fails is a row with an error, and the others go on.';

-- PARALLEL UNSAFE: the query is the caller's, and may do what no parallel plan may have in it.
CREATE FUNCTION _pg_llm_catalog.map(instance_name text, query text, options jsonb)
RETURNS TABLE (key jsonb, response text, error jsonb, usage jsonb)
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000 ROWS 1000
AS 'MODULE_PATHNAME', 'pg_llm_map_wrapper';
COMMENT ON FUNCTION _pg_llm_catalog.map(text, text, jsonb) IS 'What pg_llm_map is made of.';

CREATE FUNCTION pg_llm_map(instance_name text, query text, options jsonb DEFAULT '{}')
RETURNS TABLE (key jsonb, response text, error jsonb, usage jsonb)
LANGUAGE sql STABLE PARALLEL UNSAFE COST 100000 ROWS 1000
BEGIN ATOMIC
  SELECT (s.answer).key, (s.answer).response, (s.answer).error, (s.answer).usage
    FROM (SELECT _pg_llm_catalog.map(instance_name, query, options) AS answer OFFSET 0) AS s;
END;
COMMENT ON FUNCTION pg_llm_map(text, text, jsonb) IS
'The model''s answers to the rows of a query, which runs as the caller: SELECT prompt, or SELECT key, prompt, or SELECT key, prompt, options. Rows are drawn as there is room for their calls (max_concurrency, 16), so that a query of any size may be asked. Otherwise as pg_llm_chat_batch.';
