//! What `kubectl describe node` shows under System Info.

use k8s_openapi::api::core::v1::NodeSystemInfo;

fn first_line(paths: &[&str]) -> String {
    let read = |path: &&str| std::fs::read_to_string(path).ok().map(|t| t.trim().to_owned());
    paths.iter().find_map(read).unwrap_or_default()
}

/// `PRETTY_NAME` of os-release, without its quotes.
fn pretty_name(os_release: &str) -> Option<String> {
    let value = os_release.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="))?;
    Some(value.trim_matches(['"', '\'']).to_owned())
}

/// Architectures are named as Go names them.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub fn read(kubelet_version: &str) -> NodeSystemInfo {
    let os_release = std::fs::read_to_string("/etc/os-release")
        .or_else(|_| std::fs::read_to_string("/usr/lib/os-release"));
    NodeSystemInfo {
        architecture: architecture().to_owned(),
        boot_id: first_line(&["/proc/sys/kernel/random/boot_id"]),
        container_runtime_version: concat!("coracle://", env!("CARGO_PKG_VERSION")).to_owned(),
        kernel_version: first_line(&["/proc/sys/kernel/osrelease"]),
        // Deprecated: stock nodes leave it empty.
        kube_proxy_version: String::new(),
        kubelet_version: kubelet_version.to_owned(),
        machine_id: first_line(&["/etc/machine-id", "/var/lib/dbus/machine-id"]),
        operating_system: "linux".to_owned(),
        os_image: os_release.ok().and_then(|t| pretty_name(&t)).unwrap_or_else(|| "Linux".to_owned()),
        system_uuid: first_line(&["/sys/class/dmi/id/product_uuid", "/etc/machine-id"]),
        ..NodeSystemInfo::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_os_is_called_by_its_pretty_name() {
        assert_eq!(
            pretty_name("ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 13\"\n").unwrap(),
            "Debian GNU/Linux 13"
        );
    }
}
