//! Who asks, without naming strangers, and for what is deprecated.
//!
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/endpoints/filters/metrics.go,
//!         pkg/authentication/request/x509/x509.go and pkg/endpoints/metrics/metrics.go

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use parking_lot::RwLock;

use super::{Histogram, Page};
use crate::request_info::RequestInfo;

/// Users that are told apart; the last two stand for addresses of mail and for all others.
const USERS: [&str; 7] = [
    "admin",
    "client",
    "kube_proxy",
    "kubelet",
    "system:serviceaccount:kube-system:default",
    "email_id",
    "other",
];
/// Seconds: up to a year.
const LIFETIMES: [f64; 14] = [
    0., 1800., 3600., 7200., 21600., 43200., 86400., 172800., 345600., 604800., 2592000., 7776000.,
    15552000., 31104000.,
];

#[derive(Default)]
pub struct Requesters {
    users: [AtomicU64; USERS.len()],
    lifetimes: Histogram<15>,
    /// Group, resource, subresource and version.
    deprecated: RwLock<BTreeSet<[String; 4]>>,
}

impl Requesters {
    pub fn user(&self, name: &str) {
        let word = if name.contains('@') { "email_id" } else { name };
        let at = USERS.iter().position(|known| *known == word).unwrap_or(USERS.len() - 1);
        self.users[at].fetch_add(1, Relaxed);
    }

    /// What is left of the certificate that a request came with.
    pub fn certificate(&self, seconds: u64) {
        self.lifetimes.observe(&LIFETIMES, seconds as f64, seconds);
    }

    /// `info` is of a resource that is served.
    pub fn deprecated(&self, info: &RequestInfo) {
        let labels = [&info.group, &info.resource, &info.subresource, &info.version];
        let is = |known: &[String; 4]| known.iter().eq(labels);
        if !self.deprecated.read().iter().any(is) {
            self.deprecated.write().insert(labels.map(String::clone));
        }
    }

    pub fn render(&self, page: &mut Page) {
        let name = "authenticated_user_requests";
        page.family(name, "counter", "[ALPHA] Counter of authenticated requests broken out by username.");
        for (user, count) in USERS.iter().zip(&self.users) {
            let count = count.load(Relaxed);
            if count > 0 {
                page.sample(name, &format!("username=\"{user}\""), count);
            }
        }
        let name = "apiserver_client_certificate_expiration_seconds";
        let help = "[ALPHA] Distribution of the remaining lifetime on the certificate used to authenticate a request.";
        page.family(name, "histogram", help);
        self.lifetimes.render(&mut page.0, name, "", &LIFETIMES, 1.0);
        let name = "apiserver_requested_deprecated_apis";
        let help = "[STABLE] Gauge of deprecated APIs that have been requested, broken out by API group, version, resource, subresource, and removed_release.";
        page.family(name, "gauge", help);
        for [group, resource, subresource, version] in self.deprecated.read().iter() {
            let labels = format!(
                "group=\"{group}\",removed_release=\"\",resource=\"{resource}\",subresource=\"{subresource}\",version=\"{version}\""
            );
            page.sample(name, &labels, 1);
        }
    }
}
