//! What a container reads in /etc/resolv.conf, /etc/hosts and /etc/hostname.
//!
//! Reads:     the node's own resolv.conf and hosts, given as text. Pure.
//! Source:    https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/

use k8s_openapi::api::core::v1::{Pod, PodSpec};

const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
/// Resolvers of the C library abort at a longer domain.
const MAX_SEARCH_BYTES: usize = 253;
const MAX_SEARCH_LINE_BYTES: usize = 2048;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    pub nameservers: Vec<String>,
    pub searches: Vec<String>,
    pub options: Vec<String>,
}

impl ResolvConf {
    pub fn parse(text: &str) -> ResolvConf {
        let mut conf = ResolvConf::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => conf.nameservers.extend(words.next()),
                Some("search") => conf.searches = words.collect(),
                Some("options") => conf.options = words.collect(),
                _ => {}
            }
        }
        conf
    }

    /// The node's, as pods can use it. With systemd-resolved, /etc/resolv.conf names a server on the loopback interface,
    /// which is another in a pod's network; the servers behind it stand in a file of systemd's.
    /// https://kubernetes.io/docs/tasks/administer-cluster/dns-debugging-resolution/#known-issues
    pub fn of_node(etc: &str, systemd: Option<&str>) -> ResolvConf {
        let own = ResolvConf::parse(etc);
        let loopback =
            |server: &String| server.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        match systemd.map(ResolvConf::parse) {
            Some(behind) if own.nameservers.iter().all(loopback) && !behind.nameservers.is_empty() => behind,
            _ => own,
        }
    }

    /// Leaves out what resolvers do not read. Says what is left, in the words of the Event `DNSConfigForming`.
    fn fit(&mut self) -> Vec<String> {
        let mut cut = Vec::new();
        if self.nameservers.len() > MAX_NAMESERVERS {
            self.nameservers.truncate(MAX_NAMESERVERS);
            cut.push(format!("Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {}", self.nameservers.join(" ")));
        }
        let asked = self.searches.len();
        self.searches.truncate(MAX_SEARCHES);
        self.searches.retain(|domain| domain.len() <= MAX_SEARCH_BYTES);
        while self.searches.join(" ").len() > MAX_SEARCH_LINE_BYTES {
            self.searches.pop();
        }
        if self.searches.len() < asked {
            cut.push(format!("Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {}", self.searches.join(" ")));
        }
        cut
    }

    pub fn render(&self) -> String {
        let mut out = String::new();
        if !self.searches.is_empty() {
            out += &format!("search {}\n", self.searches.join(" "));
        }
        for nameserver in &self.nameservers {
            out += &format!("nameserver {nameserver}\n");
        }
        if !self.options.is_empty() {
            out += &format!("options {}\n", self.options.join(" "));
        }
        out
    }
}

pub struct Cluster<'a> {
    pub dns: &'a str,
    pub domain: &'a str,
}

/// The pod's resolver by its `dnsPolicy`, completed by its `dnsConfig`; and what its owner is told when some of it had to
/// be left out.
pub fn resolv_conf(
    namespace: &str,
    spec: &PodSpec,
    cluster: &Cluster,
    node: &ResolvConf,
) -> (ResolvConf, Vec<String>) {
    let host_network = spec.host_network == Some(true);
    let mut conf = match spec.dns_policy.as_deref().unwrap_or("ClusterFirst") {
        "None" => ResolvConf::default(),
        "ClusterFirst" if host_network => node.clone(),
        "Default" => node.clone(),
        _ => {
            let domain = cluster.domain;
            let mut searches =
                vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()];
            searches.extend(node.searches.iter().filter(|s| *s != ".").cloned());
            ResolvConf {
                nameservers: vec![cluster.dns.to_owned()],
                searches,
                options: vec!["ndots:5".to_owned()],
            }
        }
    };
    if let Some(own) = &spec.dns_config {
        conf.nameservers.extend(own.nameservers.iter().flatten().cloned());
        conf.searches.extend(own.searches.iter().flatten().cloned());
        for option in own.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            conf.options.retain(|o| o.split(':').next() != Some(name.as_str()));
            conf.options.push(match option.value.as_deref().filter(|v| !v.is_empty()) {
                Some(value) => format!("{name}:{value}"),
                None => name,
            });
        }
    }
    dedup(&mut conf.nameservers);
    dedup(&mut conf.searches);
    let cut = conf.fit();
    (conf, cut)
}

fn dedup(list: &mut Vec<String>) {
    let mut seen = std::collections::HashSet::new();
    list.retain(|item| seen.insert(item.clone()));
}

/// Host name and domain of a pod. The domain is empty without `spec.subdomain`.
pub fn hostname_and_domain(pod: &Pod, cluster_domain: &str) -> (String, String) {
    const MAX: usize = 63;
    let Some(spec) = &pod.spec else { return Default::default() };
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let wanted = [spec.hostname_override.as_deref(), spec.hostname.as_deref()]
        .into_iter()
        .flatten()
        .find(|h| !h.is_empty())
        .unwrap_or(name);
    let hostname = wanted[..wanted.len().min(MAX)].trim_end_matches(['-', '.']).to_owned();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let domain = match spec.subdomain.as_deref().filter(|s| !s.is_empty() && spec.hostname_override.is_none())
    {
        Some(subdomain) => format!("{subdomain}.{namespace}.svc.{cluster_domain}"),
        None => String::new(),
    };
    (hostname, domain)
}

/// The name the kernel gives the pod.
pub fn kernel_hostname(pod: &Pod, cluster_domain: &str) -> String {
    let (hostname, domain) = hostname_and_domain(pod, cluster_domain);
    let fqdn = pod.spec.as_ref().is_some_and(|s| s.set_hostname_as_fqdn == Some(true));
    if fqdn && !domain.is_empty() { format!("{hostname}.{domain}") } else { hostname }
}

fn aliases(spec: &PodSpec, out: &mut String) {
    let Some(aliases) = spec.host_aliases.as_ref().filter(|a| !a.is_empty()) else { return };
    out.push_str("\n# Entries added by HostAliases.\n");
    for alias in aliases {
        let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
        *out += &format!("{}\t{names}\n", alias.ip);
    }
}

pub fn hosts_file(pod: &Pod, pod_ip: &str, cluster_domain: &str, node_hosts: &str) -> String {
    let Some(spec) = &pod.spec else { return String::new() };
    let mut out;
    if spec.host_network == Some(true) {
        out = format!("# Kubernetes-managed hosts file (host network).\n{node_hosts}");
    } else {
        out = "# Kubernetes-managed hosts file.\n\
               127.0.0.1\tlocalhost\n\
               ::1\tlocalhost ip6-localhost ip6-loopback\n\
               fe00::0\tip6-localnet\n\
               fe00::0\tip6-mcastprefix\n\
               fe00::1\tip6-allnodes\n\
               fe00::2\tip6-allrouters\n"
            .to_owned();
        let (hostname, domain) = hostname_and_domain(pod, cluster_domain);
        if domain.is_empty() {
            out += &format!("{pod_ip}\t{hostname}\n");
        } else {
            out += &format!("{pod_ip}\t{hostname}.{domain}\t{hostname}\n");
        }
    }
    aliases(spec, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: serde_json::Value) -> Pod {
        let mut spec = spec;
        spec["containers"] = json!([]);
        serde_json::from_value(json!({"metadata": {"name": "web-0", "namespace": "shop"}, "spec": spec}))
            .unwrap()
    }

    fn resolver(spec: serde_json::Value) -> String {
        formed(spec).0.render()
    }

    fn formed(spec: serde_json::Value) -> (ResolvConf, Vec<String>) {
        let node = ResolvConf::parse("# x\nnameserver 192.0.2.53\nsearch example.net\noptions edns0\n");
        let cluster = Cluster { dns: "10.43.0.10", domain: "cluster.local" };
        resolv_conf("shop", pod(spec).spec.as_ref().unwrap(), &cluster, &node)
    }

    #[test]
    fn dns_policies_give_their_resolv_conf() {
        let cluster = "search shop.svc.cluster.local svc.cluster.local cluster.local example.net\nnameserver 10.43.0.10\noptions ndots:5\n";
        let node = "search example.net\nnameserver 192.0.2.53\noptions edns0\n";
        assert_eq!(resolver(json!({})), cluster);
        assert_eq!(resolver(json!({"dnsPolicy": "Default"})), node);
        assert_eq!(resolver(json!({"dnsPolicy": "ClusterFirst", "hostNetwork": true})), node);
        assert_eq!(resolver(json!({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": true})), cluster);
        assert_eq!(
            resolver(
                json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.2.3.4"], "options": [{"name": "ndots", "value": "2"}]}})
            ),
            "nameserver 1.2.3.4\noptions ndots:2\n"
        );
    }

    #[test]
    fn what_resolvers_do_not_read_is_left_out_and_told() {
        const SERVERS: &str = "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: 1.1.1.1 1.1.1.2 1.1.1.3";
        const SEARCHES: &str = "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: ";
        let domains = |count: usize, bytes: usize| -> Vec<String> {
            (0..count).map(|at| format!("{at:0>bytes$}")).collect()
        };
        let servers = |count: usize| -> Vec<String> { (1..=count).map(|at| format!("1.1.1.{at}")).collect() };
        for (servers, searches, left, told) in [
            (servers(3), domains(32, 2), 32, vec![]),
            (servers(4), domains(1, 2), 1, vec![SERVERS]),
            (servers(3), domains(33, 2), 32, vec![SEARCHES]),
            (servers(3), domains(1, 254), 0, vec![SEARCHES]),
            (servers(3), domains(8, 253), 8, vec![]),
            (servers(3), domains(9, 253), 8, vec![SEARCHES]),
            (servers(4), domains(33, 2), 32, vec![SERVERS, SEARCHES]),
        ] {
            let asked =
                json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": servers, "searches": searches}});
            let (conf, cut) = formed(asked);
            let left = searches[..left].join(" ");
            let told: Vec<String> = told
                .iter()
                .map(|text| if *text == SEARCHES { format!("{text}{left}") } else { text.to_string() })
                .collect();
            assert_eq!((conf.searches.join(" "), cut), (left, told));
        }
    }

    #[test]
    fn the_servers_behind_a_local_resolver_count() {
        let behind = "nameserver 192.0.2.1\nsearch lan\n";
        let servers = |etc: &str, systemd| ResolvConf::of_node(etc, systemd).nameservers.join(" ");
        assert_eq!(servers("nameserver 127.0.0.53\n", Some(behind)), "192.0.2.1");
        assert_eq!(servers("nameserver 127.0.0.53\n", None), "127.0.0.53");
        assert_eq!(servers("nameserver 127.0.0.1\n", Some("# none\n")), "127.0.0.1");
        assert_eq!(servers("nameserver 192.0.2.9\n", Some(behind)), "192.0.2.9");
    }

    #[test]
    fn hosts_file_names_the_pod_and_its_aliases() {
        let pod = pod(
            json!({"hostname": "a", "subdomain": "b", "hostAliases": [{"ip": "1.1.1.1", "hostnames": ["x", "y"]}]}),
        );
        let text = hosts_file(&pod, "10.42.0.9", "cluster.local", "");
        assert!(text.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"));
        assert!(text.contains("10.42.0.9\ta.b.shop.svc.cluster.local\ta\n"));
        assert!(text.ends_with("\n# Entries added by HostAliases.\n1.1.1.1\tx\ty\n"));
    }
}
