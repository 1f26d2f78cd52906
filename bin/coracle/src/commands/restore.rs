//! `coracle restore`: a data directory gets the cluster that a backup holds. Coracle must not run on it.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::{Arg, ArgMatches, Command, value_parser};
use coracle_backup::{RestoreError, Restored};

use crate::{
    settings::{DataOptions, Values},
    up::{self, pid_file::PidFile},
};

pub fn command() -> Command {
    Command::new("restore")
        .about("Make the cluster of a backup anew, keys included: kubeconfigs and tokens go on working")
        .arg(
            Arg::new("backup")
                .required(true)
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("What `coracle backup` wrote; `-` is standard input"),
        )
}

pub fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let values = Values::resolve(matches)?;
    let options = DataOptions::from_values(&values)?;
    let replace = values.switch("replace")?;
    let path = matches.get_one::<PathBuf>("backup").expect("required");
    let backup: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(path).with_context(|| format!("open `{}`", path.display()))?;
        Box::new(BufReader::new(file))
    };
    let new_dir = !options.data_dir.exists();
    let outcome = restore(&options, backup, replace);
    if outcome.is_err() && new_dir {
        // Nothing is left behind; what does not go now holds nothing of the backup.
        _ = std::fs::remove_file(options.pid_file());
        _ = std::fs::remove_dir(&options.data_dir);
    }
    let restored = outcome.with_context(|| format!("restore `{}`", path.display()))?;
    println!(
        "restored {} objects of {} (revision {}) to {}",
        restored.objects,
        restored.time,
        restored.revision,
        options.data_dir.display()
    );
    if let Some(error) = restored.uncounted {
        let error = anyhow::Error::from(error);
        eprintln!(
            "what was replaced could not be read: restart clients that knew it, their watches may stay silent: {error:#}"
        );
    }
    for node in &restored.nodes {
        println!(
            "its pods belong to node {node}: on a machine of another name, run `coracle up --node-name {node}`"
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn restore(options: &DataOptions, backup: Box<dyn BufRead>, replace: bool) -> Result<Restored> {
    up::create_private_dir(&options.data_dir)?;
    let _pid_file = PidFile::acquire(&options.pid_file())?;
    match coracle_backup::restore(&options.data_dir, backup, replace, &up::encrypted_resources()) {
        Err(error @ RestoreError::Occupied { .. }) => {
            Err(error).context("nothing was changed\nhint: use an empty --data-dir, or --replace")
        }
        outcome => Ok(outcome?),
    }
}
