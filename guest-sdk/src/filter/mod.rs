//! A filter looks at what goes to a model and at what comes back, and passes, changes or blocks it. It has no network and no key.

mod config;
mod fold;
mod redactor;
mod texts;

use crate::types::Message;

pub use config::Config;
pub use fold::{Folded, IDEOGRAPH, LETTER, SYMBOL, fold, is_invisible};
pub use redactor::{Found, Redactor, Scan};
pub use texts::{change_json, change_texts};

pub use crate::bindings::filter::exports::pg_llm::guest::describe_filter::{FilterDescription, Sides};
pub use crate::bindings::filter::exports::pg_llm::guest::prompt::PromptVerdict;
pub use crate::bindings::filter::exports::pg_llm::guest::response::{Channel, Verdict};

/// A filter. Register it with [`filter!`](crate::filter!).
///
/// `config` is a JSON text: what the administrator gave to `pg_llm_add_filter`. An error (a `String`) is for a filter that could not do its work; the
/// host then fails the call, since an unfiltered text is not handed on.
pub trait Filter: 'static {
    /// The response side of one call.
    type Response: ResponseFilter;

    /// What this filter says of itself.
    fn describe() -> FilterDescription;

    /// Looks at what goes to the model.
    fn prompt(config: &str, messages: Vec<Message>) -> Result<PromptVerdict, String> {
        let _ = (config, messages);
        Ok(PromptVerdict::Pass)
    }

    /// Begins the response side of a call, or of a part of it (`channel`); `memo` is what [`prompt`](Self::prompt) left with
    /// [`PromptVerdict::Change`].
    fn response(config: &str, channel: Channel, memo: Option<&str>) -> Result<Self::Response, String>;
}

impl FilterDescription {
    /// A filter that looks at these sides; `config_schema` is the JSON Schema of its configuration.
    pub fn new(
        name: impl Into<String>,
        version: impl Into<String>,
        summary: impl Into<String>,
        sides: Sides,
        config_schema: impl Into<String>,
    ) -> Self {
        Self { name: name.into(), version: version.into(), summary: summary.into(), sides, config_schema: config_schema.into() }
    }
}

/// Looks at what comes back, piece by piece; a whole answer is one `push` and a `finish`.
pub trait ResponseFilter: 'static {
    /// What of the text so far may be handed on. A match may straddle pieces: keep what could still become one.
    fn push(&mut self, text: &str) -> Result<Verdict, String>;

    /// What was kept.
    fn finish(&mut self) -> Result<Verdict, String>;
}

/// Hands everything on: for filters that look at prompts only.
#[derive(Clone, Copy, Debug, Default)]
pub struct PassThrough;

impl ResponseFilter for PassThrough {
    fn push(&mut self, text: &str) -> Result<Verdict, String> {
        Ok(Verdict::Emit(text.to_owned()))
    }

    fn finish(&mut self) -> Result<Verdict, String> {
        Ok(Verdict::Emit(String::new()))
    }
}

/// Exports a [`Filter`] from this module as the component's filter. Once a module; nothing natively.
#[macro_export]
macro_rules! filter {
    ($filter:ty) => {
        const _: () = {
            #[cfg(target_arch = "wasm32")]
            type Exported = $crate::FilterComponent<$filter>;
            #[cfg(target_arch = "wasm32")]
    $crate::bindings::filter::export_filter!(Exported with_types_in $crate::bindings::filter);
            // Natively the same bounds are checked, so that a test build says what a guest build would.
            const fn is_filter<F: $crate::Filter>() {}
            is_filter::<$filter>();
        };
    };
}
