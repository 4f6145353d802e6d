//! What a session may do next.

use super::Random;

/// Models at the upstream.
pub(super) const MODELS: [&str; 6] = ["m0", "m1", "m2", "m3", "m4", "m5"];
const OTHERS: [&str; 5] = ["mock-a", "own-hostile", "own-tiny", "own-mock", "nobody"];
const CRIMES: [&str; 10] = [
    "trap",
    "panic",
    "memory-bomb",
    "deep-recursion",
    "handle-flood",
    "log-flood",
    "huge-answer",
    "forged-list",
    "aliased-list",
    "remember",
];

fn model<'a>(random: &mut Random) -> &'a str {
    if random.below(4) == 0 { random.of(&OTHERS) } else { random.of(&MODELS) }
}

fn options(random: &mut Random) -> &'static str {
    random.of(&[
        "{}",
        "{}",
        r#"{"temperature": 0.5, "system": "Be brief."}"#,
        r#"{"on_error": "null"}"#,
        r#"{"timeout_ms": 50}"#,
        r#"{"timeout_ms": 1}"#,
        r#"{"max_attempts": 3, "timeout_ms": 300}"#,
        r#"{"cache": true}"#,
        r#"{"cache": {"ttl_s": 1}}"#,
        r#"{"fallback_instance": "m1"}"#,
        r#"{"fallback_instance": "mock-a", "confidence_threshold": 0.9}"#,
        r#"{"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}}"#,
        r#"{"max_attempts": 0}"#,
        r#"{"no such option": 1}"#,
        r#"{"logprobs": 2, "max_tokens": 5}"#,
    ])
}

/// Its statement, or statements.
pub(super) fn step(random: &mut Random) -> String {
    let (name, options) = (model(random), options(random));
    match random.below(30) {
        0..=3 => format!("SELECT pg_llm_chat('{name}', 'Hello', '{options}')"),
        4 | 5 => format!("SELECT pg_llm_chat_json('{name}', 'Hello', '{options}')"),
        6 | 7 => format!("SELECT * FROM pg_llm_chat_stream('{name}', 'Hello', '{options}')"),
        8 => format!("SELECT * FROM pg_llm_chat_stream_json('{name}', 'Hello', '{options}') LIMIT 2"),
        9 => format!(
            "BEGIN; DECLARE c{0} CURSOR FOR SELECT chunk FROM pg_llm_chat_stream('{name}', 'Hello'); FETCH 2 FROM c{0}; {1}",
            random.below(3),
            random.of(&["COMMIT", "ROLLBACK", "CLOSE ALL; COMMIT", "DISCARD ALL", "SAVEPOINT s; FETCH 1 FROM c0; ROLLBACK TO s; COMMIT"])
        ),
        10 | 11 => format!(
            "SELECT * FROM pg_llm_chat_batch('{name}', array_fill('x'::text, ARRAY[{}]), '{{\"max_concurrency\": {}}}')",
            random.below(40),
            1 + random.below(20)
        ),
        12 | 13 => format!(
            "SELECT * FROM pg_llm_map('{name}', 'SELECT n, repeat(''y'', n) FROM generate_series(1, {}) n') LIMIT {}",
            random.below(200),
            1 + random.below(30)
        ),
        14 | 15 => {
            let (second, strategy) = (model(random), random.of(&["confidence", "first", "vote", "all"]));
            format!("SELECT pg_llm_parallel_chat_json('Hello', ARRAY['{name}', '{second}', 'm0', 'm5'], '{{\"strategy\": \"{strategy}\"}}')")
        }
        16 => format!("SELECT count(*) FROM pg_llm_get_embeddings('{name}', array_fill('x'::text, ARRAY[{}]))", random.below(300)),
        17 => format!(
            "DO $$ BEGIN FOR i IN 1..{} LOOP BEGIN PERFORM pg_llm_chat('{name}', 'x'); EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END $$",
            random.below(20)
        ),
        18 | 19 => {
            let which = random.of(&["mock", "hostile", "tiny", "broken"]);
            format!("SELECT pg_llm_add_provider('own-{which}', module) FROM modules WHERE name = '{which}'")
        }
        20 => {
            let (crime, timeout) = (random.of(&CRIMES), 100 + random.below(300));
            format!("SELECT pg_llm_add_model('own-hostile', 'own-hostile', config => '{{\"model_name\": \"{crime}\", \"timeout_ms\": {timeout}}}')")
        }
        21 => random
            .of(&[
                "SELECT pg_llm_add_model('mock', 'mock-a', config => '{\"mock_response\": \"a b c\"}')",
                "SELECT pg_llm_add_model('own-tiny', 'own-tiny', config => '{}')",
                "SELECT pg_llm_add_model('own-mock', 'own-mock', config => '{}')",
            ])
            .to_owned(),
        22 => random
            .of(&[
                "SELECT pg_llm_remove_model('mock-a')",
                "SELECT pg_llm_remove_model('own-hostile')",
                "SELECT pg_llm_remove_model('own-tiny')",
                "SELECT pg_llm_remove_provider('own-hostile')",
                "SELECT pg_llm_remove_provider('own-mock')",
                "SELECT pg_llm_remove_provider('own-tiny')",
            ])
            .to_owned(),
        23 => random
            .of(&[
                "BEGIN; SELECT pg_llm_remove_model('mock-a'); SELECT pg_llm_chat('m1', 'x', '{\"on_error\": \"null\"}'); ROLLBACK",
                "BEGIN; SELECT pg_llm_add_model('mock', 'mock-a', config => '{}'); SAVEPOINT s; SELECT pg_llm_chat('mock-a', 'x'); ROLLBACK TO s; COMMIT",
                "ROLLBACK",
            ])
            .to_owned(),
        24 => random
            .of(&[
                "SET pg_llm.timeout_ms = 100",
                "SET pg_llm.guest_cpu_ms = 100",
                "SET pg_llm.guest_memory_mb = 8",
                "SET pg_llm.max_response_bytes = '4kB'",
                "SET pg_llm.on_error = 'null'",
                "SET statement_timeout = 200",
                "RESET statement_timeout",
                "RESET ALL",
                "DISCARD ALL",
            ])
            .to_owned(),
        25 => random.of(&["SET ROLE walker", "RESET ROLE", "SET SESSION AUTHORIZATION walker", "RESET SESSION AUTHORIZATION"]).to_owned(),
        26 => format!("SELECT pg_llm_set_key('{name}', 'default', 'sk-another-key-{}')", random.below(5)),
        27 => random
            .of(&[
                "SELECT count(*) FROM pg_llm_doctor()",
                "SELECT * FROM pg_llm_stat_limits",
                "SELECT * FROM pg_llm_models, pg_llm_providers",
                "SELECT pg_llm_cache_clear()",
                "SELECT * FROM pg_llm_cache",
            ])
            .to_owned(),
        28 => format!("SELECT pg_llm_grant_model('{name}', 'walker'); SELECT pg_llm_revoke_model('mock-a', 'walker')"),
        _ => format!("SELECT pg_llm_chat('{name}', repeat('x', {}))", random.below(100_000)),
    }
}
