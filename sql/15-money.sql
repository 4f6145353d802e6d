-- Budgets of roles. Those of models stand in their configurations.
--
-- Rights: EXECUTE on what sets and removes them is granted by the administrator. What is spent of them is in shared memory (extension/src/backend/budget_table.rs),
-- begun from the ledger.

CREATE TABLE _pg_llm_catalog.budgets (
    -- 0: of all roles together.
    role          regrole NOT NULL,
    -- '': on all models.
    instance_name text    NOT NULL,
    period        text    NOT NULL CHECK (period OPERATOR(pg_catalog.=) ANY ('{hour,day,month,total}'::pg_catalog.text[])),
    amount        numeric CHECK (amount OPERATOR(pg_catalog.>=) 0 AND amount OPERATOR(pg_catalog.<=) 1000000000),
    currency      text    NOT NULL,
    tokens        bigint  CHECK (tokens OPERATOR(pg_catalog.>=) 0),
    PRIMARY KEY (role, instance_name, period)
);
COMMENT ON TABLE _pg_llm_catalog.budgets IS 'What roles may spend.';
CREATE TRIGGER announce_change BEFORE INSERT OR UPDATE OR DELETE ON _pg_llm_catalog.budgets
    FOR EACH ROW EXECUTE FUNCTION _pg_llm_catalog.announce_change();
ALTER TABLE _pg_llm_catalog.budgets ENABLE ALWAYS TRIGGER announce_change;
SELECT pg_catalog.pg_extension_config_dump('_pg_llm_catalog.budgets', 'WHERE role = 0::oid OR EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = role)');

CREATE FUNCTION pg_llm_set_budget(role text, budget jsonb, instance_name text DEFAULT NULL)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_set_budget_wrapper';
COMMENT ON FUNCTION pg_llm_set_budget(text, jsonb, text) IS
'Sets what a role may spend in a period, on one model or on all: {"amount": 10, "currency": "USD", "period": "hour", "day", "month" or "total", "tokens": 100000}. The role public stands for all roles together. It counts from the next call on, and what was spent in the period before counts as well.';

CREATE FUNCTION pg_llm_remove_budget(role text, period text, instance_name text DEFAULT NULL)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_remove_budget_wrapper';
COMMENT ON FUNCTION pg_llm_remove_budget(text, text, text) IS 'Removes a budget that pg_llm_set_budget set. False when there was none.';

REVOKE ALL ON FUNCTION pg_llm_set_budget(text, jsonb, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pg_llm_remove_budget(text, text, text) FROM PUBLIC;
