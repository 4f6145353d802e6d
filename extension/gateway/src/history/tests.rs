use pg_llm_sandbox::types::{Thinking, ToolCall, ToolResult};

use super::cut::{Bounds, Room, at};
use super::*;

fn text(role: Role, text: &str) -> Message {
    Message { role, parts: vec![Part::Text(text.to_owned())] }
}

fn call(id: &str) -> Message {
    let call = ToolCall { id: id.to_owned(), name: "f".to_owned(), arguments: "{}".to_owned(), signature: None };
    let thinking = Thinking { text: "hm".to_owned(), signature: Some("s".to_owned()), redacted: false };
    Message { role: Role::Assistant, parts: vec![Part::Thinking(thinking), Part::ToolCall(call)] }
}

fn result(id: &str) -> Message {
    let result = ToolResult { call_id: id.to_owned(), name: None, content: "r".to_owned(), is_error: false };
    Message { role: Role::Tool, parts: vec![Part::ToolResult(result)] }
}

/// A conversation as a word: s, u, a and t are messages of four bytes (a token), c an answer that asks for a tool.
fn conversation(word: &str) -> Vec<Earlier> {
    let message = |letter| match letter {
        's' => text(Role::System, "sys."),
        'u' => text(Role::User, "user"),
        'a' => text(Role::Assistant, "asst"),
        'c' => call("1"),
        _ => result("1"),
    };
    word.chars().zip(1..).map(|(letter, id)| Earlier { id, message: message(letter), provider: None }).collect()
}

fn cut(word: &str, messages: usize) -> usize {
    at(&conversation(word), true, false, &Bounds { messages, tokens: None })
}

#[test]
fn whole_turns_are_left_out_from_the_oldest_on() {
    assert_eq!(cut("", 10), 0);
    assert_eq!(cut("uaua", 4), 0);
    assert_eq!((cut("uaua", 3), cut("uaua", 2)), (2, 2));
    assert_eq!((cut("uaua", 1), cut("uaua", 0)), (4, 4), "half a turn is none");
    assert_eq!(cut("uauuaua", 5), 2);
}

#[test]
fn a_tools_result_stays_with_its_call_and_its_question() {
    for most in 0..=8 {
        let index = cut("uactaucta", most);
        assert!([0, 5, 9].contains(&index), "{most}: {index}");
    }
    assert_eq!((cut("uactaucta", 9), cut("uactaucta", 4), cut("uactaucta", 3)), (0, 5, 9));
}

#[test]
fn the_turn_that_goes_on_is_sent_however_long_it_is() {
    let at = |word, messages| at(&conversation(word), true, true, &Bounds { messages, tokens: Some(0) });
    assert_eq!((at("uauctc", 1), at("uc", 0)), (2, 0));
    // Without any question: then it is all one turn.
    assert_eq!(at("ac", 0), 0);
}

#[test]
fn instructions_count_for_nothing() {
    assert_eq!((cut("suasua", 4), cut("suasua", 2)), (0, 4));
}

#[test]
fn tokens_bound_it_as_messages_do() {
    let cut = |tokens| at(&conversation("uauaua"), true, false, &Bounds { messages: 100, tokens: Some(tokens) });
    assert_eq!((cut(6), cut(5), cut(2), cut(1)), (0, 2, 4, 6));
    assert_eq!(at(&conversation("uauaua"), true, false, &Bounds { messages: 6, tokens: Some(6) }.of(Room::Half)), 4);
}

#[test]
fn the_end_of_a_turn_whose_beginning_is_not_there_is_left_out() {
    let at = |word, whole| at(&conversation(word), whole, false, &Bounds { messages: 10, tokens: None });
    assert_eq!((at("taua", false), at("saua", false), at("suaua", false)), (2, 2, 0));
    assert_eq!(at("aua", true), 0, "a conversation may begin with an answer");
}

fn turn(prompt: &str, messages: Vec<Message>) -> Turn {
    Turn::new(prompt.to_owned(), ChatOptions { messages, ..ChatOptions::default() }).unwrap()
}

#[test]
fn a_turn_says_something() {
    assert!(Turn::new(String::new(), ChatOptions::default()).is_err());
    assert!(Turn::new(String::new(), ChatOptions { messages: vec![result("1")], ..ChatOptions::default() }).is_ok());
    assert!(Turn::new("x".to_owned(), ChatOptions::default()).is_ok());
}

#[test]
fn calls_without_their_results_are_refused_by_their_ids() {
    let history = |word| History::new(conversation(word), true, None);
    let refused = |word, given| history(word).check_tools(&turn("x", given)).map_err(|e| e.message);
    assert_eq!(refused("uc", vec![]), Err("the model waits for the results of its tool calls 1".to_owned()));
    assert!(refused("uc", vec![result("2")]).is_err());
    assert_eq!(refused("uc", vec![result("1")]), Ok(()));
    assert_eq!(refused("uct", vec![]), Ok(()));
    assert_eq!(refused("ucta", vec![]), Ok(()));
    assert_eq!(refused("", vec![]), Ok(()));
}

#[test]
fn what_is_sent_is_instructions_then_turns_then_what_is_said_now() {
    let mut history = History::new(conversation("suaua"), true, None);
    history.sent_from = 3;
    let prepared = history.prepare(&turn("now", vec![result("9")]), "t");
    let roles: Vec<Role> = prepared.options.messages.iter().map(|message| message.role).collect();
    assert_eq!((roles, prepared.earlier), (vec![Role::System, Role::User, Role::Assistant, Role::Tool], 3));
    assert_eq!(prepared.prompt, "now");
}

#[test]
fn a_summary_stands_in_the_first_users_message_that_is_sent() {
    let mut history = History::new(conversation("suaua"), true, None);
    history.replace(3, "They met.".to_owned());
    let prepared = history.prepare(&turn("now", vec![]), "t");
    let sent: Vec<(Role, usize)> = prepared.options.messages.iter().map(|message| (message.role, message.parts.len())).collect();
    assert_eq!(sent, [(Role::System, 1), (Role::User, 2), (Role::Assistant, 1)]);
    assert!(matches!(&prepared.options.messages[1].parts[0], Part::Text(text) if text.contains("They met.")));
    // With no other, in the prompt.
    history.replace(5, "They parted.".to_owned());
    let prepared = history.prepare(&turn("now", vec![]), "t");
    assert!(prepared.prompt.contains("They parted.") && prepared.prompt.ends_with("\n\nnow"), "{}", prepared.prompt);
    assert_eq!(prepared.earlier, 1);
}

#[test]
fn what_is_kept_of_a_message_is_all_of_it() {
    for earlier in conversation("suact") {
        let said = Said::of(&earlier.message);
        assert_eq!(Earlier::read(earlier.id, &said.json, None), Some(earlier));
    }
    assert_eq!(Earlier::read(1, b"{}", None), None);
    assert_eq!(Earlier::read(1, b"\xff", None), None);
    assert_eq!(Shown::read(&Said::of(&result("1")).json).unwrap().text, "r");
    assert_eq!(Shown::read(&Said::of(&call("1")).json).unwrap().text, "");
}

#[test]
fn thinking_and_signatures_go_back_to_who_said_them_and_to_no_other() {
    let mut said = call("1");
    if let Some(Part::ToolCall(call)) = said.parts.last_mut() {
        call.signature = Some("s".to_owned());
    }
    let earlier = Earlier { id: 1, message: said.clone(), provider: Some("gemini".to_owned()) };
    assert_eq!(earlier.told("gemini"), said);
    assert_eq!(earlier.told("anthropic").parts, call("1").parts[1..]);
    assert_eq!(Earlier { provider: None, ..earlier }.told("anthropic"), said, "what the caller gives is the caller's");
}
