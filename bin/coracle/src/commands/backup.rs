//! `coracle backup`: the cluster's state in one file, while Coracle runs or while it does not.
//!
//! A running Coracle is asked for a snapshot of its store: it alone knows which of the bytes in its log count, and which
//! objects are in memory only. The store's own files are read only under the lock of the data directory.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    pin::Pin,
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgMatches, Command, value_parser};
use coracle_backup::{Encoder, Line, Reader};
use coracle_store::Scope;
use futures::AsyncReadExt;
use tokio::runtime::Runtime;

use crate::{
    settings::{DataOptions, Values},
    up::{self, pid_file},
};

pub fn command() -> Command {
    Command::new("backup")
        .about("Write all objects and keys of the cluster to one file, also while it runs")
        .after_help("Secrets and keys stand in the file readably. Images, volumes and logs are not in it.")
        .arg(
            Arg::new("backup")
                .required(true)
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Where to, mode 0600; `-` is standard output"),
        )
}

pub fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let options = DataOptions::from_values(&Values::resolve(matches)?)?;
    let path = matches.get_one::<PathBuf>("backup").expect("required");
    if !coracle_backup::holds_a_cluster(&options.data_dir) {
        bail!("no cluster in `{}`\nhint: name its place with --data-dir", options.data_dir.display());
    }
    rustls::crypto::ring::default_provider().install_default().ok().context("install the TLS provider")?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    if path == Path::new("-") {
        let summary = write(&runtime, &options, io::stdout().lock())?;
        eprintln!("backed up {summary}");
        return Ok(ExitCode::SUCCESS);
    }
    let summary = write_file(&runtime, &options, path)?;
    println!("backed up {summary} to {}", path.display());
    println!(
        "Secrets and keys stand in it readably; its mode is 0600. Images, volumes and logs are not in it."
    );
    Ok(ExitCode::SUCCESS)
}

/// The file appears when it is whole and on disk. A pipe or a device is written into; where a link leads, the file is.
fn write_file(runtime: &Runtime, options: &DataOptions, path: &Path) -> Result<String> {
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        let special = fs::OpenOptions::new().write(true).open(path);
        return special
            .map_err(anyhow::Error::from)
            .and_then(|file| write(runtime, options, file))
            .with_context(|| format!("write the backup into `{}`", path.display()));
    }
    let mut name =
        path.file_name().with_context(|| format!("`{}` is no file name", path.display()))?.to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let attempt = || {
        let mut create = fs::OpenOptions::new();
        let file = create.write(true).create_new(true).mode(0o600).open(&temporary)?;
        let summary = write(runtime, options, &file)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(dir)?.sync_all()?;
        anyhow::Ok(summary)
    };
    attempt()
        .inspect_err(|_| _ = fs::remove_file(&temporary))
        .with_context(|| format!("write the backup `{}`", path.display()))
}

/// What was written, in words.
fn write(runtime: &Runtime, options: &DataOptions, out: impl Write) -> Result<String> {
    let out = BufWriter::new(out);
    if pid_file::running(&options.pid_file())?.is_some() {
        let answer = runtime.block_on(ask(options)).context("ask the running Coracle for its state")?;
        let from_server = Body { runtime, answer };
        return copy(&options.data_dir, BufReader::new(from_server), out);
    }
    // Held until the end: nobody starts while the files are read.
    let _pid_file = pid_file::PidFile::acquire(&options.pid_file())?;
    coracle_backup::finish(&options.data_dir).context("finish a restore that was stopped")?;
    runtime.block_on(async {
        let store = up::open_store(options).await?;
        let snapshot = store.reader().snapshot();
        let mut encoder = Encoder::start(out, snapshot.revision().0)?;
        let keys = add_keys(&options.data_dir, &mut encoder)?;
        let mut objects = 0;
        for (resource, count) in snapshot.resources() {
            snapshot.list(&Scope::all(resource)).try_for_each(|object| encoder.object(object))?;
            objects += count as u64;
        }
        encoder.finish()?;
        let summary = summary(objects, keys, snapshot.revision().0);
        store.close().await;
        Ok(summary)
    })
}

/// The server's answer with the keys added; it is checked while it is read.
fn copy(data_dir: &Path, from: impl BufRead, out: impl Write) -> Result<String> {
    let mut reader = Reader::open(from).context("read the server's answer")?;
    let header = reader.header().clone();
    let revision = header.revision;
    let mut encoder = Encoder::with_header(out, header)?;
    let keys = add_keys(data_dir, &mut encoder)?;
    while let Some(line) = reader.next_line().context("read the server's answer")? {
        if let Line::Object(object) = line {
            encoder.line_of_object(object)?;
        }
    }
    encoder.finish()?;
    Ok(summary(reader.objects(), keys, revision))
}

fn summary(objects: u64, keys: usize, revision: u64) -> String {
    format!("{objects} objects at revision {revision}, and {keys} files of keys and certificates,")
}

/// Every file of the cluster's keys and certificates; those that are being replaced have another name for a moment.
fn add_keys(data_dir: &Path, encoder: &mut Encoder<impl Write>) -> Result<usize> {
    if let Some(missing) = coracle_backup::NEEDED.iter().find(|file| !data_dir.join(file).exists()) {
        bail!(
            "`{}` is missing: without the cluster's keys a backup could not be restored\nhint: put it back, e.g. from an older backup",
            data_dir.join(missing).display()
        );
    }
    let dir = data_dir.join("pki");
    let entries = fs::read_dir(&dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut paths: Vec<PathBuf> = entries
        .with_context(|| format!("list `{}`", dir.display()))?
        .into_iter()
        .map(|entry| entry.path())
        .filter(|path| path.is_file() && path.extension().is_none_or(|extension| extension != "new"))
        .collect();
    paths.sort();
    for path in &paths {
        let content = fs::read_to_string(path).with_context(|| format!("read `{}`", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        encoder.file(&format!("pki/{name}"), &content)?;
    }
    Ok(paths.len())
}

type Answer = Pin<Box<dyn futures::AsyncBufRead>>;

async fn ask(options: &DataOptions) -> Result<Answer> {
    let (_, client) = coracle_client::from_kubeconfig(&options.kubeconfig())?;
    let request = http::Request::get("/coracle/backup").body(Vec::new())?;
    Ok(Box::pin(client.request_stream(request).await?))
}

/// The answer's body, read where nothing else waits.
struct Body<'a> {
    runtime: &'a Runtime,
    answer: Answer,
}

impl io::Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.runtime.block_on(self.answer.read(buffer))
    }
}
