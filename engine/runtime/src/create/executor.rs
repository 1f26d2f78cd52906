//! The end of `libcontainer`'s way: inside the container, our `Process` instead of its default executor.

use std::{collections::HashMap, io::Write, os::fd::RawFd};

use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use oci_spec::runtime::Spec;

use super::{chain, mount_flags::LateFlags, process, process::Process};
use crate::protocol::{self, Status};

#[derive(Clone)]
pub struct ContainerExecutor {
    pub process: Process,
    /// Of mounts, where `libcontainer` does not set them.
    pub late_flags: LateFlags,
    /// To the shim.
    pub status: RawFd,
}

impl Executor for ContainerExecutor {
    /// Once the container is started. What fails here is seen in its log, as with other engines.
    fn exec(&self, _spec: &Spec) -> Result<(), ExecutorError> {
        let mut process = self.process.clone();
        let flags = self.late_flags.set().map_err(|error| chain(&error));
        let error = match flags.and_then(|()| process.resolve()) {
            Ok(program) => {
                format!("exec {}: {}", program.display(), process::reason(&process.execute(&program)))
            }
            Err(message) => message,
        };
        let _ = writeln!(std::io::stderr(), "{error}");
        std::process::exit(255)
    }

    /// Before the container counts as created: a program that is not there fails the creation.
    fn validate(&self, _spec: &Spec) -> Result<(), ExecutorValidationError> {
        self.process.clone().resolve().map(|_| ()).map_err(|message| {
            let full = format!("error during container init: {message}");
            let body = serde_json::to_vec(&Status::Failed { message: full }).unwrap_or_default();
            // `libcontainer` would wrap the words; the shim takes the first report.
            let _ = protocol::send(self.status, &body, &[]);
            ExecutorValidationError::ArgValidationError(message)
        })
    }

    fn setup_envs(&self, _envs: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        Ok(())
    }
}
