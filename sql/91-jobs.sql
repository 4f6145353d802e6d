-- What a role may know of jobs. Made, as the views before, where only pg_catalog is searched.

CREATE VIEW @extschema@.pg_llm_jobs WITH (security_barrier) AS
SELECT j.id AS job_id,
       j.role,
       j.instance_name,
       CASE WHEN j.ended_at IS NULL AND EXISTS (SELECT FROM _pg_llm_catalog.job_cancellations c WHERE c.job = j.id) THEN 'cancelling'
            ELSE j.state END AS state,
       j.total,
       j.done,
       j.failed,
       j.max_concurrency,
       j.channel,
       j.submitted_at,
       j.started_at,
       j.ended_at,
       -- It may quote what a provider said.
       CASE WHEN pg_catalog.pg_has_role(current_user, j.role, 'USAGE') THEN j.error END AS error
  FROM _pg_llm_catalog.jobs j
 WHERE pg_catalog.pg_has_role(current_user, j.role, 'USAGE') OR pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'USAGE');
COMMENT ON VIEW @extschema@.pg_llm_jobs IS 'Jobs of the current role and their progress; for members of pg_read_all_stats those of all roles, without their errors.';

CREATE VIEW @extschema@.pg_llm_job_rows WITH (security_barrier) AS
SELECT r.job AS job_id,
       r.ord,
       r.key,
       -- What had not ended when its job did is never run.
       CASE WHEN j.ended_at IS NOT NULL AND r.ended_at IS NULL THEN 'cancelled' ELSE r.state END AS state,
       r.prompt,
       r.result ->> 'response' AS response,
       r.error,
       r.result -> 'usage' AS usage,
       r.result,
       r.attempts,
       r.ended_at
  FROM _pg_llm_catalog.job_rows r
  JOIN _pg_llm_catalog.jobs j ON j.id = r.job
 WHERE pg_catalog.pg_has_role(current_user, j.role, 'USAGE');
COMMENT ON VIEW @extschema@.pg_llm_job_rows IS 'The calls of the current role''s jobs, and what came of each so far.';

GRANT SELECT ON @extschema@.pg_llm_jobs, @extschema@.pg_llm_job_rows TO PUBLIC;

CREATE FUNCTION @extschema@.pg_llm_job_results(job_id uuid)
RETURNS TABLE (ord bigint, key jsonb, state text, response text, error jsonb, usage jsonb)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000
BEGIN ATOMIC
  SELECT r.ord, r.key, r.state, r.response, r.error, r.usage FROM @extschema@.pg_llm_job_rows r WHERE r.job_id = pg_llm_job_results.job_id ORDER BY r.ord;
END;
COMMENT ON FUNCTION @extschema@.pg_llm_job_results(uuid) IS
'The rows of a job of the current role, in their order, each as far as it is: state (queued, running, done, failed, cancelled), response, error, usage.';
