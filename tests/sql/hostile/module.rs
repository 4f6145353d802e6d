//! A provider around the fields of a crime: what the file does not define behaves.

use std::fmt::Write;

use crate::uploads::{Description, encoded_as};

/// Where `describe` finds its record, when the file has no `describe` of its own; also a free place for those that have one.
const DESCRIBED: u32 = 16_384;

/// What is added unless the file has an export of that name.
const DEFAULTS: [(&str, &str); 6] = [
    // Four pages: strings and tables of the crimes lie in the first, what the host is given room for begins in the second.
    ("memory", "(memory (export \"memory\") 4)"),
    (
        "cabi_realloc",
        "(global $free (mut i32) (i32.const 65536))
         (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32)
           (global.set $free (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
           (global.get $free)
           (global.set $free (i32.add (global.get $free) (local.get 3))))",
    ),
    ("pg-llm:guest/describe@1.0.0#describe", "(func (export \"pg-llm:guest/describe@1.0.0#describe\") (result i32) (i32.const 16384))"),
    (
        "pg-llm:guest/chat@1.0.0#complete",
        "(func (export \"pg-llm:guest/chat@1.0.0#complete\") (param i32) (result i32) (call $text (i32.const 0) (i32.const 0)))",
    ),
    ("pg-llm:guest/chat@1.0.0#stream", "(func (export \"pg-llm:guest/chat@1.0.0#stream\") (param i32) (result i32) (call $stream))"),
    (
        "pg-llm:guest/chat@1.0.0#[method]answer-stream.next",
        "(global $events (mut i32) (i32.const 0))
         (func (export \"pg-llm:guest/chat@1.0.0#[method]answer-stream.next\") (param i32) (result i32)
           (global.set $events (i32.add (global.get $events) (i32.const 1)))
           (if (result i32) (i32.eq (global.get $events) (i32.const 1)) (then (call $event (i32.const 8))) (else (call $ok))))",
    ),
];

/// What the files call. Results lie at 8192, the one part of an answer at 8704.
const VOCABULARY: &str = r"
  ;; An answer of no parts; no event; none of a list's.
  (func $ok (result i32)
    (memory.fill (i32.const 8192) (i32.const 0) (i32.const 512))
    (i32.const 8192))
  ;; An answer of this text.
  (func $text (param i32 i32) (result i32)
    (drop (call $ok))
    (memory.fill (i32.const 8704) (i32.const 0) (i32.const 52))
    (i32.store (i32.const 8708) (local.get 0)) (i32.store (i32.const 8712) (local.get 1))
    (i32.store (i32.const 8224) (i32.const 8704)) (i32.store (i32.const 8228) (i32.const 1))
    (i32.const 8192))
  ;; A failure of this kind, with this message.
  (func $fail (param i32 i32 i32) (result i32)
    (drop (call $ok))
    (i32.store8 (i32.const 8192) (i32.const 1))
    (i32.store8 (i32.const 8200) (local.get 0))
    (i32.store (i32.const 8220) (local.get 1)) (i32.store (i32.const 8224) (local.get 2))
    (i32.const 8192))
  ;; An event of this kind, all else of it zero. Its fields begin at 8216.
  (func $event (param i32) (result i32)
    (drop (call $ok))
    (i32.store8 (i32.const 8200) (i32.const 1))
    (i32.store8 (i32.const 8208) (local.get 0))
    (i32.const 8192))
  ;; A stream, with its handle at 8200.
  (func $stream (result i32)
    (drop (call $ok))
    (i32.store (i32.const 8200) (call $new (i32.const 1)))
    (i32.const 8192))";

const NEW: &str = r#"(import "[export]pg-llm:guest/chat@1.0.0" "[resource-new]answer-stream" (func $new (param i32) (result i32)))"#;

/// The component.
#[track_caller]
pub(crate) fn of(fields: &str) -> Vec<u8> {
    let mut text = format!("(module {NEW}\n{fields}\n{VOCABULARY}\n");
    for (export, default) in DEFAULTS {
        if !fields.contains(&format!("(export \"{export}\")")) {
            text.push_str(default);
        }
    }
    let described = Description::default().record_at(DESCRIBED);
    let bytes = described.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "\\{byte:02x}");
        text
    });
    let _ = write!(text, "\n(data (i32.const {DESCRIBED}) \"{bytes}\"))");
    let optional: String = ["embeddings", "rerank", "models"]
        .iter()
        .filter(|interface| fields.contains(&format!("pg-llm:guest/{interface}@")))
        .fold(String::new(), |text, interface| text + "include " + interface + "-provider; ");
    let core = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    encoded_as(&core, |wit| format!("{wit}\nworld crime {{ include provider; {optional}}}\n"), "crime")
}
