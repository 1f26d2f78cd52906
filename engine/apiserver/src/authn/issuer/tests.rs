use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::authn::jwt::Signer;

/// Signed by a key of 2048 bits that nobody has any more: issuer `https://issuer.test`, audiences `other` and `coracle`, subject 42,
/// `jane@example.com`, groups `devs` and `ops`, from second 1000 to 2000.
const TOKEN: &str = "eyJhbGciOiAiUlMyNTYiLCAia2lkIjogInIifQ.eyJpc3MiOiAiaHR0cHM6Ly9pc3N1ZXIudGVzdCIsICJhdWQiOiBbIm90aGVyIiwgImNvcmFjbGUiXSwgInN1YiI6ICI0MiIsICJlbWFpbCI6ICJqYW5lQGV4YW1wbGUuY29tIiwgImVtYWlsX3ZlcmlmaWVkIjogdHJ1ZSwgImdyb3VwcyI6IFsiZGV2cyIsICJvcHMiXSwgImV4cCI6IDIwMDAsICJuYmYiOiAxMDAwLCAiaGQiOiAiZXhhbXBsZS5jb20ifQ.O0htTQLrzsob3eSMhLuKZJE4ysOsgvvYl8A0aNcFZOnS6xs-3ortS6ZA8Yy0StIjBNPFg5hbl3CGT3-9bD6y0gEv2eaKOLuxQJLUbx7saqo58Wr2ZJ8-enYjapK_JIvAoxcDuL3zTUAgdtJMPpiOgMXtyZVhhxTc-Fo4bvUPzAoDOekhHAk9pmPL5gt6jOoYN76f74pBGBnpTL6dtx7QzYrv0rkPJBY3R1D6XJEqd7ipA6qNjVjywjCZBn6axHuQCa8b0CsmEsaxufUmcHYP_tMSULcTJ0_Nw6y0NnKwC01EaN6I-vzsU_UZIwmARAihND_MWJi8WfnEa8P-bIo53g";
const MODULUS: &str = "rn30rwHBWxDzvuY5R5FDmm77JmkcJ0_ZJWXcmLFVgmXE2Vnr0g6kS2Dv_XbzQI0HX1adsS1hQsY31lM26HDDxJOYK_l5FzJtJcJ1Q3_22rn-ZCdOHa61E0vz3PXTp135tf2XHEVSvOgl_PwH3werxTRcbWCcgetmo7sf_qKBax98URLRTOH9kureU5VtKBDScojtjr7lvd7fEhxBv0QfnhJUuj3LjvUl-MITT2l4PhmhIqoX51eV82bF0o2ovu5cRS1E5bD4192V2ryKX6DNC0yShqK6cz9TOie84a8_x4iKcDOjMu8gwKnYV0U0qJrB41lERS7rgBxBtWmLy_EKOw";

fn claim(name: &str, prefix: &str) -> Mapping {
    Mapping { claim: name.into(), prefix: Some(prefix.into()), ..Mapping::default() }
}

fn expression(text: &str) -> Mapping {
    Mapping { expression: text.into(), ..Mapping::default() }
}

fn rule(text: &str) -> Rule {
    Rule { expression: text.into(), message: "no".into(), ..Rule::default() }
}

fn opened(config: IssuerConfig) -> Result<Arc<Issuer>, String> {
    let opened = open(&[config], "https://kubernetes.default.svc.cluster.local");
    opened.map(|mut all| all.remove(0)).map_err(|error| error.to_string())
}

fn issuer(change: impl FnOnce(&mut IssuerConfig)) -> Arc<Issuer> {
    let mut config = IssuerConfig {
        url: "https://issuer.test".into(),
        audiences: vec!["coracle".into()],
        username: claim("sub", "https://issuer.test#"),
        groups: claim("groups", "oidc:"),
        signing_algs: vec!["RS256".into(), "ES256".into()],
        ..IssuerConfig::default()
    };
    change(&mut config);
    let issuer = opened(config).unwrap();
    let jwk = json!({"kty": "RSA", "use": "sig", "kid": "r", "n": MODULUS, "e": "AQAB"});
    *issuer.keys.write() = Arc::new(vec![key(&jwk).unwrap()]);
    issuer
}

type Change = fn(&mut IssuerConfig);

#[tokio::test]
async fn a_token_becomes_a_user_by_its_claims() {
    let named =
        async |change: Change, now| issuer(change).user(TOKEN, now).await.map_err(|error| error.to_string());
    let user = named(|_| (), 1500).await.unwrap();
    assert_eq!(user.name, "https://issuer.test#42");
    assert_eq!(user.groups, ["oidc:devs", "oidc:ops", "system:authenticated"]);
    assert_eq!(named(|config| config.username = claim("sub", ""), 1500).await.unwrap().name, "42");
    assert_eq!(
        named(|config| config.username = claim("email", ""), 1500).await.unwrap().name,
        "jane@example.com"
    );
    let no = |why: &str| Err(format!("oidc: {why}"));
    let cases: &[(Change, i64, &str)] = &[
        (|_| (), 2000, "verify token: oidc: token is expired (Token Expiry: 1970-01-01 00:33:20 +0000 UTC)"),
        (
            |_| (),
            939,
            "verify token: oidc: current time 1970-01-01 00:15:39 +0000 UTC before the nbf (not before) time: 1970-01-01 00:16:40 +0000 UTC",
        ),
        (
            |config| config.audiences = vec!["x".into()],
            1500,
            "verify token: oidc: expected audience \"x\" got [\"other\" \"coracle\"]",
        ),
        (
            |config| config.signing_algs = vec!["ES256".into()],
            1500,
            "verify token: oidc: id token signed with unsupported algorithm, expected [\"ES256\"] got \"RS256\"",
        ),
        (
            |config| config.username = claim("groups", ""),
            1500,
            "parse username claims \"groups\": json: cannot unmarshal array into Go value of type string",
        ),
        (|config| config.username = claim("x", ""), 1500, "parse username claims \"x\": claim not present"),
        (
            |config| config.groups = claim("exp", ""),
            1500,
            "parse groups claim \"exp\": json: cannot unmarshal number into Go value of type string",
        ),
        (
            |config| {
                let wrong = Rule { claim: "sub".into(), required_value: "x".into(), ..Rule::default() };
                config.claim_rules = vec![wrong];
            },
            1500,
            "required claim sub value does not match. Got = 42, want = x",
        ),
        (
            |config| config.claim_rules = vec![rule("claims.sub == '7'")],
            1500,
            "error evaluating claim validation expression: validation expression 'claims.sub == '7'' failed: no",
        ),
        (
            |config| config.user_rules = vec![rule("!user.groups.exists(group, group.startsWith('oidc:'))")],
            1500,
            "error evaluating user info validation rule: validation expression '!user.groups.exists(group, group.startsWith('oidc:'))' failed: no",
        ),
        (
            |config| config.username = expression("''"),
            1500,
            "empty username via CEL expression is not allowed",
        ),
        (
            |config| config.uid = expression("claims.groups"),
            1500,
            "error evaluating uid claim expression: uid claim expression must return a string",
        ),
    ];
    for (change, now, why) in cases {
        assert_eq!(named(*change, *now).await, no(why));
    }
    assert!(named(|_| (), 940).await.is_ok(), "clocks may differ by a minute");
    let forged = TOKEN.replace('.', ".e30").replacen(".e30", ".", 1);
    assert!(issuer(|_| ()).user(&forged, 1500).await.is_err());
    assert_eq!(super::named(TOKEN).as_deref(), Some("https://issuer.test"));
}

#[tokio::test]
async fn expressions_make_users_of_claims() {
    let user = issuer(|config| {
        config.username = expression("claims.email.split('@')[0]");
        config.groups = expression("claims.groups.map(group, 'g:' + group)");
        config.uid = expression("claims.sub");
        config.extra = vec![
            ("example.com/kind".into(), "has(claims.kind) ? claims.kind : 'person'".into()),
            ("example.com/none".into(), "''".into()),
        ];
        config.claim_rules = vec![rule("claims.email_verified")];
        config.user_rules =
            vec![rule("user.username != 'root' && user.extra['example.com/kind'] == ['person']")];
    });
    let user = user.user(TOKEN, 1500).await.unwrap();
    assert_eq!((user.name.as_str(), user.uid.as_str()), ("jane", "42"));
    assert_eq!(user.groups, ["g:devs", "g:ops", "system:authenticated"]);
    assert_eq!(user.extra, [("example.com/kind".to_owned(), vec!["person".to_owned()])].into());
}

#[test]
fn a_configuration_is_read_strictly_and_checked_as_a_whole() {
    let file = |jwt: Value| json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": [jwt]});
    let parse = |file: &Value| config::parse(file.to_string().as_bytes());
    let good = json!({
        "issuer": {"url": "https://i.test", "audiences": ["a", "b"], "audienceMatchPolicy": "MatchAny"},
        "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
    });
    let (issuers, anonymous) = parse(&file(good.clone())).unwrap();
    assert_eq!(anonymous, Anonymous::Everywhere);
    assert!(opened(issuers[0].clone()).is_ok());
    for (change, expected) in [
        (json!({"issuer": {"ur": "x"}}), "unknown field or wrong type: \"jwt[].issuer.ur\""),
        (
            json!({"claimMappings": {"username": {"claim": 1}}}),
            "unknown field or wrong type: \"jwt[].claimMappings.username.claim\"",
        ),
    ] {
        let mut jwt = good.clone();
        coracle_schema::json_merge_patch(&mut jwt, &change);
        assert_eq!(parse(&file(jwt)).unwrap_err(), expected);
    }
    for (change, expected) in [
        (
            json!({"issuer": {"url": "http://i.test"}}),
            "jwt[0].issuer.url: Invalid value: \"http://i.test\": URL scheme must be https",
        ),
        (
            json!({"issuer": {"url": "https://kubernetes.default.svc.cluster.local"}}),
            "jwt[0].issuer.url: Invalid value: \"https://kubernetes.default.svc.cluster.local\": URL must not overlap with disallowed issuers: [https://kubernetes.default.svc.cluster.local]",
        ),
        (
            json!({"issuer": {"audiences": []}}),
            "jwt[0].issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required",
        ),
        (
            json!({"issuer": {"audienceMatchPolicy": null}}),
            "jwt[0].issuer.audienceMatchPolicy: Invalid value: \"\": audienceMatchPolicy must be MatchAny for multiple audiences",
        ),
        (
            json!({"issuer": {"certificateAuthority": "x"}}),
            "jwt[0].issuer.certificateAuthority: Invalid value: \"<omitted>\": data does not contain any valid RSA or ECDSA certificates",
        ),
        (
            json!({"claimMappings": {"username": {"prefix": null}}}),
            "jwt[0].claimMappings.username.prefix: Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing",
        ),
        (
            json!({"claimMappings": {"username": {"claim": null, "prefix": null, "expression": "claims.email"}}}),
            "jwt[0].claimMappings.username.expression: Invalid value: \"claims.email\": claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression",
        ),
        (
            json!({"claimMappings": {"extra": [{"key": "x.k8s.io/a", "valueExpression": "'x'"}]}}),
            "jwt[0].claimMappings.extra[0].key: Invalid value: \"x.k8s.io/a\": k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use",
        ),
        (
            json!({"claimValidationRules": [{"claim": "a"}, {"claim": "a"}]}),
            "jwt[0].claimValidationRules[1].claim: Duplicate value: \"a\"",
        ),
        (
            json!({"userValidationRules": [{"expression": "user.username"}]}),
            "jwt[0].userValidationRules[0].expression: Invalid value: \"user.username\": must evaluate to bool",
        ),
    ] {
        let mut jwt = good.clone();
        coracle_schema::json_merge_patch(&mut jwt, &change);
        let (issuers, _) = parse(&file(jwt)).unwrap();
        let error = opened(issuers[0].clone()).err();
        assert_eq!(error.as_deref(), Some(&*format!("authentication configuration is invalid: {expected}")));
    }
    let anonymous = |value: Value| {
        let mut file = file(good.clone());
        file["anonymous"] = value;
        parse(&file).map(|(_, anonymous)| anonymous)
    };
    assert_eq!(anonymous(json!({"enabled": false})), Ok(Anonymous::At(Vec::new())));
    let healthy = anonymous(json!({"enabled": true, "conditions": [{"path": "/livez"}]})).unwrap();
    assert!(healthy.may_ask("/livez") && !healthy.may_ask("/livez/ping"));
    assert!(anonymous(json!({"enabled": false, "conditions": [{"path": "/livez"}]})).is_err());
}

/// An issuer on 127.0.0.1 with the key of `signer`: its URL, its certificate, how often it was asked.
async fn serve(signer: &Signer) -> (String, String, Arc<AtomicUsize>, tokio::task::JoinHandle<()>) {
    // As `openssl req -x509` makes it: an authority's own, which serves.
    let mut params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let made = params.self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![made.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let asked = Arc::new(AtomicUsize::new(0));
    let documents =
        [json!({"issuer": url, "jwks_uri": format!("{url}/keys")}).to_string(), signer.jwks().to_string()];
    let count = asked.clone();
    let server = tokio::spawn(async move {
        loop {
            let Ok(mut stream) = acceptor.accept(listener.accept().await.unwrap().0).await else { continue };
            let (documents, count) = (documents.clone(), count.clone());
            tokio::spawn(async move {
                let mut head = Vec::new();
                while let Ok(byte) = stream.read_u8().await {
                    head.push(byte);
                    if head.ends_with(b"\r\n\r\n") {
                        count.fetch_add(1, Relaxed);
                        let body = &documents[usize::from(head.starts_with(b"GET /keys"))];
                        let answer =
                            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                        _ = stream.write_all(answer.as_bytes()).await;
                        head.clear();
                    }
                }
            });
        }
    });
    (url, made.pem(), asked, server)
}

#[tokio::test]
async fn keys_are_fetched_over_tls_when_a_token_needs_them_and_not_again() {
    let signer = Signer::new(&rcgen::KeyPair::generate().unwrap().serialize_der()).unwrap();
    let (url, authorities, asked, server) = serve(&signer).await;
    let issuer = opened(IssuerConfig {
        url: url.clone(),
        audiences: vec!["coracle".into()],
        username: claim("sub", &format!("{url}#")),
        authorities,
        ..IssuerConfig::default()
    })
    .unwrap();
    let token = signer.sign(&json!({"iss": url, "aud": "coracle", "sub": "42", "exp": 2000})).unwrap();
    assert_eq!(issuer.user(&token, 1000).await.unwrap().name, format!("{url}#42"));
    let other = Signer::new(&rcgen::KeyPair::generate().unwrap().serialize_der()).unwrap();
    let token_of_other =
        other.sign(&json!({"iss": url, "aud": "coracle", "sub": "42", "exp": 2000})).unwrap();
    assert!(issuer.user(&token_of_other, 1000).await.is_err());
    assert_eq!(issuer.user(&token, 1000).await.unwrap().name, format!("{url}#42"));
    assert_eq!(asked.load(Relaxed), 2, "the document and the keys, once each");
    // The issuer has another key of the same name than the one that was learnt.
    let id = issuer.keys.read()[0].id.clone();
    let jwk = json!({"kty": "RSA", "kid": id, "n": MODULUS, "e": "AQAB"});
    *issuer.keys.write() = Arc::new(vec![key(&jwk).unwrap()]);
    assert!(issuer.user(&token, 1000).await.is_err(), "it was just asked");
    *issuer.asked.lock().await = None;
    assert_eq!(issuer.user(&token, 1000).await.unwrap().name, format!("{url}#42"));
    assert_eq!(asked.load(Relaxed), 4);
    server.abort();
}

#[tokio::test]
async fn a_changed_configuration_is_taken_up_unless_it_cannot_be_used() {
    let signer = Signer::new(&rcgen::KeyPair::generate().unwrap().serialize_der()).unwrap();
    let (url, authorities, _, server) = serve(&signer).await;
    let file = |url: &str, anonymous: bool| {
        let mut file = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
        "jwt": [{
            "issuer": {"url": url, "audiences": ["a"], "certificateAuthority": authorities},
            "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
        }]});
        if anonymous {
            file["anonymous"] = json!({"enabled": false});
        }
        file.to_string()
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("authentication.yaml");
    std::fs::write(&path, file("https://before.test", false)).unwrap();
    let (configs, mut watched) = read(&path).unwrap();
    let issuers = Issuers::open(&configs, "https://own.test").unwrap();
    let pass = async |watched: &mut File| {
        issuers.reload(watched).await;
        let mut page = crate::metrics::Page::default();
        issuers.render("node", &mut page);
        let times = page.0.lines().filter(|line| line.contains("reloads_total{")).map(|line| {
            let (labels, times) = line.rsplit_once(' ').unwrap();
            format!("{} {times}", labels.rsplit('"').nth(1).unwrap())
        });
        (issuers.of("https://before.test").is_some(), times.collect::<Vec<_>>().join(", "))
    };
    assert_eq!(pass(&mut watched).await, (true, String::new()));
    let steps = [
        // What is wrong in itself is looked at once.
        (Some("kind: AuthenticationConfiguration".to_owned()), "failure 1"),
        (None, "failure 1"),
        (Some(file(&url, true)), "failure 2"),
        // Nobody is there.
        (Some(file("https://localhost:1", false)), "failure 3"),
        (None, "failure 4"),
    ];
    for (text, expected) in steps {
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        assert_eq!(pass(&mut watched).await, (true, expected.to_owned()));
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(pass(&mut watched).await, (true, "failure 5".to_owned()));
    std::fs::write(&path, file(&url, false)).unwrap();
    assert_eq!(pass(&mut watched).await, (false, "failure 5, success 1".to_owned()));
    assert_eq!(pass(&mut watched).await, (false, "failure 5, success 1".to_owned()));
    let token = signer.sign(&json!({"iss": url, "aud": "a", "sub": "42", "exp": 2000})).unwrap();
    server.abort();
    assert_eq!(issuers.of(&url).unwrap().user(&token, 1000).await.unwrap().name, "42");
}
