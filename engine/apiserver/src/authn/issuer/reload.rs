//! The issuers of now: an AuthenticationConfiguration is taken up when its file changes.
//!
//! Kept true: a configuration that is wrong, or that has issuers whose keys cannot be had, changes nothing; what is wrong
//!            in itself is told once, everything else is tried again.
//! Source:    https://github.com/kubernetes/kubernetes/blob/master/pkg/kubeapiserver/options/authentication.go

use std::{
    path::PathBuf,
    sync::{
        Arc, Weak,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;

use super::{Anonymous, Issuer, IssuerConfig, IssuerError, config, open};
use crate::{authn::unix_now, metrics::Page, status::Cause, types::State};

/// Between two looks at the file. A stock server is told by the kernel, and looks every minute beside that.
const PERIOD: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Count {
    times: AtomicI64,
    /// Unix seconds; 0: never.
    last: AtomicI64,
}

pub struct Issuers {
    now: ArcSwap<Vec<Arc<Issuer>>>,
    /// Who issues our service accounts' tokens.
    own: String,
    reloaded: Count,
    failed: Count,
}

/// A configuration file and what was last read of it.
#[derive(Clone, Debug)]
pub struct File {
    pub(super) path: PathBuf,
    pub(super) seen: Vec<u8>,
    /// Stays as it was at the start.
    pub anonymous: Anonymous,
}

impl Issuers {
    pub fn open(configs: &[IssuerConfig], own: &str) -> Result<Issuers, IssuerError> {
        let now = ArcSwap::from_pointee(open(configs, own)?);
        Ok(Issuers { now, own: own.to_owned(), reloaded: Count::default(), failed: Count::default() })
    }

    pub fn of(&self, url: &str) -> Option<Arc<Issuer>> {
        self.now.load().iter().find(|issuer| issuer.url() == url).cloned()
    }

    pub fn is_empty(&self) -> bool {
        self.now.load().is_empty()
    }

    /// Takes up what the file says now.
    pub async fn reload(&self, file: &mut File) {
        let count = match self.try_reload(file).await {
            Ok(false) => return,
            Ok(true) => {
                tracing::info!(path = %file.path.display(), "authentication configuration reloaded");
                &self.reloaded
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "authentication configuration changed and cannot be used; the one before stays"
                );
                &self.failed
            }
        };
        count.times.fetch_add(1, Relaxed);
        count.last.store(unix_now(), Relaxed);
    }

    async fn try_reload(&self, file: &mut File) -> Result<bool, IssuerError> {
        let read = tokio::fs::read(&file.path).await;
        let path = || file.path.display().to_string();
        let bytes = read.map_err(|source| IssuerError::Read { path: path(), source })?;
        if bytes == file.seen {
            return Ok(false);
        }
        let issuers = match self.check(file, &bytes) {
            Ok(issuers) => issuers,
            Err(error) => {
                file.seen = bytes;
                return Err(error);
            }
        };
        for issuer in &issuers {
            issuer.learn().await?;
        }
        file.seen = bytes;
        self.now.store(Arc::new(issuers));
        Ok(true)
    }

    fn check(&self, file: &File, bytes: &[u8]) -> Result<Vec<Arc<Issuer>>, IssuerError> {
        let (configs, anonymous) = config::parse(bytes)
            .map_err(|why| IssuerError::Malformed { path: file.path.display().to_string(), why })?;
        let issuers = open(&configs, &self.own)?;
        if anonymous != file.anonymous {
            let why = Cause::forbidden("anonymous", "changed from initial configuration file");
            return Err(IssuerError::Invalid(why.to_string()));
        }
        Ok(issuers)
    }

    /// Nothing as long as nothing happened, like the stock server. `server` names this one.
    pub fn render(&self, server: &str, page: &mut Page) {
        let id = ring::digest::digest(&ring::digest::SHA256, server.as_bytes());
        let id: String = id.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let families = [
            ("_last_timestamp_seconds", "gauge", "Timestamp of the last automatic reload"),
            ("s_total", "counter", "Total number of automatic reloads"),
        ];
        let counts = [("failure", &self.failed), ("success", &self.reloaded)];
        let counts = counts.iter().filter(|(_, count)| count.times.load(Relaxed) != 0);
        for (end, kind, help) in families {
            let name = format!("apiserver_authentication_config_controller_automatic_reload{end}");
            for (at, (status, count)) in counts.clone().enumerate() {
                if at == 0 {
                    let of = "of authentication configuration split by status and apiserver identity.";
                    page.family(&name, kind, &format!("[BETA] {help} {of}"));
                }
                let labels = format!("apiserver_id_hash=\"sha256:{id}\",status=\"{status}\"");
                let number = if kind == "counter" { &count.times } else { &count.last };
                page.sample(&name, &labels, number.load(Relaxed));
            }
        }
    }
}

/// Looks at the file until the server stops.
pub async fn run(state: Weak<State>, mut file: File) {
    loop {
        let Some(strong) = state.upgrade() else { return };
        strong.issuers.reload(&mut file).await;
        let stop = strong.stop.clone();
        drop(strong);
        if tokio::time::timeout(PERIOD, stop.cancelled()).await.is_ok() {
            return;
        }
    }
}
