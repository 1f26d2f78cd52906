use std::{
    os::unix::fs::PermissionsExt,
    time::{Duration, SystemTime},
};

use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::{serving::Serving, *};

fn config(dir: &Path, node_ip: &str) -> Config {
    Config {
        data_dir: dir.into(),
        bind: "127.0.0.1:0".parse().unwrap(),
        node_ip: node_ip.parse().unwrap(),
        node_name: "one".into(),
        extra_sans: vec!["k8s.example.org".into()],
        service_cidr: "10.43.0.0/16".parse().unwrap(),
        cluster_domain: "cluster.local".into(),
        node_port_range: 30000..=32767,
        protection: crate::Protection::default(),
    }
}

fn file(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join("pki").join(name)).unwrap()
}

#[test]
fn keys_survive_a_restart_and_are_private() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["ca.crt", "ca.key", "serving.crt", "serving.key", "sa.key"];
    Pki::open(&config(dir.path(), "192.0.2.1")).unwrap();
    let before = names.map(|name| file(dir.path(), name));
    Pki::open(&config(dir.path(), "192.0.2.1")).unwrap();
    assert_eq!(before, names.map(|name| file(dir.path(), name)));
    for name in names {
        let mode = std::fs::metadata(dir.path().join("pki").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn an_authority_without_its_key_is_refused_with_a_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "192.0.2.1");
    Pki::open(&config).unwrap();
    std::fs::remove_file(dir.path().join("pki/ca.key")).unwrap();
    let Err(error) = Pki::open(&config) else { panic!("opened") };
    assert!(error.to_string().contains("pki/ca.key` is missing"), "{error}");
    std::fs::remove_file(dir.path().join("pki/ca.crt")).unwrap();
    Pki::open(&config).unwrap();
}

#[test]
fn a_new_node_address_gives_a_new_serving_certificate_under_the_same_authority() {
    let dir = tempfile::tempdir().unwrap();
    Pki::open(&config(dir.path(), "192.0.2.1")).unwrap();
    let (ca, serving) = (file(dir.path(), "ca.crt"), file(dir.path(), "serving.crt"));
    Pki::open(&config(dir.path(), "192.0.2.2")).unwrap();
    assert_eq!(ca, file(dir.path(), "ca.crt"));
    assert_ne!(serving, file(dir.path(), "serving.crt"));
}

#[test]
fn the_serving_certificate_is_renewed_after_two_thirds_of_its_life() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Arc::new(Authority::open(&dir.path().join("pki")).unwrap());
    let serving = Serving::open(&dir.path().join("pki"), vec!["localhost".into()], authority).unwrap();
    let now = SystemTime::now();
    let day = Duration::from_secs(24 * 3600);
    let first = serving.at(now);
    assert!(Arc::ptr_eq(&first, &serving.at(now + 243 * day)));
    assert!(!Arc::ptr_eq(&first, &serving.at(now + 244 * day)));
}

#[test]
fn client_certificates_of_another_authority_or_out_of_date_are_refused() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let pki = Pki::open(&config(dir.path(), "192.0.2.1")).unwrap();
    let foreign = Pki::open(&config(other.path(), "192.0.2.1")).unwrap();
    let der = |pem: (String, String)| CertificateDer::from_pem_slice(pem.0.as_bytes()).unwrap();
    assert!(pki.verifies_client(&der(pki.sign_client("jane", &["devs"], None).unwrap())));
    assert!(!pki.verifies_client(&der(foreign.sign_client("jane", &["devs"], None).unwrap())));
    let short = der(pki.sign_client("jane", &[], Some(Duration::from_secs(600))).unwrap());
    let later = UnixTime::since_unix_epoch(
        UnixTime::now().as_secs().checked_add(601).map(Duration::from_secs).unwrap(),
    );
    assert!(pki.verifies_client(&short) && !pki.clients.verifies(&short, later));
}

#[test]
fn the_admin_kubeconfig_can_be_made_from_the_files_alone() {
    let dir = tempfile::tempdir().unwrap();
    assert!(admin_kubeconfig_from(dir.path(), "https://192.0.2.1:6443", None, None).is_err());
    Pki::open(&config(dir.path(), "192.0.2.1")).unwrap();
    let text = admin_kubeconfig_from(dir.path(), "https://192.0.2.1:6443", None, Some("dev")).unwrap();
    assert!(
        text.contains("server: \"https://192.0.2.1:6443\"") && text.contains("    namespace: \"dev\""),
        "{text}"
    );
}
