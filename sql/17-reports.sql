-- Analyses and reports. PARALLEL UNSAFE: the query runs in a subtransaction, which a parallel plan cannot have.

CREATE TABLE _pg_llm_catalog.reports (
    request_id    uuid        NOT NULL PRIMARY KEY,
    -- Whose it is.
    role          regrole     NOT NULL,
    instance_name text        NOT NULL,
    title         text        NOT NULL,
    sql           text        NOT NULL,
    -- What the page shows besides: the model's words, statistics, charts with their data.
    page          jsonb       NOT NULL,
    created_at    timestamptz NOT NULL
);
CREATE INDEX ON _pg_llm_catalog.reports (created_at);
COMMENT ON TABLE _pg_llm_catalog.reports IS 'Reports that were made, each its role''s own.';
SELECT pg_catalog.pg_extension_config_dump('_pg_llm_catalog.reports', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = role)');

CREATE FUNCTION pg_llm_execute_sql_with_analysis(instance_name text, sql text, options jsonb DEFAULT '{}')
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'pg_llm_execute_sql_with_analysis_wrapper';
COMMENT ON FUNCTION pg_llm_execute_sql_with_analysis(text, text, jsonb) IS
'Runs a query under the rules of generated ones, and has the model advise on its plan: findings, rewritten queries, indexes. Each suggestion is checked and its cost compared, none is executed. Options such as {"analyze": true, "dry_run": true, "max_rows": 100}.';

CREATE FUNCTION pg_llm_generate_report(instance_name text, sql text, options jsonb DEFAULT '{}')
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'pg_llm_generate_report_wrapper';
COMMENT ON FUNCTION pg_llm_generate_report(text, text, jsonb) IS
'A report on the result of a query: statistics that the database computes, words of the model''s, vega_lite and further charts. Kept for pg_llm_report_html. Options such as {"sample_rows": 20, "send_values": false, "focus": "...", "language": "German"}.';

CREATE FUNCTION pg_llm_report_html(request_id uuid)
RETURNS text LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'pg_llm_report_html_wrapper';
COMMENT ON FUNCTION pg_llm_report_html(uuid) IS 'A report of the caller''s as one page of HTML, with its charts as SVG, that needs nothing beside it.';

CREATE FUNCTION pg_llm_delete_report(request_id uuid)
RETURNS boolean LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_delete_report_wrapper';
COMMENT ON FUNCTION pg_llm_delete_report(uuid) IS 'Deletes a report of the caller''s. False where there is none.';
