-- Filters: what looks at prompts and answers, and passes, changes or blocks them.
--
-- Rights: as with models. EXECUTE on what makes a filter is granted by the administrator; uploading a component needs EXECUTE on pg_llm_add_provider as
-- well; changing or removing one needs its ownership. Any role may name any filter, in a call and in a model of its own.

CREATE FUNCTION pg_llm_add_filter(name text, module bytea DEFAULT NULL, config jsonb DEFAULT '{}', sha256 text DEFAULT NULL, filter_type text DEFAULT NULL)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'pg_llm_add_filter_wrapper';
COMMENT ON FUNCTION pg_llm_add_filter(text, bytea, jsonb, text, text) IS
'Adds a filter, or changes the one of that name. It belongs to the caller. filter_type names a built-in filter, or one that there is, whose component is then used with this config; module uploads a WebAssembly component instead, with this digest where sha256 is given. The component itself checks config, at once.';

CREATE FUNCTION pg_llm_remove_filter(name text)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_remove_filter_wrapper';
COMMENT ON FUNCTION pg_llm_remove_filter(text) IS 'Removes a filter of the caller; refused while a model names it. False when there is none of that name.';

REVOKE ALL ON FUNCTION pg_llm_add_filter(text, bytea, jsonb, text, text) FROM PUBLIC;
