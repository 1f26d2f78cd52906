//! The last steps of a process that enters a container, the same for its first process and for an exec:
//! find the program, lower capabilities, load the seccomp filter, execute.
//!
//! Kept true: the filter is loaded while CAP_SYS_ADMIN is still there (without `no_new_privs` the kernel asks for it) and
//!            the bounding set is lowered before, so that what is executed has the container's capabilities only.
//! Source:    capabilities(7) "Transformation of capabilities during execve()", seccomp(2)
#![allow(unsafe_code)]

use std::{
    ffi::CString,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::{capabilities::CapabilitySet, spec::DEFAULT_PATH};
use crate::{
    api::ContainerSpec,
    seccomp::{Filters, SeccompError},
};

#[derive(Clone)]
pub struct Process {
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
    pub working_dir: String,
    pub uid: u32,
    pub capabilities: CapabilitySet,
    pub filters: Filters,
}

impl Process {
    /// Of a container's spec; an exec replaces `argv`.
    pub fn new(spec: &ContainerSpec, hostname: &str, available: CapabilitySet) -> Result<Self, SeccompError> {
        let capabilities = super::spec::capabilities(spec, available);
        let filters =
            if spec.privileged { Filters::default() } else { Filters::compile(&spec.seccomp, capabilities)? };
        let mut process = Self {
            argv: spec.argv.clone(),
            env: spec.env.clone(),
            working_dir: spec.working_dir.clone(),
            uid: spec.user.uid,
            capabilities,
            filters,
        };
        process.default_env("PATH", DEFAULT_PATH);
        process.default_env("HOSTNAME", &node_name_if_empty(hostname));
        if spec.tty {
            process.default_env("TERM", "xterm");
        }
        Ok(process)
    }

    pub fn default_env(&mut self, name: &str, value: &str) {
        if !self.env.iter().any(|(known, _)| known == name) {
            self.env.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Inside the container, with its user already taken on: enters the working directory and finds the program.
    /// The error is what users know from other engines.
    pub fn resolve(&mut self) -> Result<PathBuf, String> {
        if !self.working_dir.is_empty() {
            std::env::set_current_dir(&self.working_dir).map_err(|error| {
                format!("chdir to cwd ({:?}) set in config.json failed: {}", self.working_dir, reason(&error))
            })?;
        }
        let home = home(self.uid, &fs::read_to_string("/etc/passwd").unwrap_or_default());
        self.default_env("HOME", &home);
        let path = self.env.iter().find(|(name, _)| name == "PATH").map_or(DEFAULT_PATH, |(_, value)| value);
        let program = self.argv.first().map_or("", String::as_str);
        find(program, path)
    }

    /// Never returns when all goes well.
    pub fn execute(&self, program: &Path) -> io::Error {
        match self.try_execute(program) {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    fn try_execute(&self, program: &Path) -> io::Result<std::convert::Infallible> {
        let path = CString::new(program.as_os_str().as_encoded_bytes())?;
        let argv: Vec<CString> =
            self.argv.iter().map(|word| CString::new(word.as_str())).collect::<Result<_, _>>()?;
        let env = self.env.iter().map(|(name, value)| CString::new(format!("{name}={value}")));
        let env: Vec<CString> = env.collect::<Result<_, _>>()?;
        let pointers = |words: &[CString]| -> Vec<*const libc::c_char> {
            words.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect()
        };
        let (argv_pointers, env_pointers) = (pointers(&argv), pointers(&env));
        reset_signals();
        self.capabilities.limit_bounding()?;
        self.filters.load()?;
        self.capabilities.apply()?;
        // SAFETY: all arguments are null-terminated and live until the call returns, which it does on failure only.
        unsafe { libc::execve(path.as_ptr(), argv_pointers.as_ptr(), env_pointers.as_ptr()) };
        Err(io::Error::last_os_error())
    }
}

/// With hostNetwork a pod has the node's name.
fn node_name_if_empty(wanted: &str) -> String {
    if wanted.is_empty() {
        fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
    } else {
        wanted.to_owned()
    }
}

/// Rust ignores SIGPIPE, `nohup` ignores SIGHUP, and the shim blocks signals; all that would be inherited.
fn reset_signals() {
    // SAFETY: these calls take plain numbers and a set that lives through them.
    unsafe {
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// As Go's `exec.LookPath` answers, on which the usual messages are built.
fn find(program: &str, path: &str) -> Result<PathBuf, String> {
    if program.contains('/') {
        return match check(Path::new(program)) {
            Ok(()) => Ok(program.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(format!("exec: {program:?}: stat {program}: {}", reason(&error)))
            }
            Err(error) => Err(format!("exec: {program:?}: {}", reason(&error))),
        };
    }
    let mut denied = false;
    for directory in path.split(':').map(|directory| if directory.is_empty() { "." } else { directory }) {
        let candidate = Path::new(directory).join(program);
        match check(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(error) => denied |= error.kind() == io::ErrorKind::PermissionDenied,
        }
    }
    Err(if denied && !program.is_empty() {
        format!("exec: {program:?}: permission denied")
    } else {
        format!("exec: {program:?}: executable file not found in $PATH")
    })
}

fn check(path: &Path) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(io::Error::from_raw_os_error(libc::EACCES));
    }
    Ok(())
}

/// The kernel's words without Rust's `(os error 2)`, in lower case as other engines print them.
pub fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().to_lowercase(),
        None => error.to_string(),
    }
}

fn home(uid: u32, passwd: &str) -> String {
    let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut of_user = fields.filter(|fields| fields.len() >= 6 && fields[2].parse() == Ok(uid));
    of_user.next().map_or_else(|| "/".to_owned(), |fields| fields[5].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_those_that_users_know() {
        let cases = [
            ("foo", r#"exec: "foo": executable file not found in $PATH"#),
            ("/no/such", r#"exec: "/no/such": stat /no/such: no such file or directory"#),
            ("/etc", r#"exec: "/etc": is a directory"#),
            ("/etc/passwd", r#"exec: "/etc/passwd": permission denied"#),
        ];
        for (program, expected) in cases {
            assert_eq!(find(program, "/bin:/usr/bin").unwrap_err(), expected);
        }
    }

    #[test]
    fn the_home_of_an_unknown_user_is_the_root() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/var/www:/bin/false\n";
        assert_eq!([0, 33, 1000].map(|uid| home(uid, passwd)), ["/root", "/var/www", "/"]);
    }
}
