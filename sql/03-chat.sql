-- Chat.
--
-- VOLATILE, because every call may answer differently, and dear, so that the planner tries cheap conditions first. PARALLEL SAFE: a call reads the
-- catalog and talks to its upstream, and a parallel worker can do both; each worker has its own connections. Everybody may execute these: what counts is
-- the right to the model.

CREATE FUNCTION pg_llm_chat(instance_name text, prompt text)
RETURNS text LANGUAGE c VOLATILE PARALLEL SAFE COST 100000
AS 'MODULE_PATHNAME', 'pg_llm_chat_wrapper';
COMMENT ON FUNCTION pg_llm_chat(text, text) IS
'The model''s answer. A NULL prompt is NULL and no call; a NULL instance_name stands for pg_llm.default_model. Failures are ERRORs, never text in the answer.';

CREATE FUNCTION pg_llm_chat(instance_name text, prompt text, options jsonb)
RETURNS text LANGUAGE c VOLATILE PARALLEL SAFE COST 100000
AS 'MODULE_PATHNAME', 'pg_llm_chat_wrapper';
COMMENT ON FUNCTION pg_llm_chat(text, text, jsonb) IS 'The same with options, such as {"temperature": 0, "max_tokens": 100, "system": "..."}. Unknown options are refused.';

CREATE FUNCTION pg_llm_chat_json(instance_name text, prompt text, options jsonb DEFAULT '{}')
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL SAFE COST 100000
AS 'MODULE_PATHNAME', 'pg_llm_chat_json_wrapper';
COMMENT ON FUNCTION pg_llm_chat_json(text, text, jsonb) IS 'The answer as an object: response, model_name, finish_reason, usage, confidence, attempts, latency_ms, tool_calls and more.';

-- Streams.
--
-- Postgres materialises a function in FROM before it returns the first row, unless it is in SQL and can be inlined: a single SELECT, not VOLATILE, not
-- STRICT, without SET. So the functions that users call are such wrappers, and the work is done by one in C in the select list below, which Postgres asks
-- for row after row (the plan is a ProjectSet). STABLE is what the planner wants to see, and no promise that it takes up: a function that returns a set
-- is never evaluated at plan time, nor twice for the same arguments in place of once. The functions in C are VOLATILE, as each call may answer differently.
--
-- The bodies are bound when they are made (BEGIN ATOMIC), so that no search_path has a say, and nobody needs USAGE on the catalog's schema.
--
-- PARALLEL RESTRICTED: rows are sent to the client before each wait, which only the process that has the client can do.

CREATE FUNCTION _pg_llm_catalog.chat_stream(instance_name text, prompt text, options jsonb)
RETURNS TABLE (seq_no integer, chunk text, is_final boolean, model_name text, confidence_score double precision, request_id uuid)
LANGUAGE c VOLATILE PARALLEL RESTRICTED COST 100000 ROWS 100
AS 'MODULE_PATHNAME', 'pg_llm_chat_stream_wrapper';
COMMENT ON FUNCTION _pg_llm_catalog.chat_stream(text, text, jsonb) IS 'What pg_llm_chat_stream is made of.';

CREATE FUNCTION _pg_llm_catalog.chat_stream_json(instance_name text, prompt text, options jsonb)
RETURNS SETOF jsonb LANGUAGE c VOLATILE PARALLEL RESTRICTED COST 100000 ROWS 100
AS 'MODULE_PATHNAME', 'pg_llm_chat_stream_json_wrapper';
COMMENT ON FUNCTION _pg_llm_catalog.chat_stream_json(text, text, jsonb) IS 'What pg_llm_chat_stream_json is made of.';

CREATE FUNCTION pg_llm_chat_stream(instance_name text, prompt text, options jsonb DEFAULT '{}')
RETURNS TABLE (seq_no integer, chunk text, is_final boolean, model_name text, confidence_score double precision, request_id uuid)
LANGUAGE sql STABLE PARALLEL RESTRICTED COST 100000 ROWS 100
BEGIN ATOMIC
  SELECT (s.piece).seq_no, (s.piece).chunk, (s.piece).is_final, (s.piece).model_name, (s.piece).confidence_score, (s.piece).request_id
    FROM (SELECT _pg_llm_catalog.chat_stream(instance_name, prompt, options) AS piece OFFSET 0) AS s;
END;
COMMENT ON FUNCTION pg_llm_chat_stream(text, text, jsonb) IS
'The model''s answer, piece by piece: a row for each piece of its text, sent to the client as it arrives, and a last one with is_final and an empty chunk. Without that row the answer is not whole. A NULL prompt is no row and no call.';

CREATE FUNCTION pg_llm_chat_stream_json(instance_name text, prompt text, options jsonb DEFAULT '{}')
RETURNS SETOF jsonb LANGUAGE sql STABLE PARALLEL RESTRICTED COST 100000 ROWS 100
BEGIN ATOMIC
  SELECT s.event FROM (SELECT _pg_llm_catalog.chat_stream_json(instance_name, prompt, options) AS event OFFSET 0) AS s;
END;
COMMENT ON FUNCTION pg_llm_chat_stream_json(text, text, jsonb) IS
'The same as objects: {"type": "started" | "text" | "thinking" | "tool_call"}, and at last "final" with all that pg_llm_chat_json returns, ttft_ms and tokens_per_second.';
