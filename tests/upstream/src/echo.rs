//! A model that knows one thing: to say what it was told. Deterministic, so that a demo's output is always the same.

use serde_json::{Value, json};

use crate::{Received, Reply, openai};

/// Answers OpenAI's endpoints: a chat completion (whole, or streamed word by word) that repeats the last user message, an
/// embedding that depends on the text alone, an order of documents by it, the list of models; 404 to all else.
pub fn answer(received: &Received) -> Reply {
    let path = received.path();
    match received.method.as_str() {
        "POST" if path.ends_with("/chat/completions") => chat(&received.json()),
        "POST" if path.ends_with("/embeddings") => embeddings(&received.json()),
        "POST" if path.ends_with("/rerank") => rerank(&received.json()),
        "GET" if path.ends_with("/models") => {
            let model = json!({"id": openai::MODEL, "object": "model", "created": 1_700_000_000, "owned_by": "pg_llm"});
            Reply::json(200, json!({"object": "list", "data": [model]}))
        }
        method => openai::error(404, "invalid_request_error", "unknown_url", &format!("Invalid URL ({method} {path})")),
    }
}

fn chat(request: &Value) -> Reply {
    let Some(messages) = request["messages"].as_array() else {
        return openai::error(400, "invalid_request_error", "missing_messages", "Missing required parameter: 'messages'.");
    };
    let prompt = messages.iter().rev().find(|message| message["role"] == "user").map_or_else(String::new, text);
    let prompt_tokens = messages.iter().map(|message| openai::words(&text(message))).sum();
    let answer = match request["response_format"]["type"].as_str() {
        Some("json_object" | "json_schema") => json!({"you_said": prompt}).to_string(),
        _ => format!("You said: {prompt}"),
    };
    let model = request["model"].clone();
    let completion_tokens = openai::words(&answer);
    if request["stream"] != true {
        let message = json!({"role": "assistant", "content": answer, "refusal": null});
        let mut body = openai::message_body(message, "stop", openai::usage(prompt_tokens, completion_tokens));
        body["model"] = model;
        return Reply::json(200, body);
    }
    let mut chunks = vec![openai::chunk(json!({"role": "assistant", "content": ""}), None)];
    chunks.extend(answer.split_inclusive(' ').map(|word| openai::chunk(json!({"content": word}), None)));
    chunks.push(openai::chunk(json!({}), Some("stop")));
    if request["stream_options"]["include_usage"] == true {
        chunks.push(openai::usage_chunk(prompt_tokens, completion_tokens));
    }
    let events = chunks.into_iter().map(|mut chunk| {
        chunk["model"] = model.clone();
        openai::sse(&chunk)
    });
    Reply::chunks(openai::EVENT_STREAM, events.chain([openai::DONE.into()]))
}

/// A message's text, whether its content is a string or parts.
fn text(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join(" "),
        _ => String::new(),
    }
}

fn embeddings(request: &Value) -> Reply {
    let inputs: Vec<&str> = match &request["input"] {
        Value::String(text) => vec![text],
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let dimensions = request["dimensions"].as_u64().and_then(|d| usize::try_from(d).ok()).unwrap_or(8).min(4096);
    let vectors: Vec<Vec<f32>> = inputs.iter().map(|text| direction(text, dimensions)).collect();
    let vectors: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
    if request["encoding_format"] == "base64" { openai::embeddings_base64(&vectors) } else { openai::embeddings(&vectors) }
}

/// Documents by how near their embeddings are to the query's, best first, as the servers that have `/rerank` answer.
fn rerank(request: &Value) -> Reply {
    let query = direction(request["query"].as_str().unwrap_or_default(), 64);
    let documents = request["documents"].as_array().cloned().unwrap_or_default();
    let score = |document: &Value| -> f32 {
        direction(document.as_str().unwrap_or_default(), 64).iter().zip(&query).map(|(one, other)| one * other).sum()
    };
    let mut results: Vec<(usize, f32)> = documents.iter().map(score).enumerate().collect();
    results.sort_by(|one, other| other.1.total_cmp(&one.1));
    let most = request["top_n"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(results.len());
    let results: Vec<Value> = results.iter().take(most).map(|(index, score)| json!({"index": index, "relevance_score": score})).collect();
    Reply::json(200, json!({"id": "rerank-test", "model": request["model"], "results": results, "usage": {"total_tokens": 7}}))
}

/// A unit vector made of the text's words: texts that share words are near each other.
fn direction(text: &str, dimensions: usize) -> Vec<f32> {
    let mut vector = vec![0.0f32; dimensions];
    for word in text.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        // FNV-1a, then a step of xorshift per dimension.
        let mut state = word.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        for x in &mut vector {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *x += f32::from(u16::try_from(state >> 48).unwrap_or_default()) / 32768.0 - 1.0;
        }
    }
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length > 0.0 {
        for x in &mut vector {
            *x /= length;
        }
    }
    vector
}
