-- Models and providers.
--
-- Rights: EXECUTE on what makes something new (pg_llm_add_model, pg_llm_add_provider) is granted by the administrator; what changes something that
-- exists needs its ownership. A role that may add models reaches the hosts of pg_llm.allowed_hosts and no others, so the right to add one is no right to
-- reach the internal network. pg_llm_add_model(module => ...) needs EXECUTE on pg_llm_add_provider as well.
--
-- No function is STRICT: NULL where a value is needed is an error that says so, not a silent NULL.

CREATE FUNCTION pg_llm_add_model(model_type text, instance_name text, api_key text DEFAULT NULL, config jsonb DEFAULT '{}', module bytea DEFAULT NULL, sha256 text DEFAULT NULL)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'pg_llm_add_model_wrapper';
COMMENT ON FUNCTION pg_llm_add_model(text, text, text, jsonb, bytea, text) IS
'Adds a model, or updates the one of that name. It belongs to the caller. config holds model_name, api_endpoint, sampling defaults and more; keys go into api_key. With module, a WebAssembly component is uploaded first as provider model_type; sha256, where given, must be its digest. On update, keys that are not given again are kept as long as provider and endpoint stay the same.';

CREATE FUNCTION pg_llm_add_model(local_model boolean, model_type text, instance_name text, api_key text, config text)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'pg_llm_add_local_model_wrapper';
COMMENT ON FUNCTION pg_llm_add_model(boolean, text, text, text, text) IS
'The older form of pg_llm_add_model, kept for existing callers. local_model is kept with the model and shown by pg_llm_models; config is JSON text.';

CREATE FUNCTION pg_llm_remove_model(instance_name text)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_remove_model_wrapper';
COMMENT ON FUNCTION pg_llm_remove_model(text) IS 'Removes a model of the caller with its keys and grants. False when there is none of that name.';

CREATE FUNCTION pg_llm_grant_model(instance_name text, role text)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_grant_model_wrapper';
COMMENT ON FUNCTION pg_llm_grant_model(text, text) IS 'Lets a role and its members, or public, use a model of the caller. They can use its keys and never read them. False when it could already.';

CREATE FUNCTION pg_llm_revoke_model(instance_name text, role text)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_revoke_model_wrapper';
COMMENT ON FUNCTION pg_llm_revoke_model(text, text) IS 'Takes back what pg_llm_grant_model gave. False when nothing had been granted.';

CREATE FUNCTION pg_llm_set_key(instance_name text, key_name text, value text)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_set_key_wrapper';
COMMENT ON FUNCTION pg_llm_set_key(text, text, text) IS 'Sets or replaces a key of a model of the caller; the next call of any session uses it. NULL as value removes it. The key that api_key sets is called default. False when there was none to remove.';

CREATE FUNCTION pg_llm_set_key(instance_name text, key_name text, reference jsonb)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_set_key_reference_wrapper';
COMMENT ON FUNCTION pg_llm_set_key(text, text, jsonb) IS 'Says where the server finds a key at each call: {"env": "NAME"}, a variable of the environment that it was started with, or {"file": "/path"}. For superusers, and models whose endpoint a superuser chose. NULL removes the key.';

CREATE FUNCTION pg_llm_rotate_master_key(new_key boolean DEFAULT true)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'pg_llm_rotate_master_key_wrapper';
COMMENT ON FUNCTION pg_llm_rotate_master_key(boolean) IS
'Encrypts the keys of this database anew, under the master key that a setting names, else under one that is put in the place of the data directory''s, and gives back how many. Former master keys stay. With new_key false, under the one in use: for the other databases of the server.';

CREATE FUNCTION _pg_llm_catalog.master_keys()
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_master_keys_wrapper';
COMMENT ON FUNCTION _pg_llm_catalog.master_keys() IS 'The master keys that this server has, by their ids.';

CREATE FUNCTION pg_llm_add_provider(model_type text, module bytea, sha256 text DEFAULT NULL, limits jsonb DEFAULT NULL)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'pg_llm_add_provider_wrapper';
COMMENT ON FUNCTION pg_llm_add_provider(text, bytea, text, jsonb) IS
'Uploads a WebAssembly component as provider model_type, or replaces one of the caller; models of that type use it from their next call on, and what they used before is kept as an earlier version. It is checked and compiled here, in a process of its own. limits are those of pg_llm_set_module_limits().';

CREATE FUNCTION pg_llm_remove_provider(model_type text)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_remove_provider_wrapper';
COMMENT ON FUNCTION pg_llm_remove_provider(text) IS 'Removes an uploaded provider of the caller with all its versions; refused while a model uses it. False when there is none of that name.';

REVOKE ALL ON FUNCTION pg_llm_add_model(text, text, text, jsonb, bytea, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pg_llm_add_model(boolean, text, text, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pg_llm_add_provider(text, bytea, text, jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION pg_llm_rotate_master_key(boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION _pg_llm_catalog.master_keys() FROM PUBLIC;
