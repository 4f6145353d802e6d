//! The one engine of a process, and the configuration that compiling and running must share.

use std::sync::Arc;

use wasmtime::{Config, Engine};

use crate::code_memory::Protect;
use crate::limits::WASM_STACK_BYTES;
use crate::signing::token_cache::TokenCache;
use crate::ticker::Ticker;

/// Names the configuration below, wasmtime's version and the processor family. Compiled code is only ever used under the name that it was made
/// under. Raise the number with every change of [`config`].
pub const ENGINE_ID: &str = concat!("wasmtime-48.0.8-config-2-", env!("PG_LLM_TARGET_ARCH"));

/// What both the compiler and the server use. wasmtime refuses code that was compiled with anything else.
fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // Traps by explicit checks: signal handlers belong to Postgres, which reinstalls its own SIGFPE handler whenever it likes.
        .signals_based_traps(false)
        .native_unwind_info(false)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        // Memory is small and short-lived: no 4 GiB reservations, no guard pages, no memfd.
        .memory_reservation(0)
        .memory_reservation_for_growth(1 << 20)
        .memory_guard_size(0)
        .memory_may_move(true)
        .memory_init_cow(false)
        .with_custom_code_memory(Some(Arc::new(Protect)))
        // For the adapters that wasmtime itself puts between the parts of a component; of an upload's own modules it is refused (`compile`).
        .wasm_multi_memory(true)
        // Proposals that no tool chain of ours needs.
        .wasm_tail_call(false)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_wide_arithmetic(false)
        .wasm_custom_page_sizes(false);
    config
}

/// An engine to run code with, and what its calls share.
#[derive(Clone)]
pub(crate) struct Runtime {
    pub(crate) engine: Engine,
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) tokens: Arc<TokenCache>,
}

impl Runtime {
    pub(crate) fn new() -> wasmtime::Result<Self> {
        let engine = Engine::new(&config())?;
        let ticker = Arc::new(Ticker::new(engine.weak()));
        Ok(Self { engine, ticker, tokens: Arc::default() })
    }

    /// An engine that can compile, for the baseline of this processor family, so that the code runs on every machine of a cluster.
    #[cfg(feature = "compile")]
    pub(crate) fn for_compiling() -> wasmtime::Result<Self> {
        let mut config = config();
        config.target(&format!("{}-unknown-linux-gnu", env!("PG_LLM_TARGET_ARCH")))?;
        let engine = Engine::new(&config)?;
        let ticker = Arc::new(Ticker::new(engine.weak()));
        Ok(Self { engine, ticker, tokens: Arc::default() })
    }
}
