//! The upstream seen by a raw client: bytes in, bytes out.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod client;
mod http;
mod misbehaviour;
mod observation;
mod shapes;
mod tls;
