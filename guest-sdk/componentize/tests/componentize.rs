//! What comes of the tool's inputs, good and bad.
#![allow(clippy::unwrap_used, clippy::expect_used)] // this is how a test fails

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

use pg_llm_componentize::{Error, componentize};
use wit_bindgen_core::wit_parser::Resolve;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

/// `(module (func (export "answer") (result i32) i32.const 42))`
const ANSWER: &[u8] = b"\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7f\x03\x02\x01\0\x07\x0a\x01\x06answer\0\0\x0a\x06\x01\x04\0\x41\x2a\x0b";

/// The same, with the world in it that it fits, or that it does not.
fn module(world: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("test.wit", &format!("package a:b; world w {{ {world} }}")).unwrap();
    let world = resolve.select_world(&[package], Some("w")).unwrap();
    let mut module = ANSWER.to_vec();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    module
}

const FITS: &str = "import unused: func(); export answer: func() -> s32;";

fn folder(name: &str) -> PathBuf {
    let folder = env::temp_dir().join(format!("pg_llm_componentize-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn tool(arguments: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pg_llm_componentize")).args(arguments).output().unwrap()
}

#[test]
fn a_module_becomes_a_component_that_imports_only_what_it_uses() {
    let component = componentize(&module(FITS)).unwrap();
    assert_eq!((component.imports, component.exports), (vec![], vec!["answer".to_owned()]));
}

#[test]
fn a_component_has_no_names_for_debuggers_and_is_valid_without_them() {
    let module = module(FITS);
    let named = ComponentEncoder::default().module(&module).unwrap().encode().unwrap();
    let ours = componentize(&module).unwrap().bytes;
    let has_names = |component: &[u8]| component.windows(14).any(|window| window == b"component-name");
    assert!(has_names(&named) && !has_names(&ours));
    assert!(ours.len() < named.len());
    wasmparser::validate(&ours).unwrap();
}

#[test]
fn what_is_no_module_of_ours_is_refused_by_name() {
    assert!(matches!(componentize(b""), Err(Error::NotWasm(_))));
    assert!(matches!(componentize(b"(module)"), Err(Error::NotWasm(_))));
    assert!(matches!(componentize(b"\0asm\x01\0\0\0"), Err(Error::NoWorld)));
    assert!(matches!(componentize(&module("export question: func();")), Err(Error::Encoder(_))));
    let module = module(FITS);
    assert!(matches!(componentize(&module[..module.len() - 1]), Err(Error::NotWasm(_))));
    let component = componentize(&module).unwrap().bytes;
    assert!(matches!(componentize(&component), Err(Error::AlreadyComponent)));
}

#[test]
fn the_tool_writes_a_component_or_nothing() {
    let folder = folder("writes");
    let (input, output) = (folder.join("in.wasm"), folder.join("out.wasm"));
    fs::write(&input, module(FITS)).unwrap();
    let good = tool(&[&input, &output]);
    assert!(good.status.success(), "{good:?}");
    let component = fs::read(&output).unwrap();
    assert!(String::from_utf8_lossy(&good.stdout).contains("exports answer"));

    fs::write(&input, b"junk").unwrap();
    let bad = tool(&[&input, &output]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&bad.stderr).contains("not a WebAssembly module"));
    assert_eq!(fs::read(&output).unwrap(), component, "the old component stays");
    let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");

    assert_eq!(tool(&[&folder.join("absent.wasm"), &output]).status.code(), Some(1));
    assert_eq!(tool(&[&input]).status.code(), Some(2));
    fs::remove_dir_all(&folder).unwrap();
}
