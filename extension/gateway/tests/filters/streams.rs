//! Streamed answers.

use pg_llm_gateway::ErrorKind;
use pg_llm_upstream::Gate;

use super::*;

/// Chunks of the answer, cut at every one of the bytes that may be a cut.
fn cuts(text: &str) -> Vec<Vec<&str>> {
    let each = text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]).collect();
    let twos = (1..text.len()).filter(|&at| text.is_char_boundary(at)).map(|at| vec![&text[..at], &text[at..]]);
    twos.chain([each]).collect()
}

#[test]
fn a_streams_text_is_the_whole_answers_wherever_it_is_cut() {
    let answer = format!("Ask [EMAIL_1] é, key {KEY}, or ann@example.com.");
    let expected = format!("Ask {EMAIL} é, key [API_KEY], or [EMAIL].");
    let steps = || vec![step("secret-redact", &json!({})), step("pii-redact", &json!({"reversible": true, "answers": true}))];
    let model = Model::with(steps()).says(openai::completion(&answer));
    assert_eq!(model.answer(&format!("x {EMAIL}")), expected);
    let model = Model::with(steps());
    for deltas in cuts(&answer) {
        model.upstream.on("/v1/chat/completions").reply(openai::stream(&deltas));
        let (pieces, end) = drained(model.stream(&format!("x {EMAIL}")));
        assert_eq!(pieces.concat(), expected, "{deltas:?}");
        // Never even for a moment.
        assert!(pieces.iter().all(|piece| !piece.contains("sk-proj") && !piece.contains("ann@")), "{pieces:?}");
        let end = end.unwrap().to_json();
        assert_eq!((&end["response"], &end["finish_reason"]), (&json!(expected), &json!("stop")));
    }
}

#[test]
fn text_that_no_filter_holds_back_is_handed_on_as_it_comes() {
    let gate = Gate::new();
    let model = Model::with(vec![step("secret-redact", &json!({}))]);
    model.upstream.on("/v1/chat/completions").reply(openai::stream(&["Hello, ", "all ", "is ", "well. "]).gated(&gate));
    let mut stream = model.stream("x");
    // The opening and the first piece: the rest does not come before it is read.
    gate.pass(3);
    loop {
        match stream.next().unwrap().unwrap() {
            Delta::Text(text) if text.starts_with("Hello") => break,
            Delta::End(_) => panic!("all at once"),
            _ => {}
        }
    }
    gate.open();
    assert_eq!(drained(stream).1.unwrap().chat.text(), "Hello, all is well. ");
}

#[test]
fn a_filter_that_ends_a_stream_closes_the_connection() {
    let model = Model::with(vec![step("length-limit", &json!({"answer": {"max": 7, "action": "truncate"}}))]);
    model.upstream.on("/v1/chat/completions").reply(openai::stream_endless("word "));
    let (pieces, end) = within(LONG, || drained(model.stream("x")));
    let end = end.unwrap().to_json();
    assert_eq!((pieces.concat().as_str(), &end["finish_reason"]), ("word wo", &json!("length")));
    assert_eq!(end["filters"], json!([{"name": "length-limit", "side": "response", "action": "cut"}]));
    let until = Instant::now() + LONG;
    while model.upstream.open_connections() > 0 {
        assert!(Instant::now() < until, "still connected");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_block_in_a_stream_ends_it_and_leaves_what_is_out() {
    let model = Model::with(vec![step("length-limit", &json!({"answer": {"max": 7}}))]);
    model.upstream.on("/v1/chat/completions").reply(openai::stream(&["word ", "word ", "word "]));
    let mut stream = model.stream("x");
    let mut pieces = String::new();
    let error = loop {
        match stream.next() {
            Ok(Some(Delta::Text(text))) => pieces += &text,
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!("word wo".starts_with(&pieces), "{pieces}");
    assert_eq!((error.kind, error.attempts, error.may_fall_back), (ErrorKind::Blocked, 1, false));
    assert_eq!(error.detail.as_deref(), Some("filter: length-limit, side: response"));
    assert!(stream.next().unwrap().is_none());
}

#[test]
fn arguments_of_each_tool_call_are_filtered_by_themselves_and_reach_the_end_whole() {
    let call = |index: usize, id: Option<&str>, arguments: &str| {
        let name = id.map(|_| "send");
        json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}}]})
    };
    let deltas = [
        call(0, Some("a"), ""),
        call(1, Some("b"), "{\"to\": \"[EM"),
        call(0, None, "{\"to\": \"[EMAIL"),
        call(1, None, "AIL_1]\"}"),
        call(0, None, "_2]\"}"),
    ];
    let mut events: Vec<Value> = deltas.into_iter().map(|delta| openai::chunk(delta, None)).collect();
    events.push(openai::chunk(json!({}), Some("tool_calls")));
    events.push(json!("[DONE]"));
    let body: String = events[..events.len() - 1].iter().map(openai::sse).collect::<String>() + openai::DONE;
    let model = Model::with(vec![step("pii-redact", &json!({"reversible": true}))]);
    model.upstream.on("/v1/chat/completions").reply(Reply::bytes(200, openai::EVENT_STREAM, body));
    let mut stream = model.stream(&format!("x {EMAIL} ann@example.com"));
    let mut shown: HashMap<u32, String> = HashMap::new();
    let end = loop {
        match stream.next().unwrap().unwrap() {
            Delta::ToolCall(delta) => *shown.entry(delta.index).or_default() += &delta.arguments,
            Delta::End(end) => break end.to_json(),
            _ => {}
        }
    };
    assert_eq!((shown[&0].as_str(), shown[&1].as_str()), ("{\"to\": \"ann@example.com\"}", "{\"to\": \"bob@example.com\"}"));
    let calls = &end["tool_calls"];
    assert_eq!((&calls[0]["id"], &calls[0]["arguments"]), (&json!("a"), &json!({"to": "ann@example.com"})));
    assert_eq!((&calls[1]["id"], &calls[1]["arguments"]), (&json!("b"), &json!({"to": EMAIL})));
}

#[test]
fn a_stream_that_breaks_off_shows_nothing_of_what_was_held_back() {
    let model = Model::with(vec![step("secret-redact", &json!({}))]);
    model.upstream.on("/v1/chat/completions").reply(openai::stream_without_end(&["fine ", "sk-proj-abcdefghij"]));
    let (pieces, end) = drained(model.stream("x"));
    assert!(end.is_err() && !pieces.concat().contains("sk-"), "{pieces:?}");
}
