//! Real containers, from Debian's static busybox, on this machine's kernel. Needs root; each test has network and mount
//! namespaces of its own, so nothing of the machine's is touched but a cgroup, which is removed at the end.
//!
//! This binary is also the shim and `coracle create`, hence a `main` of its own.

mod ends;
mod harness;
mod lives;
mod security;
mod sessions;

fn main() {
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(code) = coracle_runtime::dispatch(&arguments) {
        std::process::exit(code);
    }
    let tests: Vec<harness::Test> = [lives::TESTS, ends::TESTS, security::TESTS, sessions::TESTS].concat();
    std::process::exit(harness::run(&tests, &arguments[1..]));
}
