//! A streamed response: the same events wherever it is cut, and no panic.
//!
//! Input: the adapter, the size of the pieces, the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pg_llm_fuzz::{Visit, request, with_adapter};
use pg_llm_guest::Provider;
use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::{decode_stream, in_chunks};

struct Decode<'a>(u8, &'a [u8]);

impl Visit for Decode<'_> {
    fn visit<P: Provider>(self) {
        let once = decode_stream::<P>(&request(), ResponseHead::new(200), vec![self.1.to_vec()]);
        let cut = decode_stream::<P>(&request(), ResponseHead::new(200), in_chunks(self.1, usize::from(self.0) + 1));
        assert_eq!(cut.events, once.events);
        assert_eq!(cut.failure.map(|failure| failure.kind), once.failure.map(|failure| failure.kind));
    }
}

fuzz_target!(|input: &[u8]| {
    if let [adapter, size, body @ ..] = input {
        with_adapter(*adapter, Decode(*size, body));
    }
});
