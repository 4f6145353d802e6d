//! Texts that go to a model by themselves: what is embedded or ranked.

use std::sync::Arc;

use pg_llm_sandbox::interrupt::Interrupt;
use pg_llm_sandbox::types::{Message, Part, Role};

use super::Passage;
use super::passage::Surroundings;
use crate::attempts::Attempts;
use crate::error::CallError;
use crate::route::Route;

/// `texts` as the filters of `route`'s model let them go, each as a user's message of its own; none where they go as they are. `extra_body` goes with them.
///
/// # Errors
/// When a filter blocks them, fails, or gives back anything but as many texts; and when the call is over meanwhile.
pub(crate) fn filter_texts(
    route: &Route,
    texts: &[String],
    extra_body: Option<&str>,
    attempts: &mut Attempts,
    interrupt: &Arc<dyn Interrupt>,
) -> Result<Option<Vec<String>>, CallError> {
    let Some(mut passage) = Passage::begin(route) else { return Ok(None) };
    let messages: Vec<Message> = texts.iter().map(|text| Message { role: Role::User, parts: vec![Part::Text(text.clone())] }).collect();
    let mut around = Surroundings { route, attempts, interrupt };
    around.check_extra_body(extra_body)?;
    let sent = passage.prompt(&messages, &mut around, as_many_texts)?;
    Ok(sent.map(|messages| messages.into_iter().flat_map(|message| message.parts).filter_map(text).collect()))
}

/// The same for texts that have nothing to do with each other: what becomes of one does not depend on its neighbours, which are there by chance.
///
/// # Errors
/// As [`filter_texts`].
pub(crate) fn filter_each(
    route: &Route,
    texts: &[String],
    extra_body: Option<&str>,
    attempts: &mut Attempts,
    interrupt: &Arc<dyn Interrupt>,
) -> Result<Option<Vec<String>>, CallError> {
    let mut changed: Option<Vec<String>> = None;
    if !route.filters.watches_prompts() {
        return Ok(None);
    }
    for (at, text) in texts.iter().enumerate() {
        if let Some(filtered) =
            filter_texts(route, std::slice::from_ref(text), extra_body, attempts, interrupt)?.and_then(|mut one| one.pop())
        {
            changed.get_or_insert_with(|| texts.to_vec())[at] = filtered;
        }
    }
    Ok(changed)
}

fn as_many_texts(before: &[Message], after: &[Message]) -> Result<(), &'static str> {
    let one_text = |message: &Message| matches!(&message.parts[..], [Part::Text(_)]);
    if after.len() == before.len() && after.iter().all(one_text) {
        return Ok(());
    }
    Err("it gave back something else than as many texts")
}

fn text(part: Part) -> Option<String> {
    match part {
        Part::Text(text) => Some(text),
        _ => None,
    }
}
