//! Carries the instructions out, stage by stage, and commits the last one.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use crate::{
    Base, BuildError, Dockerfile, Images, Layer, Request, StepError, StepResult, add,
    config::{ImageConfig, architecture},
    copy::{self, Attributes, Source},
    dockerfile::{self, Command, Instruction, Step, Transfer, expand},
    ignore::Ignore,
    layer,
    needed::{is_named, needed},
    unpack::Onto,
    view::{self, View},
};

/// Builds and commits; returns the image's id. `progress` gets one line a step.
///
/// # Errors
/// [`BuildError::Dockerfile`] names file and line. Nothing is committed then.
pub fn build(
    request: &Request,
    images: &dyn Images,
    progress: &mut dyn FnMut(&str),
) -> Result<String, BuildError> {
    let default = || Dockerfile::File(request.context.join("Dockerfile"));
    let (path, given) = match request.dockerfile.clone().unwrap_or_else(default) {
        Dockerfile::File(path) => (path, None),
        Dockerfile::Text(text) => (PathBuf::from("Dockerfile"), Some(text)),
    };
    let file = path.display().to_string();
    let failed = |action: &'static str, subject: &Path| {
        let subject = subject.display().to_string();
        move |source| BuildError::Failed { action, subject, source }
    };
    let text = given.map_or_else(|| std::fs::read_to_string(&path), Ok).map_err(failed("read", &path))?;
    let text = text.trim_start_matches('\u{feff}'); // of editors that mark UTF-8
    let context = request.context.canonicalize().map_err(failed("open context", &request.context))?;
    let steps = dockerfile::parse(text).map_err(|error| BuildError::Dockerfile {
        file: file.clone(),
        line: error.line,
        message: error.message,
    })?;
    let ignore = Ignore::load(&context, &path).map_err(failed("read .dockerignore in", &context))?;
    let work = tempfile::tempdir_in(&request.work).map_err(failed("make a directory in", &request.work))?;
    let mut build = Build {
        request,
        context,
        ignore,
        images,
        work: work.path().into(),
        globals: Vec::new(),
        stages: Vec::new(),
        used_args: Vec::new(),
    };
    let told = |line: usize, error: StepError| match error {
        StepError::Input(message) | StepError::Build(BuildError::Images(message)) => {
            BuildError::Dockerfile { file: file.clone(), line, message }
        }
        StepError::Build(error) => error,
    };
    let is_from = |step: &Step| matches!(step.instruction, Instruction::From { .. });
    let begin = steps.iter().position(is_from).unwrap_or(steps.len());
    for Step { line, text, instruction } in &steps[..begin] {
        build.step(instruction, text).map_err(|error| told(*line, error))?;
    }
    let needed = needed(&steps, request.target.as_deref(), &|name| build.global(name))
        .ok_or_else(|| BuildError::NoSuchStage(request.target.clone().unwrap_or_default()))?;
    for (step, _) in steps.iter().zip(&needed).filter(|(_, needed)| **needed) {
        if let Instruction::Unsupported(why) = &step.instruction {
            return Err(told(step.line, StepError::Input(why.clone())));
        }
    }
    let count = needed.iter().filter(|needed| **needed).count();
    let mut number = 0;
    for (at, (Step { line, text, instruction }, needed)) in steps.iter().zip(&needed).enumerate() {
        if !needed {
            build.pass_over(instruction);
            continue;
        }
        number += 1;
        progress(&format!("[{number}/{count}] {text}"));
        if at >= begin {
            build.step(instruction, text).map_err(|error| told(*line, error))?;
        }
    }
    if let Some(name) = build.unused_arg() {
        progress(&format!("warning: `--build-arg {name}` is not declared by an ARG of what was built"));
    }
    build.commit()
}

struct Build<'a> {
    request: &'a Request,
    context: PathBuf,
    ignore: Ignore,
    images: &'a dyn Images,
    work: PathBuf,
    /// ARGs before the first FROM.
    globals: Vec<(String, String)>,
    stages: Vec<Stage>,
    used_args: Vec<String>,
}

struct Stage {
    name: Option<String>,
    /// Only its number counts, as the target does not need it.
    passed_over: bool,
    config: ImageConfig,
    layers: Vec<Layer>,
    view: View,
    args: HashMap<String, String>,
    shell: Vec<String>,
    /// CMD of a base image is forgotten when ENTRYPOINT is set, one of this file is not.
    own_cmd: bool,
}

impl Build<'_> {
    fn step(&mut self, instruction: &Instruction, text: &str) -> StepResult<()> {
        match instruction {
            Instruction::From { image, name, platform } => {
                self.from(image, name.clone(), platform.as_deref())?;
                self.run_triggers()
            }
            Instruction::Arg(arguments) => self.arg(arguments),
            Instruction::Copy(transfer) => self.transfer(transfer, false, text),
            Instruction::Add(transfer) => self.transfer(transfer, true, text),
            Instruction::Workdir(directory) => self.workdir(directory, text),
            Instruction::Unsupported(why) => Err(StepError::Input(why.clone())),
            other => {
                let stage = self.stages.last_mut().ok_or_else(no_stage)?;
                stage.configure(other)?;
                stage.config.record(text, None);
                Ok(())
            }
        }
    }

    fn pass_over(&mut self, instruction: &Instruction) {
        if let Instruction::From { name, .. } = instruction {
            self.stages.push(Stage { passed_over: true, ..Stage::scratch(name.clone()) });
        }
    }

    fn from(&mut self, image: &str, name: Option<String>, platform: Option<&str>) -> StepResult<()> {
        let lookup = |name: &str| self.global(name).or_else(|| platform_arg(name));
        let image = expand(image, &lookup)?;
        if let Some(platform) = platform {
            let wanted = expand(platform, &lookup)?;
            if wanted != format!("linux/{}", architecture()) {
                return Err(StepError::Input(format!(
                    "platform {wanted} is not this machine's, linux/{}",
                    architecture()
                )));
            }
        }
        let mut stage = Stage::scratch(name);
        if let Some(earlier) = self.stages.iter().rfind(|stage| is_named(&image, stage.name.as_deref())) {
            stage.config = earlier.config.clone();
            stage.layers = earlier.layers.clone();
            stage.view = earlier.view.clone();
            stage.args = earlier.args.clone();
            stage.shell = earlier.shell.clone();
        } else if image != "scratch" {
            let base =
                self.images.base(&image).map_err(|message| StepError::Build(BuildError::Images(message)))?;
            stage.start_from(&base);
        }
        self.stages.push(stage);
        Ok(())
    }

    /// What the image that a stage starts from left for it (ONBUILD); it does not go on to the stage's own image.
    fn run_triggers(&mut self) -> StepResult<()> {
        let stage = self.stages.last_mut().ok_or_else(no_stage)?;
        let triggers = stage.config.list("OnBuild");
        if triggers.is_empty() {
            return Ok(());
        }
        stage.config.set("OnBuild", serde_json::Value::Null);
        for trigger in triggers {
            let told = |message| StepError::Input(format!("ONBUILD {trigger}, of the base image: {message}"));
            let instruction = dockerfile::parse_instruction(&trigger).map_err(told)?;
            self.step(&instruction, &trigger)?;
        }
        Ok(())
    }

    /// A value on the command line wins over the default. Inside a stage a global ARG must be named again.
    fn arg(&mut self, arguments: &[(String, Option<String>)]) -> StepResult<()> {
        for (name, default) in arguments {
            let given =
                self.request.build_args.iter().rfind(|(key, _)| key == name).map(|(_, value)| value.clone());
            if given.is_some() {
                self.used_args.push(name.clone());
            }
            let global = self.global(name);
            let default = match (default, self.stages.last()) {
                (Some(text), Some(stage)) => Some(expand(text, &|name| stage.variable(name))?),
                (Some(text), None) => Some(expand(text, &|name| self.global(name))?),
                (None, _) => None,
            };
            let value = given.or(default).or(global).or_else(|| platform_arg(name));
            match (self.stages.last_mut(), value) {
                (Some(stage), Some(value)) => {
                    stage.args.insert(name.clone(), value);
                }
                (None, Some(value)) => self.globals.push((name.clone(), value)),
                (_, None) => {}
            }
        }
        Ok(())
    }

    fn global(&self, name: &str) -> Option<String> {
        self.globals.iter().rfind(|(key, _)| key == name).map(|(_, value)| value.clone())
    }

    fn transfer(&mut self, transfer: &Transfer, is_add: bool, text: &str) -> StepResult<()> {
        let stage = self.stages.last().ok_or_else(no_stage)?;
        let lookup = |name: &str| stage.variable(name);
        let sources =
            transfer.sources.iter().map(|source| expand(source, &lookup)).collect::<Result<Vec<_>, _>>()?;
        if let Some(remote) =
            sources.iter().find(|source| source.contains("://") || source.starts_with("git@"))
        {
            return Err(StepError::Input(format!(
                "ADD from an address is not supported yet: `{remote}`; fetch it before the build, and COPY it"
            )));
        }
        let destination = stage.absolute(&expand(&transfer.destination, &lookup)?);
        let from = transfer.from.as_deref().map(|from| expand(from, &lookup)).transpose()?;
        let other = from.as_deref().map(|from| self.view_of(from)).transpose()?;
        let attributes = Attributes {
            owner: transfer
                .chown
                .as_deref()
                .map(|owner| stage.owner(&expand(owner, &lookup)?))
                .transpose()?,
            mode: transfer.chmod.as_deref().map(|mode| parse_mode(&expand(mode, &lookup)?)).transpose()?,
            exclude: transfer.exclude.iter().map(|pattern| copy::glob(pattern)).collect::<StepResult<_>>()?,
        };
        let source = match &other {
            Some(view) => Source::Stage(view),
            None => Source::Context { root: &self.context, ignore: &self.ignore },
        };
        let directory = self.new_layer_directory()?;
        let (image, layer) = (&stage.view.with(&directory), directory.as_path());
        copy::copy(&source, &sources, &destination, &attributes, image, layer, &mut |file, target| {
            Ok(is_add && add::unpack(file, &Onto { target, image, layer }, attributes.owner)?)
        })?;
        self.add_layer(directory, text)
    }

    /// Made with its parents where the image lacks it; what is made belongs to USER.
    fn workdir(&mut self, directory: &str, text: &str) -> StepResult<()> {
        let stage = self.stages.last_mut().ok_or_else(no_stage)?;
        let path = stage.absolute(&expand(directory, &|name| stage.variable(name))?);
        let text_path = path.to_string_lossy().trim_end_matches('/').to_string();
        stage.config.set("WorkingDir", if text_path.is_empty() { "/" } else { text_path.as_str() });
        let resolved = stage.view.resolve(&path)?;
        if resolved == Path::new("/") || stage.view.is_dir(&resolved) {
            stage.config.record(text, None);
            return Ok(());
        }
        let user = stage.config.text("User");
        let owner = (!user.is_empty()).then(|| stage.owner(user)).transpose()?;
        let view = stage.view.clone();
        let layer = self.new_layer_directory()?;
        copy::make_directories(&layer, &resolved, &view, owner)?;
        self.add_layer(layer, text)
    }

    /// The file system of a stage by name or number, or of an image.
    fn view_of(&self, from: &str) -> StepResult<View> {
        let earlier = &self.stages[..self.stages.len() - 1];
        let named = earlier.iter().rfind(|stage| is_named(from, stage.name.as_deref()));
        let found = match (named, from.parse::<usize>()) {
            (Some(stage), _) => Some(stage),
            // A number is never an image.
            (None, Ok(number)) => {
                Some(earlier.get(number).ok_or_else(|| format!("invalid stage index {number}"))?)
            }
            (None, Err(_)) => None,
        };
        match found {
            // Triggers are known only when their image is.
            Some(stage) if stage.passed_over => {
                return Err(StepError::Input(format!(
                    "stage `{from}` is named by ONBUILD alone, which is not supported yet: copy from it in the Dockerfile"
                )));
            }
            Some(stage) => return Ok(stage.view.clone()),
            None => {}
        }
        let base = self.images.base(from).map_err(|message| StepError::Build(BuildError::Images(message)))?;
        Ok(View(base.directories))
    }

    fn new_layer_directory(&self) -> StepResult<PathBuf> {
        let made = tempfile::Builder::new().prefix("layer-").tempdir_in(&self.work);
        made.map(tempfile::TempDir::keep).map_err(StepError::io("make a directory in", &self.work))
    }

    fn add_layer(&mut self, directory: PathBuf, text: &str) -> StepResult<()> {
        let layer = layer::write(&directory, directory.with_extension("tar"))
            .map_err(StepError::io("write layer of", &directory))?;
        let stage = self.stages.last_mut().ok_or_else(no_stage)?;
        stage.config.record(text, Some(&layer));
        stage.layers.push(layer);
        stage.view.0.push(directory);
        Ok(())
    }

    /// Proxies may be given to every build, whether it knows them or not.
    fn unused_arg(&self) -> Option<&str> {
        const PREDEFINED: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];
        let mut given = self.request.build_args.iter().map(|(name, _)| name.as_str());
        given.find(|name| {
            !PREDEFINED.iter().any(|known| known.eq_ignore_ascii_case(name))
                && !self.used_args.iter().any(|used| used == name)
        })
    }

    fn commit(self) -> Result<String, BuildError> {
        let stage = self.stages.last().ok_or_else(|| BuildError::NoSuchStage(String::new()))?;
        self.images.commit(&self.request.tags, stage.config.json(), &stage.layers).map_err(BuildError::Images)
    }
}

impl Stage {
    fn scratch(name: Option<String>) -> Stage {
        Stage {
            name,
            passed_over: false,
            config: ImageConfig::scratch(),
            layers: Vec::new(),
            view: View::default(),
            args: HashMap::new(),
            shell: vec!["/bin/sh".into(), "-c".into()],
            own_cmd: false,
        }
    }

    fn start_from(&mut self, base: &Base) {
        self.config = ImageConfig::from_base(base);
        self.layers = base.layers.clone();
        self.view = View(base.directories.clone());
        let shell = self.config.list("Shell");
        if !shell.is_empty() {
            self.shell = shell;
        }
    }

    /// Of ENV and ARG the later one counts: ENV takes an argument of its name away.
    fn variable(&self, name: &str) -> Option<String> {
        self.args.get(name).cloned().or_else(|| self.config.env(name))
    }

    /// Relative paths are below WORKDIR. A trailing slash stays: it names a directory, as `.` does.
    fn absolute(&self, path: &str) -> PathBuf {
        let base = self.config.text("WorkingDir");
        let mut absolute = view::normal(&Path::new("/").join(base).join(path));
        if path == "." || path.ends_with('/') || path.ends_with("/.") {
            absolute.push("");
        }
        absolute
    }

    /// `user[:group]` as numbers, names looked up in the image.
    fn owner(&self, text: &str) -> StepResult<(u32, u32)> {
        let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        let (uid, own_group) = self.ids(user, "/etc/passwd")?;
        Ok((uid, group.map_or(Ok(own_group), |group| self.ids(group, "/etc/group").map(|ids| ids.0))?))
    }

    /// The number behind a name, and that of a user's group. A number stands for both, as with BuildKit.
    fn ids(&self, name: &str, file: &str) -> StepResult<(u32, u32)> {
        if let Ok(number) = name.parse() {
            return Ok((number, number));
        }
        let resolved = self.view.resolve(Path::new(file))?;
        let text = self
            .view
            .find(&resolved)
            .and_then(|place| std::fs::read_to_string(place).ok())
            .unwrap_or_default();
        let line = text.lines().find(|line| line.split(':').next() == Some(name));
        let ids = line.and_then(|line| {
            let mut numbers = line.split(':').skip(2).map(|text| text.parse().ok());
            let id = numbers.next()??;
            Some((id, numbers.next().flatten().unwrap_or(id)))
        });
        // An image without names has a root too; a name left out is root's.
        let ids = ids.or(matches!(name, "" | "root").then_some((0, 0)));
        ids.ok_or_else(|| StepError::Input(format!("`{name}` is not in the image's {file}")))
    }

    /// Instructions that change the configuration alone.
    fn configure(&mut self, instruction: &Instruction) -> StepResult<()> {
        let expanded = |stage: &Stage, text: &str| expand(text, &|name| stage.variable(name));
        match instruction {
            Instruction::Env(pairs) => {
                // All values see the variables as they were before this instruction.
                let pairs =
                    pairs.iter().map(|(key, value)| Ok((expanded(self, key)?, expanded(self, value)?)));
                for (key, value) in pairs.collect::<Result<Vec<_>, String>>()? {
                    self.args.remove(&key);
                    self.config.set_env(&key, &value);
                }
            }
            Instruction::Label(pairs) => {
                for (key, value) in pairs {
                    let (key, value) = (expanded(self, key)?, expanded(self, value)?);
                    self.config.label(&key, &value);
                }
            }
            Instruction::User(user) => self.config.set("User", expanded(self, user)?),
            Instruction::Expose(ports) => {
                for port in ports {
                    for port in exposed(&expanded(self, port)?)? {
                        self.config.insert("ExposedPorts", &port);
                    }
                }
            }
            Instruction::Volume(paths) => {
                for path in paths {
                    self.config.insert("Volumes", &expanded(self, path)?);
                }
            }
            Instruction::StopSignal(signal) => {
                let signal = expanded(self, signal)?;
                if !is_signal(&signal) {
                    return Err(StepError::Input(format!("Invalid signal: {signal}")));
                }
                self.config.set("StopSignal", signal);
            }
            Instruction::Shell(shell) => {
                self.config.set("Shell", shell.clone());
                self.shell = shell.clone();
            }
            Instruction::Entrypoint(command) => {
                self.config.set("Entrypoint", self.words(command));
                if !self.own_cmd {
                    self.config.set("Cmd", serde_json::Value::Null);
                }
            }
            Instruction::Cmd(command) => {
                self.config.set("Cmd", self.words(command));
                self.own_cmd = true;
            }
            Instruction::Maintainer(name) => self.config.set_author(name),
            Instruction::HealthCheck(check) => self.config.set("Healthcheck", check.clone()),
            Instruction::OnBuild(trigger) => {
                let triggers = self.config.list("OnBuild").into_iter().chain([trigger.clone()]);
                self.config.set("OnBuild", triggers.collect::<Vec<_>>());
            }
            Instruction::From { .. }
            | Instruction::Arg(_)
            | Instruction::Copy(_)
            | Instruction::Add(_)
            | Instruction::Workdir(_)
            | Instruction::Unsupported(_) => {}
        }
        Ok(())
    }

    fn words(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(words) => words.clone(),
            Command::Shell(line) => self.shell.iter().cloned().chain([line.clone()]).collect(),
        }
    }
}

/// A number, or a name with or without `SIG`.
fn is_signal(text: &str) -> bool {
    const LAST: i32 = 64;
    if let Ok(number) = text.parse::<i32>() {
        return (1..=LAST).contains(&number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = |base: &str, sign: char| {
        let offset = name.strip_prefix(base).map(|rest| rest.strip_prefix(sign).unwrap_or(rest));
        offset
            .is_some_and(|offset| offset.is_empty() || offset.parse::<u8>().is_ok_and(|offset| offset <= 15))
    };
    let other_names = ["CLD", "IOT", "POLL"];
    format!("SIG{name}").parse::<nix::sys::signal::Signal>().is_ok()
        || other_names.contains(&name)
        || real_time("RTMIN", '+')
        || real_time("RTMAX", '-')
}

/// `80`, `80/udp`, `8000-8003/tcp`.
fn exposed(text: &str) -> StepResult<Vec<String>> {
    let bad = || StepError::Input(format!("invalid containerPort: {text}"));
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last): (u16, u16) = (first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?);
    let protocol = protocol.to_ascii_lowercase();
    if first > last || !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(bad());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

fn parse_mode(text: &str) -> StepResult<u32> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| StepError::Input(format!("--chmod takes octal digits, not `{text}`")))
}

/// The ARGs that a builder knows without being told.
fn platform_arg(name: &str) -> Option<String> {
    match name {
        "TARGETPLATFORM" | "BUILDPLATFORM" => Some(format!("linux/{}", architecture())),
        "TARGETOS" | "BUILDOS" => Some("linux".into()),
        "TARGETARCH" | "BUILDARCH" => Some(architecture().into()),
        _ => None,
    }
}

fn no_stage() -> StepError {
    StepError::Input("no build stage in current context".into())
}
