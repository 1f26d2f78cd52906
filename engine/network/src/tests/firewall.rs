//! What the machine's own firewall does to pods.

use hickory_server::proto::rr::RecordType;

use super::{cluster::on_cluster, dns::ask, host::nft};
use crate::Firewall;

#[test]
fn a_firewall_that_drops_is_told_with_what_lets_pods_through() {
    on_cluster(|cluster| {
        let pods = cluster.config.pod_cidr;
        let told = || {
            let found = Firewall::without_rule_for(pods).unwrap();
            found.iter().map(|firewall| firewall.remedy(pods)).collect::<Vec<_>>()
        };
        nft("add table inet open");
        nft("add chain inet open input { type filter hook input priority 0 ; policy accept ; }");
        assert_eq!(told(), [] as [&str; 0]);
        nft("add table ip filter");
        nft("add chain ip filter INPUT { type filter hook input priority 0 ; policy drop ; }");
        nft("add rule ip filter INPUT ip saddr 10.41.0.0/16 accept");
        nft("add table inet mine");
        nft("add chain inet mine past { type filter hook forward priority 0 ; policy drop ; }");
        nft("add table ip6 six");
        nft("add chain ip6 six input { type filter hook input priority 0 ; policy drop ; }");
        let past = "nft insert rule inet mine past ip";
        let expected = [
            "nft insert rule ip filter INPUT ip saddr 10.42.0.0/16 accept".to_owned(),
            format!("{past} saddr 10.42.0.0/16 accept; {past} daddr 10.42.0.0/16 accept"),
        ];
        let found = told();
        assert_eq!(found, expected);
        for remedy in found.iter().flat_map(|commands| commands.split("; ")) {
            nft(remedy.trim_start_matches("nft "));
        }
        assert_eq!(told(), [] as [&str; 0]);
        let (pod, _) = cluster.pod("a", 1);
        assert_eq!(ask(&pod, "nobody.default.svc.cluster.local.", RecordType::A), "NXDomain: SOA");
    });
}

#[test]
fn a_last_rule_that_refuses_everything_is_told_like_a_policy() {
    on_cluster(|cluster| {
        let pods = cluster.config.pod_cidr;
        let told =
            || Firewall::without_rule_for(pods).unwrap().iter().map(Firewall::to_string).collect::<Vec<_>>();
        nft("add table inet firewalld");
        nft("add chain inet firewalld in { type filter hook input priority 10 ; policy accept ; }");
        nft("add chain inet firewalld past { type filter hook forward priority 10 ; policy accept ; }");
        nft("add rule inet firewalld in ct state established accept");
        nft("add rule inet firewalld in tcp dport 23 reject");
        assert_eq!(told(), [] as [&str; 0]);
        nft("add rule inet firewalld in counter reject with icmpx type admin-prohibited");
        assert_eq!(told(), ["inet firewalld in"]);
        nft("add rule inet firewalld past log prefix \"gone\" drop");
        assert_eq!(told(), ["inet firewalld in", "inet firewalld past"]);
        nft("add rule inet firewalld in ip saddr 10.42.0.0/16 accept");
        assert_eq!(told(), [] as [&str; 0]);
    });
}
