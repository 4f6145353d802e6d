//! The target that FUZZ_TARGET names.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<fn(&[u8])> =
    LazyLock::new(|| pg_llm_fuzz_host::target(&std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET, a target's name")));

fuzz_target!(|input: &[u8]| TARGET(input));
