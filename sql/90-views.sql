-- What a role may know. No view shows a key.
--
-- Operators in a view are looked up when it is made, and a schema that others may create in can hold one that fits better than Postgres's own (regrole =
-- oid, jsonb ->> jsonb). So the views are made where only pg_catalog is searched; the path is the old one again when the script ends.
SET LOCAL search_path = pg_catalog, pg_temp;

CREATE FUNCTION _pg_llm_catalog.builtin_providers()
RETURNS jsonb LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'pg_llm_builtin_providers_wrapper';
COMMENT ON FUNCTION _pg_llm_catalog.builtin_providers() IS 'Reports of the components that are part of the library.';

CREATE FUNCTION _pg_llm_catalog.builtin_filters()
RETURNS jsonb LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'pg_llm_builtin_filters_wrapper';
COMMENT ON FUNCTION _pg_llm_catalog.builtin_filters() IS 'Reports of the filters that are part of the library.';

CREATE FUNCTION _pg_llm_catalog.call_limits(of_module jsonb)
RETURNS jsonb LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'pg_llm_call_limits_wrapper';
COMMENT ON FUNCTION _pg_llm_catalog.call_limits(jsonb) IS 'The limits of a call that would begin now, from the settings and those of its module.';

CREATE VIEW @extschema@.pg_llm_models WITH (security_barrier) AS
SELECT m.instance_name,
       m.model_type,
       m.config ->> 'model_name' AS model_name,
       m.config ->> 'api_endpoint' AS api_endpoint,
       m.config,
       ARRAY(SELECT k.key_name FROM _pg_llm_catalog.keys k WHERE k.instance_name = m.instance_name ORDER BY k.key_name) AS key_names,
       (SELECT pg_catalog.jsonb_object_agg(k.key_name, coalesce(k.reference, '"stored"'::jsonb))
          FROM _pg_llm_catalog.keys k WHERE k.instance_name = m.instance_name) AS key_sources,
       (SELECT g.role FROM _pg_llm_catalog.grants g WHERE g.instance_name = m.instance_name AND g.is_owner) AS owner,
       ARRAY(SELECT CASE WHEN g.role = 0::oid THEN 'public' ELSE g.role::text END
               FROM _pg_llm_catalog.grants g WHERE g.instance_name = m.instance_name AND NOT g.is_owner ORDER BY 1) AS granted_to,
       p.digest IS NULL AS builtin,
       m.local_model,
       m.created_at,
       m.updated_at
  FROM _pg_llm_catalog.models m
  LEFT JOIN _pg_llm_catalog.providers p ON p.model_type = m.model_type
 WHERE EXISTS (SELECT FROM _pg_llm_catalog.grants g
                WHERE g.instance_name = m.instance_name
                  AND (g.role = 0::oid OR pg_catalog.pg_has_role(current_user, g.role, 'USAGE')))
    OR (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user);
COMMENT ON VIEW @extschema@.pg_llm_models IS 'The models that the current role may use, without their keys.';

CREATE VIEW @extschema@.pg_llm_master_keys WITH (security_barrier) AS
SELECT coalesce(k.id, u.id) AS id,
       k.source,
       coalesce(k.is_current, false) AS is_current,
       coalesce(u.keys, 0) AS keys,
       k.error
  FROM pg_catalog.jsonb_to_recordset(_pg_llm_catalog.master_keys()) AS k (id text, source text, is_current boolean, error text)
  FULL JOIN (SELECT master_key_id AS id, count(*) AS keys FROM _pg_llm_catalog.keys WHERE sealed IS NOT NULL GROUP BY master_key_id) AS u ON u.id = k.id;
COMMENT ON VIEW @extschema@.pg_llm_master_keys IS 'Master keys that this server has, or that keys of this database need, and how many need each. For superusers.';

CREATE VIEW @extschema@.pg_llm_providers WITH (security_barrier) AS
SELECT profile ->> 'name' AS model_type,
       ARRAY(SELECT pg_catalog.jsonb_array_elements_text(profile -> 'aliases')) AS aliases,
       true AS builtin,
       report #>> '{description,name}' AS adapter,
       report #>> '{description,version}' AS version,
       report #>> '{description,summary}' AS summary,
       profile ->> 'default_endpoint' AS default_endpoint,
       profile -> 'keys' AS keys,
       ARRAY(SELECT pg_catalog.jsonb_array_elements_text(profile -> 'capabilities')) AS capabilities,
       ARRAY(SELECT pg_catalog.jsonb_array_elements_text(report -> 'exports')) AS exports,
       ARRAY(SELECT pg_catalog.jsonb_array_elements_text(report -> 'imports')) AS imports,
       report ->> 'wit_version' AS wit_version,
       report ->> 'sha256' AS digest,
       (report ->> 'size')::bigint AS size,
       _pg_llm_catalog.call_limits('{}') AS limits,
       NULL::regrole AS owner,
       NULL::timestamptz AS uploaded_at
  FROM pg_catalog.jsonb_array_elements(_pg_llm_catalog.builtin_providers()) AS builtin (report),
       pg_catalog.jsonb_array_elements(report #> '{description,profiles}') AS profiles (profile)
UNION ALL
SELECT p.model_type,
       '{}',
       false,
       m.report #>> '{description,name}',
       m.report #>> '{description,version}',
       m.report #>> '{description,summary}',
       d.profile ->> 'default_endpoint',
       d.profile -> 'keys',
       ARRAY(SELECT pg_catalog.jsonb_array_elements_text(d.profile -> 'capabilities')),
       ARRAY(SELECT pg_catalog.jsonb_array_elements_text(m.report -> 'exports')),
       ARRAY(SELECT pg_catalog.jsonb_array_elements_text(m.report -> 'imports')),
       m.report ->> 'wit_version',
       m.report ->> 'sha256',
       (m.report ->> 'size')::bigint,
       _pg_llm_catalog.call_limits(m.limits),
       o.role,
       m.uploaded_at
  FROM _pg_llm_catalog.providers p
  JOIN _pg_llm_catalog.modules m USING (digest)
  LEFT JOIN _pg_llm_catalog.provider_owners o USING (model_type)
  LEFT JOIN LATERAL pg_catalog.jsonb_array_elements(m.report #> '{description,profiles}') AS d (profile) ON d.profile ->> 'name' = p.profile;
COMMENT ON VIEW @extschema@.pg_llm_providers IS 'Built-in and uploaded providers: what each is, can do, needs and may use.';

CREATE VIEW @extschema@.pg_llm_filters WITH (security_barrier) AS
WITH builtin (report) AS MATERIALIZED (SELECT pg_catalog.jsonb_array_elements(_pg_llm_catalog.builtin_filters())),
     named (name, filter_type, builtin, report, config, owner, uploaded_at) AS (
SELECT b.report #>> '{description,name}', b.report #>> '{description,name}', true, b.report, '{}'::jsonb, NULL::regrole, NULL::timestamptz
  FROM builtin b
UNION ALL
SELECT f.name,
       f.filter_type,
       false,
       CASE WHEN f.digest IS NULL THEN b.report ELSE m.report END,
       -- It may say what the filter is there to keep secret.
       CASE WHEN pg_catalog.pg_has_role(current_user, o.role, 'USAGE')
              OR (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user) THEN f.config END,
       o.role,
       m.uploaded_at
  FROM _pg_llm_catalog.filters f
  LEFT JOIN _pg_llm_catalog.filter_owners o ON o.name = f.name
  LEFT JOIN _pg_llm_catalog.modules m ON m.digest = f.digest
  LEFT JOIN builtin b ON f.digest IS NULL AND b.report #>> '{description,name}' = f.filter_type)
SELECT n.name,
       n.filter_type,
       n.builtin,
       n.report #>> '{description,version}' AS version,
       n.report #>> '{description,summary}' AS summary,
       ARRAY(SELECT pg_catalog.jsonb_array_elements_text(n.report #> '{description,sides}')) AS sides,
       n.report #> '{description,config_schema}' AS config_schema,
       n.config,
       ARRAY(SELECT pg_catalog.jsonb_array_elements_text(n.report -> 'imports')) AS imports,
       n.report ->> 'wit_version' AS wit_version,
       n.report ->> 'sha256' AS digest,
       (n.report ->> 'size')::bigint AS size,
       n.owner,
       n.uploaded_at
  FROM named n;
COMMENT ON VIEW @extschema@.pg_llm_filters IS 'Filters, built in and added: what each is and looks at. The configuration shows to its owner and to superusers alone.';

CREATE FUNCTION _pg_llm_catalog.module_statistics(sha256 text)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'pg_llm_module_statistics_wrapper';
COMMENT ON FUNCTION _pg_llm_catalog.module_statistics(text) IS 'What pg_llm_modules shows of the calls of a module.';

CREATE VIEW @extschema@.pg_llm_modules WITH (security_barrier) AS
WITH modules (report, kind, builtin, used_by, version_of, uploaded_by, uploaded_at, compile_ms, enabled, limits) AS (
SELECT r.report,
       'provider'::text,
       true,
       ARRAY(SELECT p ->> 'name' FROM pg_catalog.jsonb_array_elements(r.report #> '{description,profiles}') AS p),
       '{}'::text[],
       NULL::text,
       NULL::timestamptz,
       NULL::integer,
       true,
       '{}'::jsonb
  FROM pg_catalog.jsonb_array_elements(_pg_llm_catalog.builtin_providers()) AS r (report)
 WHERE (SELECT u.rolsuper OR pg_catalog.pg_has_role(u.oid, 'pg_read_all_stats', 'USAGE') FROM pg_catalog.pg_roles u WHERE u.rolname = current_user)
UNION ALL
SELECT r.report, 'filter', true, ARRAY[r.report #>> '{description,name}'], '{}', NULL, NULL, NULL, true, '{}'
  FROM pg_catalog.jsonb_array_elements(_pg_llm_catalog.builtin_filters()) AS r (report)
 WHERE (SELECT u.rolsuper OR pg_catalog.pg_has_role(u.oid, 'pg_read_all_stats', 'USAGE') FROM pg_catalog.pg_roles u WHERE u.rolname = current_user)
UNION ALL
SELECT m.report,
       CASE WHEN m.report #> '{description,profiles}' IS NULL THEN 'filter' ELSE 'provider' END,
       false,
       ARRAY(SELECT p.model_type FROM _pg_llm_catalog.providers p WHERE p.digest = m.digest
             UNION ALL SELECT f.name FROM _pg_llm_catalog.filters f WHERE f.digest = m.digest ORDER BY 1),
       ARRAY(SELECT v.model_type FROM _pg_llm_catalog.provider_versions v WHERE v.digest = m.digest ORDER BY 1),
       m.uploaded_by,
       m.uploaded_at,
       m.compile_ms,
       m.enabled,
       m.limits
  FROM _pg_llm_catalog.modules m
 WHERE EXISTS (SELECT FROM _pg_llm_catalog.provider_versions v JOIN _pg_llm_catalog.provider_owners o USING (model_type)
                WHERE v.digest = m.digest AND pg_catalog.pg_has_role(current_user, o.role, 'USAGE'))
    OR EXISTS (SELECT FROM _pg_llm_catalog.filters f JOIN _pg_llm_catalog.filter_owners o USING (name)
                WHERE f.digest = m.digest AND pg_catalog.pg_has_role(current_user, o.role, 'USAGE'))
    OR (SELECT u.rolsuper OR pg_catalog.pg_has_role(u.oid, 'pg_read_all_stats', 'USAGE') FROM pg_catalog.pg_roles u WHERE u.rolname = current_user))
SELECT m.report ->> 'sha256' AS digest,
       m.kind,
       m.builtin,
       m.used_by,
       m.version_of,
       m.report #>> '{description,name}' AS name,
       m.report #>> '{description,version}' AS version,
       (m.report ->> 'size')::bigint AS size,
       m.uploaded_by,
       m.uploaded_at,
       m.enabled,
       m.limits,
       m.compile_ms,
       (s.counts ->> 'calls')::bigint AS calls,
       (s.counts ->> 'failures')::bigint AS failures,
       (s.counts ->> 'cpu_ms')::double precision AS cpu_ms,
       (s.counts ->> 'max_cpu_ms')::double precision AS max_cpu_ms,
       (s.counts ->> 'max_memory_bytes')::bigint AS max_memory_bytes,
       pg_catalog.to_timestamp((s.counts ->> 'last_call_at')::double precision) AS last_call_at,
       pg_catalog.to_timestamp((s.counts ->> 'counted_since')::double precision) AS counted_since,
       (s.counts ->> 'shared')::boolean AS shared
  FROM modules m,
       LATERAL (SELECT _pg_llm_catalog.module_statistics(m.report ->> 'sha256') AS counts OFFSET 0) AS s;
COMMENT ON VIEW @extschema@.pg_llm_modules IS
'Uploaded modules of providers and filters that the current role owns, of any version, and what their calls came to; for superusers and pg_read_all_stats all modules, built-in ones included. shared: counted over all sessions, else in this one.';

CREATE VIEW @extschema@.pg_llm_provider_versions WITH (security_barrier) AS
SELECT v.model_type,
       pg_catalog.encode(v.digest, 'hex') AS digest,
       p.digest = v.digest AS in_force,
       m.report #>> '{description,name}' AS adapter,
       m.report #>> '{description,version}' AS version,
       v.profile,
       v.uploaded_by,
       v.uploaded_at,
       v.in_force_by,
       v.in_force_since,
       m.enabled
  FROM _pg_llm_catalog.provider_versions v
  JOIN _pg_llm_catalog.providers p USING (model_type)
  JOIN _pg_llm_catalog.modules m ON m.digest = v.digest
 WHERE EXISTS (SELECT FROM _pg_llm_catalog.provider_owners o
                WHERE o.model_type = v.model_type AND pg_catalog.pg_has_role(current_user, o.role, 'USAGE'))
    OR (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user);
COMMENT ON VIEW @extschema@.pg_llm_provider_versions IS
'The modules that a provider of the current role has stood for, who uploaded them and when, and which is in force. pg_llm_set_provider_version() goes back to one.';

CREATE FUNCTION _pg_llm_catalog.limit_state(instance_name text, rate_limit jsonb)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'pg_llm_limit_state_wrapper';
COMMENT ON FUNCTION _pg_llm_catalog.limit_state(text, jsonb) IS 'What pg_llm_stat_limits shows of a model.';

CREATE VIEW @extschema@.pg_llm_stat_limits WITH (security_barrier) AS
SELECT m.instance_name,
       (s.state ->> 'in_flight')::integer AS in_flight,
       (s.state ->> 'waiting')::integer AS waiting,
       (m.config ->> 'max_concurrency')::integer AS max_concurrency,
       (s.state ->> 'admitted')::bigint AS admitted,
       (s.state ->> 'waited')::bigint AS waited,
       (s.state ->> 'rejected')::bigint AS rejected,
       (m.config #>> '{rate_limit,rpm}')::integer AS rpm,
       (s.state ->> 'rpm_left')::integer AS rpm_left,
       (m.config #>> '{rate_limit,tpm}')::integer AS tpm,
       (s.state ->> 'tpm_left')::integer AS tpm_left,
       pg_catalog.to_timestamp((s.state ->> 'held_back_until')::double precision) AS held_back_until,
       s.state ->> 'breaker' AS breaker,
       pg_catalog.to_timestamp((s.state ->> 'opened_at')::double precision) AS opened_at,
       (s.state ->> 'consecutive_failures')::integer AS consecutive_failures,
       (s.state ->> 'shared')::boolean AS shared
  FROM @extschema@.pg_llm_models m,
       LATERAL (SELECT _pg_llm_catalog.limit_state(m.instance_name, m.config -> 'rate_limit') AS state OFFSET 0) AS s;
COMMENT ON VIEW @extschema@.pg_llm_stat_limits IS
'Limits of the models that the current role may use: requests in flight and waiting, what is left of the rates, what the provider holds back, the circuit breaker.';

CREATE VIEW @extschema@.pg_llm_cache WITH (security_barrier) AS
SELECT c.instance_name,
       CASE WHEN c.role <> 0::oid THEN c.role END AS role,
       count(*) AS entries,
       count(*) FILTER (WHERE c.expires_at <= clock_timestamp()) AS expired,
       sum(c.bytes)::bigint AS bytes,
       min(c.created_at) AS oldest,
       max(c.created_at) AS newest
  FROM _pg_llm_catalog.response_cache c
 WHERE c.role = (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)
    OR (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)
    OR EXISTS (SELECT FROM _pg_llm_catalog.grants g
                WHERE g.instance_name = c.instance_name
                  AND CASE WHEN g.is_owner THEN pg_catalog.pg_has_role(current_user, g.role, 'USAGE')
                           ELSE c.role = 0::oid AND (g.role = 0::oid OR pg_catalog.pg_has_role(current_user, g.role, 'USAGE')) END)
 GROUP BY c.instance_name, c.role;
COMMENT ON VIEW @extschema@.pg_llm_cache IS 'What the response cache holds: of the current role, of models that it owns, and, with role NULL, what is shared of models that it may use.';

CREATE VIEW @extschema@.pg_llm_feedback WITH (security_barrier) AS
SELECT f.id, f.request_id, f.role, f.instance_name, f.model_name, f.rating, f.feedback, f.metadata, f.at
  FROM _pg_llm_catalog.feedback f
 WHERE pg_catalog.pg_has_role(current_user, f.role, 'USAGE');
COMMENT ON VIEW @extschema@.pg_llm_feedback IS 'Ratings of answers, with their words: of the roles whose rights the current one has.';

CREATE VIEW @extschema@.pg_llm_ratings WITH (security_barrier) AS
SELECT f.instance_name,
       f.model_name,
       f.metadata ->> 'prompt' AS prompt,
       count(*) AS ratings,
       round(avg(f.rating), 2) AS average,
       count(*) FILTER (WHERE f.rating <= 2) AS bad,
       count(*) FILTER (WHERE f.rating >= 4) AS good,
       max(f.at) AS latest
  FROM _pg_llm_catalog.feedback f
 WHERE pg_catalog.pg_has_role(current_user, f.role, 'USAGE') OR pg_catalog.pg_has_role(current_user, 'pg_monitor', 'USAGE')
 GROUP BY 1, 2, 3;
COMMENT ON VIEW @extschema@.pg_llm_ratings IS
'Ratings by model and by the prompt that their metadata names: of the roles whose rights the current one has, and of all for members of pg_monitor.';

GRANT SELECT ON @extschema@.pg_llm_feedback, @extschema@.pg_llm_ratings TO PUBLIC;
CREATE VIEW @extschema@.pg_llm_notes WITH (security_barrier) AS
SELECT n.id,
       n.kind,
       n.role,
       ARRAY(SELECT pg_catalog.concat_ws('.', pg_catalog.quote_ident(o."schema"), pg_catalog.quote_ident(o."table"), pg_catalog.quote_ident(c.name))
               FROM pg_catalog.jsonb_to_recordset(n.about) AS o ("schema" text, "table" text, columns jsonb)
               LEFT JOIN LATERAL pg_catalog.jsonb_array_elements_text(o.columns) AS c (name) ON true) AS about,
       n.words,
       n.sql,
       n.shared,
       n.request_id,
       n.created_at
  FROM _pg_llm_catalog.notes n
 WHERE n.role = (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)
    OR (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user);
COMMENT ON VIEW @extschema@.pg_llm_notes IS
'Descriptions, facts and examples of the current role, all for superusers. request_id: learnt from the good rating of this request.';

GRANT SELECT ON @extschema@.pg_llm_models, @extschema@.pg_llm_providers, @extschema@.pg_llm_filters, @extschema@.pg_llm_modules, @extschema@.pg_llm_provider_versions,
    @extschema@.pg_llm_stat_limits, @extschema@.pg_llm_cache, @extschema@.pg_llm_notes TO PUBLIC;
