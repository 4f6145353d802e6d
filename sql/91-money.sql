-- What was spent.

CREATE VIEW _pg_llm_catalog.seen_models WITH (security_barrier) AS
SELECT m.instance_name,
       m.config
  FROM _pg_llm_catalog.models m
 WHERE EXISTS (SELECT FROM _pg_llm_catalog.grants g
                WHERE g.instance_name = m.instance_name
                  AND (g.role = 0::oid OR pg_catalog.pg_has_role(current_user, g.role, 'USAGE')))
    OR (SELECT u.rolsuper OR pg_catalog.pg_has_role(u.oid, 'pg_read_all_stats', 'USAGE') FROM pg_catalog.pg_roles u WHERE u.rolname = current_user);
COMMENT ON VIEW _pg_llm_catalog.seen_models IS 'The models that the current role may have statistics of.';

CREATE FUNCTION _pg_llm_catalog.budget_state(scope text, role text, instance_name text, period text, currency text)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'pg_llm_budget_state_wrapper';
COMMENT ON FUNCTION _pg_llm_catalog.budget_state(text, text, text, text, text) IS 'What pg_llm_budgets shows of a budget.';

CREATE VIEW @extschema@.pg_llm_budgets WITH (security_barrier) AS
WITH budgets (scope, role, instance_name, period, amount, currency, tokens) AS (
SELECT 'model'::text,
       NULL::text,
       m.instance_name,
       b.terms ->> 'period',
       (b.terms ->> 'amount')::numeric,
       coalesce(m.config #>> '{price,currency}', 'USD'),
       (b.terms ->> 'tokens')::bigint
  FROM _pg_llm_catalog.seen_models m,
       LATERAL pg_catalog.jsonb_array_elements(CASE pg_catalog.jsonb_typeof(m.config -> 'budget')
                                               WHEN 'array' THEN m.config -> 'budget'
                                               WHEN 'object' THEN pg_catalog.jsonb_build_array(m.config -> 'budget') END) AS b (terms)
UNION ALL
SELECT 'role', coalesce(r.rolname, 'public'), nullif(b.instance_name, ''), b.period, b.amount, b.currency, b.tokens
  FROM _pg_llm_catalog.budgets b
  LEFT JOIN pg_catalog.pg_roles r ON r.oid = b.role
 WHERE (b.role = 0::oid OR r.oid IS NOT NULL)
   AND (b.role = 0::oid OR pg_catalog.pg_has_role(current_user, b.role, 'USAGE')
        OR (SELECT u.rolsuper OR pg_catalog.pg_has_role(u.oid, 'pg_read_all_stats', 'USAGE') FROM pg_catalog.pg_roles u WHERE u.rolname = current_user))
UNION ALL
SELECT 'setting', current_user::text, NULL, 'day', NULL, 'USD', s.setting::bigint
  FROM pg_catalog.pg_settings s WHERE s.name = 'pg_llm.token_budget' AND s.setting <> '0')
SELECT b.scope,
       b.role,
       b.instance_name,
       b.period,
       b.amount,
       CASE WHEN b.amount IS NOT NULL THEN b.currency END AS currency,
       CASE WHEN b.amount IS NOT NULL THEN (s.state ->> 'spent')::numeric END AS spent,
       CASE WHEN b.amount IS NOT NULL THEN (s.state ->> 'reserved')::numeric END AS reserved,
       CASE WHEN b.amount IS NOT NULL THEN greatest(b.amount - (s.state ->> 'spent')::numeric - (s.state ->> 'reserved')::numeric, 0) END AS amount_left,
       b.tokens,
       (s.state ->> 'tokens_spent')::numeric AS tokens_spent,
       (s.state ->> 'tokens_reserved')::numeric AS tokens_reserved,
       CASE WHEN b.tokens IS NOT NULL THEN greatest(b.tokens - (s.state ->> 'tokens_spent')::numeric - (s.state ->> 'tokens_reserved')::numeric, 0) END AS tokens_left,
       (s.state ->> 'in_flight')::integer AS in_flight,
       pg_catalog.to_timestamp((s.state ->> 'begin')::double precision) AS period_begin,
       pg_catalog.to_timestamp((s.state ->> 'end')::double precision) AS period_end,
       (s.state ->> 'shared')::boolean AS shared
  FROM budgets b,
       LATERAL (SELECT _pg_llm_catalog.budget_state(b.scope, b.role, b.instance_name, b.period, b.currency) AS state OFFSET 0) AS s;
COMMENT ON VIEW @extschema@.pg_llm_budgets IS
'Budgets of models that the current role may use, of roles that it is a member of, and of all roles; for superusers and pg_read_all_stats all: what was spent in the present period, what requests in flight hold, what is left, when it is renewed.';
GRANT SELECT ON @extschema@.pg_llm_budgets TO PUBLIC;
