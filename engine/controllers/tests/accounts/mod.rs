//! Secrets with tokens of service accounts: filled, and gone with their account.

use k8s_openapi::api::{
    authentication::v1::TokenReview,
    core::v1::{Secret, ServiceAccount},
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::cluster::{Cluster, from};

const ANNOTATION: &str = "kubernetes.io/service-account.name";

fn wanted(name: &str, account: &str) -> Secret {
    from(json!({
        "metadata": { "name": name, "annotations": { ANNOTATION: account } },
        "type": "kubernetes.io/service-account-token",
    }))
}

async fn review(client: &Client, token: &str) -> TokenReview {
    let reviews: Api<TokenReview> = Api::all(client.clone());
    reviews.create(&PostParams::default(), &from(json!({ "spec": { "token": token } }))).await.unwrap()
}

fn field(cluster: &Cluster, name: &str, key: &str) -> Option<String> {
    let all = cluster.typed::<Secret>("secrets", "default");
    let secret = all.into_iter().find(|it| it.metadata.name.as_deref() == Some(name))?;
    let bytes = secret.data.as_ref()?.get(key)?;
    Some(String::from_utf8(bytes.0.clone()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_gets_a_token_of_its_account_and_goes_with_it() {
    let cluster = Cluster::start().await;
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), "default");
    let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), "default");
    let post = PostParams::default();
    let account: ServiceAccount =
        from(json!({ "metadata": { "name": "build-robot" }, "secrets": [{ "name": "second" }] }));
    let uid = accounts.create(&post, &account).await.unwrap().metadata.uid;
    for name in ["first", "second"] {
        secrets.create(&post, &wanted(name, "build-robot")).await.unwrap();
    }
    secrets.create(&post, &wanted("of-nobody", "nobody")).await.unwrap();
    cluster.until("a token", |it| field(it, "first", "token").is_some()).await;
    let token = field(&cluster, "first", "token").unwrap();
    assert_eq!(field(&cluster, "first", "namespace").as_deref(), Some("default"));
    assert!(field(&cluster, "first", "ca.crt").unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    let annotations = secrets.get("first").await.unwrap().metadata.annotations.unwrap();
    assert_eq!(annotations.get("kubernetes.io/service-account.uid"), uid.as_ref());
    let user = review(&cluster.client, &token).await.status.unwrap().user.unwrap();
    assert_eq!(user.username.as_deref(), Some("system:serviceaccount:default:build-robot"));
    cluster.until("nothing for nobody", |it| !it.exists("secrets", "default", "of-nobody")).await;

    // A token that is taken out comes anew, and the old one is worthless.
    let patch = Patch::Merge(json!({ "data": { "token": null } }));
    secrets.patch("first", &PatchParams::default(), &patch).await.unwrap();
    cluster.until("another token", |it| field(it, "first", "token").is_some_and(|it| it != token)).await;
    assert_eq!(review(&cluster.client, &token).await.status.unwrap().authenticated, None);

    secrets.delete("second", &DeleteParams::default()).await.unwrap();
    let listed = |it: &Cluster| {
        let all = it.typed::<ServiceAccount>("serviceaccounts", "default");
        all.iter().any(|it| it.secrets.as_ref().is_some_and(|list| !list.is_empty()))
    };
    cluster.until("an account that lists nothing", |it| !listed(it)).await;
    accounts.delete("build-robot", &DeleteParams::default()).await.unwrap();
    accounts.create(&post, &account).await.unwrap();
    cluster.until("no token", |it| !it.exists("secrets", "default", "first")).await;
    cluster.end().await;
}
