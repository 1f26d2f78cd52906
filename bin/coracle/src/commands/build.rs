//! `coracle build`: an image from a Dockerfile, straight into this node's images.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgMatches, Command, value_parser};
use coracle_build::{Base, Dockerfile, Images, Layer, build_args};
use coracle_client::chain;
use coracle_runtime::images::{ImageError, ImageStore, NewLayer, Reference};
use tokio::runtime::Runtime;

use crate::settings::{DataOptions, Values, registries};

pub fn command() -> Command {
    Command::new("build").about("Build an image from a Dockerfile without RUN").arg(
        Arg::new("dir")
            .value_name("DIR")
            .required(true)
            .value_parser(value_parser!(PathBuf))
            .help("The build context"),
    )
}

pub fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let values = Values::resolve(matches)?;
    let options = DataOptions::from_values(&values)?;
    let mut request = coracle_build::Request {
        context: matches.get_one::<PathBuf>("dir").expect("required").clone(),
        work: PathBuf::new(),
        dockerfile: values.text("file").map(dockerfile).transpose()?,
        tags: values.repeated("tag").to_vec(),
        build_args: build_args(values.repeated("build-arg"), &|name| std::env::var(name).ok()),
        target: values.text("target").map(str::to_string),
    };
    if request.tags.is_empty() {
        bail!("the image has no name\nhint: coracle build --tag NAME DIR");
    }
    // A build may be long, and its name wrong.
    request.tags.iter().try_for_each(|tag| check_tag(tag))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("start the runtime")?;
    options.make_data_dir()?;
    let store = runtime
        .block_on(ImageStore::open(options.images_dir(), registries(&values)?))
        .with_context(|| format!("open images in `{}`", options.images_dir().display()))?;
    // Not the machine's own: what a build that is killed leaves there goes at the next start.
    let workspace = runtime.block_on(store.workspace()).context("make room for layers")?;
    request.work = workspace.path().into();
    let images = NodeImages { store, runtime };
    let id = coracle_build::build(&request, &images, &mut |line| eprintln!("{line}"))?;
    println!("{id}");
    Ok(ExitCode::SUCCESS)
}

/// The node's image store, as a build sees it. The build is not asynchronous, the store is.
struct NodeImages {
    store: ImageStore,
    runtime: Runtime,
}

impl Images for NodeImages {
    fn base(&self, reference: &str) -> Result<Base, String> {
        let found = self.runtime.block_on(async {
            if let Some(base) = self.store.base(reference).await? {
                return Ok(base);
            }
            let pulled = self.store.pull(reference, &[]).await?;
            self.store.base(&pulled.id).await?.ok_or(ImageError::NoSuchImage(pulled.id))
        });
        let base = found.map_err(|error| chain(&error))?;
        let layers = base.layers.iter().map(|layer| Layer {
            media_type: "application/vnd.oci.image.layer.v1.tar".into(),
            digest: layer.diff_id.clone(),
            diff_id: layer.diff_id.clone(),
            size_bytes: layer.size_bytes,
            file: None,
        });
        Ok(Base {
            layers: layers.collect(),
            directories: base.layers.iter().map(|layer| layer.directory.clone()).collect(),
            config: base.config,
        })
    }

    fn commit(
        &self,
        tags: &[String],
        config: &serde_json::Value,
        layers: &[Layer],
    ) -> Result<String, String> {
        let layers = layers.iter().map(|layer| match &layer.file {
            Some(file) => NewLayer::Tar { diff_id: layer.diff_id.clone(), file: file.clone() },
            None => NewLayer::Known { diff_id: layer.diff_id.clone() },
        });
        let committed = self.runtime.block_on(self.store.commit(tags, config, layers.collect()));
        committed.map_err(|error| chain(&error))
    }
}

/// `-` is standard input.
fn dockerfile(path: &str) -> Result<Dockerfile> {
    match path {
        "-" => std::io::read_to_string(std::io::stdin())
            .map(Dockerfile::Text)
            .context("read the Dockerfile from standard input"),
        path => Ok(Dockerfile::File(path.into())),
    }
}

fn check_tag(tag: &str) -> Result<()> {
    let reference = Reference::parse(tag).context("setting `tag`")?;
    if reference.digest.is_some() {
        bail!(
            "setting `tag` is `{tag}`, expected a name without a digest: the build gives the image its own"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_before_the_build() {
        assert!(check_tag("registry.lan:5000/app:v1").is_ok());
        let digest = format!("app@sha256:{}", "a".repeat(64));
        for (tag, says) in
            [("App", "must be lowercase"), ("a b", "invalid reference format"), (&digest, "without a digest")]
        {
            let said = format!("{:#}", check_tag(tag).unwrap_err());
            assert!(said.contains(says), "{tag}: {said}");
        }
    }
}
