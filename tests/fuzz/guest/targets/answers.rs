//! A whole response, of any status: an answer or a failure, and no panic.
//!
//! Input: the adapter, the status, the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pg_llm_fuzz::{Visit, request, with_adapter};
use pg_llm_guest::Provider;
use pg_llm_guest::prelude::*;
use pg_llm_guest::testing::decode_whole;

struct Decode<'a>(u8, &'a [u8]);

impl Visit for Decode<'_> {
    fn visit<P: Provider>(self) {
        let status = [200, 200, 200, 201, 400, 401, 429, 500][usize::from(self.0 % 8)];
        let _ = decode_whole::<P>(&request(), HttpResponse::new(status, self.1.to_vec()));
    }
}

fuzz_target!(|input: &[u8]| {
    if let [adapter, status, body @ ..] = input {
        with_adapter(*adapter, Decode(*status, body));
    }
});
