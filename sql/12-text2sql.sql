-- Questions to queries.
--
-- PARALLEL UNSAFE: the query that the model writes runs in a subtransaction, which a parallel plan cannot have. VOLATILE, as every call may answer differently.

CREATE FUNCTION pg_llm_text2sql(instance_name text, prompt text, schema_info text DEFAULT NULL, use_vector_search boolean DEFAULT true)
RETURNS text LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'pg_llm_text2sql_wrapper';
COMMENT ON FUNCTION pg_llm_text2sql(text, text, text, boolean) IS
'Has the model write a query that answers the question, runs it as the caller, read-only and within limits, and gives back the query and its rows as a table. schema_info stands in place of the description of the tables that the caller may read. A NULL prompt is NULL and no call.';

CREATE FUNCTION pg_llm_text2sql_json(instance_name text, prompt text, schema_info text DEFAULT NULL, use_vector_search boolean DEFAULT true, options jsonb DEFAULT '{}')
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'pg_llm_text2sql_json_wrapper';
COMMENT ON FUNCTION pg_llm_text2sql_json(text, text, text, boolean, jsonb) IS
'The same as an object: generated_sql, execution (success, columns, rows, row_count, truncated, explain, error), attempts and more. Options such as {"schemas": ["sales"], "dry_run": true, "explain": true, "max_rows": 100, "max_attempts": 3}.';

CREATE FUNCTION _pg_llm_catalog.query(instance_name text, prompt text, options jsonb)
RETURNS SETOF jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000 ROWS 100
AS 'MODULE_PATHNAME', 'pg_llm_query_wrapper';
COMMENT ON FUNCTION _pg_llm_catalog.query(text, text, jsonb) IS 'What pg_llm_query is made of.';

CREATE FUNCTION pg_llm_query(instance_name text, prompt text, options jsonb DEFAULT '{}')
RETURNS SETOF jsonb LANGUAGE sql STABLE PARALLEL UNSAFE COST 100000 ROWS 100
BEGIN ATOMIC
  SELECT s.answer FROM (SELECT _pg_llm_catalog.query(instance_name, prompt, options) AS answer OFFSET 0) AS s;
END;
COMMENT ON FUNCTION pg_llm_query(text, text, jsonb) IS
'The rows that answer the question, each as an object: the model writes the query, which runs as the caller, read-only and within limits. Otherwise as pg_llm_text2sql_json.';
