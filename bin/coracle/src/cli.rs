//! The list of commands. Each has a file in `commands/`.

use std::{ffi::OsString, io::ErrorKind, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::{
    commands,
    settings::{self, Scope},
};

type Run = fn(&ArgMatches) -> Result<ExitCode>;

/// What is of use to everybody; the others work on root's data.
const FOR_EVERYBODY: [&str; 2] = ["status", "doctor"];

/// Name, definition and entry of every command.
fn table() -> Vec<(Command, Run)> {
    let everywhere = |command| settings::flags(command, Scope::Everywhere);
    vec![
        (
            settings::flags(Command::new("up"), Scope::Up)
                .about("Run Coracle in the foreground until SIGTERM; pods outlive it"),
            commands::up::run,
        ),
        (
            settings::flags(Command::new("down"), Scope::Down)
                .about("Stop Coracle, end its pods, and remove every trace from network, mounts and cgroups"),
            commands::down::run,
        ),
        (everywhere(Command::new("status")).about("Show what runs here"), commands::status::run),
        (
            settings::flags(Command::new("doctor"), Scope::Up)
                .about("Say what this machine lacks, and the command that adds it"),
            commands::doctor::run,
        ),
        (everywhere(commands::backup::command()), commands::backup::run),
        (settings::flags(commands::restore::command(), Scope::Restore), commands::restore::run),
        (
            settings::flags(Command::new("kubeconfig"), Scope::Kubeconfig).about("Print an admin kubeconfig"),
            commands::kubeconfig::run,
        ),
        (commands::image::command(everywhere), commands::image::run),
        (settings::flags(commands::build::command(), Scope::Build), commands::build::run),
    ]
}

pub fn run(arguments: Vec<OsString>) -> Result<ExitCode> {
    let table = table();
    let root = Command::new("coracle")
        .about("Kubernetes for one person: a complete cloud-native platform in one process")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_version_flag(true)
        .arg(
            Arg::new("version")
                .long("version")
                .short('V')
                .action(ArgAction::Version)
                .help("Print the version"),
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(table.iter().map(|(command, _)| command.clone()));
    let matches = match root.try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(told) => return tell(&told),
    };
    let (name, matches) = matches.subcommand().expect("a subcommand is required");
    let (_, run) =
        table.iter().find(|(command, _)| command.get_name() == name).expect("clap knows the same list");
    check_root(name, nix::unistd::geteuid().is_root())?;
    run(matches)
}

/// Help and version, or what is wrong with the arguments.
fn tell(told: &clap::Error) -> Result<ExitCode> {
    match told.print() {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("write what was asked for"),
        _ => Ok(ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(1))),
    }
}

/// Before anything is read or written: what is missing would be told otherwise, and not why.
fn check_root(command: &str, is_root: bool) -> Result<()> {
    if is_root || FOR_EVERYBODY.contains(&command) {
        return Ok(());
    }
    bail!("`coracle {command}` must run as root\nhint: sudo coracle {command}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_work_on_roots_data_say_so() {
        for (command, _) in table() {
            let (name, open) = (command.get_name(), ["status", "doctor"].contains(&command.get_name()));
            assert!(check_root(name, true).is_ok(), "{name}");
            assert_eq!(check_root(name, false).is_ok(), open, "{name}");
        }
        let said = check_root("up", false).unwrap_err().to_string();
        assert_eq!(said, "`coracle up` must run as root\nhint: sudo coracle up");
    }
}
