//! Asks the linker of the release binary to keep one copy of functions with equal code: it saves over a megabyte.
//!
//! Only where the toolchain's own linker (LLD) is the default, as GNU's has no such option.
//! Source: https://blog.rust-lang.org/2025/09/01/rust-lld-on-1.90.0-stable/

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").unwrap_or_default();
    let release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if release && target == "x86_64-unknown-linux-gnu" {
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
        // Cargo's own `strip` does not reach a crate that has settings of its own in the profile.
        println!("cargo::rustc-link-arg-bins=-Wl,--strip-all");
    }
}
