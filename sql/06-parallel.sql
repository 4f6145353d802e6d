-- Parallel chat.
--
-- PARALLEL SAFE, as chat is: the threads are of the process that runs the function, leader or worker, and none of them touches Postgres.

CREATE FUNCTION pg_llm_parallel_chat(prompt text, model_names text[] DEFAULT '{}')
RETURNS text LANGUAGE c VOLATILE PARALLEL SAFE COST 100000
AS 'MODULE_PATHNAME', 'pg_llm_parallel_chat_wrapper';
COMMENT ON FUNCTION pg_llm_parallel_chat(text, text[]) IS
'Asks several models at the same time, and returns the answer of the most confident. An empty array stands for all models that the caller may use; a model that stands twice is asked twice. A model that fails does not win; when all fail, that is an ERROR. A NULL prompt is NULL and no call.';

CREATE FUNCTION pg_llm_parallel_chat(prompt text, model_names text[], options jsonb)
RETURNS text LANGUAGE c VOLATILE PARALLEL SAFE COST 100000
AS 'MODULE_PATHNAME', 'pg_llm_parallel_chat_wrapper';
COMMENT ON FUNCTION pg_llm_parallel_chat(text, text[], jsonb) IS
'The same with options: those of pg_llm_chat, and strategy: "confidence", "first", "vote", "judge" (with judge_instance) or "all", which returns every answer as a paragraph.';

CREATE FUNCTION pg_llm_parallel_chat_json(prompt text, model_names text[] DEFAULT '{}', options jsonb DEFAULT '{}')
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL SAFE COST 100000
AS 'MODULE_PATHNAME', 'pg_llm_parallel_chat_json_wrapper';
COMMENT ON FUNCTION pg_llm_parallel_chat_json(text, text[], jsonb) IS
'The same as an object: all that pg_llm_chat_json returns of the answer that won, strategy, winner, usage_total, and candidates: every model with its answer or error, confidence, usage and latency.';
