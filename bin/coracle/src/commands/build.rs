//! `coracle build`: an image from a Dockerfile, straight into this node's images.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::settings::{DataOptions, Values};

pub fn command() -> Command {
    Command::new("build")
        .about("Build an image from a Dockerfile without RUN")
        .arg(Arg::new("tag").short('t').long("tag").value_name("NAME").action(ArgAction::Append).required(true).help("Name of the image"))
        .arg(
            Arg::new("file").short('f').long("file").value_name("FILE").value_parser(value_parser!(PathBuf)).help("Dockerfile [default: DIR/Dockerfile]"),
        )
        .arg(Arg::new("build-arg").long("build-arg").value_name("KEY=VALUE").action(ArgAction::Append).help("Value of an ARG"))
        .arg(Arg::new("target").long("target").value_name("STAGE").help("Stage to build [default: the last]"))
        .arg(Arg::new("dir").value_name("DIR").required(true).value_parser(value_parser!(PathBuf)).help("The build context"))
}

pub fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let values = Values::resolve(matches)?;
    let _options = DataOptions::from_values(&values)?;
    let _request = coracle_build::Request {
        context: matches.get_one::<PathBuf>("dir").expect("required").clone(),
        dockerfile: matches.get_one::<PathBuf>("file").cloned(),
        tags: matches.get_many::<String>("tag").expect("required").cloned().collect(),
        build_args: matches.get_many::<String>("build-arg").into_iter().flatten().map(build_arg).collect::<Result<_>>()?,
        target: matches.get_one::<String>("target").cloned(),
    };
    bail!("images of this node cannot be written yet")
}

/// `KEY=VALUE`; a bare `KEY` takes its value from the environment, as docker does.
fn build_arg(text: &String) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((key, value)) => Ok((key.to_string(), value.to_string())),
        None => Ok((text.clone(), std::env::var(text).with_context(|| format!("--build-arg {text}: no such variable in the environment"))?)),
    }
}
