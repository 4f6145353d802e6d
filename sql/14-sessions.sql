-- Sessions: conversations that the database remembers.
--
-- A session belongs to the role that made it; who has not that role's rights finds no session of this name. Its row is locked while a turn is made, so that two
-- callers take turns, and Postgres's own lock manager ends their waiting: by cancel, lock_timeout, or as a deadlock. Messages are numbered within their session, so
-- that there is no sequence to keep.

CREATE TABLE _pg_llm_catalog.sessions (
    session_id     text        NOT NULL PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid()::text,
    role           regrole     NOT NULL,
    -- Of the history, that go along with a prompt.
    max_messages   integer     NOT NULL CHECK (max_messages OPERATOR(pg_catalog.>=) 1 AND max_messages OPERATOR(pg_catalog.<=) 10000),
    -- The number of the latest message.
    message_count  integer     NOT NULL DEFAULT 0,
    state          jsonb       NOT NULL DEFAULT '{}',
    -- Stands for the messages up to this one.
    summary        text,
    summarized_to  integer     NOT NULL DEFAULT 0,
    created_at     timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    last_active_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE _pg_llm_catalog.sessions IS 'Sessions, each with the role that it belongs to.';

CREATE TABLE _pg_llm_catalog.session_messages (
    session_id text        NOT NULL REFERENCES _pg_llm_catalog.sessions ON DELETE CASCADE,
    -- From 1, without gaps.
    id         integer     NOT NULL,
    -- Of the call that it was said in.
    request_id uuid        NOT NULL,
    role       text        NOT NULL CHECK (role OPERATOR(pg_catalog.=) ANY (ARRAY['system', 'user', 'assistant', 'tool'])),
    -- All parts of it, as the option messages takes them: JSON in UTF-8, whatever the database's encoding is.
    message    bytea       NOT NULL,
    -- The model_type that said it: thinking and signatures go back to no other. NULL: they are the caller's.
    provider   text,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (session_id, id)
);
CREATE INDEX ON _pg_llm_catalog.session_messages (session_id) WHERE role OPERATOR(pg_catalog.=) 'system';
COMMENT ON TABLE _pg_llm_catalog.session_messages IS 'What was said in sessions, in clear until its session is deleted.';

SELECT pg_catalog.pg_extension_config_dump('_pg_llm_catalog.sessions', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = role)');
SELECT pg_catalog.pg_extension_config_dump('_pg_llm_catalog.session_messages',
    'WHERE session_id IN (SELECT s.session_id FROM _pg_llm_catalog.sessions s JOIN pg_catalog.pg_roles r ON r.oid = s.role)');

CREATE FUNCTION pg_llm_create_session(max_messages integer DEFAULT 10)
RETURNS text LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_create_session_wrapper';
COMMENT ON FUNCTION pg_llm_create_session(integer) IS
'Makes a session and gives back its id. At most max_messages (1 to 10000) of its earlier messages go along with a prompt.';

CREATE FUNCTION pg_llm_multi_turn_chat(instance_name text, session_id text, prompt text)
RETURNS text LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'pg_llm_multi_turn_chat_wrapper';
COMMENT ON FUNCTION pg_llm_multi_turn_chat(text, text, text) IS
'The model''s answer to a prompt that goes on with the session, which keeps both. A NULL prompt is NULL and no call. A call that fails leaves the session as it was.';

CREATE FUNCTION pg_llm_multi_turn_chat(instance_name text, session_id text, prompt text, options jsonb)
RETURNS text LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'pg_llm_multi_turn_chat_wrapper';
COMMENT ON FUNCTION pg_llm_multi_turn_chat(text, text, text, jsonb) IS
'The same with the options of a chat, and {"summarize": true}: the model summarizes what no longer goes along.';

CREATE FUNCTION pg_llm_multi_turn_chat_json(instance_name text, session_id text, prompt text, options jsonb DEFAULT '{}')
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'pg_llm_multi_turn_chat_json_wrapper';
COMMENT ON FUNCTION pg_llm_multi_turn_chat_json(text, text, text, jsonb) IS
'The same as an object: what pg_llm_chat_json returns, and session_id, message_count, sent_messages, summary.';

-- As pg_llm_chat_stream (03-chat.sql): wrappers that Postgres inlines.

CREATE FUNCTION _pg_llm_catalog.multi_turn_chat_stream(instance_name text, session_id text, prompt text, options jsonb)
RETURNS TABLE (seq_no integer, chunk text, is_final boolean, model_name text, confidence_score double precision, request_id uuid)
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000 ROWS 100
AS 'MODULE_PATHNAME', 'pg_llm_multi_turn_chat_stream_wrapper';
COMMENT ON FUNCTION _pg_llm_catalog.multi_turn_chat_stream(text, text, text, jsonb) IS 'What pg_llm_multi_turn_chat_stream is made of.';

CREATE FUNCTION _pg_llm_catalog.multi_turn_chat_stream_json(instance_name text, session_id text, prompt text, options jsonb)
RETURNS SETOF jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000 ROWS 100
AS 'MODULE_PATHNAME', 'pg_llm_multi_turn_chat_stream_json_wrapper';
COMMENT ON FUNCTION _pg_llm_catalog.multi_turn_chat_stream_json(text, text, text, jsonb) IS 'What pg_llm_multi_turn_chat_stream_json is made of.';

CREATE FUNCTION pg_llm_multi_turn_chat_stream(instance_name text, session_id text, prompt text, options jsonb DEFAULT '{}')
RETURNS TABLE (seq_no integer, chunk text, is_final boolean, model_name text, confidence_score double precision, request_id uuid)
LANGUAGE sql STABLE PARALLEL UNSAFE COST 100000 ROWS 100
BEGIN ATOMIC
  SELECT (s.piece).seq_no, (s.piece).chunk, (s.piece).is_final, (s.piece).model_name, (s.piece).confidence_score, (s.piece).request_id
    FROM (SELECT _pg_llm_catalog.multi_turn_chat_stream(instance_name, session_id, prompt, options) AS piece OFFSET 0) AS s;
END;
COMMENT ON FUNCTION pg_llm_multi_turn_chat_stream(text, text, text, jsonb) IS
'The same piece by piece, as pg_llm_chat_stream. The session keeps the turn when the stream has come to its end, and not before.';

CREATE FUNCTION pg_llm_multi_turn_chat_stream_json(instance_name text, session_id text, prompt text, options jsonb DEFAULT '{}')
RETURNS SETOF jsonb LANGUAGE sql STABLE PARALLEL UNSAFE COST 100000 ROWS 100
BEGIN ATOMIC
  SELECT s.event FROM (SELECT _pg_llm_catalog.multi_turn_chat_stream_json(instance_name, session_id, prompt, options) AS event OFFSET 0) AS s;
END;
COMMENT ON FUNCTION pg_llm_multi_turn_chat_stream_json(text, text, text, jsonb) IS
'The same as objects, as pg_llm_chat_stream_json; the last has what pg_llm_multi_turn_chat_json returns.';

CREATE FUNCTION pg_llm_set_max_messages(session_id text, max_messages integer)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_set_max_messages_wrapper';
COMMENT ON FUNCTION pg_llm_set_max_messages(text, integer) IS
'How many of the session''s earlier messages go along with a prompt, from the next turn on: 1 to 10000. None is deleted.';

CREATE FUNCTION _pg_llm_catalog.get_sessions()
RETURNS TABLE (session_id text, message_count integer, max_messages integer, last_active_time timestamptz)
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'pg_llm_get_sessions_wrapper';
COMMENT ON FUNCTION _pg_llm_catalog.get_sessions() IS 'What pg_llm_get_sessions is made of.';

CREATE FUNCTION pg_llm_get_sessions()
RETURNS TABLE (session_id text, message_count integer, max_messages integer, last_active_time timestamptz)
LANGUAGE sql STABLE PARALLEL UNSAFE ROWS 100
BEGIN ATOMIC
  SELECT (s.session).session_id, (s.session).message_count, (s.session).max_messages, (s.session).last_active_time
    FROM (SELECT _pg_llm_catalog.get_sessions() AS session OFFSET 0) AS s;
END;
COMMENT ON FUNCTION pg_llm_get_sessions() IS 'The sessions of the roles whose rights the current one has, the latest first; all for a superuser.';

CREATE FUNCTION pg_llm_get_session(session_id text)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_get_session_wrapper';
COMMENT ON FUNCTION pg_llm_get_session(text) IS
'A session with all of its messages: session_id, role, state, max_messages, message_count, summary, created_at, last_active_at, messages.';

CREATE FUNCTION _pg_llm_catalog.get_session_messages(session_id text)
RETURNS TABLE (id bigint, request_id uuid, role text, content text, created_at timestamptz)
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'pg_llm_get_session_messages_wrapper';
COMMENT ON FUNCTION _pg_llm_catalog.get_session_messages(text) IS 'What pg_llm_get_session_messages is made of.';

CREATE FUNCTION pg_llm_get_session_messages(session_id text)
RETURNS TABLE (id bigint, request_id uuid, role text, content text, created_at timestamptz)
LANGUAGE sql STABLE PARALLEL UNSAFE ROWS 100
BEGIN ATOMIC
  SELECT (s.said).id, (s.said).request_id, (s.said).role, (s.said).content, (s.said).created_at
    FROM (SELECT _pg_llm_catalog.get_session_messages(session_id) AS said OFFSET 0) AS s;
END;
COMMENT ON FUNCTION pg_llm_get_session_messages(text) IS
'What was said in a session, in its order: id counts from 1 in each session, request_id is the call''s, content the words alone (pg_llm_get_session has the other parts).';

CREATE FUNCTION pg_llm_update_session_state(session_id text, state jsonb)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_update_session_state_wrapper';
COMMENT ON FUNCTION pg_llm_update_session_state(text, jsonb) IS 'Puts this in the place of the session''s state, which is the application''s own: no model sees it.';

CREATE FUNCTION pg_llm_fork_session(session_id text, message_id bigint DEFAULT NULL)
RETURNS text LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_fork_session_wrapper';
COMMENT ON FUNCTION pg_llm_fork_session(text, bigint) IS
'A new session of the current role that begins as this one, with its messages up to and with message_id, or with all of them, and with its state. Gives back its id.';

CREATE FUNCTION pg_llm_delete_session(session_id text)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_delete_session_wrapper';
COMMENT ON FUNCTION pg_llm_delete_session(text) IS 'Deletes a session with all that was said in it. False when there was none. Waits for a turn that is being made.';

CREATE FUNCTION pg_llm_cleanup_sessions(timeout_seconds integer)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_cleanup_sessions_wrapper';
COMMENT ON FUNCTION pg_llm_cleanup_sessions(integer) IS
'Deletes the sessions that pg_llm_get_sessions shows the caller and that were idle for this many seconds, but none whose turn is being made.';
