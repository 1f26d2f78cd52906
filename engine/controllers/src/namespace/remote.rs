//! What other servers hold of a namespace: found by what they say that they serve, and deleted through this server.
//!
//! Reads:     APIServices; of those that are available, their resources and what is left of them.
//! Writes:    deletecollection, or delete of each object where there is no such verb.
//! Source:    https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/namespace/deletion/namespaced_resources_deleter.go

use std::cmp::Reverse;

use coracle_client::api_message;
use coracle_store::Reader;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;
use kube::{
    Client,
    api::{DeleteParams, ListParams},
    core::{DynamicObject, ObjectList},
};
use serde_json::Value;

use super::plan::{Refused, Remaining};
use crate::{
    error::absent_is_fine,
    kinds::{Kind, kind},
    read,
};

/// A group version behind a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    pub group: String,
    pub version: String,
    pub available: bool,
}

impl Remote {
    fn name(&self) -> String {
        format!("{}/{}", self.group, self.version)
    }
}

/// Group by group, the preferred version first.
pub fn all(reader: &Reader) -> Vec<Remote> {
    let snapshot = reader.snapshot();
    let services = snapshot.list(&read::scope("apiservices.apiregistration.k8s.io", None));
    let services = services.filter_map(|object| serde_json::from_slice::<Value>(&object.json).ok());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut all: Vec<(Reverse<i64>, Remote)> = services
        .filter(|service| service["spec"]["service"].is_object())
        .map(|service| {
            let conditions = service["status"]["conditions"].as_array();
            let available = |it: &Value| it["type"] == "Available" && it["status"] == "True";
            let remote = Remote {
                group: text(&service["spec"]["group"]),
                version: text(&service["spec"]["version"]),
                available: conditions.is_some_and(|all| all.iter().any(available)),
            };
            (Reverse(service["spec"]["versionPriority"].as_i64().unwrap_or_default()), remote)
        })
        .collect();
    all.sort_by(|(a, one), (b, other)| (&one.group, a, &one.version).cmp(&(&other.group, b, &other.version)));
    all.into_iter().map(|(_, remote)| remote).collect()
}

/// Asks for the end of all that these servers hold of the namespace, and adds what is left.
pub async fn empty(
    client: &Client,
    remotes: &[Remote],
    namespace: &str,
    remaining: &mut Remaining,
    refused: &mut Refused,
) {
    let mut known: Vec<String> = Vec::new();
    for remote in remotes {
        let name = remote.name();
        if !remote.available {
            refused.undiscovered.push((name.clone(), format!("stale GroupVersion discovery: {name}")));
            continue;
        }
        let resources = match client.list_api_group_resources(&name).await {
            Ok(list) => deletable(remote, &list.resources),
            Err(error) => {
                refused.undiscovered.push((name, api_message(&error)));
                continue;
            }
        };
        for resource in resources {
            let full_name = resource.kind.resource().0.to_string();
            if known.contains(&full_name) {
                continue;
            }
            match resource.empty(client, namespace).await {
                Ok(left) => left
                    .iter()
                    .for_each(|it| remaining.add(&full_name, it.metadata.finalizers.iter().flatten())),
                Err(error) => refused.content.push(api_message(&error)),
            }
            known.push(full_name);
        }
    }
}

/// A resource of another server whose objects are in namespaces and can be deleted.
#[derive(Debug, PartialEq, Eq)]
struct Deletable {
    kind: Kind,
    /// All at once.
    as_collection: bool,
    listed: bool,
}

fn deletable(remote: &Remote, resources: &[APIResource]) -> Vec<Deletable> {
    let of = |resource: &APIResource| {
        let can = |verb: &str| resource.verbs.iter().any(|own| own == verb);
        let is_object = !resource.name.contains('/');
        (is_object && resource.namespaced && can("delete")).then(|| Deletable {
            kind: kind(&remote.group, &remote.version, &resource.kind, &resource.name, true, true),
            as_collection: can("deletecollection"),
            listed: can("list"),
        })
    };
    resources.iter().filter_map(of).collect()
}

impl Deletable {
    /// What is left after it.
    async fn empty(&self, client: &Client, namespace: &str) -> Result<Vec<DynamicObject>, kube::Error> {
        let api = self.kind.api(client, namespace);
        let list = async || -> Result<Vec<DynamicObject>, kube::Error> {
            if !self.listed {
                return Ok(Vec::new());
            }
            let list = supported(api.list(&ListParams::default()).await)?;
            Ok(list.map(|list: ObjectList<_>| list.items).unwrap_or_default())
        };
        let options = DeleteParams::background();
        let deleted = match self.as_collection {
            true => supported(api.delete_collection(&options, &ListParams::default()).await)?.is_some(),
            false => false,
        };
        if !deleted {
            for object in list().await? {
                absent_is_fine(
                    api.delete(object.metadata.name.as_deref().unwrap_or_default(), &options).await,
                )?;
            }
        }
        list().await
    }
}

/// None where the server has no such verb after all.
fn supported<T>(result: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 405) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;

    /// A server that answers these questions, in this order.
    fn client(script: Vec<(&'static str, u16, Value)>) -> (Client, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (seen, script) = (asked.clone(), Mutex::new(script.into_iter()));
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let line = format!("{} {}", request.method(), request.uri().path());
            let answer = script.lock().expect("script").next().filter(|(expected, ..)| *expected == line);
            seen.lock().expect("lines").push(line);
            let (_, code, body) = answer.unwrap_or(("", 500, json!({"message": "not in the script"})));
            let mut response = http::Response::new(kube::client::Body::from(body.to_string().into_bytes()));
            *response.status_mut() = http::StatusCode::from_u16(code).expect("a code");
            std::future::ready(Ok::<_, std::convert::Infallible>(response))
        });
        (Client::new(service, "default"), asked)
    }

    fn resources(rows: &[(&str, bool, &[&str])]) -> Value {
        let of = |(name, namespaced, verbs): &(&str, bool, &[&str])| json!({"name": name, "singularName": "", "namespaced": namespaced, "kind": "Thing", "verbs": verbs});
        let all: Vec<Value> = rows.iter().map(of).collect();
        json!({"kind": "APIResourceList", "groupVersion": "x.io/v1", "resources": all})
    }

    fn list(names: &[&str]) -> Value {
        let item = |name: &&str| json!({"metadata": {"name": name, "finalizers": ["x.io/hold"]}});
        let items: Vec<Value> = names.iter().map(item).collect();
        json!({"kind": "ThingList", "apiVersion": "x.io/v1", "metadata": {}, "items": items})
    }

    fn failure(code: u16, message: &str) -> Value {
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "X", "message": message})
    }

    #[tokio::test]
    async fn what_can_be_deleted_is_and_what_is_left_or_cannot_be_asked_is_told() {
        let v1 = resources(&[
            ("things", true, &["delete", "deletecollection", "list"]),
            ("things/status", true, &["delete"]),
            ("singles", true, &["delete", "list"]),
            ("nodes", false, &["delete", "deletecollection"]),
            ("readings", true, &["get", "list"]),
            ("stuck", true, &["delete", "deletecollection"]),
        ]);
        let of = |plural: &str| format!("/apis/x.io/v1/namespaces/a/{plural}");
        let (things, singles) = (of("things"), of("singles"));
        let lines = [
            "GET /apis/x.io/v1".to_owned(),
            format!("DELETE {things}"),
            format!("GET {things}"),
            format!("GET {singles}"),
            format!("DELETE {singles}/s"),
            format!("GET {singles}"),
            format!("DELETE {}", of("stuck")),
            "GET /apis/x.io/v1beta1".to_owned(),
            "GET /apis/y.io/v1".to_owned(),
        ];
        let answers = [
            (200, v1),
            (200, list(&["t"])),
            (200, list(&["t"])),
            (200, list(&["s"])),
            (404, failure(404, "gone already")),
            (200, list(&[])),
            (500, failure(500, "it is broken")),
            (200, resources(&[("things", true, &["delete", "deletecollection", "list"])])),
            (503, failure(503, "it is away")),
        ];
        // `absent_is_fine` goes by the reason.
        let mut answers = answers.map(|(code, body)| (code, body));
        answers[4].1["reason"] = "NotFound".into();
        let script =
            lines.iter().zip(answers).map(|(line, (code, body))| (&*line.clone().leak(), code, body));
        let (client, asked) = client(script.collect());
        let remote = |group: &str, version: &str, available| Remote {
            group: group.into(),
            version: version.into(),
            available,
        };
        let remotes = [
            remote("x.io", "v1", true),
            remote("x.io", "v1beta1", true),
            remote("y.io", "v1", true),
            remote("z.io", "v1", false),
        ];
        let (mut remaining, mut refused) = (Remaining::default(), Refused::default());
        empty(&client, &remotes, "a", &mut remaining, &mut refused).await;
        assert_eq!(*asked.lock().expect("lines"), lines);
        assert_eq!(remaining.resources, [("things.x.io".to_owned(), 1)].into());
        assert_eq!(remaining.finalizers, [("x.io/hold".to_owned(), 1)].into());
        assert_eq!(refused.content, ["it is broken"]);
        let undiscovered = [
            ("y.io/v1".to_owned(), "it is away".to_owned()),
            ("z.io/v1".to_owned(), "stale GroupVersion discovery: z.io/v1".to_owned()),
        ];
        assert_eq!(refused.undiscovered, undiscovered);
    }
}
