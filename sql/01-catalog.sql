-- The catalog of pg_llm. Users reach it through functions and views only; nothing in it is granted to anybody.
--
-- Roles are kept as regrole, so that a renamed role keeps its rights and a new role that takes a dropped one's name inherits none. They stand in
-- tables of their own (grants, provider_owners, filter_owners), so that a dump can leave out the rows of roles that no longer exist: restored, their bare numbers
-- could be another role's.

CREATE SCHEMA _pg_llm_catalog;
COMMENT ON SCHEMA _pg_llm_catalog IS 'Tables of pg_llm. Reached through the functions and views of the extension only.';
REVOKE ALL ON SCHEMA _pg_llm_catalog FROM PUBLIC;

CREATE TABLE _pg_llm_catalog.modules (
    digest      bytea       NOT NULL PRIMARY KEY CHECK (pg_catalog.octet_length(digest) OPERATOR(pg_catalog.=) 32),
    wasm        bytea       NOT NULL,
    report      jsonb       NOT NULL,
    -- Whoever brought these bytes first.
    uploaded_by text        NOT NULL,
    uploaded_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    -- How long checking and compiling took then.
    compile_ms  integer     NOT NULL,
    enabled     boolean     NOT NULL DEFAULT true,
    limits      jsonb       NOT NULL DEFAULT '{}',
    -- A superuser has disabled or limited it: nobody else changes that.
    held        boolean     NOT NULL DEFAULT false
);
-- Read as a whole, and seldom: compressing and slicing cost more than they save.
ALTER TABLE _pg_llm_catalog.modules ALTER COLUMN wasm SET STORAGE EXTERNAL;
COMMENT ON TABLE _pg_llm_catalog.modules IS 'Uploaded WebAssembly components, each once, and what the compiler found out about them. Compiled code is in files of the data directory, never here.';

CREATE TABLE _pg_llm_catalog.providers (
    model_type text  NOT NULL PRIMARY KEY,
    digest     bytea NOT NULL REFERENCES _pg_llm_catalog.modules,
    profile    text  NOT NULL
);
CREATE INDEX ON _pg_llm_catalog.providers (digest);
COMMENT ON TABLE _pg_llm_catalog.providers IS 'Uploaded providers: which component, and which of its profiles, a model_type stands for. The built-in ones are part of the library.';

CREATE TABLE _pg_llm_catalog.provider_owners (
    model_type text    NOT NULL PRIMARY KEY REFERENCES _pg_llm_catalog.providers ON DELETE CASCADE,
    role       regrole NOT NULL
);
COMMENT ON TABLE _pg_llm_catalog.provider_owners IS 'Who uploaded a provider and may replace or remove it.';

CREATE TABLE _pg_llm_catalog.provider_versions (
    model_type     text        NOT NULL REFERENCES _pg_llm_catalog.providers ON DELETE CASCADE,
    digest         bytea       NOT NULL REFERENCES _pg_llm_catalog.modules,
    profile        text        NOT NULL,
    uploaded_by    text        NOT NULL,
    uploaded_at    timestamptz NOT NULL DEFAULT pg_catalog.now(),
    -- When it was put in force last, and by whom.
    in_force_by    text        NOT NULL,
    in_force_since timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (model_type, digest)
);
CREATE INDEX ON _pg_llm_catalog.provider_versions (digest);
COMMENT ON TABLE _pg_llm_catalog.provider_versions IS 'Components that a model_type has stood for, and stands for: which one is in force says the table providers.';

CREATE TABLE _pg_llm_catalog.filters (
    name        text  NOT NULL PRIMARY KEY,
    -- What its component calls itself.
    filter_type text  NOT NULL,
    -- The uploaded component; NULL: the built-in filter of this type.
    digest      bytea REFERENCES _pg_llm_catalog.modules,
    config      jsonb NOT NULL
);
CREATE INDEX ON _pg_llm_catalog.filters (digest);
COMMENT ON TABLE _pg_llm_catalog.filters IS 'Filters: which component, uploaded or built in, and its configuration. The built-in ones have names of their own besides, with their default configuration.';

CREATE TABLE _pg_llm_catalog.filter_owners (
    name text    NOT NULL PRIMARY KEY REFERENCES _pg_llm_catalog.filters ON DELETE CASCADE,
    role regrole NOT NULL
);
COMMENT ON TABLE _pg_llm_catalog.filter_owners IS 'Who made a filter and may change or remove it.';

CREATE TABLE _pg_llm_catalog.models (
    instance_name    text        NOT NULL PRIMARY KEY,
    model_type       text        NOT NULL,
    config           jsonb       NOT NULL,
    -- A superuser chose the endpoint.
    endpoint_trusted boolean     NOT NULL,
    -- What callers of the older pg_llm_add_model said of it.
    local_model      boolean     NOT NULL DEFAULT false,
    created_at       timestamptz NOT NULL DEFAULT pg_catalog.now(),
    updated_at       timestamptz NOT NULL DEFAULT pg_catalog.now()
);
CREATE INDEX ON _pg_llm_catalog.models (model_type);
COMMENT ON TABLE _pg_llm_catalog.models IS 'Models, without their keys.';

CREATE TABLE _pg_llm_catalog.grants (
    instance_name text    NOT NULL REFERENCES _pg_llm_catalog.models ON DELETE CASCADE,
    -- 0 is PUBLIC.
    role          regrole NOT NULL,
    is_owner      boolean NOT NULL DEFAULT false,
    PRIMARY KEY (instance_name, role)
);
COMMENT ON TABLE _pg_llm_catalog.grants IS 'Who owns a model and who else may use it.';

CREATE TABLE _pg_llm_catalog.keys (
    instance_name text        NOT NULL REFERENCES _pg_llm_catalog.models ON DELETE CASCADE,
    key_name      text        NOT NULL,
    -- Which master key it was encrypted with; says nothing of the key itself.
    master_key_id text,
    -- version (1 byte), nonce (12), AES-256-GCM ciphertext and tag; bound to the version, instance_name and key_name.
    sealed        bytea,
    -- In place of both: {"env": NAME} or {"file": PATH}, where the server finds the key. No secret; followed where the model's endpoint_trusted.
    reference     jsonb,
    updated_at    timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (instance_name, key_name),
    CHECK ((sealed IS NULL) OPERATOR(pg_catalog.=) (master_key_id IS NULL)),
    CHECK ((sealed IS NULL) OPERATOR(pg_catalog.<>) (reference IS NULL))
);
COMMENT ON TABLE _pg_llm_catalog.keys IS 'API keys, encrypted with a master key that is not in the database, or where the server finds them.';

-- Sessions remember models between calls, and hear of each change (extension/src/backend/news.rs). Before the row, not after: a function in the same statement may
-- call a model. By row: logical replication fires no other triggers; and always, where session_replication_role turns triggers off.
CREATE FUNCTION _pg_llm_catalog.announce_change() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'pg_llm_announce_change_wrapper';
COMMENT ON FUNCTION _pg_llm_catalog.announce_change() IS 'Tells all sessions that what they remember of models no longer counts.';
REVOKE ALL ON FUNCTION _pg_llm_catalog.announce_change() FROM PUBLIC;
CREATE TRIGGER announce_change BEFORE INSERT OR UPDATE OR DELETE ON _pg_llm_catalog.models
    FOR EACH ROW EXECUTE FUNCTION _pg_llm_catalog.announce_change();
CREATE TRIGGER announce_change BEFORE INSERT OR UPDATE OR DELETE ON _pg_llm_catalog.providers
    FOR EACH ROW EXECUTE FUNCTION _pg_llm_catalog.announce_change();
CREATE TRIGGER announce_change BEFORE INSERT OR UPDATE OR DELETE ON _pg_llm_catalog.filters
    FOR EACH ROW EXECUTE FUNCTION _pg_llm_catalog.announce_change();
CREATE TRIGGER announce_change BEFORE INSERT OR UPDATE OR DELETE ON _pg_llm_catalog.modules
    FOR EACH ROW EXECUTE FUNCTION _pg_llm_catalog.announce_change();
CREATE TRIGGER announce_change BEFORE INSERT OR UPDATE OR DELETE ON _pg_llm_catalog.grants
    FOR EACH ROW EXECUTE FUNCTION _pg_llm_catalog.announce_change();
CREATE TRIGGER announce_change BEFORE INSERT OR UPDATE OR DELETE ON _pg_llm_catalog.keys
    FOR EACH ROW EXECUTE FUNCTION _pg_llm_catalog.announce_change();
ALTER TABLE _pg_llm_catalog.models ENABLE ALWAYS TRIGGER announce_change;
ALTER TABLE _pg_llm_catalog.providers ENABLE ALWAYS TRIGGER announce_change;
ALTER TABLE _pg_llm_catalog.filters ENABLE ALWAYS TRIGGER announce_change;
ALTER TABLE _pg_llm_catalog.modules ENABLE ALWAYS TRIGGER announce_change;
ALTER TABLE _pg_llm_catalog.grants ENABLE ALWAYS TRIGGER announce_change;
ALTER TABLE _pg_llm_catalog.keys ENABLE ALWAYS TRIGGER announce_change;

-- A dump keeps it all, in an order that satisfies the foreign keys. API keys stay encrypted: they are of use only with the same master key.
SELECT pg_catalog.pg_extension_config_dump('_pg_llm_catalog.modules', '');
SELECT pg_catalog.pg_extension_config_dump('_pg_llm_catalog.providers', '');
SELECT pg_catalog.pg_extension_config_dump('_pg_llm_catalog.provider_owners', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = role)');
SELECT pg_catalog.pg_extension_config_dump('_pg_llm_catalog.provider_versions', '');
SELECT pg_catalog.pg_extension_config_dump('_pg_llm_catalog.filters', '');
SELECT pg_catalog.pg_extension_config_dump('_pg_llm_catalog.filter_owners', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = role)');
SELECT pg_catalog.pg_extension_config_dump('_pg_llm_catalog.models', '');
SELECT pg_catalog.pg_extension_config_dump('_pg_llm_catalog.grants', 'WHERE role = 0::oid OR EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = role)');
SELECT pg_catalog.pg_extension_config_dump('_pg_llm_catalog.keys', '');
