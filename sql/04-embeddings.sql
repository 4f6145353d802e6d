-- Embeddings, reranking, and what an endpoint offers.

CREATE FUNCTION pg_llm_use_vector_type(enabled boolean DEFAULT true)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_llm_use_vector_type_wrapper';
COMMENT ON FUNCTION pg_llm_use_vector_type(boolean) IS
'Declares pg_llm_get_embedding, pg_llm_get_embeddings and pg_llm_map_embeddings anew, with pgvector''s type where pgvector is installed: of use when it was installed after pg_llm. With false they return real[] again, so that pgvector can be dropped. True when they now return vector.';
REVOKE ALL ON FUNCTION pg_llm_use_vector_type(boolean) FROM PUBLIC;

-- pg_llm_get_embedding, pg_llm_get_embeddings, pg_llm_map_embeddings: their result type depends on what is installed.
SELECT @extschema@.pg_llm_use_vector_type();

CREATE FUNCTION pg_llm_rerank(instance_name text, query text, documents text[], options jsonb DEFAULT '{}')
RETURNS TABLE(ord bigint, document text, score float8) LANGUAGE c VOLATILE PARALLEL SAFE COST 100000 ROWS 100
AS 'MODULE_PATHNAME', 'pg_llm_rerank_wrapper';
COMMENT ON FUNCTION pg_llm_rerank(text, text, text[], jsonb) IS
'The documents by their relevance to the query, the best first; ord is the place in documents, from 1, and score the provider''s. Options: top_n, timeout_ms, max_attempts, on_error, extra_body.';

CREATE FUNCTION pg_llm_list_models(instance_name text)
RETURNS TABLE(model_name text, display_name text, context_window bigint, max_output_tokens bigint, raw jsonb)
LANGUAGE c VOLATILE PARALLEL SAFE COST 100000 ROWS 100
AS 'MODULE_PATHNAME', 'pg_llm_list_models_wrapper';
COMMENT ON FUNCTION pg_llm_list_models(text) IS 'The models that the endpoint of this model offers, where its provider can tell; tokens where it says so.';
