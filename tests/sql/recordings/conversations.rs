//! What was asked in a recording, asked from SQL: its tools, its schema, its messages; and its answer sent back.

use serde_json::{Map, Value, json};

use super::corpus::{Recording, items, recordings};
use super::{Replay, is_answer};

/// The first member of one of these names.
fn member<'a>(value: &'a Value, names: &[&str]) -> &'a Value {
    names.iter().map(|name| &value[*name]).find(|member| !member.is_null()).unwrap_or(&Value::Null)
}

/// The tools of a request in whatever format, as the option `tools` takes them.
fn tools(body: &Value) -> Vec<Value> {
    let lists = [&body["tools"], &body["Tools"], &body["toolConfig"]["tools"], &body["parameters"]["tools"]];
    let listed = lists.iter().flat_map(|list| items(list));
    listed
        .flat_map(|tool| match member(tool, &["functionDeclarations"]) {
            Value::Array(declared) => declared.clone(),
            _ => vec![tool.clone()],
        })
        .filter_map(|tool| {
            let tool = match member(&tool, &["function", "Function", "toolSpec"]) {
                Value::Null => &tool,
                inner => inner,
            };
            let schema = member(
                tool,
                &["parameters", "Parameters", "input_schema", "inputSchema", "parameters_json_schema", "parametersJsonSchema"],
            );
            let schema = if schema["json"].is_object() { &schema["json"] } else { schema };
            let schema = schema.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| schema.clone());
            // Tools of the provider's own have a type and no schema.
            let name = member(tool, &["name", "Name"]).as_str().filter(|_| schema.is_object())?;
            Some(json!({"name": name, "description": member(tool, &["description", "Description"]), "parameters": plain(schema)}))
        })
        .collect()
}

/// A JSON schema of Google's older kind, whose types are in capitals, as one of everybody's.
fn plain(schema: Value) -> Value {
    match schema {
        Value::Object(members) => {
            let plain_member = |(name, value): (String, Value)| match value.as_str() {
                Some(word) if name == "type" => (name, json!(word.to_ascii_lowercase())),
                _ => (name, plain(value)),
            };
            Value::Object(members.into_iter().map(plain_member).collect())
        }
        Value::Array(schemas) => schemas.into_iter().map(plain).collect(),
        other => other,
    }
}

/// The schema that the answer was to fit.
fn schema(body: &Value) -> Option<Value> {
    let places = [
        "/response_format/json_schema/schema",
        "/response_format/json_schema",
        "/output_config/format/schema",
        "/text/format/schema",
        "/generationConfig/responseJsonSchema",
        "/generationConfig/responseSchema",
        "/format",
    ];
    places.iter().find_map(|place| body.pointer(place)).filter(|schema| schema.is_object()).map(|schema| plain(schema.clone()))
}

fn answered(replay: &mut Replay, recording: &Recording, prompt: &str, options: &Value) -> Result<Value, String> {
    let function = if recording.stream { "pg_llm_chat_stream_json" } else { "pg_llm_chat_json" };
    let (rows, error) = replay.rows(&format!("SELECT answer FROM {function}('r', $1, $2) AS answer"), &[&prompt, options]);
    match error {
        Some(error) => Err(format!("{}: {}, {:?}", error.code().code(), error.message(), error.detail())),
        None => Ok(rows.last().map_or(Value::Null, |row| row.get(0))),
    }
}

#[test]
fn recorded_tools_and_schemas_are_asked_with_and_their_answers_fit() {
    let mut replay = Replay::new();
    for recording in recordings(|recording| is_answer(recording) && !recording.must_fail()) {
        let body = &recording.request["json"];
        let (tools, schema) = (tools(body), schema(body));
        if (tools.is_empty() && schema.is_none()) || !replay.add(&recording) {
            continue;
        }
        replay.serve(recording.reply());
        let mut options = Map::new();
        if !tools.is_empty() {
            options.insert("tools".to_owned(), json!(tools));
        }
        if let Some(schema) = &schema {
            options.insert("response_format".to_owned(), schema.clone());
        }
        let mut wrong = Vec::new();
        match answered(&mut replay, &recording, "Hello", &Value::Object(options)) {
            // A model that refuses says so in words that are no JSON.
            Err(error) if recording.expected["refusal"].is_string() && schema.is_some() && error.contains("does not fit") => {}
            Err(error) => wrong.push(error),
            Ok(answer) => {
                wrong.extend(recording.complaints(&answer));
                let fits = items(&answer["tool_calls"]).is_empty() && schema.is_some();
                let wanted = serde_json::from_str(recording.text()).ok().filter(|_| fits).unwrap_or(Value::Null);
                if answer["parsed"] != wanted {
                    wrong.push(format!("parsed: {} of {}", answer["parsed"], recording.text()));
                }
            }
        }
        let sent = replay.upstream.last_request().unwrap().text();
        for name in tools.iter().filter_map(|tool| tool["name"].as_str()).filter(|name| !sent.contains(*name)) {
            wrong.push(format!("the tool {name} was not sent"));
        }
        replay.found.wrong(&recording, "as asked", wrong);
    }
    replay.found.assert_none();
}

/// A message in OpenAI's format without what may be said in several ways.
fn message(message: &Value) -> Value {
    let role = if message["role"] == "developer" { "system" } else { message["role"].as_str().unwrap_or_default() };
    let text: String = match &message["content"] {
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        Value::String(text) => text.clone(),
        _ => String::new(),
    };
    let call = |call: &Value| {
        let arguments = call["function"]["arguments"].as_str().unwrap_or_default();
        // No arguments, and an object without members.
        let arguments = if arguments.is_empty() { "{}" } else { arguments };
        json!([call["id"], call["function"]["name"], serde_json::from_str::<Value>(arguments).unwrap_or(json!(arguments))])
    };
    let pictures = items(&message["content"]).iter().filter(|part| part["type"] == "image_url").count();
    let calls: Vec<Value> = items(&message["tool_calls"]).iter().map(call).collect();
    json!({"role": role, "text": text, "calls": calls, "answers": message["tool_call_id"], "pictures": pictures})
}

#[test]
fn recorded_conversations_in_openais_format_are_sent_as_they_were() {
    let mut replay = Replay::new();
    for recording in recordings(|recording| is_answer(recording) && !recording.must_fail() && recording.kind == "chat") {
        let recorded = items(&recording.request["json"]["messages"]);
        if recorded.is_empty() || !replay.add(&recording) {
            continue;
        }
        replay.serve(recording.reply());
        let mut options = json!({"messages": recorded});
        let tools = tools(&recording.request["json"]);
        if !tools.is_empty() {
            options["tools"] = json!(tools);
        }
        let mut wrong = match answered(&mut replay, &recording, "", &options) {
            Err(error) => vec![error],
            Ok(answer) => recording.complaints(&answer),
        };
        let sent = replay.upstream.last_request().map(|request| request.json()["messages"].clone()).unwrap_or_default();
        let (sent, recorded): (Vec<Value>, Vec<Value>) =
            (items(&sent).iter().map(message).collect(), recorded.iter().map(message).collect());
        if sent != recorded && wrong.is_empty() {
            let differ = sent.iter().zip(&recorded).find(|(sent, recorded)| sent != recorded);
            wrong.push(format!("{} messages of {}: {differ:?}", sent.len(), recorded.len()));
        }
        replay.found.wrong(&recording, "as asked", wrong);
    }
    replay.found.assert_none();
}

/// What has to come back of a signature: itself, or where an adapter has put several things into one, each of them.
fn signed(signature: &str) -> Vec<String> {
    match serde_json::from_str(signature) {
        Ok(Value::Object(members)) => members.values().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => vec![signature.to_owned()],
    }
}

#[test]
fn every_recorded_answer_can_be_sent_back_with_what_was_signed_in_it() {
    let mut replay = Replay::new();
    for recording in recordings(|recording| is_answer(recording) && !recording.must_fail()) {
        if !replay.add(&recording) {
            continue;
        }
        replay.serve(recording.reply());
        let answer = match answered(&mut replay, &recording, "Hello", &json!({})) {
            Ok(answer) => answer,
            Err(error) => {
                replay.found.wrong(&recording, "first", vec![error]);
                continue;
            }
        };
        let said_nothing = answer["response"] == "" && answer["tool_calls"].is_null() && answer["thinking"].is_null();
        let calls = items(&answer["tool_calls"]);
        let mut messages = vec![json!({"role": "user", "content": "Hello"})];
        if !said_nothing {
            messages.push(answer["message"].clone());
        }
        messages
            .extend(calls.iter().map(|call| json!({"role": "tool", "tool_call_id": call["id"], "name": call["name"], "content": "well"})));
        let mut options = json!({"messages": messages});
        if !calls.is_empty() {
            let tools = calls.iter().map(|call| json!({"name": call["name"], "parameters": {"type": "object", "properties": {}}}));
            options["tools"] = tools.collect();
        }
        let prompt = if calls.is_empty() { "And then?" } else { "" };
        replay.upstream.forget();
        let mut wrong: Vec<String> = answered(&mut replay, &recording, prompt, &options).err().into_iter().collect();
        let sent = replay.upstream.last_request().map(|request| request.text()).unwrap_or_default();
        let signatures = calls.iter().chain(items(&answer["thinking"])).filter_map(|part| part["signature"].as_str());
        let words = calls.iter().filter_map(|call| call["name"].as_str()).map(str::to_owned).chain(signatures.flat_map(signed));
        for word in words {
            let written = json!(word).to_string();
            if !sent.contains(&written[1..written.len() - 1]) {
                wrong.push(format!("{word:?} is not in {sent}"));
            }
        }
        replay.found.wrong(&recording, "sent back", wrong);
    }
    replay.found.assert_none();
}
