//! What a pod's status may become: its addresses are some, its claims are the pod's, and what ended for good stays so.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go
//!         (`ValidatePodStatusUpdate`), pkg/api/v1/pod/util.go (`ContainerShouldRestart`),
//!         pkg/registry/core/pod/strategy.go (`podStatusStrategy`)

use std::{collections::BTreeSet, net::IpAddr};

use serde_json::{Value, json};

use super::{
    checks::{Causes, add, indexed, items, subdomain, text},
    ip,
};
use crate::{
    metadata::{qualified_name_problems, subdomain_problems},
    status::Cause,
};

/// Lists of the status with those of the spec that say what is started again. The last kind never is.
const LISTS: [(&str, &str); 3] = [
    ("containerStatuses", "containers"),
    ("initContainerStatuses", "initContainers"),
    ("ephemeralContainerStatuses", ""),
];
const FAMILIES: &str = "may specify no more than one IP for each IP family";

/// What a writer leaves out that the server knows better.
pub fn fill(pod: &mut Value, old: &Value) {
    let before = &old["status"];
    for field in ["qosClass", "observedGeneration"] {
        let lacks = matches!(&pod["status"][field], Value::Null) || pod["status"][field] == 0;
        if lacks && !before[field].is_null() {
            pod["status"][field] = before[field].clone();
        }
    }
    let mut known: Vec<&Value> = items(&before["conditions"]).iter().collect();
    let conditions = pod["status"].get_mut("conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        let Some(at) = known.iter().position(|own| own["type"] == condition["type"]) else { continue };
        let generation = &known.remove(at)["observedGeneration"];
        if condition["observedGeneration"].as_i64().unwrap_or_default() == 0 && !generation.is_null() {
            condition["observedGeneration"] = generation.clone();
        }
    }
}

pub fn validate(pod: &Value, old: &Value) -> Causes {
    let (status, before) = (&pod["status"], &old["status"]);
    let mut out = Vec::new();
    // Upstream looks for them in the metadata, and names the field as its struct does.
    for (at, condition) in indexed(&status["conditions"], "metadata.conditions") {
        let kind = text(&condition["type"]);
        add(&mut out, &format!("{at}.Type"), kind, qualified_name_problems(kind));
    }
    if status["nominatedNodeName"] != before["nominatedNodeName"] {
        subdomain(&mut out, &status["nominatedNodeName"], "status.nominatedNodeName");
    }
    for (list, containers) in LISTS {
        stay_ended(&mut out, (&status[list], &before[list]), list, &old["spec"], containers);
    }
    claims(&mut out, status, &pod["spec"]);
    addresses(&mut out, status);
    out
}

fn exit_code(status: &Value) -> Option<i64> {
    let ended = &status["state"]["terminated"];
    ended.is_object().then(|| ended["exitCode"].as_i64().unwrap_or_default())
}

fn stay_ended(out: &mut Causes, (new, before): (&Value, &Value), list: &str, spec: &Value, containers: &str) {
    for (at, ended) in indexed(before, &format!("status.{list}")) {
        let Some(code) = exit_code(ended) else { continue };
        if !containers.is_empty() && is_started_again(spec, containers, &ended["name"], code) {
            continue;
        }
        let left = items(new).iter().filter(|own| own["name"] == ended["name"] && exit_code(own).is_none());
        out.extend(left.map(|_| {
            Cause::forbidden(format!("{at}.state"), "may not be transitioned to non-terminated state")
        }));
    }
}

/// The container's own rules and policy win over the pod's; one rule may start all of them again.
fn is_started_again(spec: &Value, containers: &str, name: &Value, code: i64) -> bool {
    let policy = text(&spec["restartPolicy"]);
    let rules = |container: &'_ Value| items(&container["restartPolicyRules"]).to_vec();
    let restarts_all = ["initContainers", "containers"]
        .iter()
        .flat_map(|list| items(&spec[*list]))
        .any(|own| rules(own).iter().any(|rule| rule["action"] == "RestartAllContainers"));
    if policy == "Always" || restarts_all || policy == "OnFailure" && code != 0 {
        return true;
    }
    let Some(container) = items(&spec[containers]).iter().find(|own| own["name"] == *name) else {
        return false;
    };
    let listed = |rule: &Value| items(&rule["exitCodes"]["values"]).contains(&code.into());
    let fits = |rule: &Value| listed(rule) == (rule["exitCodes"]["operator"] == "In");
    match text(&container["restartPolicy"]) {
        "" => false,
        _ if rules(container).iter().any(fits) => true,
        "OnFailure" => code != 0,
        own => own == "Always",
    }
}

fn claims(out: &mut Causes, status: &Value, spec: &Value) {
    let mut seen = BTreeSet::new();
    for (at, claim) in indexed(&status["resourceClaimStatuses"], "status.resourceClaimStatuses") {
        let (name, at) = (text(&claim["name"]), format!("{at}.name"));
        if !items(&spec["resourceClaims"]).iter().any(|own| own["name"] == name) {
            let why = "must match the name of an entry in `spec.resourceClaims`";
            out.push(Cause::invalid(at.as_str(), name, why));
        }
        if !seen.insert(name) {
            out.push(Cause::duplicate(at.as_str(), name));
        }
        if let Some(claim) = claim["resourceClaimName"].as_str() {
            add(out, &at, claim, subdomain_problems(claim));
        }
    }
}

/// One for each IP family, of the pod and of its node. Upstream looks at the two in different orders.
fn addresses(out: &mut Causes, status: &Value) {
    check_each(out, &status["podIPs"], "status.podIPs");
    out.extend(families(&status["podIPs"], "status.podIPs"));
    out.extend(duplicates(&status["podIPs"], "status.podIPs"));
    let hosts = &status["hostIPs"];
    if let Some(first) = items(hosts).first().filter(|first| text(&first["ip"]) != text(&status["hostIP"])) {
        out.push(Cause::invalid("status.hostIPs[0].ip", text(&first["ip"]), "must be equal to `hostIP`"));
    }
    check_each(out, hosts, "status.hostIPs");
    out.extend(duplicates(hosts, "status.hostIPs"));
    out.extend(families(hosts, "status.hostIPs"));
}

fn check_each(out: &mut Causes, list: &Value, path: &str) {
    for (at, own) in indexed(list, path) {
        ip::address(out, text(&own["ip"]), &at);
    }
}

fn families(list: &Value, path: &str) -> Option<Cause> {
    let all: Vec<IpAddr> = items(list).iter().filter_map(|own| text(&own["ip"]).parse().ok()).collect();
    let dual = all.iter().any(IpAddr::is_ipv4) && all.iter().any(IpAddr::is_ipv6);
    let count = items(list).len();
    let shown = || items(list).iter().map(shown).collect::<Value>();
    (count > 1 && (!dual || count > 2)).then(|| Cause::invalid(path, shown(), FAMILIES))
}

fn duplicates(list: &Value, path: &str) -> Causes {
    let mut seen = BTreeSet::new();
    let twice = indexed(list, path).filter(|(_, own)| !seen.insert(text(&own["ip"])));
    twice.map(|(at, own)| Cause::duplicate(at, shown(own))).collect()
}

/// As upstream's own form of an address is shown.
fn shown(own: &Value) -> Value {
    json!({"IP": own["ip"]})
}

#[cfg(test)]
mod tests {
    use super::{super::checks::assert_cases, *};

    const STAYS: &str = "may not be transitioned to non-terminated state";

    fn state(name: &str, code: Option<i64>) -> Value {
        let state = code.map_or(json!({"running": {}}), |code| json!({"terminated": {"exitCode": code}}));
        json!({"name": name, "state": state})
    }

    #[test]
    fn a_status_gets_the_stock_causes() {
        let base = json!({"spec": {"resourceClaims": [{"name": "gpu"}]}, "status": {
            "hostIP": "192.0.2.1", "hostIPs": [{"ip": "192.0.2.1"}], "podIPs": [{"ip": "10.42.0.2"}],
            "nominatedNodeName": "Old",
            "conditions": [{"type": "Ready"}, {"type": "example.com/a"}],
            "resourceClaimStatuses": [{"name": "gpu", "resourceClaimName": "p-gpu"}]}});
        let old = base.clone();
        assert_cases(
            base,
            |pod| validate(pod, &old),
            &[
                (
                    json!({"status": {"nominatedNodeName": "a_b"}}),
                    &[
                        "status.nominatedNodeName: Invalid value: \"a_b\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                    ],
                ),
                (json!({"status": {"nominatedNodeName": ""}}), &[]),
                (
                    json!({"status": {"conditions": [{"type": "Ready"}, {"type": "a b"}]}}),
                    &[
                        "metadata.conditions[1].Type: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
                    ],
                ),
                (
                    json!({"status": {"podIPs": [{"ip": "x"}]}}),
                    &[
                        "status.podIPs[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                    ],
                ),
                (json!({"status": {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}}), &[]),
                (
                    json!({"status": {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.1"}]}}),
                    &[
                        "status.podIPs: Invalid value: [{\"IP\":\"10.0.0.1\"},{\"IP\":\"10.0.0.1\"}]: may specify no more than one IP for each IP family",
                        "status.podIPs[1]: Duplicate value: {\"IP\":\"10.0.0.1\"}",
                    ],
                ),
                (
                    json!({"status": {"hostIP": "192.0.2.2"}}),
                    &["status.hostIPs[0].ip: Invalid value: \"192.0.2.1\": must be equal to `hostIP`"],
                ),
                (
                    json!({"status": {"hostIPs": [{"ip": "192.0.2.1"}, {"ip": "fd00::1"}, {"ip": "fd00::2"}]}}),
                    &[
                        "status.hostIPs: Invalid value: [{\"IP\":\"192.0.2.1\"},{\"IP\":\"fd00::1\"},{\"IP\":\"fd00::2\"}]: may specify no more than one IP for each IP family",
                    ],
                ),
                (
                    json!({"status": {"resourceClaimStatuses": [{"name": "gpu"}, {"name": "gpu"}, {"name": "nic"}]}}),
                    &[
                        "status.resourceClaimStatuses[1].name: Duplicate value: \"gpu\"",
                        "status.resourceClaimStatuses[2].name: Invalid value: \"nic\": must match the name of an entry in `spec.resourceClaims`",
                    ],
                ),
            ],
        );
    }

    /// Each line: the pod's policy, what is special about the container, how it ended, and whether it may run again.
    #[test]
    fn what_ended_for_good_stays_ended() {
        let rule = |action: &str, operator: &str| {
            let codes = json!({"operator": operator, "values": [3]});
            json!({"restartPolicy": "Never", "restartPolicyRules": [{"action": action, "exitCodes": codes}]})
        };
        for (policy, container, code, allowed) in [
            ("Always", json!({}), 0, true),
            ("OnFailure", json!({}), 1, true),
            ("OnFailure", json!({}), 0, false),
            ("Never", json!({}), 0, false),
            ("Never", json!({}), 1, false),
            ("Never", json!({"restartPolicy": "Always"}), 0, true),
            ("Never", json!({"restartPolicy": "OnFailure"}), 1, true),
            ("Never", json!({"restartPolicy": "OnFailure"}), 0, false),
            ("Never", rule("Restart", "In"), 3, true),
            ("Never", rule("Restart", "In"), 4, false),
            ("Never", rule("Restart", "NotIn"), 4, true),
            ("Never", rule("RestartAllContainers", "In"), 4, true),
        ] {
            for (list, containers) in [LISTS[0], LISTS[1]] {
                let mut own = container.clone();
                own["name"] = "b".into();
                let spec = json!({"restartPolicy": policy, containers: [{"name": "a"}, own]});
                let pod =
                    |state: Value| json!({"spec": spec, "status": {list: [self::state("a", None), state]}});
                let (ended, running) = (pod(state("b", Some(code))), pod(state("b", None)));
                let found: Vec<String> = validate(&running, &ended).iter().map(Cause::to_string).collect();
                let refusal = [format!("status.{list}[1].state: Forbidden: {STAYS}")];
                assert_eq!(found, if allowed { &[][..] } else { &refusal[..] }, "{policy} {own} {code}");
                assert_eq!(validate(&ended, &ended), [], "ended as before: {policy}");
                assert_eq!(validate(&ended, &running), [], "ends: {policy}");
            }
        }
        let pod = |state: Value| json!({"spec": {"restartPolicy": "Always"}, "status": {"ephemeralContainerStatuses": [state]}});
        let found = validate(&pod(state("e", None)), &pod(state("e", Some(0))));
        assert_eq!(found, [Cause::forbidden("status.ephemeralContainerStatuses[0].state", STAYS)]);
    }

    #[test]
    fn what_a_writer_leaves_out_stays() {
        let old = json!({"status": {"qosClass": "Burstable", "observedGeneration": 2, "conditions": [
            {"type": "Ready", "observedGeneration": 2}, {"type": "x"}]}});
        let mut new = json!({"status": {"conditions": [
            {"type": "x"}, {"type": "Ready", "status": "True"}, {"type": "new"}]}});
        fill(&mut new, &old);
        assert_eq!(
            new["status"],
            json!({"qosClass": "Burstable", "observedGeneration": 2, "conditions": [
                {"type": "x"}, {"type": "Ready", "status": "True", "observedGeneration": 2}, {"type": "new"}]})
        );
    }
}
