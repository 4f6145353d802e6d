-- What the ledger comes to. A role sees what it did itself; superusers and members of pg_read_all_stats what all did. Nothing here shows a prompt or an answer.

CREATE VIEW _pg_llm_catalog.seen_ledger WITH (security_barrier) AS
SELECT l.*
  FROM _pg_llm_catalog.ledger l
 WHERE (l.role = (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = current_user) AND l.role_name = current_user)
    OR (SELECT u.rolsuper OR pg_catalog.pg_has_role(u.oid, 'pg_read_all_stats', 'USAGE') FROM pg_catalog.pg_roles u WHERE u.rolname = current_user);
COMMENT ON VIEW _pg_llm_catalog.seen_ledger IS 'The rows of the ledger that the current role may have statistics of.';

CREATE VIEW @extschema@.pg_llm_usage WITH (security_barrier) AS
SELECT (l.began_at AT TIME ZONE 'UTC')::date AS day,
       l.role_name AS role,
       l.instance_name,
       count(DISTINCT l.request_id) AS calls,
       count(*) FILTER (WHERE l.attempt > 0) AS requests,
       count(*) FILTER (WHERE l.attempt > 1) AS retries,
       count(*) FILTER (WHERE l.outcome = 'cached') AS cached,
       count(*) FILTER (WHERE l.outcome = 'error') AS errors,
       count(*) FILTER (WHERE l.outcome = 'denied') AS denied,
       count(*) FILTER (WHERE l.outcome = 'blocked') AS blocked,
       count(*) FILTER (WHERE l.outcome = 'cancelled') AS cancelled,
       sum(l.input_tokens)::bigint AS input_tokens,
       sum(l.output_tokens)::bigint AS output_tokens,
       sum(l.cached_input_tokens)::bigint AS cached_input_tokens,
       sum(l.cache_write_tokens)::bigint AS cache_write_tokens,
       sum(l.reasoning_tokens)::bigint AS reasoning_tokens,
       -- Of several currencies there is no sum.
       CASE WHEN count(DISTINCT l.currency) <= 1 THEN sum(l.cost) FILTER (WHERE l.attempt > 0) END AS cost,
       CASE WHEN count(DISTINCT l.currency) = 1 THEN min(l.currency) END AS currency,
       count(*) FILTER (WHERE l.attempt > 0 AND l.cost IS NULL) AS unpriced
  FROM _pg_llm_catalog.seen_ledger l
 GROUP BY 1, 2, 3;
COMMENT ON VIEW @extschema@.pg_llm_usage IS
'Calls, requests, tokens and cost by day (UTC), role and model, as far as the ledger reaches: of the current role; for superusers and pg_read_all_stats of all. cost is of the requests whose cost is known; unpriced says of how many it is not.';

CREATE VIEW @extschema@.pg_llm_stat_models WITH (security_barrier) AS
WITH live (instance_name, model_name, state) AS (
SELECT m.instance_name, m.config ->> 'model_name', s.state
  FROM _pg_llm_catalog.seen_models m,
       LATERAL (SELECT _pg_llm_catalog.limit_state(m.instance_name, m.config -> 'rate_limit') AS state OFFSET 0) AS s),
     errors (instance_name, operation, by_kind) AS (
SELECT e.instance_name, e.operation, pg_catalog.jsonb_object_agg(e.error_kind, e.n)
  FROM (SELECT l.instance_name, l.operation, coalesce(l.error_kind, 'other') AS error_kind, count(*) AS n
          FROM _pg_llm_catalog.seen_ledger l
         WHERE l.began_at >= pg_catalog.now() - interval '1 day' AND l.outcome IN ('error', 'denied', 'blocked')
         GROUP BY 1, 2, 3) AS e
 GROUP BY 1, 2),
     done AS (
SELECT l.instance_name,
       l.operation,
       max(l.provider) AS provider,
       max(l.model_name) AS model_name,
       count(DISTINCT l.request_id) AS calls,
       count(*) FILTER (WHERE l.attempt > 0) AS requests,
       count(*) FILTER (WHERE l.attempt > 1) AS retries,
       count(*) FILTER (WHERE l.outcome = 'ok') AS ok,
       count(*) FILTER (WHERE l.outcome = 'cached') AS cached,
       count(*) FILTER (WHERE l.outcome IN ('error', 'denied', 'blocked')) AS failed,
       count(*) FILTER (WHERE l.outcome = 'cancelled') AS cancelled,
       count(*) FILTER (WHERE l.fallback_from IS NOT NULL) AS as_fallback,
       pg_catalog.percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY l.total_us) FILTER (WHERE l.outcome = 'ok') AS duration,
       pg_catalog.percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY l.first_byte_us) FILTER (WHERE l.outcome = 'ok') AS first_byte,
       pg_catalog.percentile_cont(0.95) WITHIN GROUP (ORDER BY l.queue_us) FILTER (WHERE l.attempt > 0) AS queue_p95,
       sum(l.input_tokens)::bigint AS input_tokens,
       sum(l.output_tokens)::bigint AS output_tokens,
       CASE WHEN count(DISTINCT l.currency) <= 1 THEN sum(l.cost) FILTER (WHERE l.attempt > 0) END AS cost,
       CASE WHEN count(DISTINCT l.currency) = 1 THEN min(l.currency) END AS currency,
       max(l.began_at) FILTER (WHERE l.outcome = 'ok') AS last_success_at,
       max(l.began_at) FILTER (WHERE l.outcome = 'error') AS last_error_at,
       (pg_catalog.array_agg(l.error_kind ORDER BY l.began_at DESC) FILTER (WHERE l.outcome = 'error'))[1] AS last_error
  FROM _pg_llm_catalog.seen_ledger l
 WHERE l.began_at >= pg_catalog.now() - interval '1 day'
 GROUP BY 1, 2)
SELECT coalesce(m.instance_name, d.instance_name) AS instance_name,
       d.operation AS gen_ai_operation_name,
       d.provider AS gen_ai_provider_name,
       coalesce(m.model_name, d.model_name) AS gen_ai_request_model,
       d.model_name AS gen_ai_response_model,
       coalesce(d.calls, 0) AS calls,
       coalesce(d.requests, 0) AS requests,
       coalesce(d.retries, 0) AS retries,
       coalesce(d.ok, 0) AS ok,
       coalesce(d.cached, 0) AS cached,
       coalesce(d.failed, 0) AS failed,
       coalesce(d.cancelled, 0) AS cancelled,
       coalesce(d.as_fallback, 0) AS as_fallback,
       coalesce(e.by_kind, '{}') AS errors,
       d.duration[1] / 1000000 AS operation_duration_p50,
       d.duration[2] / 1000000 AS operation_duration_p95,
       d.duration[3] / 1000000 AS operation_duration_p99,
       d.first_byte[1] / 1000000 AS time_to_first_byte_p50,
       d.first_byte[2] / 1000000 AS time_to_first_byte_p95,
       d.first_byte[3] / 1000000 AS time_to_first_byte_p99,
       d.queue_p95 / 1000000 AS queue_p95,
       d.input_tokens,
       d.output_tokens,
       d.cost,
       d.currency,
       d.last_success_at,
       d.last_error_at,
       d.last_error,
       (m.state ->> 'in_flight')::integer AS in_flight,
       (m.state ->> 'waiting')::integer AS waiting,
       (m.state ->> 'rejected')::bigint AS rejected,
       m.state ->> 'breaker' AS breaker
  FROM live m
  FULL JOIN done d ON d.instance_name = m.instance_name
  LEFT JOIN errors e ON e.instance_name = d.instance_name AND e.operation = d.operation;
COMMENT ON VIEW @extschema@.pg_llm_stat_models IS
'What came of the requests of the last 24 hours, by model and operation, in OpenTelemetry''s words where it has some; times in seconds. Of the current role; for superusers and pg_read_all_stats of all. in_flight, waiting, rejected and breaker are the model''s at this moment, of all roles.';

GRANT SELECT ON @extschema@.pg_llm_usage, @extschema@.pg_llm_stat_models TO PUBLIC;

CREATE FUNCTION @extschema@.pg_llm_health(instance_name text DEFAULT NULL, probe boolean DEFAULT false)
RETURNS TABLE (instance text, status text, breaker text, consecutive_failures integer, last_success_at timestamptz, last_error_at timestamptz, last_error text,
               probed boolean, probe_error jsonb, probe_ms float8)
LANGUAGE sql VOLATILE PARALLEL UNSAFE COST 100000
BEGIN ATOMIC
SELECT m.instance_name,
       CASE WHEN p.answer IS NOT NULL THEN CASE WHEN p.answer -> 'error' IS NULL THEN 'ok' ELSE 'failing' END
            WHEN s.breaker <> 'closed' OR l.last_error_at > coalesce(l.last_success_at, '-infinity') THEN 'failing'
            WHEN l.last_success_at IS NOT NULL THEN 'ok'
            ELSE 'unknown' END,
       s.breaker,
       s.consecutive_failures,
       l.last_success_at,
       l.last_error_at,
       l.last_error,
       p.answer IS NOT NULL,
       p.answer -> 'error',
       (p.answer ->> 'latency_ms')::float8
  FROM @extschema@.pg_llm_models m
  JOIN @extschema@.pg_llm_stat_limits s ON s.instance_name = m.instance_name
  LEFT JOIN LATERAL (SELECT max(r.last_success_at) AS last_success_at, max(r.last_error_at) AS last_error_at,
                            (pg_catalog.array_agg(r.last_error ORDER BY r.last_error_at DESC NULLS LAST))[1] AS last_error
                       FROM @extschema@.pg_llm_stat_models r WHERE r.instance_name = m.instance_name) AS l ON true
 CROSS JOIN LATERAL (SELECT CASE WHEN $2 THEN @extschema@.pg_llm_chat_json(m.instance_name, 'Say ok.',
                       '{"max_tokens": 16, "max_attempts": 1, "on_error": "object", "cache": false, "fallback_instance": false}') END AS answer OFFSET 0) AS p
 WHERE $1 IS NULL OR m.instance_name = $1;
END;
COMMENT ON FUNCTION @extschema@.pg_llm_health(text, boolean) IS
'How models that the current role may use are doing, one or all: failing where the circuit breaker is not closed or the last request failed, unknown where there was none in the last 24 hours. From the ledger and from shared memory; no provider is called, unless probe is true: then each is asked to say one word, which costs what a call costs.';
