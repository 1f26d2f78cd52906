//! `coracle create container|exec|pause …`: short-lived processes of a shim, each making one process.
//!
//! Kept true: `libcontainer` runs here only, in a process with one thread that ends soon; it changes its caller.
//! Tells:     the shim, over descriptor 3, the new process or why there is none.

pub mod capabilities;
mod cgroup_tree;
mod container;
mod exec;
mod executor;
mod mount_flags;
mod pause;
mod process;
mod rootfs;
pub mod spec;
mod words;

use std::{ffi::OsString, os::fd::RawFd, path::Path};

pub use process::reason;

use crate::{
    causes::chain,
    protocol::{self, Status},
};

/// The status socket that the shim gives each of these processes.
pub const STATUS: RawFd = 3;
/// With a TTY, exec sends the PTY's master here.
pub const CONSOLE: RawFd = 4;

pub fn main(arguments: &[OsString]) -> i32 {
    let result = match (arguments.first().and_then(|kind| kind.to_str()), arguments.get(1)) {
        (Some("container"), Some(directory)) => container::create(Path::new(directory)),
        (Some("exec"), None) => exec::create(),
        (Some("pause"), Some(run)) => pause::create(Path::new(run)),
        _ => Err("usage: coracle create container|exec|pause".to_owned()),
    };
    match result {
        Ok(()) => 0,
        Err(message) => {
            report(&Status::Failed { message }, &[]);
            1
        }
    }
}

/// A shim that is gone needs no report.
fn report(status: &Status, descriptors: &[RawFd]) {
    let body = serde_json::to_vec(status).unwrap_or_default();
    let _ = protocol::send(STATUS, &body, descriptors);
}
