//! What `libcontainer` says about a failure: its errors lose their causes on the way from the container's process, but it
//! logs them. This collects those log lines, also from the processes that it forks, over a pipe.

use std::{
    fmt::{self, Write},
    io,
    os::fd::OwnedFd,
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

pub struct Words {
    read: OwnedFd,
}

struct Collector {
    write: OwnedFd,
}

impl Words {
    /// From now on errors are collected, in this process and its children.
    pub fn collect() -> io::Result<Self> {
        let flags = nix::fcntl::OFlag::O_CLOEXEC | nix::fcntl::OFlag::O_NONBLOCK;
        let (read, write) = nix::unistd::pipe2(flags)?;
        // Only set once: this process makes one container.
        let _ = tracing::subscriber::set_global_default(Collector { write });
        Ok(Self { read })
    }

    /// The first error, which is the deepest cause.
    pub fn first(&self) -> Option<String> {
        let mut buffer = [0; 4096];
        let count = nix::unistd::read(&self.read, &mut buffer).ok()?;
        let text = String::from_utf8_lossy(&buffer[..count]);
        text.lines().next().map(str::to_owned).filter(|line| !line.is_empty())
    }
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }
    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let text = format!("{}{}\n", line.message, line.fields).replace("\\n", " ");
        // A full pipe has the first error in it already.
        let _ = nix::unistd::write(&self.write, text.as_bytes());
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "err" => write!(self.fields, ": {value:?}"),
            name => write!(self.fields, ", {name} {value:?}"),
        };
    }
}
