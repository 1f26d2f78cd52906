//! Small images for tests, made from what the machine has.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{Cluster, Outcome};

/// A root file system that becomes an image through `coracle build`.
pub struct ImageBuilder {
    name: String,
    context: tempfile::TempDir,
    dockerfile: String,
}

impl ImageBuilder {
    /// Starts from nothing.
    pub fn new(name: &str) -> Result<ImageBuilder> {
        let context = tempfile::tempdir().context("make a build context")?;
        Ok(ImageBuilder { name: name.into(), context, dockerfile: "FROM scratch\n".into() })
    }

    /// Copies a file of this machine to `to`.
    pub fn file(self, from: &Path, to: &str) -> Result<ImageBuilder> {
        let inside = self.context.path().join(to.trim_start_matches('/'));
        std::fs::create_dir_all(inside.parent().context("a file has a folder")?)?;
        std::fs::copy(from, &inside).with_context(|| format!("copy `{}`", from.display()))?;
        Ok(self)
    }

    /// Copies a dynamically linked program of this machine with the libraries it loads.
    pub fn program(mut self, from: &Path, to: &str) -> Result<ImageBuilder> {
        let listed = Command::new("ldd").arg(from).output().context("run `ldd`")?;
        let libraries = Outcome::new(format!("ldd {}", from.display()), listed).ok()?;
        self = self.file(from, to)?;
        for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
            self = self.file(Path::new(library), library)?;
        }
        Ok(self)
    }

    pub fn text(self, to: &str, content: &str) -> Result<ImageBuilder> {
        let inside = self.context.path().join(to.trim_start_matches('/'));
        std::fs::create_dir_all(inside.parent().context("a file has a folder")?)?;
        std::fs::write(inside, content)?;
        Ok(self)
    }

    pub fn link(self, target: &str, at: &str) -> Result<ImageBuilder> {
        let inside = self.context.path().join(at.trim_start_matches('/'));
        std::fs::create_dir_all(inside.parent().context("a link has a folder")?)?;
        std::os::unix::fs::symlink(target, inside)?;
        Ok(self)
    }

    /// Any further instruction, e.g. `CMD ["/bin/app"]`.
    pub fn instruction(mut self, line: &str) -> ImageBuilder {
        self.dockerfile.push_str(line);
        self.dockerfile.push('\n');
        self
    }

    /// Builds straight into the cluster's images.
    pub fn build(mut self, cluster: &Cluster) -> Result<()> {
        self.dockerfile = self.dockerfile.replacen("FROM scratch\n", "FROM scratch\nCOPY . /\n", 1);
        let outside = tempfile::NamedTempFile::new()?;
        std::fs::write(outside.path(), &self.dockerfile)?;
        let mut command = cluster.coracle("build");
        command.arg("-t").arg(&self.name).arg("-f").arg(outside.path()).arg(self.context.path());
        cluster.run(&mut command).ok().map(|_| ())
    }
}

/// `busybox:test` with every applet linked in /bin, and a curl that resolves names as programs do.
pub fn busybox(cluster: &Cluster) -> Result<()> {
    let program = busybox_program()?;
    let listed = Command::new(&program).arg("--list").output().context("list busybox's applets")?;
    let applets = Outcome::new("busybox --list".into(), listed).ok()?;
    let mut image = ImageBuilder::new("busybox:test")?.file(&program, "/bin/busybox")?;
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        image = image.link("busybox", &format!("/bin/{applet}"))?;
    }
    image = image.program(Path::new("/usr/bin/curl"), "/bin/curl")?;
    image =
        image.text("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")?;
    image = image
        .text("/etc/group", "root:x:0:\nnogroup:x:65534:\n")?
        .text("/tmp/.keep", "")?
        .text("/root/.keep", "")?;
    image.instruction("ENV PATH=/bin").instruction(r#"CMD ["/bin/sh"]"#).build(cluster)
}

/// Debian's busybox-static; the test machine's setup installs it.
fn busybox_program() -> Result<PathBuf> {
    let candidates = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from);
    let Some(found) = candidates.into_iter().find(|path| File::open(path).is_ok()) else {
        bail!("no busybox on this machine\nhint: apt-get install busybox-static");
    };
    Ok(found)
}
