//! `coracle image import|ls|rm`: the images of this node, with or without a running `coracle up`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgMatches, Command, value_parser};
use coracle_runtime::images::{ImageConfig, ImageStore, RegistryConfig};

use crate::{
    settings::{DataOptions, Values},
    up::runtime_config,
};

pub fn command(flags: impl Fn(Command) -> Command) -> Command {
    let import = Command::new("import").about("Import a docker or OCI archive (tar, tar.gz, tar.zst)").arg(
        Arg::new("archive")
            .required(true)
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("The archive; - reads standard input"),
    );
    let ls = Command::new("ls").about("List images");
    let rm = Command::new("rm")
        .about("Remove images by name or id")
        .arg(Arg::new("image").required(true).num_args(1..).value_name("IMAGE"));
    Command::new("image")
        .about("Import, list and remove images")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([flags(import), flags(ls), flags(rm)])
}

pub fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let (name, matches) = matches.subcommand().expect("a subcommand is required");
    let options = DataOptions::from_values(&Values::resolve(matches)?)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    // What cannot succeed leaves no directory behind.
    match name {
        "import" => {
            let archive = archive(matches);
            std::fs::File::open(&archive).with_context(|| format!("open {}", spoken(matches)))?;
            options.make_data_dir()?;
        }
        _ => options.require_data_dir()?,
    }
    runtime.block_on(async {
        let images = ImageStore::open(options.images_dir(), RegistryConfig::default())
            .await
            .with_context(|| format!("open images in `{}`", options.images_dir().display()))?;
        match name {
            "import" => import(&images, matches).await,
            "ls" => list(&images).await,
            _ => remove(&images, &options, matches).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn import(images: &ImageStore, matches: &ArgMatches) -> Result<()> {
    let imported =
        images.import(archive(matches)).await.with_context(|| format!("import {}", spoken(matches)))?;
    for image in imported {
        println!("{}", names(&image).join("\n"));
    }
    Ok(())
}

fn archive(matches: &ArgMatches) -> PathBuf {
    let given = matches.get_one::<PathBuf>("archive").expect("required");
    if given.as_os_str() == "-" { PathBuf::from("/dev/stdin") } else { given.clone() }
}

/// The archive as people call it.
fn spoken(matches: &ArgMatches) -> String {
    let given = matches.get_one::<PathBuf>("archive").expect("required");
    if given.as_os_str() == "-" {
        "standard input".to_owned()
    } else {
        format!("archive `{}`", given.display())
    }
}

async fn list(images: &ImageStore) -> Result<()> {
    let images = images.list().await.context("list images")?;
    let rows = images.iter().flat_map(|image| {
        let id = image.id.strip_prefix("sha256:").unwrap_or(&image.id);
        let id = id[..12.min(id.len())].to_owned();
        let size = format!("{:.1} MiB", image.size_bytes as f64 / 1048576.0);
        names(image).into_iter().map(move |name| [name, id.clone(), size.clone()])
    });
    print!("{}", table(rows.collect()));
    Ok(())
}

/// The longest name says how wide its column is.
fn table(rows: Vec<[String; 3]>) -> String {
    let head = ["IMAGE", "ID", "SIZE"].map(str::to_owned);
    let width = rows.iter().map(|[name, ..]| name.len()).max().unwrap_or_default().max(60);
    let lines = [head].into_iter().chain(rows);
    lines.map(|[name, id, size]| format!("{name:<width$} {id:<14} {size:>10}\n")).collect()
}

async fn remove(images: &ImageStore, options: &DataOptions, matches: &ArgMatches) -> Result<()> {
    let mut failed = Vec::new();
    for name in matches.get_many::<String>("image").expect("required") {
        match remove_one(images, options, name).await {
            Ok(()) => println!("{name}"),
            Err(error) => failed.push(format!("{error:#}")),
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("\n")) }
}

async fn remove_one(images: &ImageStore, options: &DataOptions, name: &str) -> Result<()> {
    refuse_last_name_of_used(images, options, name).await?;
    images.remove(name).await.with_context(|| format!("remove image `{name}`"))
}

/// The layers go with an image's last name, and they are the root of its containers.
async fn refuse_last_name_of_used(images: &ImageStore, options: &DataOptions, name: &str) -> Result<()> {
    let ended = images.ended_by(name).await.with_context(|| format!("remove image `{name}`"))?;
    let Some(id) = ended else { return Ok(()) };
    let users = coracle_runtime::containers::users_of_image(&runtime_config(options).state_dir, &id)
        .context("list the containers")?;
    if users.is_empty() {
        return Ok(());
    }
    bail!(
        "remove image `{name}`: its containers still exist: {}\nhint: delete their pods first",
        users.join(", ")
    );
}

/// Tags, else digests, else the id.
fn names(image: &ImageConfig) -> Vec<String> {
    if !image.repo_tags.is_empty() {
        return image.repo_tags.clone();
    }
    if !image.repo_digests.is_empty() {
        return image.repo_digests.clone();
    }
    vec![image.id.clone()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_whatever_the_names_are() {
        let row = |name: String| [name, "0123456789ab".to_owned(), "1.0 MiB".to_owned()];
        let long = format!("registry.example:5000/team/app@sha256:{}", "a".repeat(64));
        let text = table(vec![row("a:1".into()), row(long.clone())]);
        let columns: Vec<_> = text.lines().skip(1).map(|line| line.find("0123456789ab").unwrap()).collect();
        assert_eq!(columns, [long.len() + 1; 2]);
        assert_eq!(text.lines().next().unwrap().find("ID"), Some(long.len() + 1));
    }
}
