//! The part of WASI 0.2 that interpreters cannot live without, for components that import it: the tool chains of JavaScript, Python and Go put it beneath
//! every program.
//!
//! What it gives: clocks, random bytes, an output that ends in the guest's log, an end of the program, and emptiness: no arguments, no environment, no
//! input, no terminal, no directory. No host code stands behind a file ([`files`]); sockets and HTTP are not linked at all, so that a component which imports
//! them is refused when it is uploaded.
//!
//! The traits and whatever cannot wait come from wasmtime-wasi. What can wait is ours: wasmtime-wasi waits in a tokio runtime, whose threads would take
//! Postgres's signals and whose sleep no cancel ends. A wait here is one of the call's own ([`crate::patience`]), and there is no future and no runtime.

mod files;
mod output;
mod poll;

use std::collections::BTreeSet;

use wasmtime::component::{Component, HasSelf, Linker, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView as _};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, random, sync};
use wasmtime_wasi::random::{WasiRandom, WasiRandomView as _};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::call::CallState;
use output::Output;

/// What a component may import, of package `wasi`.
#[cfg(feature = "compile")]
const INTERFACES: [&str; 20] = [
    "cli/environment",
    "cli/exit",
    "cli/stderr",
    "cli/stdin",
    "cli/stdout",
    "cli/terminal-input",
    "cli/terminal-output",
    "cli/terminal-stderr",
    "cli/terminal-stdin",
    "cli/terminal-stdout",
    "clocks/monotonic-clock",
    "clocks/wall-clock",
    "filesystem/preopens",
    "filesystem/types",
    "io/error",
    "io/poll",
    "io/streams",
    "random/insecure",
    "random/insecure-seed",
    "random/random",
];

/// The newest 0.2 that wasmtime-wasi implements.
#[cfg(feature = "compile")]
const NEWEST_PATCH: u8 = 12;

/// What to do about an import of WASI that is refused.
#[cfg(feature = "compile")]
pub(crate) const REFUSED: &str = "Of WASI 0.2.0 to 0.2.12 there are clocks, random, standard streams, exit, and an empty environment and file system; no sockets, no HTTP. \
     Have the tool leave the others out, or stub WASI (componentize-py: --stub-wasi).";

/// Most random bytes that a guest gets at one time: seeds and keys are smaller, and the host holds them twice.
const RANDOM_BYTES: u64 = 64 << 10;

/// Whether a component may import this.
#[cfg(feature = "compile")]
pub(crate) fn is_granted(import: &str) -> bool {
    let Some((interface, version)) = import.strip_prefix("wasi:").and_then(|name| name.split_once('@')) else { return false };
    INTERFACES.contains(&interface) && (0..=NEWEST_PATCH).any(|patch| version.strip_prefix("0.2.") == Some(&patch.to_string()))
}

/// One call's WASI, made when it is first used.
pub(crate) struct Wasi {
    ctx: WasiCtx,
    /// Streams and what is waited for; of as many entries as the call may have handles.
    table: ResourceTable,
    stdout: Output,
    stderr: Output,
}

impl Wasi {
    fn new(handles: usize) -> Box<Self> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(handles);
        let ctx = WasiCtx::builder().max_random_size(RANDOM_BYTES).build();
        Box::new(Self { ctx, table, stdout: Output::default(), stderr: Output::default() })
    }
}

impl WasiView for Wasi {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.ctx, table: &mut self.table }
    }
}

impl CallState {
    fn wasi(&mut self) -> &mut Wasi {
        self.wasi.get_or_insert_with(|| Wasi::new(self.limits.handles))
    }
}

/// Links WASI, where the component imports any of it.
pub(crate) fn link(linker: &mut Linker<CallState>, component: &Component) -> wasmtime::Result<()> {
    let engine = linker.engine().clone();
    let imports: BTreeSet<String> =
        component.component_type().imports(&engine).map(|(name, _)| name.to_owned()).filter(|name| name.starts_with("wasi:")).collect();
    if imports.is_empty() {
        return Ok(());
    }
    clocks::wall_clock::add_to_linker::<_, WasiClocks>(linker, |state| state.wasi().clocks())?;
    random::random::add_to_linker::<_, WasiRandom>(linker, |state| state.wasi().random())?;
    random::insecure::add_to_linker::<_, WasiRandom>(linker, |state| state.wasi().random())?;
    random::insecure_seed::add_to_linker::<_, WasiRandom>(linker, |state| state.wasi().random())?;
    cli::environment::add_to_linker::<_, WasiCli>(linker, |state| state.wasi().cli())?;
    cli::exit::add_to_linker::<_, WasiCli>(linker, |state| state.wasi().cli())?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(linker, |state| state.wasi().cli())?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(linker, |state| state.wasi().cli())?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(linker, |state| state.wasi().cli())?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(linker, |state| state.wasi().cli())?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(linker, |state| state.wasi().cli())?;
    filesystem::preopens::add_to_linker::<_, WasiFilesystem>(linker, |state| state.wasi().filesystem())?;
    sync::io::error::add_to_linker::<_, HasSelf<ResourceTable>>(linker, |state| &mut state.wasi().table)?;
    // Ours.
    clocks::monotonic_clock::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    sync::io::poll::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    sync::io::streams::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    cli::stdin::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    cli::stdout::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    cli::stderr::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    files::add_to_linker(linker)
}

#[cfg(all(test, feature = "compile"))]
mod tests {
    use super::is_granted;

    #[test]
    fn what_is_implemented_is_granted_in_the_versions_that_are_implemented() {
        for import in ["wasi:cli/environment@0.2.0", "wasi:io/poll@0.2.9", "wasi:random/random@0.2.12", "wasi:filesystem/types@0.2.1"] {
            assert!(is_granted(import), "{import}");
        }
        for import in [
            "wasi:io/poll@0.2.13",
            "wasi:io/poll@0.2.256",
            "wasi:io/poll@0.2.01",
            "wasi:io/poll@0.2.",
            "wasi:io/poll@0.2.+1",
            "wasi:io/poll@0.2.0-rc",
            "wasi:io/poll@0.3.0",
            "wasi:io/poll",
            "wasi:io/poll@",
            "wasi:io@0.2.0",
            "io/poll@0.2.0",
            "wasi:sockets/tcp@0.2.0",
            "wasi:http/types@0.2.0",
            "wasi:cli/run@0.2.0",
        ] {
            assert!(!is_granted(import), "{import}");
        }
    }
}
