//! Where a conversation is cut.

use pg_llm_sandbox::types::Role;

use super::Earlier;
use crate::admission::estimate;

/// What goes along at most.
pub(super) struct Bounds {
    /// Messages, those of role system not counted.
    pub(super) messages: usize,
    /// Tokens, as they are estimated.
    pub(super) tokens: Option<u32>,
}

/// How much of the bounds is used.
#[derive(Clone, Copy)]
pub(super) enum Room {
    All,
    Half,
}

impl Bounds {
    pub(super) fn of(self, room: Room) -> Self {
        match room {
            Room::All => self,
            Room::Half => Self { messages: self.messages / 2, tokens: self.tokens.map(|tokens| tokens / 2) },
        }
    }
}

/// The index of the first message that goes along: the earliest begin of a turn from which on all is within the bounds, else the latest one. With `goes_on` what is
/// said next belongs to the latest turn, which stays. Where the conversation is not `whole`, the first messages may be the end of a turn, and are none's begin.
pub(super) fn at(earlier: &[Earlier], whole: bool, goes_on: bool, bounds: &Bounds) -> usize {
    let role = |index: usize| earlier.get(index).map(|earlier| earlier.message.role);
    let first_said = earlier.iter().find(|earlier| earlier.message.role != Role::System).map(|earlier| earlier.message.role);
    let begins = |index: usize| match role(index) {
        _ if index == 0 => whole || first_said == Some(Role::User),
        Some(role) => role == Role::User,
        None => !goes_on,
    };
    let (mut messages, mut tokens) = (0_usize, 0_u32);
    let mut cut = None;
    for index in (0..=earlier.len()).rev() {
        if let Some(Earlier { message, .. }) = earlier.get(index) {
            messages += usize::from(message.role != Role::System);
            tokens = tokens.saturating_add(estimate::message(message));
        }
        let fits = messages <= bounds.messages && bounds.tokens.is_none_or(|most| tokens <= most);
        if cut.is_some() && !fits {
            break;
        }
        if begins(index) {
            cut = Some(index);
        }
    }
    cut.unwrap_or(0)
}
