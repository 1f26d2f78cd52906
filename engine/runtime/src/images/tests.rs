use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::json;

use super::*;

fn secret(name: &str) -> SecretId {
    SecretId { namespace: "team".into(), name: name.into(), uid: name.into() }
}

fn is_root() -> bool {
    Path::new("/proc/self").metadata().unwrap().uid() == 0
}

/// A tar with the given files; a name that ends in `/` is a directory.
fn tar_of(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        header.set_entry_type(if name.ends_with('/') {
            tar::EntryType::Directory
        } else {
            tar::EntryType::Regular
        });
        tar.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

fn config_of(layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| digest::of(layer)).collect();
    let config = json!({"Entrypoint": ["/app"], "Env": ["A=1"], "User": "app"});
    serde_json::to_vec(&json!({"architecture": "amd64", "os": "linux", "config": config, "rootfs": {"type": "layers", "diff_ids": diff_ids}})).unwrap()
}

fn docker_archive(dir: &Path, tag: &str, layers: &[Vec<u8>]) -> PathBuf {
    let config = config_of(layers);
    let names: Vec<String> = (0..layers.len()).map(|index| format!("{index}/layer.tar")).collect();
    let manifest =
        serde_json::to_string(&json!([{"Config": "config.json", "RepoTags": [tag], "Layers": names}]))
            .unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |name: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content).unwrap();
    };
    add("manifest.json", manifest.as_bytes());
    add("config.json", &config);
    for (name, layer) in names.iter().zip(layers) {
        add(name, layer);
    }
    let path = dir.join("archive.tar");
    fs::write(&path, tar.into_inner().unwrap()).unwrap();
    path
}

async fn store(dir: &Path) -> ImageStore {
    ImageStore::open(dir.join("images"), RegistryConfig::default()).await.unwrap()
}

fn layer_count(dir: &Path) -> usize {
    fs::read_dir(dir.join("images/layers")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_imported_named_and_removed_without_a_trace() {
    if !is_root() {
        return eprintln!("skipped: only root can unpack layers");
    }
    let dir = tempfile::tempdir().unwrap();
    let layers = [
        tar_of(&[("etc/", ""), ("etc/passwd", "app:x:7:8::/:/bin/sh\n"), ("gone", "x")]),
        tar_of(&[(".wh.gone", "")]),
    ];
    let archive = docker_archive(dir.path(), "app:v1", &layers);
    let store = store(dir.path()).await;
    let imported = store.import(archive).await.unwrap();
    assert_eq!(imported[0].repo_tags, ["docker.io/library/app:v1"]);
    assert_eq!(imported[0].entrypoint, ["/app"]);

    // Another process sees it, by tag and by id.
    let other = ImageStore::open(dir.path().join("images"), RegistryConfig::default()).await.unwrap();
    let found = other.resolve("app:v1").await.unwrap().unwrap();
    assert_eq!(found.id, imported[0].id);
    assert!(other.resolve(&found.id).await.unwrap().is_some());
    assert!(other.resolve("app:v2").await.unwrap().is_none());
    let user = other.resolve_user(&found.id, &found.user).await.unwrap();
    assert_eq!((user.uid, user.gid), (7, 8));

    let whiteout = fs::symlink_metadata(other.layers(&found.id).await.unwrap()[1].join("gone")).unwrap();
    assert_eq!(whiteout.rdev(), 0);
    store.remove("app:v1").await.unwrap();
    assert!(store.resolve(&found.id).await.unwrap().is_none());
    assert_eq!(layer_count(dir.path()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_archive_is_told_without_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("notes");
    let store = store(dir.path()).await;
    for content in [&b"notes\n"[..], &[0xff; 3000]] {
        fs::write(&file, content).unwrap();
        let error = store.import(file.clone()).await.unwrap_err().to_string();
        assert_eq!(error, "it is no tar, tar.gz or tar.zst");
    }
    let whole = fs::read(docker_archive(dir.path(), "app:v1", &[tar_of(&[("app", "program")])])).unwrap();
    for length in [520, 1124, whole.len() - 2000] {
        fs::write(&file, &whole[..length]).unwrap();
        let error = store.import(file.clone()).await.unwrap_err().to_string();
        assert_eq!(error, "it is truncated: its end is missing", "{length}");
    }
    fs::write(&file, tar_of(&[("manifest.json", "[]")])).unwrap();
    let error = store.import(file.clone()).await.unwrap_err().to_string();
    assert_eq!(error, "its manifest.json names no image");
    let absent = store.import(dir.path().join("absent")).await.unwrap_err().to_string();
    assert!(absent.starts_with("read the archive"), "{absent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_named_and_made_whole_by_another_import() {
    if !is_root() {
        return eprintln!("skipped: only root can unpack layers");
    }
    let dir = tempfile::tempdir().unwrap();
    let layer = tar_of(&[("app", "program")]);
    let store = store(dir.path()).await;
    let import = |tag: &str| store.import(docker_archive(dir.path(), tag, std::slice::from_ref(&layer)));
    let image = import("app:v1").await.unwrap().remove(0);
    assert_eq!(import("app:v2").await.unwrap()[0].repo_tags, ["docker.io/library/app:v2"]);

    fs::remove_dir_all(&store.layers(&image.id).await.unwrap()[0]).unwrap();
    let error = store.layers(&image.id).await.unwrap_err().to_string();
    let lost = digest::of(&layer);
    assert!(
        error.starts_with(&format!("image `docker.io/library/app:v1` is damaged, layer `{lost}`")),
        "{error}"
    );
    fs::remove_dir_all(dir.path().join("images/configs")).unwrap();
    fs::create_dir(dir.path().join("images/configs")).unwrap();
    let error = store.resolve("app:v1").await.unwrap_err().to_string();
    assert!(error.contains("is damaged, its configuration"), "{error}");
    import("app:v1").await.unwrap();
    assert!(store.resolve("app:v1").await.unwrap().is_some() && store.layers(&image.id).await.is_ok());

    fs::write(dir.path().join("images/index.json"), "{").unwrap();
    let error = store.list().await.unwrap_err().to_string();
    assert!(error.contains("index.json` is damaged: after `coracle down`"), "{error}");
    assert_eq!(store.check().await.unwrap_err().to_string(), error);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_brought_is_left_over_only_when_nobody_brings_it() {
    let dir = tempfile::tempdir().unwrap();
    let first = store(dir.path()).await;
    let workspace = first.workspace().await.unwrap();
    let part = workspace.path().join("part");
    let killed = dir.path().join("images/tmp/of-a-killed-process");
    fs::write(&part, "x").unwrap();
    fs::write(&killed, "x").unwrap();
    store(dir.path()).await;
    assert!(part.exists() && killed.exists());
    drop(workspace);
    assert!(!part.exists() && killed.exists());
    store(dir.path()).await;
    assert!(!killed.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_leads_out_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut evil = tar_of(&[("aa/.wh.x", "")]);
    evil[0..2].copy_from_slice(b"..");
    // The header's checksum must fit its new name.
    let mut header = [0u8; 512];
    header.copy_from_slice(&evil[..512]);
    let mut header = tar::Header::from_byte_slice(&header).clone();
    header.set_cksum();
    evil[..512].copy_from_slice(header.as_bytes());
    let archive = docker_archive(dir.path(), "evil:v1", &[evil]);
    let store = store(dir.path()).await;
    assert!(store.import(archive).await.is_err());
    assert!(store.list().await.unwrap().is_empty());
    assert_eq!(layer_count(dir.path()), 0);
    assert!(!dir.path().join("images/tmp/x").exists());
}

/// A registry on loopback that serves fixed paths, but no HEAD of a `headless` one, and says 401 until it sees a token.
/// `stranger:x` gets a token, too, but one that opens nothing. `forbidden` is nobody's, and nobody's password opens `basic`.
fn registry(paths: Vec<(String, Vec<u8>)>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let paths = Arc::new(paths);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let paths = paths.clone();
            std::thread::spawn(move || serve(stream, port, &paths));
        }
    });
    port
}

fn serve(mut stream: std::net::TcpStream, port: u16, paths: &[(String, Vec<u8>)]) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut request = String::new();
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap_or(0) > 2 {
            request.push_str(&std::mem::take(&mut line));
        }
        if request.is_empty() {
            return;
        }
        let mut words = request.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap().to_string());
        let authorized = request.to_ascii_lowercase().contains("authorization: bearer letmein");
        let is_stranger = request.contains("Basic c3RyYW5nZXI6eA==");
        let found = paths
            .iter()
            .find(|(known, _)| *known == path.split('?').next().unwrap())
            .map(|(_, body)| body.clone());
        let error = if request.contains("Bearer ") { ",error=\"insufficient_scope\"" } else { "" };
        let (status, extra, body) = match found {
            _ if path.starts_with("/v2/basic/") => {
                ("401 Unauthorized", "www-authenticate: Basic realm=\"r\"\r\n".to_owned(), Vec::new())
            }
            _ if path.starts_with("/v2/forbidden/") && authorized => {
                ("403 Forbidden", String::new(), Vec::new())
            }
            Some(_) if method == "HEAD" && path.ends_with("/headless") => {
                ("405 Method Not Allowed", String::new(), Vec::new())
            }
            Some(_) if is_stranger => ("200 OK", String::new(), br#"{"token": "nobody"}"#.to_vec()),
            Some(body) if path.starts_with("/token") || authorized => ("200 OK", String::new(), body),
            _ if !authorized => (
                "401 Unauthorized",
                format!(
                    "www-authenticate: Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"test\"{error}\r\n"
                ),
                Vec::new(),
            ),
            _ => ("404 Not Found", String::new(), Vec::new()),
        };
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\n{extra}\r\n", body.len()).unwrap();
        if method != "HEAD" {
            stream.write_all(&body).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pulled_with_a_token_and_checked() {
    if !is_root() {
        return eprintln!("skipped: only root can unpack layers");
    }
    let layer = tar_of(&[("app", "program")]);
    let config = config_of(std::slice::from_ref(&layer));
    let manifest = |layer_digest: &str| {
        serde_json::to_vec(&json!({"schemaVersion": 2, "config": {"digest": digest::of(&config), "size": 1}, "layers": [{"digest": layer_digest, "size": 1}]})).unwrap()
    };
    let wrong = format!("sha256:{}", "0".repeat(64));
    let port = registry(vec![
        ("/token".into(), br#"{"token": "letmein"}"#.to_vec()),
        ("/v2/app/manifests/v1".into(), manifest(&digest::of(&layer))),
        ("/v2/app/manifests/headless".into(), manifest(&digest::of(&layer))),
        ("/v2/app/manifests/broken".into(), manifest(&wrong)),
        (format!("/v2/app/blobs/{}", digest::of(&config)), config.clone()),
        (format!("/v2/app/blobs/{}", digest::of(&layer)), layer.clone()),
        (format!("/v2/app/blobs/{wrong}"), b"something else".to_vec()),
    ]);
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let name = format!("127.0.0.1:{port}/app");
    let shown = ["stranger", "owner"].map(|username| Credentials {
        username: username.to_string(),
        password: "x".into(),
        secret: secret(username),
    });
    let denied = store.pull(&format!("{name}:v1"), &shown[..1]).await.unwrap_err().to_string();
    assert!(denied.contains("pull access denied"), "{denied}");
    let pulled = store.pull(&format!("{name}:v1"), &shown).await.unwrap();
    assert_eq!(pulled.repo_tags, [format!("{name}:v1")]);
    let may_run = |image: &ImageConfig, credentials: &[Credentials]| {
        image.access.allows(&format!("{name}:v1"), || credentials)
    };
    assert!(may_run(&pulled, &shown[1..]) && !may_run(&pulled, &shown[..1]), "it is the owner's alone");
    assert_eq!(
        fs::read_to_string(store.layers(&pulled.id).await.unwrap()[0].join("app")).unwrap(),
        "program"
    );

    let again = store.pull(&format!("{name}:headless"), &shown).await.unwrap();
    assert_eq!(again.id, pulled.id);
    store.remove(&format!("{name}:headless")).await.unwrap();

    let absent = store.pull(&format!("{name}:v9"), &[]).await.unwrap_err().to_string();
    assert!(absent.ends_with(&format!("{name}:v9: not found")), "{absent}");
    store.remove(&format!("{name}:v1")).await.unwrap();
    let broken = store.pull(&format!("{name}:broken"), &[]).await.unwrap_err().to_string();
    assert!(broken.contains("arrived with"), "{broken}");
    assert_eq!(layer_count(dir.path()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_registry_refuses_or_lacks_is_told_in_containerds_words() {
    let chart = b"{}".to_vec();
    let config = config_of(&[tar_of(&[("app", "program")])]);
    let lost = format!("sha256:{}", "0".repeat(64));
    let manifest = |config: &[u8]| {
        let config = json!({"digest": digest::of(config), "size": 1});
        serde_json::to_vec(
            &json!({"schemaVersion": 2, "config": config, "layers": [{"digest": lost, "size": 1}]}),
        )
        .unwrap()
    };
    let port = registry(vec![
        ("/token".into(), br#"{"token": "letmein"}"#.to_vec()),
        ("/v2/app/manifests/lost".into(), manifest(&config)),
        ("/v2/app/manifests/chart".into(), manifest(&chart)),
        ("/v2/app/manifests/old".into(), br#"{"schemaVersion": 1, "fsLayers": []}"#.to_vec()),
        (format!("/v2/app/blobs/{}", digest::of(&config)), config),
        (format!("/v2/app/blobs/{}", digest::of(&chart)), chart),
    ]);
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let at = format!("http://127.0.0.1:{port}/v2");
    let denied = "pull access denied, repository does not exist or may require authorization";
    for (image, user, says) in [
        (
            "app:lost",
            "stranger",
            format!("{denied}: server message: insufficient_scope: authorization failed"),
        ),
        (
            "forbidden:v1",
            "owner",
            format!("unexpected status from HEAD request to {at}/forbidden/manifests/v1: 403 Forbidden"),
        ),
        (
            "basic:v1",
            "owner",
            format!("unexpected status from HEAD request to {at}/basic/manifests/v1: 401 Unauthorized"),
        ),
        ("basic:v1", "", format!("{denied}: authorization failed: no basic auth credentials")),
        (
            "app:lost",
            "",
            format!(
                "failed to copy: httpReadSeeker: failed open: content at {at}/app/blobs/{lost} not found: not found"
            ),
        ),
        ("app:chart", "", "it is no container image: its configuration has no rootfs".into()),
        ("app:old", "", "\"application/vnd.oci.image.manifest.v1+json\"".into()),
    ] {
        let shown = Credentials { username: user.into(), password: "x".into(), secret: secret(user) };
        let shown = if user.is_empty() { &[][..] } else { &[shown][..] };
        let name = format!("127.0.0.1:{port}/{image}");
        let said = store.pull(&name, shown).await.unwrap_err().to_string();
        let resolving = if image.starts_with("app") && user.is_empty() {
            String::new()
        } else {
            format!("failed to resolve reference \"{name}\": ")
        };
        let begins = format!("failed to pull and unpack image \"{name}\": {resolving}");
        assert!(said.starts_with(&begins) && said.ends_with(&says), "{image} {user}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_a_failed_pull_finished_is_not_downloaded_again() {
    if !is_root() {
        return eprintln!("skipped: only root can unpack layers");
    }
    let layers = [tar_of(&[("a", "1")]), tar_of(&[("b", "2")])];
    let config = config_of(&layers);
    let manifest = |digests: [&str; 2]| {
        let layers = digests.map(|digest| json!({"digest": digest, "size": 1}));
        let config = json!({"digest": digest::of(&config), "size": 1});
        serde_json::to_vec(&json!({"schemaVersion": 2, "config": config, "layers": layers})).unwrap()
    };
    let [first, second] = [digest::of(&layers[0]), digest::of(&layers[1])];
    let nowhere = format!("sha256:{}", "0".repeat(64));
    let port = registry(vec![
        ("/token".into(), br#"{"token": "letmein"}"#.to_vec()),
        ("/v2/app/manifests/fails".into(), manifest([&first, &nowhere])),
        ("/v2/app/manifests/again".into(), manifest([&nowhere, &second])),
        (format!("/v2/app/blobs/{}", digest::of(&config)), config.clone()),
        (format!("/v2/app/blobs/{first}"), layers[0].clone()),
        (format!("/v2/app/blobs/{second}"), layers[1].clone()),
    ]);
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    store.pull(&format!("127.0.0.1:{port}/app:fails"), &[]).await.unwrap_err();
    assert_eq!(layer_count(dir.path()), 1);
    let pulled = store.pull(&format!("127.0.0.1:{port}/app:again"), &[]).await.unwrap();
    assert_eq!(pulled.size_bytes, (layers[0].len() + layers[1].len()) as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_are_followed_as_far_as_four() {
    let config = config_of(&[]);
    let manifest = json!({"schemaVersion": 2, "config": {"digest": digest::of(&config)}, "layers": []});
    let mut document = serde_json::to_vec(&manifest).unwrap();
    let mut paths = vec![
        ("/token".into(), br#"{"token": "letmein"}"#.to_vec()),
        (format!("/v2/app/blobs/{}", digest::of(&config)), config.clone()),
    ];
    for indexes in 0..6 {
        let below = digest::of(&document);
        paths.push((format!("/v2/app/manifests/{indexes}"), document.clone()));
        paths.push((format!("/v2/app/manifests/{below}"), document));
        document =
            serde_json::to_vec(&json!({"schemaVersion": 2, "manifests": [{"digest": below}]})).unwrap();
    }
    let port = registry(paths);
    for (indexes, pulled) in [(0, true), (1, true), (2, true), (4, true), (5, false)] {
        let dir = tempfile::tempdir().unwrap();
        let outcome = store(dir.path()).await.pull(&format!("127.0.0.1:{port}/app:{indexes}"), &[]).await;
        let said = outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
        assert_eq!(outcome.is_ok(), pulled, "{indexes}: {said}");
        assert!(pulled || said.ends_with("more than 4 indexes lead to its manifest"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_of_an_archive_are_followed_as_far() {
    for (indexes, imported) in [(0, true), (3, true), (4, true), (5, false)] {
        let config = String::from_utf8(config_of(&[])).unwrap();
        let mut digest = digest::of(config.as_bytes());
        let mut document =
            json!({"schemaVersion": 2, "config": {"digest": digest}, "layers": []}).to_string();
        let path_of = |digest: &str| format!("blobs/{}", digest.replace(':', "/"));
        let mut files = vec![(path_of(&digest), config)];
        for _ in 0..=indexes {
            digest = digest::of(document.as_bytes());
            files.push((path_of(&digest), document));
            document = json!({"schemaVersion": 2, "manifests": [{"digest": digest}]}).to_string();
        }
        files.push(("index.json".to_owned(), document));
        let files: Vec<(&str, &str)> =
            files.iter().map(|(name, content)| (name.as_str(), content.as_str())).collect();
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("archive.tar");
        fs::write(&archive, tar_of(&files)).unwrap();
        let outcome = store(dir.path()).await.import(archive).await;
        let said = outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
        assert_eq!(outcome.is_ok(), imported, "{indexes}: {said}");
        assert!(imported || said.contains("more than 4 indexes lead to the manifest of sha256:"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_that_no_image_names_go_when_no_retry_can_want_them() {
    let dir = tempfile::tempdir().unwrap();
    let images = store(dir.path()).await;
    let place = |folder: &str, name: &str| dir.path().join("images").join(folder).join(name);
    for name in ["old", "fresh"] {
        fs::create_dir(place("layers", name)).unwrap();
        fs::write(place("notes", name), "{}").unwrap();
    }
    fs::create_dir(place("layers", "without-note")).unwrap();
    store(dir.path()).await;
    assert_eq!(layer_count(dir.path()), 3, "without a list, nothing is left over");
    fs::write(dir.path().join("images/index.json"), r#"{"images": []}"#).unwrap();
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(86400);
    fs::File::options().write(true).open(place("notes", "old")).unwrap().set_modified(long_ago).unwrap();
    let bringing = images.0.index.bringing().unwrap();
    store(dir.path()).await;
    assert_eq!(layer_count(dir.path()), 3);
    drop(bringing);
    store(dir.path()).await;
    assert_eq!(layer_count(dir.path()), 1);
    assert!(place("layers", "fresh").exists() && place("notes", "fresh").exists());
    assert!(!place("notes", "old").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error =
        store(dir.path()).await.pull(&format!("127.0.0.1:{free}/x"), &[]).await.unwrap_err().to_string();
    assert!(error.contains("failed to do request: Head \"http://127.0.0.1:"), "{error}");
    assert!(error.contains("refused"), "{error}");
}

/// As servers answer to what is no HTTP.
fn plain_http_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut begin = [0; 3];
            stream.read_exact(&mut begin).unwrap();
            let status = if begin == *b"GET" { "404 Not Found" } else { "400 Bad Request" };
            let _ = write!(stream, "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            // What is not read would reset the connection under the answer.
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_without_tls_is_told_with_what_to_set() {
    let port = plain_http_server();
    let mirrors = vec![("reg.example".to_string(), vec![format!("https://127.0.0.1:{port}")])];
    let registry = super::registry::Registry::new(RegistryConfig { mirrors, ..RegistryConfig::default() });
    let reference = super::Reference::parse("reg.example/app:1").unwrap();
    let error = registry.sessions(&reference, None)[0].head("1").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "failed to do request: Head \"https://127.0.0.1:{port}/v2/app/manifests/1?ns=reg.example\": http: server gave HTTP response to \
             HTTPS client (to speak plain HTTP with it, name it in the setting `plain-http-registries`: 127.0.0.1:{port})"
        )
    );
}
