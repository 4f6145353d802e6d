//! Memory by the page.

/// Adds this many pages of 64 KiB; false when the host refuses.
pub(crate) fn grow(pages: usize) -> bool {
    #[cfg(target_arch = "wasm32")]
    let grown = core::arch::wasm32::memory_grow(0, pages) != usize::MAX;
    #[cfg(not(target_arch = "wasm32"))]
    let grown = pages == 0;
    grown
}

/// How many there are.
pub(crate) fn pages() -> usize {
    #[cfg(target_arch = "wasm32")]
    let pages = core::arch::wasm32::memory_size(0);
    #[cfg(not(target_arch = "wasm32"))]
    let pages = 0;
    pages
}
