//! Which devices a container may open, on cgroup v2: a small BPF program attached to its group.
//!
//! Kept true: without this program a container with CAP_MKNOD could open the machine's disks; so failing to attach
//!            it fails the container.
//! Source:    bpf(2); `struct bpf_cgroup_dev_ctx` in include/uapi/linux/bpf.h
#![allow(unsafe_code)]

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::Path,
};

/// Character devices that every container may use: (major, minor); `None` is any minor.
pub const ALLOWED: [(u32, Option<u32>); 9] = [
    (1, Some(3)), // null
    (1, Some(5)), // zero
    (1, Some(7)), // full
    (1, Some(8)), // random
    (1, Some(9)), // urandom
    (5, Some(0)), // tty
    (5, Some(1)), // console
    (5, Some(2)), // ptmx
    (136, None),  // pts/*
];

const CHARACTER: i32 = 2;
const MKNOD: i32 = 1;

#[repr(C)]
#[derive(Clone, Copy)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// Registers: 1 points to the context; 2 type, 3 access, 4 major, 5 minor; 0 is the answer.
fn program() -> Vec<Instruction> {
    let op = |code: u8, dst: u8, src: u8, offset: i16, immediate: i32| Instruction {
        code,
        registers: dst | (src << 4),
        offset,
        immediate,
    };
    let load = |dst, offset| op(0x61, dst, 1, offset, 0); // dst = *(u32 *)(r1 + offset)
    let not_equal = |dst, immediate, skip| op(0x55, dst, 0, skip, immediate);
    let answer = |value| [op(0xb7, 0, 0, 0, value), op(0x95, 0, 0, 0, 0)];

    let mut code = vec![load(2, 0), op(0xbf, 3, 2, 0, 0), load(4, 4), load(5, 8)];
    code.push(op(0x57, 2, 0, 0, 0xffff)); // type in the low half
    code.push(op(0x77, 3, 0, 0, 16)); // access in the high half
    // Making a node alone does no harm: opening it is checked here again.
    code.push(not_equal(3, MKNOD, 2));
    code.extend(answer(1));
    for (major, minor) in ALLOWED {
        code.push(not_equal(2, CHARACTER, if minor.is_some() { 4 } else { 3 }));
        code.push(not_equal(4, major as i32, if minor.is_some() { 3 } else { 2 }));
        if let Some(minor) = minor {
            code.push(not_equal(5, minor as i32, 2));
        }
        code.extend(answer(1));
    }
    code.extend(answer(0));
    code
}

/// Attaches the program to the group at `directory`. It stays for as long as the group exists.
pub fn attach(directory: &Path) -> io::Result<()> {
    const PROG_LOAD: libc::c_int = 5;
    const PROG_ATTACH: libc::c_int = 8;
    const TYPE_CGROUP_DEVICE: u32 = 15;
    const ATTACH_CGROUP_DEVICE: u32 = 6;
    const ALLOW_MULTI: u32 = 2;

    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buffer: u64,
        kernel_version: u32,
        flags: u32,
    }
    #[repr(C)]
    struct Attach {
        target: u32,
        program: u32,
        kind: u32,
        flags: u32,
    }
    let code = program();
    let load = Load {
        kind: TYPE_CGROUP_DEVICE,
        count: code.len() as u32,
        instructions: code.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: `load` is a prefix of `union bpf_attr` for BPF_PROG_LOAD; what it points to lives through the call.
    let program = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &load, size_of::<Load>()) };
    if program < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor; nobody else owns it.
    let program = unsafe { OwnedFd::from_raw_fd(program as i32) };
    let group = File::open(directory)?;
    let attach = Attach {
        target: group.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: ATTACH_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    // SAFETY: `attach` is a prefix of `union bpf_attr` for BPF_PROG_ATTACH and lives through the call.
    match unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &attach, size_of::<Attach>()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_jump_lands_inside_the_program() {
        let code = program();
        for (index, instruction) in
            code.iter().enumerate().filter(|(_, instruction)| instruction.code == 0x55)
        {
            assert!(index + 1 + (instruction.offset as usize) < code.len());
        }
    }
}
