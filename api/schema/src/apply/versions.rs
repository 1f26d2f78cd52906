//! One object in the versions that its managers wrote.
//!
//! Kept true: who conversion cannot be asked for (the version of the request) is never asked for; without managers of
//! another version nothing is converted.
//! Source: https://github.com/kubernetes-sigs/structured-merge-diff/blob/master/merge/update.go (`Converter`)

use super::compare::{Comparison, compare};
use super::managers::{Author, Managers};
use super::reconcile::fit;
use crate::schema::Schema;
use serde_json::Value;
use std::borrow::Cow;
use std::pin::Pin;

/// The object in another version. Err: what the client is told.
pub type Converted<'a> = Pin<Box<dyn Future<Output = Result<Value, String>> + Send + 'a>>;

/// The other versions of an object's type.
pub trait Versions: Sync {
    /// None: there is no such version (any more).
    fn schema(&self, api_version: &str) -> Option<Schema>;

    /// The object, which may lack parts, in a version that has a schema. Nothing is defaulted: what is not there has to
    /// stay away.
    fn convert<'a>(&'a self, object: &'a Value, api_version: &'a str) -> Converted<'a>;
}

/// Who writes, when, and how what is written looks to others.
#[derive(Clone, Copy)]
pub struct Write<'a> {
    pub author: Author<'a>,
    /// RFC 3339, seconds, UTC.
    pub now: &'a str,
    pub versions: &'a dyn Versions,
}

impl Write<'_> {
    /// `own`: of the request's version.
    pub(crate) fn schema(&self, own: &Schema, api_version: &str) -> Option<Schema> {
        if api_version == self.author.api_version {
            return Some(own.clone());
        }
        self.versions.schema(api_version)
    }

    pub(crate) async fn convert<'v>(
        &self,
        object: &'v Value,
        api_version: &str,
    ) -> Result<Cow<'v, Value>, String> {
        match object["apiVersion"].as_str() {
            Some(own) if own != api_version => {
                self.versions.convert(object, api_version).await.map(Cow::Owned)
            }
            _ => Ok(Cow::Borrowed(object)),
        }
    }

    /// Entries go with their version, and follow its schema.
    pub(crate) fn reconcile(&self, own: &Schema, managers: &mut Managers) {
        managers.0.retain_mut(|manager| {
            let schema = self.schema(own, &manager.api_version);
            schema.inspect(|schema| fit(schema.place(), &mut manager.fields)).is_some()
        });
    }

    /// What differs, in the version of the request (the first one) and of each manager.
    pub(crate) async fn changes(
        &self,
        own: &Schema,
        old: &Value,
        new: &Value,
        managers: &Managers,
    ) -> Result<Vec<(String, Comparison)>, String> {
        let mut all = vec![(self.author.api_version.to_owned(), compare(own.place(), old, new))];
        for manager in &managers.0 {
            let version = &manager.api_version;
            if all.iter().any(|(known, _)| known == version) {
                continue;
            }
            let Some(schema) = self.schema(own, version) else { continue };
            let old = self.convert(old, version).await?;
            let new = self.convert(new, version).await?;
            all.push((version.clone(), compare(schema.place(), &old, &new)));
        }
        Ok(all)
    }
}
