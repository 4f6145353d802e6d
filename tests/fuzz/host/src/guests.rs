//! From guests: components, and the records that they answer with.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use pg_llm_sandbox::interrupt::StopSwitch;
use pg_llm_sandbox::types::{ChatRequest, Media, MediaSource, Message, Part, Role, Sampling};
use pg_llm_sandbox::{CallError, Grant, Limits, Provider, Sandbox, compile, compile_filter};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Longest reason of a refusal, in bytes, with what shows that it was cut.
const REASON_BYTES: usize = 1003;

/// An upload, as a provider and as a filter: accepted, or refused for a reason that fits a screen. What does not begin as WebAssembly does is changes to a
/// sound component: a place in two bytes, and a byte to stand there.
pub fn uploads(input: &[u8]) {
    static SOUND: LazyLock<Vec<u8>> = LazyLock::new(echo);
    if input.starts_with(b"\0asm") {
        return uploaded(input);
    }
    let mut changed = SOUND.clone();
    for change in input.chunks_exact(3) {
        let place = usize::from(u16::from_le_bytes([change[0], change[1]])) % changed.len();
        changed[place] = change[2];
    }
    uploaded(&changed);
}

fn uploaded(input: &[u8]) {
    for refusal in [compile(input).err(), compile_filter(input).err()].into_iter().flatten() {
        assert!(!refusal.reason.is_empty() && refusal.reason.len() <= REASON_BYTES, "{refusal:?}");
    }
}

/// A guest's answer, any bytes there are, as a whole and as the events of a stream: a value, or a fault of the guest's.
pub fn records(input: &[u8]) {
    static ECHO: LazyLock<Provider> = LazyLock::new(echo_provider);
    if input.len() > 7 << 10 {
        return;
    }
    let image = Media { source: MediaSource::Bytes(input.to_vec()), media_type: None, name: None, detail: None };
    let request = ChatRequest {
        model: String::new(),
        settings: "{}".to_owned(),
        messages: vec![Message { role: Role::User, parts: vec![Part::Image(image)] }],
        sampling: Sampling {
            temperature: None,
            top_p: None,
            top_k: None,
            max_tokens: None,
            stop: Vec::new(),
            seed: None,
            presence_penalty: None,
            frequency_penalty: None,
            logprobs: None,
        },
        tools: Vec::new(),
        tool_choice: None,
        response_format: None,
        reasoning: None,
        extra_body: None,
    };
    let of_the_guest = |error: &CallError| matches!(error, CallError::Guest(_) | CallError::Failed(_));
    if let Err(error) = ECHO.complete(grant(), &request).result {
        assert!(of_the_guest(&error), "{error:?}");
    }
    match ECHO.stream(grant(), &request) {
        Ok(mut stream) => {
            // The same event again and again.
            for _ in 0..3 {
                match stream.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(error) => {
                        assert!(of_the_guest(&error), "{error:?}");
                        break;
                    }
                }
            }
            stream.finish();
        }
        Err(outcome) => assert!(outcome.result.is_err_and(|error| of_the_guest(&error))),
    }
}

fn grant() -> Grant {
    let limits = Limits { cpu: Duration::from_secs(5), memory_bytes: 16 << 20, ..Limits::default() };
    Grant::without_network(limits, Instant::now() + Duration::from_secs(10), Arc::new(StopSwitch::new().expect("a descriptor")))
}

/// The component of `echo.wat`.
pub fn echo() -> Vec<u8> {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../guest-sdk/wit/1.0.0");
    let mut text = String::from("package pg-llm:guest@1.0.0;\n");
    for file in ["types", "capabilities", "provider"] {
        let interfaces = std::fs::read_to_string(wit.join(format!("{file}.wit"))).expect("the contract");
        text.push_str(&interfaces.replace("package pg-llm:guest@1.0.0;", ""));
    }
    let mut resolve = Resolve::default();
    let package = resolve.push_str("guest.wit", &text).expect("the contract");
    let world = resolve.select_world(&[package], Some("provider")).expect("the world");
    let mut core = wat::parse_str(include_str!("../echo.wat")).expect("echo.wat");
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).expect("its world");
    ComponentEncoder::default().module(&core).and_then(ComponentEncoder::encode).expect("a component")
}

fn echo_provider() -> Provider {
    let (_, artefact) = compile(&echo()).expect("it is accepted");
    let sandbox = Sandbox::new(None).expect("an engine");
    // SAFETY: the compiler's output, as it came.
    unsafe { sandbox.load_artefact(&artefact) }.expect("it links")
}
