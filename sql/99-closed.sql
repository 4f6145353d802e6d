-- Nobody but the extension's functions reaches the catalog, whatever the server's roles may otherwise do.

-- Rows are written by the catalog's owner, which is what the functions act as, and by superusers. Others have no grant, but members of pg_write_all_data need none.
-- The triggers announce_change look at the writer as well (extension/src/backend/row_guard.rs); the other tables have this one.
CREATE FUNCTION _pg_llm_catalog.guard_row() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'pg_llm_guard_row_wrapper';
COMMENT ON FUNCTION _pg_llm_catalog.guard_row() IS 'Lets only the catalog''s owner and superusers change a row.';
CREATE TRIGGER guard_row BEFORE INSERT OR UPDATE OR DELETE ON _pg_llm_catalog.provider_versions
    FOR EACH ROW EXECUTE FUNCTION _pg_llm_catalog.guard_row();
CREATE TRIGGER guard_row BEFORE INSERT OR UPDATE OR DELETE ON _pg_llm_catalog.provider_owners
    FOR EACH ROW EXECUTE FUNCTION _pg_llm_catalog.guard_row();
CREATE TRIGGER guard_row BEFORE INSERT OR UPDATE OR DELETE ON _pg_llm_catalog.filter_owners
    FOR EACH ROW EXECUTE FUNCTION _pg_llm_catalog.guard_row();
CREATE TRIGGER guard_row BEFORE INSERT OR UPDATE OR DELETE ON _pg_llm_catalog.response_cache
    FOR EACH ROW EXECUTE FUNCTION _pg_llm_catalog.guard_row();
CREATE TRIGGER guard_row BEFORE INSERT OR UPDATE OR DELETE ON _pg_llm_catalog.ledger
    FOR EACH ROW EXECUTE FUNCTION _pg_llm_catalog.guard_row();
CREATE TRIGGER guard_row BEFORE INSERT OR UPDATE OR DELETE ON _pg_llm_catalog.traces
    FOR EACH ROW EXECUTE FUNCTION _pg_llm_catalog.guard_row();
CREATE TRIGGER guard_row BEFORE INSERT OR UPDATE OR DELETE ON _pg_llm_catalog.reports
    FOR EACH ROW EXECUTE FUNCTION _pg_llm_catalog.guard_row();
CREATE TRIGGER guard_row BEFORE INSERT OR UPDATE OR DELETE ON _pg_llm_catalog.sessions
    FOR EACH ROW EXECUTE FUNCTION _pg_llm_catalog.guard_row();
CREATE TRIGGER guard_row BEFORE INSERT OR UPDATE OR DELETE ON _pg_llm_catalog.session_messages
    FOR EACH ROW EXECUTE FUNCTION _pg_llm_catalog.guard_row();
CREATE TRIGGER guard_row BEFORE INSERT OR UPDATE OR DELETE ON _pg_llm_catalog.feedback
    FOR EACH ROW EXECUTE FUNCTION _pg_llm_catalog.guard_row();
CREATE TRIGGER guard_row BEFORE INSERT OR UPDATE OR DELETE ON _pg_llm_catalog.notes
    FOR EACH ROW EXECUTE FUNCTION _pg_llm_catalog.guard_row();
CREATE TRIGGER guard_row BEFORE INSERT OR UPDATE OR DELETE ON _pg_llm_catalog.text2sql_requests
    FOR EACH ROW EXECUTE FUNCTION _pg_llm_catalog.guard_row();
CREATE TRIGGER guard_row BEFORE INSERT OR UPDATE OR DELETE ON _pg_llm_catalog.schema_vectors
    FOR EACH ROW EXECUTE FUNCTION _pg_llm_catalog.guard_row();
CREATE TRIGGER guard_row BEFORE INSERT OR UPDATE OR DELETE ON _pg_llm_catalog.jobs
    FOR EACH ROW EXECUTE FUNCTION _pg_llm_catalog.guard_row();
CREATE TRIGGER guard_row BEFORE INSERT OR UPDATE OR DELETE ON _pg_llm_catalog.job_rows
    FOR EACH ROW EXECUTE FUNCTION _pg_llm_catalog.guard_row();
CREATE TRIGGER guard_row BEFORE INSERT OR UPDATE OR DELETE ON _pg_llm_catalog.job_cancellations
    FOR EACH ROW EXECUTE FUNCTION _pg_llm_catalog.guard_row();
ALTER TABLE _pg_llm_catalog.provider_versions ENABLE ALWAYS TRIGGER guard_row;
ALTER TABLE _pg_llm_catalog.provider_owners ENABLE ALWAYS TRIGGER guard_row;
ALTER TABLE _pg_llm_catalog.filter_owners ENABLE ALWAYS TRIGGER guard_row;
ALTER TABLE _pg_llm_catalog.response_cache ENABLE ALWAYS TRIGGER guard_row;
ALTER TABLE _pg_llm_catalog.ledger ENABLE ALWAYS TRIGGER guard_row;
ALTER TABLE _pg_llm_catalog.traces ENABLE ALWAYS TRIGGER guard_row;
ALTER TABLE _pg_llm_catalog.reports ENABLE ALWAYS TRIGGER guard_row;
ALTER TABLE _pg_llm_catalog.sessions ENABLE ALWAYS TRIGGER guard_row;
ALTER TABLE _pg_llm_catalog.session_messages ENABLE ALWAYS TRIGGER guard_row;
ALTER TABLE _pg_llm_catalog.feedback ENABLE ALWAYS TRIGGER guard_row;
ALTER TABLE _pg_llm_catalog.schema_vectors ENABLE ALWAYS TRIGGER guard_row;
ALTER TABLE _pg_llm_catalog.text2sql_requests ENABLE ALWAYS TRIGGER guard_row;
ALTER TABLE _pg_llm_catalog.notes ENABLE ALWAYS TRIGGER guard_row;
ALTER TABLE _pg_llm_catalog.jobs ENABLE ALWAYS TRIGGER guard_row;
ALTER TABLE _pg_llm_catalog.job_rows ENABLE ALWAYS TRIGGER guard_row;
ALTER TABLE _pg_llm_catalog.job_cancellations ENABLE ALWAYS TRIGGER guard_row;

-- ALTER DEFAULT PRIVILEGES is for what its role makes later, and this script is made by it. It is not to open the catalog, nor to hand out what only the
-- administrator grants. Nor is it to take from the functions that users call what those are made of.
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA _pg_llm_catalog TO PUBLIC;
REVOKE ALL ON FUNCTION _pg_llm_catalog.announce_change(), _pg_llm_catalog.guard_row(), _pg_llm_catalog.master_keys() FROM PUBLIC;
CREATE FUNCTION _pg_llm_catalog.revoke_default_privileges() RETURNS bigint LANGUAGE c AS 'MODULE_PATHNAME', 'pg_llm_revoke_default_privileges_wrapper';
SELECT _pg_llm_catalog.revoke_default_privileges();
DROP FUNCTION _pg_llm_catalog.revoke_default_privileges();
