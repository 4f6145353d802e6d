//! What `pii-redact` does to texts.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use pg_llm_filter_pii_redact::PiiRedact;
use pg_llm_filter_tests::{however_it_is_cut, prompt, stream, verdict};
use pg_llm_guest::filter::{Channel, PromptVerdict};
use pg_llm_guest::prelude::*;

fn redacted(text: &str) -> String {
    prompt::<PiiRedact>("", text).0
}

#[test]
fn numbers_from_the_public_registers_are_known() {
    for (value, placeholder) in [
        ("4111 1111 1111 1111", "[CARD_1]"),
        ("378282246310005", "[CARD_1]"),
        ("6011-1111-1111-1117", "[CARD_1]"),
        ("30569309025904", "[CARD_1]"),
        ("GB82 WEST 1234 5698 7654 32", "[IBAN_1]"),
        ("DE89370400440532013000", "[IBAN_1]"),
        ("FR14 2004 1010 0505 0001 3M02 606", "[IBAN_1]"),
        ("NL91ABNA0417164300", "[IBAN_1]"),
        ("12345678Z", "[NATIONAL_ID_1]"),
        ("X1234567L", "[NATIONAL_ID_1]"),
        ("RSSMRA85T10A562S", "[NATIONAL_ID_1]"),
        ("86 095 742 719", "[NATIONAL_ID_1]"),
        ("11010519491231002X", "[NATIONAL_ID_1]"),
        ("529.982.247-25", "[NATIONAL_ID_1]"),
        ("255081416802538", "[NATIONAL_ID_1]"),
        ("811218-9876", "[NATIONAL_ID_1]"),
        ("9999 4105 7058", "[NATIONAL_ID_1]"),
        ("078-05-1120", "[NATIONAL_ID_1]"),
        ("AB 12 34 56 C", "[NATIONAL_ID_1]"),
        ("2001:db8:85a3::8a2e:370:7334", "[IP_1]"),
        ("192.0.2.44", "[IP_1]"),
    ] {
        assert_eq!(redacted(&format!("it is {value}.")), format!("it is {placeholder}."), "{value}");
        assert_eq!(redacted(value), placeholder);
    }
}

#[test]
fn one_wrong_digit_is_no_number() {
    for value in ["4111 1111 1111 1112", "GB82 WEST 1234 5698 7654 33", "12345678A", "RSSMRA85T10A562T", "86 095 742 718", "529.982.247-26"]
    {
        assert_eq!(redacted(value), value);
    }
}

#[test]
fn the_same_value_has_the_same_placeholder_throughout_a_conversation() {
    let call = ToolCall {
        id: "1".into(),
        name: "mail".into(),
        arguments: r#"{"to":"a@example.com","pan":4111111111111111}"#.into(),
        signature: None,
    };
    let result = ToolResult { call_id: "1".into(), name: None, content: "sent to a@example.com via 192.0.2.7".into(), is_error: false };
    let document = Media::bytes("b@example.com", "text/csv");
    let messages = vec![
        Message::system("Help b@example.com."),
        Message::user("Mail a@example.com and b@example.com."),
        Message { role: Role::Assistant, parts: vec![Part::ToolCall(call)] },
        Message { role: Role::Tool, parts: vec![Part::ToolResult(result)] },
        Message { role: Role::User, parts: vec![Part::Document(document)] },
    ];
    let PromptVerdict::Change((messages, None)) = PiiRedact::prompt("", messages).unwrap() else { panic!() };
    assert_eq!(messages[0].text(), "Help [EMAIL_1].");
    assert_eq!(messages[1].text(), "Mail [EMAIL_2] and [EMAIL_1].");
    let Part::ToolCall(call) = &messages[2].parts[0] else { panic!() };
    assert_eq!(call.arguments, r#"{"to":"[EMAIL_2]","pan":"[CARD_1]"}"#);
    let Part::ToolResult(result) = &messages[3].parts[0] else { panic!() };
    assert_eq!(result.content, "sent to [EMAIL_2] via [IP_1]");
    let Part::Document(document) = &messages[4].parts[0] else { panic!() };
    assert_eq!(document.source, MediaSource::Bytes(b"[EMAIL_1]".to_vec()));
}

#[test]
fn signed_thinking_is_left_as_it_is() {
    let thinking = Thinking { text: "a@example.com".into(), signature: Some("x".into()), redacted: false };
    let messages = vec![Message { role: Role::Assistant, parts: vec![Part::Thinking(thinking)] }];
    assert!(matches!(PiiRedact::prompt("", messages).unwrap(), PromptVerdict::Pass));
}

#[test]
fn what_is_redacted_is_not_redacted_again() {
    let text = "a@example.com, +49 30 1234567, 4111111111111111, DE89370400440532013000, 192.0.2.1, 078-05-1120";
    let once = redacted(text);
    assert_eq!(redacted(&once), once);
}

#[test]
fn a_placeholder_that_the_user_wrote_is_never_restored() {
    let (out, memo) = prompt::<PiiRedact>(r#"{"reversible":true}"#, "[EMAIL_1] is not a@example.com");
    assert_eq!(out, "[EMAIL_1] is not [EMAIL_2]");
    assert_eq!(stream::<PiiRedact>("", Channel::Text, memo.as_deref(), &["[EMAIL_1] [EMAIL_2]"]).unwrap(), "[EMAIL_1] a@example.com");
}

#[test]
fn placeholders_are_restored_however_the_answer_is_cut() {
    let (_, memo) = prompt::<PiiRedact>(r#"{"reversible":true}"#, "a@example.com 4111 1111 1111 1111");
    let answer = "[[EMAIL_1]] [EMAIL_1][CARD_1] [EMAIL_ [EMAIL_12] [email_1] [CARD_1";
    let restored = however_it_is_cut::<PiiRedact>("", memo.as_deref(), answer);
    assert_eq!(restored, "[a@example.com] a@example.com4111 1111 1111 1111 [EMAIL_ [EMAIL_12] [email_1] [CARD_1");
}

#[test]
fn a_value_is_escaped_where_it_stands_in_json() {
    let memo = r#"{"[EMAIL_1]":"a\"b\\c"}"#;
    let out = stream::<PiiRedact>("", Channel::ToolArguments, Some(memo), &["{\"to\":\"[EMA", "IL_1]\"}"]).unwrap();
    assert_eq!(out, r#"{"to":"a\"b\\c"}"#);
    assert_eq!(stream::<PiiRedact>("", Channel::Thinking, Some(memo), &["[EMAIL_1]"]).unwrap(), "[EMAIL_1]");
}

#[test]
fn personal_data_of_an_answer_is_redacted_however_it_is_cut() {
    let answer = "Mail bob@example.com, call (212) 555-0123 or +44 20 7946 0123; card 4111 1111 1111 1111, IBAN GB82 WEST 1234 5698 7654 32, AB 12 34 56 C,\n\
                  host 192.0.2.1 of 2001:db8::1, ４１１１\u{200D}１１１１１１１１１１１１ and v1.2.3.4; 1 2 3 4 5 6 7 8 9";
    let out = however_it_is_cut::<PiiRedact>(r#"{"answers":true}"#, None, answer);
    assert_eq!(
        out,
        "Mail [EMAIL], call [PHONE] or [PHONE]; card [CARD], IBAN [IBAN], [NATIONAL_ID],\nhost [IP] of [IP], [CARD] and v1.2.3.4; 1 2 3 4 5 6 7 8 9"
    );
}

#[test]
fn what_stands_in_an_endless_word_is_found_however_it_is_cut() {
    for filler in ["x", "x.", "1 ", "A1 ", "\u{200B}", "é"] {
        let text = format!("{}(bob@example.com){}", filler.repeat(700), filler.repeat(300));
        let whole = stream::<PiiRedact>(r#"{"answers":true}"#, Channel::Text, None, &[&text]).unwrap();
        assert!(whole.contains("[EMAIL]"), "{filler:?}: {whole}");
        for size in [1, 7, 100, 511, 512, 513] {
            let chars: Vec<char> = text.chars().collect();
            let pieces: Vec<String> = chars.chunks(size).map(|piece| piece.iter().collect()).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            assert_eq!(
                stream::<PiiRedact>(r#"{"answers":true}"#, Channel::Text, None, &pieces).unwrap(),
                whole,
                "{filler:?} in pieces of {size}"
            );
        }
    }
}

#[test]
fn only_the_kinds_and_countries_that_are_asked_for_are_replaced() {
    let text = "a@example.com 192.0.2.1 12345678Z 078-05-1120";
    assert_eq!(prompt::<PiiRedact>(r#"{"kinds":["ip"]}"#, text).0, "a@example.com [IP_1] 12345678Z 078-05-1120");
    let config = r#"{"kinds":["national_id"],"countries":["es"]}"#;
    assert_eq!(prompt::<PiiRedact>(config, text).0, "a@example.com 192.0.2.1 [NATIONAL_ID_1] 078-05-1120");
    assert!(matches!(verdict::<PiiRedact>(r#"{"kinds":[]}"#, text), PromptVerdict::Pass));
}
