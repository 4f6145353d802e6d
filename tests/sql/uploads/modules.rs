//! Components made for a test: small, valid, and bad in one respect.

use std::fmt::Write;
use std::path::Path;

pub(crate) use pg_llm_tests::built;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Assembles text.
#[track_caller]
pub(crate) fn assembled(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// What a provider of a test says of itself: right, unless changed.
pub(crate) struct Description {
    pub(crate) name: Vec<u8>,
    pub(crate) profiles: Vec<Profile>,
    pub(crate) schema: Vec<u8>,
    /// Body of `cabi_realloc`, by which the host asks for room: old address, old size, alignment, new size.
    pub(crate) realloc: &'static str,
}

pub(crate) struct Profile {
    pub(crate) name: Vec<u8>,
    pub(crate) endpoint: Option<&'static str>,
    pub(crate) settings: Vec<u8>,
}

impl Default for Description {
    fn default() -> Self {
        let profile = Profile { name: b"tiny".into(), endpoint: None, settings: b"{}".into() };
        Self { name: b"tiny".into(), profiles: vec![profile], schema: b"{\"properties\": {}}".into(), realloc: "unreachable" }
    }
}

/// Memory of a module, laid out by the canonical ABI.
struct Image {
    /// Where it begins.
    base: usize,
    bytes: Vec<u8>,
}

impl Image {
    /// Where it begins, where nobody minds.
    const BASE: usize = 64;

    fn put(&mut self, bytes: &[u8]) -> u32 {
        while !self.bytes.len().is_multiple_of(8) {
            self.bytes.push(0);
        }
        let address = self.base + self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        u32::try_from(address).unwrap()
    }

    fn string(&mut self, text: &[u8]) -> [u32; 2] {
        [self.put(text), u32::try_from(text.len()).unwrap()]
    }

    fn words(&mut self, words: &[u32]) -> u32 {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.put(&bytes)
    }
}

impl Description {
    /// The image, and where the record in it is.
    fn image(&self) -> (Vec<u8>, u32) {
        self.image_at(Image::BASE)
    }

    /// The record, where its address is known: at the beginning, with all that belongs to it behind.
    pub(crate) fn record_at(&self, address: u32) -> Vec<u8> {
        const RECORD: usize = 40;
        let base = usize::try_from(address).unwrap() + RECORD;
        let (mut bytes, record) = self.image_at(base);
        let at = usize::try_from(record).unwrap() - base;
        let record = bytes[at..at + RECORD].to_vec();
        bytes.splice(0..0, record);
        bytes
    }

    fn image_at(&self, base: usize) -> (Vec<u8>, u32) {
        let mut image = Image { base, bytes: Vec::new() };
        let mut profiles = Vec::new();
        for profile in &self.profiles {
            let [name, name_length] = image.string(&profile.name);
            let [endpoint, endpoint_length] = image.string(profile.endpoint.unwrap_or_default().as_bytes());
            let [settings, settings_length] = image.string(&profile.settings);
            // name, aliases, default-endpoint, keys, capabilities, settings
            profiles.extend([
                name,
                name_length,
                0,
                0,
                u32::from(profile.endpoint.is_some()),
                endpoint,
                endpoint_length,
                0,
                0,
                0,
                settings,
                settings_length,
            ]);
        }
        let at = image.words(&profiles);
        let [name, name_length] = image.string(&self.name);
        let [schema, schema_length] = image.string(&self.schema);
        // name, version, summary, profiles, settings-schema
        let record = [name, name_length, 0, 0, 0, 0, at, u32::try_from(self.profiles.len()).unwrap(), schema, schema_length];
        let record = image.words(&record);
        (image.bytes, record)
    }

    /// A provider that says this and answers nothing.
    pub(crate) fn component(&self) -> Vec<u8> {
        let (_, record) = self.image();
        self.with(&format!("i32.const {record}"), "")
    }

    /// The same, with this body of `describe` and these fields of the module besides.
    pub(crate) fn with(&self, describe: &str, fields: &str) -> Vec<u8> {
        encoded(&self.core(describe, fields), |wit| wit)
    }

    /// The core module of it.
    pub(crate) fn core(&self, describe: &str, fields: &str) -> Vec<u8> {
        let (image, _) = self.image();
        let pages = 2 + image.len() / 65_536;
        let data = image.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "\\{byte:02x}");
            text
        });
        let (base, realloc) = (Image::BASE, self.realloc);
        assembled(&format!(
            r#"(module
              (memory (export "memory") {pages})
              (data (i32.const {base}) "{data}")
              (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {realloc})
              (func (export "pg-llm:guest/describe@1.0.0#describe") (result i32) {describe})
              (func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32) unreachable)
              (func (export "pg-llm:guest/chat@1.0.0#stream") (param i32) (result i32) unreachable)
              (func (export "pg-llm:guest/chat@1.0.0#[method]answer-stream.next") (param i32) (result i32) unreachable)
              {fields})"#
        ))
    }
}

/// A core module as a component of the world `provider`, of our WIT as `bend` leaves it.
pub(crate) fn encoded(core: &[u8], bend: impl Fn(String) -> String) -> Vec<u8> {
    encoded_as(core, bend, "provider")
}

/// The same of another world.
pub(crate) fn encoded_as(core: &[u8], bend: impl Fn(String) -> String, world: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-sdk/wit/1.0.0");
    // One text, for one package: the file that names the package first.
    let mut wit = String::from("package pg-llm:guest@1.0.0;\n");
    for file in ["types", "capabilities", "provider"] {
        let text = std::fs::read_to_string(folder.join(format!("{file}.wit"))).unwrap();
        wit.push_str(&text.replace("package pg-llm:guest@1.0.0;", ""));
    }
    let mut resolve = Resolve::default();
    let package = resolve.push_str("guest.wit", &bend(wit)).unwrap_or_else(|error| panic!("{error:?}"));
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    let mut core = core.to_vec();
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().validate(true).module(&core).and_then(ComponentEncoder::encode).unwrap_or_else(|error| panic!("{error:?}"))
}

/// A provider and `count` more core modules with `pages` of memory each, all instantiated with it.
pub(crate) fn with_memories(count: usize, pages: u32) -> Vec<u8> {
    let mut component = Description::default().component();
    let modules = u32::try_from(component_modules(&component)).unwrap();
    let memory = assembled(&format!("(module (memory {pages}))"));
    section(&mut component, 1, &memory);
    for _ in 0..count {
        // One instance of that module, without arguments.
        section(&mut component, 2, &[&[1, 0][..], &leb(modules), &[0]].concat());
    }
    component
}

fn section(to: &mut Vec<u8>, id: u8, body: &[u8]) {
    to.push(id);
    to.extend(leb(u32::try_from(body.len()).unwrap()));
    to.extend_from_slice(body);
}

fn leb(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

/// How many core modules a component has at its outside.
fn component_modules(component: &[u8]) -> usize {
    let (mut at, mut modules) = (8, 0);
    while at < component.len() {
        modules += usize::from(component[at] == 1);
        at += 1;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = component[at];
            at += 1;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        at += length;
    }
    modules
}

/// A valid provider that takes the compiler long: so many functions, none like the other.
pub(crate) fn slow(functions: u32) -> Vec<u8> {
    let (mut fields, mut names) = (String::new(), String::new());
    for n in 0..functions {
        let _ = write!(names, "$f{n} ");
        let _ = write!(fields, "(func $f{n} (param i64) (result i64) (local i64) local.get 0 ");
        for step in 0..200_u32 {
            let _ =
                write!(fields, "i64.const {} i64.mul local.tee 1 local.get 1 i64.const {} i64.rotl i64.xor ", n * 7919 + step, step % 63);
        }
        fields.push_str(") ");
    }
    // In a table, so that nobody may leave them out.
    let _ = write!(fields, "(table funcref (elem {names}))");
    let description = Description::default();
    let (_, record) = description.image();
    description.with(&format!("i32.const {record}"), &fields)
}
