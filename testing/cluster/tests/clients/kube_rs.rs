//! kube-rs: a definition made by its derive macro, server-side apply, a watcher, a controller that owns what it makes.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, CustomResource, CustomResourceExt, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{
        Controller, WatchStreamExt,
        controller::Action,
        wait::{await_condition, conditions},
        watcher,
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

const NS: &str = "kube-rs";
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(CustomResource, Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[kube(group = "rust.coracle.test", version = "v1", kind = "Kayak", namespaced, shortname = "ky")]
#[kube(status = "KayakStatus")]
struct KayakSpec {
    seats: u32,
    #[serde(default)]
    colour: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
struct KayakStatus {
    launched: bool,
}

pub fn works(kubeconfig: &Path) -> Result<()> {
    // Its threads inherit the private namespaces of this one.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async { tokio::time::timeout(4 * PATIENCE, all(kubeconfig)).await })?
}

async fn all(kubeconfig: &Path) -> Result<()> {
    let config = Kubeconfig::read_from(kubeconfig)?;
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": NS}}))?;
    namespaces.create(&PostParams::default(), &namespace).await.context("create the namespace")?;
    define(&client).await.context("the definition")?;
    let kayaks: Api<Kayak> = Api::namespaced(client.clone(), NS);
    let controller = tokio::spawn(
        Controller::new(kayaks.clone(), watcher::Config::default())
            .owns(Api::<ConfigMap>::namespaced(client.clone(), NS), watcher::Config::default())
            .run(reconcile, |_, _, _| Action::requeue(Duration::from_millis(200)), Arc::new(client.clone()))
            .for_each(|_| std::future::ready(())),
    );
    controlled(&client, &kayaks).await.context("the controller")?;
    controller.abort();
    applied(&kayaks).await.context("server-side apply")?;
    watched(&kayaks).await.context("the watcher")?;
    let definitions: Api<CustomResourceDefinition> = Api::all(client);
    definitions.delete(Kayak::crd_name(), &DeleteParams::default()).await?;
    namespaces.delete(NS, &DeleteParams::default()).await?;
    Ok(())
}

async fn define(client: &Client) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let apply = PatchParams::apply("kube-rs").force();
    definitions.patch(Kayak::crd_name(), &apply, &Patch::Apply(Kayak::crd())).await?;
    let established = await_condition(definitions, Kayak::crd_name(), conditions::is_crd_established());
    tokio::time::timeout(PATIENCE, established).await??;
    Ok(())
}

/// Each Kayak has a ConfigMap that says its seats, and is launched once that is there.
async fn reconcile(kayak: Arc<Kayak>, client: Arc<Client>) -> Result<Action, kube::Error> {
    if kayak.meta().deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let name = kayak.name_any();
    let apply = PatchParams::apply("kayak-controller").force();
    let owner = kayak.controller_owner_ref(&());
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "ownerReferences": [owner]},
        "data": {"seats": kayak.spec.seats.to_string()},
    });
    Api::<ConfigMap>::namespaced(client.as_ref().clone(), NS)
        .patch(&name, &apply, &Patch::Apply(map))
        .await?;
    let status = json!({"status": {"launched": true}});
    let kayaks: Api<Kayak> = Api::namespaced(client.as_ref().clone(), NS);
    kayaks.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(Action::await_change())
}

async fn controlled(client: &Client, kayaks: &Api<Kayak>) -> Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NS);
    kayaks.create(&PostParams::default(), &kayak("one", 1)).await?;
    let launched = |kayak: Option<&Kayak>| {
        kayak.is_some_and(|kayak| kayak.status.as_ref().is_some_and(|status| status.launched))
    };
    tokio::time::timeout(PATIENCE, await_condition(kayaks.clone(), "one", launched)).await??;
    // The controller brings back what it owns, and follows the spec.
    maps.delete("one", &DeleteParams::default()).await?;
    let seats = |wanted: &'static str| {
        move |map: Option<&ConfigMap>| {
            let data = map.and_then(|map| map.data.as_ref());
            data.is_some_and(|data| data.get("seats").is_some_and(|seats| seats == wanted))
        }
    };
    tokio::time::timeout(PATIENCE, await_condition(maps.clone(), "one", seats("1"))).await??;
    kayaks.patch("one", &PatchParams::default(), &Patch::Merge(json!({"spec": {"seats": 2}}))).await?;
    tokio::time::timeout(PATIENCE, await_condition(maps.clone(), "one", seats("2"))).await??;
    // What is owned goes with its owner.
    let uid = maps.get("one").await?.uid().context("a uid")?;
    let owner = kayaks.get("one").await?.uid().context("a uid")?;
    kayaks.delete("one", &DeleteParams::foreground()).await?;
    tokio::time::timeout(PATIENCE, await_condition(maps, "one", conditions::is_deleted(&uid))).await??;
    let gone = await_condition(kayaks.clone(), "one", conditions::is_deleted(&owner));
    tokio::time::timeout(PATIENCE, gone).await??;
    Ok(())
}

async fn applied(kayaks: &Api<Kayak>) -> Result<()> {
    let mine = PatchParams::apply("mine");
    kayaks.patch("two", &mine, &Patch::Apply(kayak("two", 2))).await?;
    let theirs = PatchParams::apply("theirs");
    let refused = kayaks.patch("two", &theirs, &Patch::Apply(kayak("two", 3))).await;
    let Err(kube::Error::Api(status)) = refused else { anyhow::bail!("no conflict: {refused:?}") };
    ensure!(status.code == 409 && status.message.contains("conflict with \"mine\""), "{status:?}");
    let taken = kayaks.patch("two", &theirs.force(), &Patch::Apply(kayak("two", 3))).await?;
    ensure!(taken.spec.seats == 3, "{taken:?}");
    let managers: Vec<_> = taken.managed_fields().iter().filter_map(|entry| entry.manager.clone()).collect();
    ensure!(managers.contains(&"theirs".to_owned()), "{managers:?}");
    let wrong = json!({"apiVersion": "rust.coracle.test/v1", "kind": "Kayak", "metadata": {"name": "x"}, "spec": {"seats": -1}});
    let refused = kayaks.patch("x", &PatchParams::apply("mine"), &Patch::Apply(wrong)).await;
    let Err(kube::Error::Api(status)) = refused else { anyhow::bail!("not validated: {refused:?}") };
    ensure!(status.code == 422 && status.message.contains("spec.seats"), "{status:?}");
    Ok(())
}

/// The watcher gives the state, then every change, through a streamed list as well as through a plain one.
async fn watched(kayaks: &Api<Kayak>) -> Result<()> {
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let mut stream = watcher(kayaks.clone(), config).applied_objects().boxed();
        let first = tokio::time::timeout(PATIENCE, stream.try_next()).await??;
        ensure!(first.is_some_and(|kayak| kayak.name_any() == "two"), "the state comes first");
        let mut expected = BTreeMap::new();
        for n in 0..20 {
            let name = format!("many-{n:02}");
            kayaks.create(&PostParams::default(), &kayak(&name, n)).await?;
            expected.insert(name, n);
        }
        let mut seen = BTreeMap::new();
        while seen.len() < expected.len() {
            let kayak =
                tokio::time::timeout(PATIENCE, stream.try_next()).await??.context("the watch ended")?;
            seen.insert(kayak.name_any(), kayak.spec.seats);
        }
        ensure!(seen == expected, "{seen:?}");
        let many = ListParams::default();
        for kayak in kayaks.list(&many).await?.into_iter().filter(|kayak| kayak.name_any() != "two") {
            kayaks.delete(&kayak.name_any(), &DeleteParams::default()).await?;
        }
    }
    Ok(())
}

fn kayak(name: &str, seats: u32) -> Kayak {
    Kayak::new(name, KayakSpec { seats, colour: None })
}
