//! The webhooks of a configuration, read once a revision: the store keeps this form beside the object.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use coracle_store::{Reader, Resource, Scope};
use serde_json::Value;

use crate::{
    admission::{conditions::Conditions, rules::Matcher},
    object,
    outbound::{Hook, review_version},
    registry::store_resource,
};

/// What a request without `timeoutSeconds` waits.
const TIMEOUT_SECONDS: u64 = 10;

/// A (Mutating|Validating)WebhookConfiguration.
pub struct Configuration {
    pub webhooks: Vec<Webhook>,
}

pub struct Webhook {
    pub configuration: String,
    pub name: String,
    pub matcher: Matcher,
    pub hook: Hook,
    pub timeout: Duration,
    /// `failurePolicy: Ignore`
    pub fails_open: bool,
    /// `sideEffects` allow it to be asked about a dry run.
    pub dry_run: bool,
    /// `reinvocationPolicy: IfNeeded`
    pub reinvoked: bool,
    /// The first of `admissionReviewVersions` that this server knows.
    pub review_version: Option<&'static str>,
    pub match_conditions: Conditions,
}

impl Configuration {
    fn read(json: &[u8]) -> Result<Configuration, serde_json::Error> {
        let object: Value = serde_json::from_slice(json)?;
        let name = object::name(&object);
        let webhooks = object["webhooks"].as_array().into_iter().flatten();
        Ok(Configuration { webhooks: webhooks.map(|webhook| Webhook::of(name, webhook)).collect() })
    }
}

impl Webhook {
    fn of(configuration: &str, webhook: &Value) -> Webhook {
        Webhook {
            configuration: configuration.to_owned(),
            name: webhook["name"].as_str().unwrap_or_default().to_owned(),
            matcher: Matcher::of_webhook(webhook),
            hook: Hook::of(&webhook["clientConfig"]),
            timeout: Duration::from_secs(webhook["timeoutSeconds"].as_u64().unwrap_or(TIMEOUT_SECONDS)),
            fails_open: webhook["failurePolicy"] == "Ignore",
            dry_run: matches!(webhook["sideEffects"].as_str(), Some("None" | "NoneOnDryRun")),
            reinvoked: webhook["reinvocationPolicy"] == "IfNeeded",
            review_version: review_version(&webhook["admissionReviewVersions"]),
            match_conditions: Conditions::of_webhook(webhook, "").0,
        }
    }
}

pub static MUTATING: LazyLock<Resource> =
    LazyLock::new(|| store_resource("admissionregistration.k8s.io", "mutatingwebhookconfigurations"));
pub static VALIDATING: LazyLock<Resource> =
    LazyLock::new(|| store_resource("admissionregistration.k8s.io", "validatingwebhookconfigurations"));

/// In the order of their names.
pub fn all(reader: &Reader, resource: &Resource) -> Vec<Arc<Configuration>> {
    let read = |object: &Arc<coracle_store::Object>| {
        let result = object.decode_with(Configuration::read);
        result
            .inspect_err(|error| tracing::warn!(configuration = %object.key, %error, "webhooks not readable"))
            .ok()
    };
    reader.snapshot().list(&Scope::all(resource.clone())).filter_map(read).collect()
}
