//! Checks and compiles a component in a process of its own.
//!
//! `pg_llm_compiler MEMORY_MB CPU_SECONDS [filter]` is what the server runs: component on standard input; on standard output the length of the verdict (u32, little endian),
//! the verdict as JSON, and, when it was accepted, the compiled code. With `inspect`, what was found out stands in the verdict's place, and no code follows. Whatever a hostile component does to the compiler, it does to this process.
//!
//! `pg_llm_compiler --precompile IN.wasm OUT.cwasm OUT.json` is what the build runs for the built-in providers.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use pg_llm_sandbox::report::{Refusal, Report, Verdict};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result =
        match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["--precompile", input, code, report] => precompile(input, code, report),
            ["--precompile-filter", input, code, report] => precompile_filter(input, code, report),
            [memory_mb, cpu_seconds] => limited(memory_mb, cpu_seconds).and_then(|()| serve(provider)),
            [memory_mb, cpu_seconds, "inspect"] => limited(memory_mb, cpu_seconds).and_then(|()| look()),
            [memory_mb, cpu_seconds, "filter"] => limited(memory_mb, cpu_seconds).and_then(|()| serve(filter)),
            _ => Err("usage: pg_llm_compiler MEMORY_MB CPU_SECONDS [filter | inspect] | --precompile[-filter] IN.wasm OUT.cwasm OUT.json"
                .to_owned()),
        };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(io::stderr(), "pg_llm_compiler: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Compiles a component of one world.
type Compile = fn(&[u8]) -> Result<(Verdict, Vec<u8>), Refusal>;

fn provider(wasm: &[u8]) -> Result<(Verdict, Vec<u8>), Refusal> {
    pg_llm_sandbox::compile(wasm).map(|(report, artefact)| (Verdict::Accepted(report), artefact))
}

fn filter(wasm: &[u8]) -> Result<(Verdict, Vec<u8>), Refusal> {
    pg_llm_sandbox::compile_filter(wasm).map(|(report, artefact)| (Verdict::AcceptedFilter(report), artefact))
}

fn serve(compile: Compile) -> Result<(), String> {
    let (verdict, artefact) = compile(&component()?).unwrap_or_else(|refusal| (Verdict::Refused(refusal), Vec::new()));
    answer(&verdict, &artefact)
}

fn look() -> Result<(), String> {
    answer(&pg_llm_sandbox::inspect(&component()?), &[])
}

fn component() -> Result<Vec<u8>, String> {
    let mut wasm = Vec::new();
    io::stdin().read_to_end(&mut wasm).map_err(|e| format!("cannot read the component: {e}"))?;
    Ok(wasm)
}

fn answer(verdict: &impl serde::Serialize, artefact: &[u8]) -> Result<(), String> {
    let verdict = serde_json::to_vec(verdict).map_err(|e| e.to_string())?;
    let length = u32::try_from(verdict.len()).map_err(|e| e.to_string())?;
    let mut out = io::stdout().lock();
    out.write_all(&length.to_le_bytes())
        .and_then(|()| out.write_all(&verdict))
        .and_then(|()| out.write_all(artefact))
        .and_then(|()| out.flush())
        .map_err(|e| format!("cannot write the result: {e}"))
}

fn precompile(input: &str, code: &str, report: &str) -> Result<(), String> {
    let (described, artefact) = pg_llm_sandbox::compile(&read(input)?).map_err(|e| refused(input, &e))?;
    write_compiled(code, report, &artefact, &described)
}

fn precompile_filter(input: &str, code: &str, report: &str) -> Result<(), String> {
    let (described, artefact) = pg_llm_sandbox::compile_filter(&read(input)?).map_err(|e| refused(input, &e))?;
    write_compiled(code, report, &artefact, &described)
}

fn read(input: &str) -> Result<Vec<u8>, String> {
    std::fs::read(input).map_err(|e| format!("{input}: {e}"))
}

fn refused(input: &str, refusal: &Refusal) -> String {
    format!("{input}: {refusal}{}", refusal.hint.as_deref().map(|h| format!(" {h}")).unwrap_or_default())
}

fn write_compiled<D: serde::Serialize>(code: &str, report: &str, artefact: &[u8], described: &Report<D>) -> Result<(), String> {
    let described = serde_json::to_vec(described).map_err(|e| e.to_string())?;
    write_if_changed(code, artefact)?;
    write_if_changed(report, &described)
}

/// An unchanged file keeps its time, so that what embeds it is not built again.
fn write_if_changed(path: &str, bytes: &[u8]) -> Result<(), String> {
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let temporary = format!("{path}.new");
    std::fs::write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path)).map_err(|e| format!("{path}: {e}"))
}

/// Bounds what this process may use; the kernel ends it when it wants more.
fn limited(memory_mb: &str, cpu_seconds: &str) -> Result<(), String> {
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("\"{text}\" is not a number"));
    let limits = [
        (libc::RLIMIT_AS, number(memory_mb)?.saturating_mul(1 << 20)),
        (libc::RLIMIT_CPU, number(cpu_seconds)?),
        (libc::RLIMIT_CORE, 0),
        // No file and no socket beyond the three that are open.
        (libc::RLIMIT_FSIZE, 0),
    ];
    for (resource, value) in limits {
        let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
        // SAFETY: setrlimit reads one struct that outlives the call.
        if unsafe { libc::setrlimit(resource, &raw const limit) } != 0 {
            return Err(format!("cannot limit resource {resource}: {}", io::Error::last_os_error()));
        }
    }
    Ok(())
}
