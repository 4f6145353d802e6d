//! What the mock answers.

use pg_llm_guest::prelude::*;

use crate::errors;

pub(crate) fn answer(request: &ChatRequest) -> Result<Answer, Failure> {
    let settings = Settings::of(request)?;
    if let Some(name) = settings.text("mock_error")? {
        return Err(errors::failure(name));
    }
    let text = text(request, &settings)?;
    let (text, finish_reason) = match request.sampling.max_tokens {
        Some(max) => cut(&text, max),
        None => (text, FinishReason::Stop),
    };
    let logprob = match settings.number("mock_confidence")? {
        None => None,
        Some(confidence) if confidence > 0.0 && confidence <= 1.0 => Some(confidence.ln()),
        Some(_) => return Err(Failure::invalid("setting \"mock_confidence\" must be above 0 and at most 1")),
    };
    let logprobs = logprob
        .map(|logprob| words(&text).map(|token| TokenLogprob { token: token.to_owned(), logprob, alternatives: Vec::new() }).collect());
    let input = request.messages.iter().map(|message| message.text().split_whitespace().count()).sum::<usize>();
    let output = words(&text).count();
    Ok(Answer {
        id: Some("mock-1".to_owned()),
        model: Some(if request.model.is_empty() { "mock".to_owned() } else { request.model.clone() }),
        usage: Some(Usage { input_tokens: u64::try_from(input).ok(), output_tokens: u64::try_from(output).ok(), ..Usage::default() }),
        parts: vec![Part::Text(text)],
        finish_reason: Some(finish_reason),
        logprobs: logprobs.unwrap_or_default(),
        raw: None,
    })
}

fn text(request: &ChatRequest, settings: &Settings) -> Result<String, Failure> {
    if let Some(sql) = settings.text("mock_sql_response")?.filter(|_| speaks_of_sql(request)) {
        return Ok(sql.to_owned());
    }
    if let Some(text) = settings.text("mock_response")? {
        return Ok(text.to_owned());
    }
    let last = request.messages.iter().rfind(|message| message.role == Role::User).map(Message::text).unwrap_or_default();
    Ok(if last.is_empty() { "You said nothing.".to_owned() } else { format!("You said: {last}") })
}

/// Whether a system message has `SQL` as a word of its own.
fn speaks_of_sql(request: &ChatRequest) -> bool {
    request.messages.iter().filter(|message| message.role == Role::System).any(|message| {
        message
            .text()
            .split(|c: char| !c.is_alphanumeric())
            .any(|word| word.eq_ignore_ascii_case("sql") || word.eq_ignore_ascii_case("postgresql"))
    })
}

/// The words of a text, each with the white space before it, so that together they are the text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let begin = rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len());
        let end = rest[begin..].find(char::is_whitespace).map_or(rest.len(), |length| begin + length);
        // White space at the very end belongs to the last word.
        let end = if rest[end..].trim().is_empty() { rest.len() } else { end };
        let (word, after) = rest.split_at(end);
        rest = after;
        Some(word)
    })
}

/// At most `max` words.
fn cut(text: &str, max: u32) -> (String, FinishReason) {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    if words(text).count() <= max { (text.to_owned(), FinishReason::Stop) } else { (words(text).take(max).collect(), FinishReason::Length) }
}

/// The answer as a stream of this many pieces, or of one a word.
pub(crate) fn events(answer: &Answer, pieces: Option<u64>) -> Vec<Event> {
    let text = answer.text();
    let mut events = vec![Event::Started(Started { id: answer.id.clone(), model: answer.model.clone() })];
    match pieces {
        None => events.extend(words(&text).map(|word| Event::Text(word.to_owned()))),
        Some(pieces) => events.extend(evenly(&text, usize::try_from(pieces).unwrap_or(usize::MAX)).into_iter().map(Event::Text)),
    }
    if !answer.logprobs.is_empty() {
        events.push(Event::Logprobs(answer.logprobs.clone()));
    }
    events.extend(answer.finish_reason.clone().map(Event::Finish));
    events.extend(answer.usage.clone().map(Event::Usage));
    events
}

/// `text` in `pieces` pieces whose lengths in characters differ by at most one; none of them is empty.
fn evenly(text: &str, pieces: usize) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    let pieces = pieces.clamp(1, characters.len().max(1));
    let bound = |piece: usize| piece * characters.len() / pieces;
    (0..pieces)
        .map(|piece| characters[bound(piece)..bound(piece + 1)].iter().collect::<String>())
        .filter(|piece| !piece.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(settings: &Value, messages: Vec<Message>) -> ChatRequest {
        ChatRequest { settings: settings.to_string(), ..ChatRequest::new("m", messages) }
    }

    fn said(settings: &Value, messages: Vec<Message>) -> String {
        answer(&asked(settings, messages)).unwrap().text()
    }

    #[test]
    fn it_repeats_what_the_user_said_last() {
        let messages = vec![Message::user("one"), Message::assistant("x"), Message::user("two words")];
        assert_eq!(said(&json!({}), messages), "You said: two words");
        assert_eq!(said(&json!({}), vec![]), "You said nothing.");
    }

    #[test]
    fn it_answers_what_it_was_told_to() {
        let settings = json!({ "mock_response": "hello", "mock_sql_response": "SELECT 1" });
        assert_eq!(said(&settings, vec![Message::user("SQL please")]), "hello");
        assert_eq!(said(&settings, vec![Message::system("You write PostgreSQL."), Message::user("x")]), "SELECT 1");
        assert_eq!(said(&settings, vec![Message::system("You like sqlite and mysql."), Message::user("x")]), "hello");
    }

    #[test]
    fn its_confidence_is_the_exponential_of_the_mean_log_probability() {
        let answer = answer(&asked(&json!({ "mock_confidence": 0.8 }), vec![Message::user("a b c")])).unwrap();
        let mean = answer.logprobs.iter().map(|token| token.logprob).sum::<f64>() / 5.0;
        assert_eq!(answer.logprobs.len(), 5);
        assert!((mean.exp() - 0.8).abs() < 1e-12);
    }

    #[test]
    fn a_confidence_outside_its_range_is_refused() {
        for confidence in [0.0, -1.0, 1.1] {
            let failure = answer(&asked(&json!({ "mock_confidence": confidence }), vec![])).unwrap_err();
            assert_eq!(failure.kind, FailureKind::InvalidRequest);
        }
    }

    #[test]
    fn tokens_are_words_and_max_tokens_cuts_between_them() {
        let mut request = asked(&json!({ "mock_response": "one two three" }), vec![Message::user("a b")]);
        let usage = answer(&request).unwrap().usage.unwrap();
        assert_eq!((usage.input_tokens, usage.output_tokens), (Some(2), Some(3)));
        request.sampling.max_tokens = Some(2);
        let short = answer(&request).unwrap();
        assert_eq!((short.text().as_str(), short.finish_reason), ("one two", Some(FinishReason::Length)));
    }

    #[test]
    fn a_stream_is_the_answer_in_as_many_pieces_as_asked() {
        for text in ["", " ", "one", "  one  two \n", "grüße 🦀 aus Köln"] {
            let whole = answer(&asked(&json!({ "mock_response": text }), vec![])).unwrap();
            for pieces in [None, Some(1), Some(3), Some(1000)] {
                let events = events(&whole, pieces);
                let put_together = pg_llm_guest::testing::assemble(&events);
                assert_eq!(put_together.text(), text);
                assert!(!events.contains(&Event::Text(String::new())));
                assert_eq!(put_together.finish_reason, Some(FinishReason::Stop));
            }
        }
        let whole = answer(&asked(&json!({ "mock_response": "abcdef" }), vec![])).unwrap();
        assert_eq!(events(&whole, Some(3)).iter().filter(|event| matches!(event, Event::Text(_))).count(), 3);
    }

    #[test]
    fn it_fails_on_demand_with_every_kind() {
        for (name, kind) in errors::KINDS {
            assert_eq!(answer(&asked(&json!({ "mock_error": name }), vec![])).unwrap_err().kind, kind);
        }
        assert_eq!(answer(&asked(&json!({ "mock_error": "boredom" }), vec![])).unwrap_err().kind, FailureKind::InvalidRequest);
    }
}
