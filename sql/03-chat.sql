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
