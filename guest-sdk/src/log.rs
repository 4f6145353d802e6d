//! Words for the operator, through the host's `log`. Natively they go to standard error.

use std::panic::{self, PanicHookInfo};
use std::sync::Once;

pub use crate::bindings::provider::pg_llm::guest::log::Level;

/// Says `message` to the operator. The host caps what a call may say.
pub fn log(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    crate::bindings::provider::pg_llm::guest::log::log(level, message);
    #[cfg(not(target_arch = "wasm32"))]
    {
        use std::io::Write;
        // Nobody is told when standard error is closed, and nobody needs to be.
        let _ = writeln!(std::io::stderr(), "{level:?}: {message}");
    }
}

/// From now on the text of a panic is logged before the trap: else the host sees a bare `unreachable`. Natively the default hook stays.
pub(crate) fn report_panics() {
    static ONCE: Once = Once::new();
    if cfg!(target_arch = "wasm32") {
        ONCE.call_once(|| panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| log(Level::Error, &info.to_string()))));
    }
}
