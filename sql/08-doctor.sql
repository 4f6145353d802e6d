-- What is set up wrong. The function that users call is inlined, as those of streams are (sql/03-chat.sql).

CREATE FUNCTION _pg_llm_catalog.doctor()
RETURNS TABLE (check_name text, status text, detail text, hint text)
LANGUAGE c VOLATILE PARALLEL RESTRICTED COST 10000 ROWS 10
AS 'MODULE_PATHNAME', 'pg_llm_doctor_wrapper';
COMMENT ON FUNCTION _pg_llm_catalog.doctor() IS 'What pg_llm_doctor is made of.';

CREATE FUNCTION pg_llm_doctor()
RETURNS TABLE (check_name text, status text, detail text, hint text)
LANGUAGE sql STABLE PARALLEL RESTRICTED COST 10000 ROWS 10
BEGIN ATOMIC
  SELECT (d.finding).check_name, (d.finding).status, (d.finding).detail, (d.finding).hint
    FROM (SELECT _pg_llm_catalog.doctor() AS finding OFFSET 0) AS d;
END;
COMMENT ON FUNCTION pg_llm_doctor() IS
'What is set up wrong here and how to mend it: status ok, warning or error for the server, the settings and each model that the current role may use. Calls no provider; what only superusers may see is hidden from others.';
