use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::authn::jwt::Signer;

/// Signed by a key of 2048 bits that nobody has any more: issuer `https://issuer.test`, audiences `other` and `coracle`, subject 42,
/// `jane@example.com`, groups `devs` and `ops`, from second 1000 to 2000.
const TOKEN: &str = "eyJhbGciOiAiUlMyNTYiLCAia2lkIjogInIifQ.eyJpc3MiOiAiaHR0cHM6Ly9pc3N1ZXIudGVzdCIsICJhdWQiOiBbIm90aGVyIiwgImNvcmFjbGUiXSwgInN1YiI6ICI0MiIsICJlbWFpbCI6ICJqYW5lQGV4YW1wbGUuY29tIiwgImVtYWlsX3ZlcmlmaWVkIjogdHJ1ZSwgImdyb3VwcyI6IFsiZGV2cyIsICJvcHMiXSwgImV4cCI6IDIwMDAsICJuYmYiOiAxMDAwLCAiaGQiOiAiZXhhbXBsZS5jb20ifQ.O0htTQLrzsob3eSMhLuKZJE4ysOsgvvYl8A0aNcFZOnS6xs-3ortS6ZA8Yy0StIjBNPFg5hbl3CGT3-9bD6y0gEv2eaKOLuxQJLUbx7saqo58Wr2ZJ8-enYjapK_JIvAoxcDuL3zTUAgdtJMPpiOgMXtyZVhhxTc-Fo4bvUPzAoDOekhHAk9pmPL5gt6jOoYN76f74pBGBnpTL6dtx7QzYrv0rkPJBY3R1D6XJEqd7ipA6qNjVjywjCZBn6axHuQCa8b0CsmEsaxufUmcHYP_tMSULcTJ0_Nw6y0NnKwC01EaN6I-vzsU_UZIwmARAihND_MWJi8WfnEa8P-bIo53g";
const MODULUS: &str = "rn30rwHBWxDzvuY5R5FDmm77JmkcJ0_ZJWXcmLFVgmXE2Vnr0g6kS2Dv_XbzQI0HX1adsS1hQsY31lM26HDDxJOYK_l5FzJtJcJ1Q3_22rn-ZCdOHa61E0vz3PXTp135tf2XHEVSvOgl_PwH3werxTRcbWCcgetmo7sf_qKBax98URLRTOH9kureU5VtKBDScojtjr7lvd7fEhxBv0QfnhJUuj3LjvUl-MITT2l4PhmhIqoX51eV82bF0o2ovu5cRS1E5bD4192V2ryKX6DNC0yShqK6cz9TOie84a8_x4iKcDOjMu8gwKnYV0U0qJrB41lERS7rgBxBtWmLy_EKOw";

fn issuer(change: impl FnOnce(&mut IssuerConfig)) -> Issuer {
    let mut config = IssuerConfig {
        url: "https://issuer.test".into(),
        client_id: "coracle".into(),
        username_claim: "sub".into(),
        groups_claim: "groups".into(),
        groups_prefix: "oidc:".into(),
        signing_algs: vec!["RS256".into(), "ES256".into()],
        ..IssuerConfig::default()
    };
    change(&mut config);
    let issuer = Issuer::new(config).unwrap();
    let jwk = json!({"kty": "RSA", "use": "sig", "kid": "r", "n": MODULUS, "e": "AQAB"});
    *issuer.keys.write() = Arc::new(vec![key(&jwk).unwrap()]);
    issuer
}

#[tokio::test]
async fn a_token_becomes_a_user_by_its_claims() {
    let named = async |change: fn(&mut IssuerConfig), now| {
        issuer(change).user(TOKEN, now).await.map_err(|error| error.to_string())
    };
    let user = named(|_| (), 1500).await.unwrap();
    assert_eq!(user.name, "https://issuer.test#42");
    assert_eq!(user.groups, ["oidc:devs", "oidc:ops", "system:authenticated"]);
    assert_eq!(named(|config| config.username_prefix = "-".into(), 1500).await.unwrap().name, "42");
    assert_eq!(
        named(|config| config.username_claim = "email".into(), 1500).await.unwrap().name,
        "jane@example.com"
    );
    let no = |why: &str| Err(format!("oidc: {why}"));
    assert_eq!(named(|_| (), 2000).await, no("token is expired"));
    assert_eq!(named(|_| (), 999).await, no("token is not valid yet"));
    assert_eq!(
        named(|config| config.client_id = "x".into(), 1500).await,
        no("token is for another audience")
    );
    assert_eq!(
        named(|config| config.signing_algs = vec!["ES256".into()], 1500).await,
        no("signed with an algorithm that is not allowed")
    );
    let wrong = |config: &mut IssuerConfig| drop(config.required_claims.insert("hd".into(), "x".into()));
    assert_eq!(named(wrong, 1500).await, no("a required claim is absent or different"));
    let right =
        |config: &mut IssuerConfig| drop(config.required_claims.insert("hd".into(), "example.com".into()));
    assert!(named(right, 1500).await.is_ok());
    let forged = TOKEN.replace('.', ".e30").replacen(".e30", ".", 1);
    assert!(issuer(|_| ()).user(&forged, 1500).await.is_err());
    assert!(issuer(|_| ()).names(TOKEN) && !issuer(|config| config.url = "https://x".into()).names(TOKEN));
}

#[tokio::test]
async fn keys_are_fetched_over_tls_when_a_token_needs_them_and_not_again() {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![made.cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let signer = Signer::new(&rcgen::KeyPair::generate().unwrap().serialize_der()).unwrap();
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
    let issuer = Issuer::new(IssuerConfig {
        url: url.clone(),
        client_id: "coracle".into(),
        username_claim: "sub".into(),
        signing_algs: vec!["ES256".into()],
        ca_file: Some(ca),
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
    server.abort();
}
