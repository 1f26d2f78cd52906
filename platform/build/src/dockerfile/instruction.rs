//! One instruction and its arguments, before variables are expanded.

use serde_json::Value;

use super::{health_check, words::split};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    From {
        image: String,
        name: Option<String>,
        platform: Option<String>,
    },
    /// Name and default.
    Arg(Vec<(String, Option<String>)>),
    Copy(Transfer),
    Add(Transfer),
    Env(Vec<(String, String)>),
    Label(Vec<(String, String)>),
    Workdir(String),
    User(String),
    Expose(Vec<String>),
    Volume(Vec<String>),
    StopSignal(String),
    Shell(Vec<String>),
    Entrypoint(Command),
    Cmd(Command),
    Maintainer(String),
    HealthCheck(Value),
    /// An instruction for builds that start from this image.
    OnBuild(String),
    /// Known, but not carried out, and why: an error only where it is needed.
    Unsupported(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Exec(Vec<String>),
    Shell(String),
}

/// COPY or ADD.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transfer {
    pub sources: Vec<String>,
    pub destination: String,
    /// A stage or an image.
    pub from: Option<String>,
    pub chown: Option<String>,
    pub chmod: Option<String>,
    /// Patterns that are left out.
    pub exclude: Vec<String>,
}

pub fn parse(line: &str) -> Result<Instruction, String> {
    let (name, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let rest = rest.trim();
    let upper = name.to_ascii_uppercase();
    if rest.is_empty() {
        return Err(format!("{upper} requires at least one argument"));
    }
    match upper.as_str() {
        "FROM" => from(rest),
        "ARG" => {
            split(rest)?.iter().map(|word| argument(word)).collect::<Result<_, _>>().map(Instruction::Arg)
        }
        "COPY" => transfer(rest, "COPY").map(Instruction::Copy),
        "ADD" => transfer(rest, "ADD").map(Instruction::Add),
        "ENV" => pairs(rest, "ENV").map(Instruction::Env),
        "LABEL" => pairs(rest, "LABEL").map(Instruction::Label),
        "WORKDIR" => Ok(Instruction::Workdir(rest.into())),
        "USER" => Ok(Instruction::User(rest.into())),
        "EXPOSE" => split(rest).map(Instruction::Expose),
        "VOLUME" => Ok(Instruction::Volume(match json_array(rest) {
            Some(list) => list,
            None => split(rest)?,
        })),
        "STOPSIGNAL" => Ok(Instruction::StopSignal(rest.into())),
        "SHELL" => {
            json_array(rest).map(Instruction::Shell).ok_or_else(|| "SHELL requires the JSON form".to_string())
        }
        "ENTRYPOINT" => Ok(Instruction::Entrypoint(command(rest))),
        "CMD" => Ok(Instruction::Cmd(command(rest))),
        "MAINTAINER" => Ok(Instruction::Maintainer(rest.into())),
        "HEALTHCHECK" => health_check::parse(rest).map(Instruction::HealthCheck),
        "ONBUILD" => on_build(rest),
        "RUN" => run(rest),
        _ => Err(format!("unknown instruction: {upper}")),
    }
}

/// The lines of a here-document would be taken for instructions.
fn run(rest: &str) -> Result<Instruction, String> {
    let why =
        "RUN is not supported yet: prepare what it would make before the build, and COPY it".to_string();
    let is_here_document =
        |word: &str| word.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with("<<");
    if rest.split_whitespace().any(is_here_document) {
        return Err(why);
    }
    Ok(Instruction::Unsupported(why))
}

fn on_build(rest: &str) -> Result<Instruction, String> {
    let trigger = rest.split([' ', '\t']).next().unwrap_or_default().to_ascii_uppercase();
    match trigger.as_str() {
        "ONBUILD" => Err("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".into()),
        "MAINTAINER" | "FROM" => Err(format!("{trigger} isn't allowed as an ONBUILD trigger")),
        _ => Ok(Instruction::OnBuild(rest.into())),
    }
}

fn from(rest: &str) -> Result<Instruction, String> {
    let mut words = split(rest)?;
    let platform = match words.first().and_then(|word| word.strip_prefix("--platform=")) {
        Some(platform) => {
            let platform = platform.to_string();
            words.remove(0);
            Some(platform)
        }
        None => None,
    };
    match words.as_slice() {
        [flag, ..] if flag.starts_with("--") => Err(unknown_flag(flag)),
        [image] => Ok(Instruction::From { image: image.clone(), name: None, platform }),
        [image, keyword, name] if keyword.eq_ignore_ascii_case("as") => {
            Ok(Instruction::From { image: image.clone(), name: Some(name.to_ascii_lowercase()), platform })
        }
        _ => Err("FROM requires either one or three arguments".into()),
    }
}

fn argument(word: &str) -> Result<(String, Option<String>), String> {
    match word.split_once('=') {
        Some(("", _)) => Err(blank("ARG")),
        Some((name, value)) => Ok((name.into(), Some(value.into()))),
        None => Ok((word.into(), None)),
    }
}

fn blank(instruction: &str) -> String {
    format!("{instruction} names can not be blank")
}

fn transfer(rest: &str, name: &str) -> Result<Transfer, String> {
    let mut transfer = Transfer::default();
    let mut rest = rest;
    while rest.starts_with("--") {
        let (flag, after) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        let (key, value) = flag.split_once('=').unwrap_or((flag, ""));
        match key {
            "--from" if name == "COPY" => transfer.from = Some(value.into()),
            "--chown" => transfer.chown = Some(value.into()),
            "--chmod" => transfer.chmod = Some(value.into()),
            "--exclude" => transfer.exclude.push(value.into()),
            // Layers are independent of each other here in any case.
            "--link" => {}
            _ => return Err(unknown_flag(key)),
        }
        rest = after.trim_start();
    }
    let mut words = match json_array(rest) {
        Some(words) => words,
        None => split(rest)?,
    };
    if words.iter().any(|word| word.starts_with("<<")) {
        return Err("here-documents are not supported yet: put the text in a file of the context".into());
    }
    transfer.destination = words.pop().unwrap_or_default();
    if words.is_empty() {
        return Err(format!(
            "{name} requires at least two arguments, but only one was provided. Destination could not be determined"
        ));
    }
    transfer.sources = words;
    Ok(transfer)
}

pub(super) fn unknown_flag(flag: &str) -> String {
    format!("unknown flag: {}", flag.split('=').next().unwrap_or(flag))
}

/// `K=V K=V`, or the older `K V`.
fn pairs(rest: &str, name: &str) -> Result<Vec<(String, String)>, String> {
    let words = split(rest)?;
    if !words[0].contains('=') {
        let (key, value) =
            rest.split_once([' ', '\t']).ok_or_else(|| format!("{name} must have two arguments"))?;
        return Ok(vec![(key.into(), value.trim().into())]);
    }
    let split = words.iter().map(|word| match word.split_once('=') {
        Some(("", _)) => Err(blank(name)),
        Some((key, value)) => Ok((key.to_string(), value.to_string())),
        None => Err(format!("Syntax error - can't find = in \"{word}\". Must be of the form: name=value")),
    });
    split.collect()
}

fn command(rest: &str) -> Command {
    json_array(rest).map_or_else(|| Command::Shell(rest.into()), Command::Exec)
}

pub(super) fn json_array(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok())?
}
