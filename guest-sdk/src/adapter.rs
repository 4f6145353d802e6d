//! The whole of a provider, I/O included: for what does not fit [`Provider`](crate::Provider), such as one that needs no HTTP, or several requests.

use crate::Description;
use crate::types::{Answer, ChatRequest, Event, Failure};

/// A provider that does everything itself. Register it with [`adapter!`](crate::adapter!).
///
/// Most want [`Provider`](crate::Provider), of which [`Http`](crate::exchange::Http) makes an adapter.
pub trait Adapter: 'static {
    /// A running answer.
    type Stream: EventStream;

    /// What this adapter says of itself. Called at upload, never in a chat.
    fn describe() -> Description;

    /// Answers as a whole.
    fn complete(request: &ChatRequest) -> Result<Answer, Failure>;

    /// Begins to answer piece by piece.
    fn stream(request: &ChatRequest) -> Result<Self::Stream, Failure>;
}

/// A running answer, from which the host pulls.
pub trait EventStream: 'static {
    /// The next event; none at the end, which comes after [`Event::Finish`]. It is not called again after a failure.
    fn next(&mut self) -> Result<Option<Event>, Failure>;
}

/// Exports an [`Adapter`] from this module as the component's provider. Once a module; nothing natively.
#[macro_export]
macro_rules! adapter {
    ($adapter:ty) => {
        const _: () = {
            #[cfg(target_arch = "wasm32")]
            type Exported = $crate::ProviderComponent<$adapter>;
            #[cfg(target_arch = "wasm32")]
    $crate::bindings::provider::export_provider!(Exported with_types_in $crate::bindings::provider);
            // Natively the same bounds are checked, so that a test build says what a guest build would.
            const fn is_adapter<A: $crate::Adapter>() {}
            is_adapter::<$adapter>();
        };
    };
}
