//! What a guest may ask of the host.

pub(crate) mod http;
pub(crate) mod keys;
pub(crate) mod log;
