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

-- What people say of the database beside its comments. Objects by name: a dump restores it, whatever else is restored.

CREATE TABLE _pg_llm_catalog.notes (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       text        NOT NULL CHECK (kind OPERATOR(pg_catalog.=) ANY (ARRAY['description', 'fact', 'example'])),
    role       regrole     NOT NULL,
    -- [{"schema": "sales", "table": "orders", "columns": ["state"]}], as the catalog has the names.
    about      jsonb       NOT NULL,
    -- The description, the fact, the question.
    words      text        NOT NULL,
    -- What answers the question.
    sql        text,
    -- For all who may read what it speaks of, as long as its role owns that.
    shared     boolean     NOT NULL,
    -- The request whose good rating made it.
    request_id uuid,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    CHECK ((sql IS NOT NULL) OPERATOR(pg_catalog.=) (kind OPERATOR(pg_catalog.=) 'example'))
);
CREATE UNIQUE INDEX ON _pg_llm_catalog.notes (role, about) WHERE kind OPERATOR(pg_catalog.=) 'description';
CREATE INDEX ON _pg_llm_catalog.notes (role);
CREATE INDEX ON _pg_llm_catalog.notes (id) WHERE shared;
COMMENT ON TABLE _pg_llm_catalog.notes IS 'Descriptions, facts and examples for models that write queries: whose they are and what they speak of.';
SELECT pg_catalog.pg_extension_config_dump('_pg_llm_catalog.notes', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = role)');
SELECT pg_catalog.pg_extension_config_dump('_pg_llm_catalog.notes_id_seq', '');

-- Questions that were answered, so that a good rating can make examples of them. Unlogged, bounded, and each role's own.
CREATE UNLOGGED TABLE _pg_llm_catalog.text2sql_requests (
    request_id uuid        NOT NULL PRIMARY KEY,
    role       regrole     NOT NULL,
    question   text        NOT NULL,
    sql        text        NOT NULL,
    about      jsonb       NOT NULL,
    at         timestamptz NOT NULL
);
CREATE INDEX ON _pg_llm_catalog.text2sql_requests (role, at);
COMMENT ON TABLE _pg_llm_catalog.text2sql_requests IS 'The latest questions that were answered, and their queries, without rows. Unlogged and not dumped.';

-- Vectors of what is said of tables, each under the fingerprint of the very text: whoever may not see the text cannot find it.
CREATE UNLOGGED TABLE _pg_llm_catalog.schema_vectors (
    model      text        NOT NULL,
    digest     bytea       NOT NULL,
    -- A byte a dimension.
    vector     bytea       NOT NULL,
    created_at timestamptz NOT NULL
);
ALTER TABLE _pg_llm_catalog.schema_vectors ALTER COLUMN vector SET STORAGE EXTERNAL;
CREATE INDEX ON _pg_llm_catalog.schema_vectors (model, digest);
COMMENT ON TABLE _pg_llm_catalog.schema_vectors IS 'Embeddings of descriptions of tables, for the choice of those that a question is about. Unlogged and not dumped: they can be made anew.';

CREATE FUNCTION pg_llm_describe(object regclass, description text, column_name text DEFAULT NULL)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_describe_wrapper';
COMMENT ON FUNCTION pg_llm_describe(regclass, text, text) IS
'Says what a table, a view or a column is, for models that write queries, in place of its comment; NULL takes it back. What the owner says is for all who may read it, what others say for themselves. True where something was changed.';

CREATE FUNCTION pg_llm_add_fact(fact text, about regclass[] DEFAULT '{}', shared boolean DEFAULT false)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_add_fact_wrapper';
COMMENT ON FUNCTION pg_llm_add_fact(text, regclass[], boolean) IS
'Something that models which write queries are to know, of these tables or in general. shared: for all who may read the tables; only their owner can say that, and in general only a superuser. Gives back its number.';

CREATE FUNCTION pg_llm_add_example(question text, sql text, shared boolean DEFAULT false)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000
AS 'MODULE_PATHNAME', 'pg_llm_add_example_wrapper';
COMMENT ON FUNCTION pg_llm_add_example(text, text, boolean) IS
'A question and a query that answers it, for models that write queries. The query is checked as theirs are, and planned, and not run. shared: for all who may read what it reads; only the owner of all of that can say so. Gives back its number.';

CREATE FUNCTION pg_llm_add_example(request_id uuid)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_add_answered_example_wrapper';
COMMENT ON FUNCTION pg_llm_add_example(uuid) IS
'Makes an example of a question that the current role has asked and that was answered (request_id of pg_llm_text2sql_json). Gives back its number.';

CREATE FUNCTION pg_llm_remove_fact(id bigint)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_remove_fact_wrapper';
COMMENT ON FUNCTION pg_llm_remove_fact(bigint) IS 'Removes a fact of the current role''s, or of anybody''s for a superuser. False when there is none.';

CREATE FUNCTION pg_llm_remove_example(id bigint)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_remove_example_wrapper';
COMMENT ON FUNCTION pg_llm_remove_example(bigint) IS 'Removes an example of the current role''s, or of anybody''s for a superuser. False when there is none.';
