use http::HeaderMap;

use super::{
    impersonation::{complete, needs, wanted},
    tokens::{Existing, Lookup},
    *,
};
use crate::{Config, pki::Pki};

const NOW: i64 = 1_800_000_000;

fn tokens() -> (tempfile::TempDir, Tokens) {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        data_dir: dir.path().into(),
        bind: "127.0.0.1:0".parse().unwrap(),
        node_ip: "192.0.2.1".parse().unwrap(),
        node_name: "one".into(),
        extra_sans: Vec::new(),
        service_cidr: "10.43.0.0/16".parse().unwrap(),
        cluster_domain: "cluster.local".into(),
        node_port_range: 30000..=32767,
        protection: crate::Protection::default(),
    };
    let tokens = Tokens::open(&config, &Pki::open(&config).unwrap()).unwrap();
    (dir, tokens)
}

fn reference(name: &str, uid: &str) -> ObjectRef {
    ObjectRef { name: name.into(), uid: uid.into() }
}

fn bound() -> Bound {
    Bound {
        namespace: "dev".into(),
        serviceaccount: reference("app", "u1"),
        pod: Some(reference("web", "p1")),
        ..Bound::default()
    }
}

fn existing(uid: &str, deletion: Option<&str>) -> Option<Existing> {
    Some(Existing { uid: uid.into(), deletion_timestamp: deletion.map(str::to_owned) })
}

fn everything_exists(resource: &str, _: &str, _: &str) -> Option<Existing> {
    existing(if resource == "pods" { "p1" } else { "u1" }, None)
}

#[test]
fn a_token_names_its_account_groups_and_pod() {
    let (_dir, tokens) = tokens();
    let issued = tokens.issue(bound(), &[], 3600, NOW).unwrap();
    let (user, audiences) = tokens.check(&issued.token, &[], NOW + 3599, &everything_exists).unwrap();
    assert_eq!(user.name, "system:serviceaccount:dev:app");
    assert_eq!(user.uid, "u1");
    assert_eq!(user.groups, ["system:serviceaccounts", "system:serviceaccounts:dev", "system:authenticated"]);
    assert_eq!(user.extra["authentication.kubernetes.io/pod-name"], ["web"]);
    assert!(user.extra["authentication.kubernetes.io/credential-id"][0].starts_with("JTI="));
    assert_eq!(audiences, ["https://kubernetes.default.svc.cluster.local"]);
}

#[test]
fn a_token_is_refused_once_expired_invalidated_for_others_or_changed() {
    let (_dir, tokens) = tokens();
    let (_other_dir, other) = self::tokens();
    let issued = tokens.issue(bound(), &[], 3600, NOW).unwrap().token;
    let for_vault = tokens.issue(bound(), &["vault".into()], 3600, NOW).unwrap().token;
    let foreign = other.issue(bound(), &[], 3600, NOW).unwrap().token;
    let mut changed = issued.clone();
    changed.replace_range(60..61, if &issued[60..61] == "A" { "B" } else { "A" });
    let other_pod =
        |resource: &str, _: &str, _: &str| existing(if resource == "pods" { "p2" } else { "u1" }, None);
    let no_account =
        |resource: &str, _: &str, _: &str| if resource == "pods" { existing("p1", None) } else { None };
    let long_deleted = |resource: &str, _: &str, _: &str| match resource {
        "pods" => existing("p1", Some("2027-01-15T07:58:59Z")),
        _ => existing("u1", None),
    };
    let being_deleted = |resource: &str, _: &str, _: &str| match resource {
        "pods" => existing("p1", Some("2027-01-15T07:59:01Z")),
        _ => existing("u1", None),
    };
    let all: Lookup<'_> = &everything_exists;
    for (token, at, lookup, error) in [
        (&issued, NOW, all, None),
        (&issued, NOW + 3600, all, Some("service account token has expired")),
        (&issued, NOW - 1, all, Some("service account token is not valid yet")),
        (&issued, NOW, &other_pod, Some("service account token has been invalidated")),
        (&issued, NOW, &no_account, Some("service account token has been invalidated")),
        (&issued, NOW, &long_deleted, Some("service account token has been invalidated")),
        (&issued, NOW, &being_deleted, None),
        (
            &for_vault,
            NOW,
            all,
            Some(
                "token audiences [\"vault\"] is invalid for the target audiences [\"https://kubernetes.default.svc.cluster.local\"]",
            ),
        ),
        (&foreign, NOW, all, Some("invalid bearer token")),
        (&changed, NOW, all, Some("invalid bearer token")),
        (&"x.y.z".to_owned(), NOW, all, Some("invalid bearer token")),
    ] {
        let found = tokens.check(token, &[], at, lookup).err().map(|error| error.to_string());
        assert_eq!(found.as_deref(), error);
    }
    assert!(tokens.check(&for_vault, &["vault".into(), "x".into()], NOW, all).is_ok());
}

#[test]
fn the_published_key_set_holds_the_key_that_signs() {
    let (_dir, tokens) = tokens();
    let token = tokens.issue(bound(), &[], 600, NOW).unwrap().token;
    let head: serde_json::Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap();
    let keys = tokens.jwks();
    assert_eq!(keys["keys"][0]["kid"], head["kid"]);
    let point: Vec<u8> = ["x", "y"]
        .iter()
        .flat_map(|field| URL_SAFE_NO_PAD.decode(keys["keys"][0][*field].as_str().unwrap()).unwrap())
        .collect();
    let key = ring::signature::UnparsedPublicKey::new(
        &ring::signature::ECDSA_P256_SHA256_FIXED,
        [&[4], &point[..]].concat(),
    );
    let (signed, signature) = token.rsplit_once('.').unwrap();
    key.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
}

#[test]
fn bearer_tokens_are_found_in_the_header_and_in_a_websocket_subprotocol() {
    let found = |name: &str, value: &str| {
        let request = http::Request::builder().header(name, value).body(()).unwrap();
        bearer(&request.into_parts().0)
    };
    assert_eq!(found("authorization", "Bearer abc").as_deref(), Some("abc"));
    assert_eq!(found("authorization", " bearer abc ").as_deref(), Some("abc"));
    assert_eq!(found("authorization", "Bearer abc def").as_deref(), Some("abc"));
    assert_eq!(found("authorization", "Bearer  abc"), None);
    assert_eq!(found("authorization", "Basic abc"), None);
    assert_eq!(
        found("sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.YWJj, v5.channel.k8s.io")
            .as_deref(),
        Some("abc")
    );
}

#[test]
fn impersonation_asks_for_each_part_and_completes_the_groups() {
    let headers = |pairs: &[(&'static str, &'static str)]| {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().unwrap());
        }
        map
    };
    assert_eq!(wanted(&headers(&[])), Ok(None));
    let nobody = wanted(&headers(&[("impersonate-group", "a")])).unwrap_err();
    let text = "requested &user.DefaultInfo{Name:\"\", UID:\"\", Groups:[]string{\"a\"}, Extra:map[string][]string(nil)} without impersonating a user name";
    assert_eq!((nobody.code, nobody.message.as_str()), (400, text));
    for (pairs, mode, groups, needed) in [
        (
            &[("impersonate-user", "jane")][..],
            "impersonate",
            &["system:authenticated"][..],
            &["impersonate users jane"][..],
        ),
        (
            &[("impersonate-user", "jane"), ("impersonate-group", "a"), ("impersonate-group", "b")],
            "user-info",
            &["a", "b", "system:authenticated"],
            &[
                "impersonate:user-info users.authentication.k8s.io jane",
                "impersonate:user-info groups.authentication.k8s.io a",
                "impersonate:user-info groups.authentication.k8s.io b",
            ],
        ),
        (
            &[("impersonate-user", "system:serviceaccount:dev:app"), ("impersonate-extra-scopes", "x")],
            "impersonate",
            &["system:serviceaccounts", "system:serviceaccounts:dev", "system:authenticated"],
            &["impersonate serviceaccounts app", "impersonate userextras.authentication.k8s.io x"],
        ),
        (
            &[("impersonate-user", "system:node:n")],
            "arbitrary-node",
            &["system:nodes", "system:authenticated"],
            &["impersonate:arbitrary-node nodes.authentication.k8s.io n"],
        ),
        (
            &[("impersonate-user", "system:node:n")],
            "impersonate",
            &["system:authenticated"],
            &["impersonate users system:node:n"],
        ),
    ] {
        let user = wanted(&headers(pairs)).unwrap().unwrap();
        let asked = needs(&user, mode).into_iter().map(|need| {
            let group = if need.group.is_empty() { String::new() } else { format!(".{}", need.group) };
            format!("{} {}{group} {}", need.verb, need.resource, need.name)
        });
        assert_eq!(asked.collect::<Vec<_>>(), needed);
        assert_eq!(complete(user, mode != "impersonate").groups, groups);
    }
}
