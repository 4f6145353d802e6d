//! Names the processor family for `engine::ENGINE_ID`.

fn main() {
    println!("cargo:rustc-env=PG_LLM_TARGET_ARCH={}", std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default());
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../../guest-sdk/wit");
}
