//! How registries are reached, by `coracle up` and by `coracle build`.

use anyhow::{Result, bail};
use coracle_runtime::images::RegistryConfig;
use http::uri::Authority;

use super::Values;

pub fn registries(values: &Values) -> Result<RegistryConfig> {
    let plain_http = values.list("plain-http-registries");
    if let Some(wrong) = plain_http.iter().find(|registry| !is_host(registry)) {
        bail!("setting `plain-http-registries` has `{wrong}`, expected HOST or HOST:PORT");
    }
    Ok(RegistryConfig { mirrors: mirrors(&values.list("registry-mirrors"))?, plain_http })
}

/// `registry=mirror` pairs, several for one registry in their order.
fn mirrors(pairs: &[String]) -> Result<Vec<(String, Vec<String>)>> {
    let mut mirrors: Vec<(String, Vec<String>)> = Vec::new();
    for pair in pairs {
        let parts = pair.split_once('=').filter(|(registry, mirror)| is_host(registry) && is_mirror(mirror));
        let Some((registry, mirror)) = parts else {
            bail!(
                "setting `registry-mirrors` has `{pair}`, expected REGISTRY=MIRROR such as docker.io=mirror.example:5000"
            );
        };
        match mirrors.iter_mut().find(|(known, _)| known == registry) {
            Some((_, list)) => list.push(mirror.to_string()),
            None => mirrors.push((registry.to_string(), vec![mirror.to_string()])),
        }
    }
    Ok(mirrors)
}

/// A host, perhaps with a scheme before it and a path behind it.
fn is_mirror(text: &str) -> bool {
    let rest = match text.split_once("://") {
        Some(("http" | "https", rest)) => rest,
        Some(_) => return false,
        None => text,
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    is_host(host) && path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte))
}

/// `host` or `host:port`
fn is_host(text: &str) -> bool {
    let Ok(authority) = text.parse::<Authority>() else { return false };
    let name = authority.host();
    !name.is_empty()
        && (name == text || authority.port_u16().is_some_and(|port| text == format!("{name}:{port}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_of_one_registry_keep_their_order() {
        let pairs = ["docker.io=a:5000", "ghcr.io=c", "docker.io=b"].map(str::to_string);
        let expected = vec![
            ("docker.io".to_string(), vec!["a:5000".to_string(), "b".to_string()]),
            ("ghcr.io".to_string(), vec!["c".to_string()]),
        ];
        assert_eq!(mirrors(&pairs).unwrap(), expected);
    }

    #[test]
    fn what_names_no_host_is_refused() {
        let of = |flag: &str| registries(&Values::of_flags(&[flag]));
        for right in [
            "docker.io=https://harbor.lan/proxy",
            "a.lan:5000=10.0.0.1:5000",
            "localhost=http://[fd00::1]:5000/",
        ] {
            assert!(of(&format!("--registry-mirrors={right}")).is_ok(), "{right}");
        }
        for wrong in [
            "=x",
            "docker.io=",
            "docker.io",
            "docker.io=a b",
            "a/b=c",
            "docker.io=ftp://x",
            "docker.io=https://",
        ] {
            let said = of(&format!("--registry-mirrors={wrong}")).err().unwrap().to_string();
            assert!(
                said.starts_with(&format!("setting `registry-mirrors` has `{wrong}`, expected")),
                "{said}"
            );
        }
        assert!(of("--plain-http-registries=a.lan,b.lan:5000").is_ok());
        for wrong in ["a b", "a/b", "http://a", "a:", "a:x", "me@a"] {
            let said = of(&format!("--plain-http-registries={wrong}")).err().unwrap().to_string();
            assert!(said.contains("expected HOST or HOST:PORT"), "{said}");
        }
    }
}
