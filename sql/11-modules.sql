-- The life of an uploaded module: looked at, put in force, limited, switched off, counted, removed.
--
-- A module is named by its sha256, in hexadecimal. It belongs to whoever owns every provider and filter that it is or was: two roles that uploaded the same bytes do
-- not decide for each other. What a superuser has disabled or limited, only a superuser changes.

CREATE FUNCTION pg_llm_inspect_module(module bytea)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'pg_llm_inspect_module_wrapper';
COMMENT ON FUNCTION pg_llm_inspect_module(bytea) IS
'What a WebAssembly component is, without keeping it: sha256, size, worlds, imports, exports, wit_version, producers, description; accepted, else reason, hint and refused_imports. It is compiled, and asked to describe itself, in a process of its own; so this needs the right to upload, EXECUTE on pg_llm_add_provider.';

CREATE FUNCTION pg_llm_set_provider_version(model_type text, sha256 text)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_set_provider_version_wrapper';
COMMENT ON FUNCTION pg_llm_set_provider_version(text, text) IS
'Puts another version of a provider of the caller in force, one of pg_llm_provider_versions; models of that type use it from their next call on. False when it was in force already.';

CREATE FUNCTION pg_llm_remove_module(sha256 text)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_remove_module_wrapper';
COMMENT ON FUNCTION pg_llm_remove_module(text) IS
'Removes an uploaded module of the caller, which is no version of its providers any more; refused while it is in force for one, or for a filter. False when there is none.';

CREATE FUNCTION pg_llm_enable_module(sha256 text, enabled boolean)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_enable_module_wrapper';
COMMENT ON FUNCTION pg_llm_enable_module(text, boolean) IS
'Switches an uploaded module of the caller off or on again. While it is off, calls that need it fail at once, in all sessions, and it cannot be uploaded or put in force. False when it was so already.';

CREATE FUNCTION pg_llm_set_module_limits(sha256 text, limits jsonb)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_set_module_limits_wrapper';
COMMENT ON FUNCTION pg_llm_set_module_limits(text, jsonb) IS
'Sets what each call of an uploaded module of the caller may use: memory_mb, cpu_ms, response_bytes. The smallest counts of the server''s, the module''s and the model''s limit. NULL or an empty object takes them away. False when they were the same.';

CREATE FUNCTION pg_llm_reset_module_statistics(sha256 text DEFAULT NULL)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_reset_module_statistics_wrapper';
COMMENT ON FUNCTION pg_llm_reset_module_statistics(text) IS
'Begins the counts of pg_llm_modules anew, for one module or for all of this database. Gives back for how many. Granted to nobody but superusers.';
REVOKE ALL ON FUNCTION pg_llm_reset_module_statistics(text) FROM PUBLIC;
