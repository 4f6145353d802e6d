//! How bytes travel: ureq's connection pool over sockets that wait by [`crate::interrupt`].

mod agent;
mod dial;
mod names;
mod socket;
mod wiping;

pub(crate) use agent::{Agents, check_trust_anchors};
