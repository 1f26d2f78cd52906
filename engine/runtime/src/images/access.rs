//! Who may run an image that is already here: what a registry gives to the holders of a Secret is for them alone.
//!
//! Invariant: an image that was imported or built here is everyone's under its names, and so is one that a registry gave
//!            to somebody who showed nothing. Anybody else has to ask the registry.
//! Source:    KEP-2535, <https://kubernetes.io/docs/concepts/containers/images/#ensureimagepullcredentialverification>

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Credentials, Reference, digest};

/// By repository (`docker.io/library/nginx`). Empty for images of a Coracle that kept no record: they are everyone's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Access(BTreeMap<String, Audience>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Audience {
    Everyone,
    /// What was shown to the registry, and where it was kept.
    Holders(BTreeMap<SecretId, String>),
}

/// The Secret that credentials come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub struct SecretId {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

impl From<SecretId> for String {
    fn from(SecretId { namespace, name, uid }: SecretId) -> String {
        format!("{namespace}/{name}/{uid}")
    }
}

impl From<String> for SecretId {
    fn from(text: String) -> SecretId {
        let mut parts = text.splitn(3, '/').map(str::to_owned);
        let mut part = || parts.next().unwrap_or_default();
        SecretId { namespace: part(), name: part(), uid: part() }
    }
}

impl Access {
    /// Of images that a person put here under these names.
    pub fn everyone(names: &[String]) -> Access {
        let repositories = names.iter().filter_map(|name| Reference::parse(name).ok());
        Access(repositories.map(|reference| (reference.repository(), Audience::Everyone)).collect())
    }

    /// Of what a registry gave to somebody who showed `credentials`.
    pub fn pulled(reference: &Reference, credentials: Option<&Credentials>) -> Access {
        let audience = match credentials {
            None => Audience::Everyone,
            Some(shown) => Audience::Holders(BTreeMap::from([(shown.secret.clone(), fingerprint(shown))])),
        };
        Access(BTreeMap::from([(reference.repository(), audience)]))
    }

    /// Who may run it by what was found out before, and by `more`.
    pub fn extend(&mut self, more: Access) {
        for (repository, audience) in more.0 {
            match (self.0.get_mut(&repository), audience) {
                (Some(Audience::Everyone), _) => {}
                (Some(Audience::Holders(known)), Audience::Holders(new)) => known.extend(new),
                (_, audience) => {
                    self.0.insert(repository, audience);
                }
            }
        }
    }

    /// Whether somebody who names the image so, and has these credentials for its registry, need not ask it. A name
    /// without a record is the image's id: the image must be everyone's under some name.
    ///
    /// A Secret whose password has changed since stands for its holder, and so does another Secret with the same one.
    pub fn allows<'a>(&self, name: &str, credentials: impl FnOnce() -> &'a [Credentials]) -> bool {
        let repository = Reference::parse(name).map(|reference| reference.repository());
        match repository.ok().and_then(|repository| self.0.get(&repository)) {
            Some(Audience::Everyone) => true,
            Some(Audience::Holders(holders)) => credentials().iter().any(|shown| {
                let shown_now = fingerprint(shown);
                holders.iter().any(|(secret, known)| *secret == shown.secret || *known == shown_now)
            }),
            None => self.0.is_empty() || self.0.values().any(|audience| *audience == Audience::Everyone),
        }
    }
}

/// Tells credentials from others without being them.
fn fingerprint(Credentials { username, password, .. }: &Credentials) -> String {
    digest::of(format!("{}:{username}{password}", username.len()).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(secret: &str, password: &str) -> Credentials {
        let secret = SecretId { namespace: "team".into(), name: secret.into(), uid: format!("uid-{secret}") };
        Credentials { username: "robot".into(), password: password.into(), secret }
    }

    fn pulled(name: &str, credentials: Option<Credentials>) -> Access {
        Access::pulled(&Reference::parse(name).unwrap(), credentials.as_ref())
    }

    #[test]
    fn what_a_secret_opened_is_for_its_holders() {
        let mut access = pulled("reg.test/app:1", Some(shown("a", "x")));
        let read: Access = serde_json::from_value(serde_json::to_value(&access).unwrap()).unwrap();
        assert_eq!(read, access);
        let cases = [
            ("reg.test/app:1", vec![], false),
            ("reg.test/app:2", vec![shown("a", "x")], true),
            ("reg.test/app:1", vec![shown("a", "changed since")], true),
            ("reg.test/app:1", vec![shown("b", "x")], true),
            ("reg.test/app:1", vec![shown("b", "y")], false),
            ("reg.test/other:1", vec![shown("a", "x")], false),
            (&format!("sha256:{}", "0".repeat(64)), vec![shown("a", "x")], false),
        ];
        for (name, credentials, expected) in cases {
            assert_eq!(access.allows(name, || &credentials), expected, "{name} {credentials:?}");
        }
        access.extend(pulled("reg.test/app", None));
        access.extend(pulled("reg.test/app", Some(shown("c", "z"))));
        assert!(access.allows("reg.test/app:1", || &[]), "the registry gives it to everyone now");
    }

    #[test]
    fn what_was_put_here_is_everyones_under_its_names() {
        let mut access = Access::everyone(&["web:1".to_owned(), "reg.test/web:1".to_owned()]);
        access.extend(pulled("quay.test/web:1", Some(shown("a", "x"))));
        let id = format!("sha256:{}", "0".repeat(64));
        for (name, expected) in [
            ("web:2", true),
            ("reg.test/web:1", true),
            ("quay.test/web:1", false),
            (&id, true),
            (&id["sha256:".len()..][..12], true),
        ] {
            assert_eq!(access.allows(name, || &[]), expected, "{name}");
        }
        assert!(Access::default().allows("web:1", || &[]), "of a Coracle that kept no record");
    }
}
