//! Pods: what their containers make of READY, STATUS and RESTARTS.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/printers/internalversion/printers.go (`printPod`)

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    AGE, NAME, Printer, age,
    cells::{NONE, condition, has_condition, integer, items, number, shown, shown_or, text},
    name,
};

const READY: &str = "The aggregate readiness state of this pod for accepting traffic.";
const STATUS: &str = "The aggregate status of the containers in this pod.";
const RESTARTS: &str = "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted.";
const GATES: &str = "If specified, all readiness gates will be evaluated for pod readiness. A pod is ready when all its containers are ready AND all conditions specified in the readiness gates have status equal to \"True\" More info: https://git.k8s.io/enhancements/keps/sig-network/580-pod-readiness-gates";

pub const PODS: Printer = Printer {
    columns: &[
        NAME,
        text("Ready", READY),
        text("Status", STATUS),
        text("Restarts", RESTARTS),
        AGE,
        text("IP", "podIP address allocated to the pod. Routable at least within the cluster. Empty if not yet allocated.").wide(),
        text("Node", "NodeName indicates in which node this pod is scheduled.").wide(),
        text("Nominated Node", "nominatedNodeName is set only when this pod preempts other pods on the node, but it cannot be scheduled right away as preemption victims receive their graceful termination periods.").wide(),
        text("Readiness Gates", GATES).wide(),
    ],
    cells: |pod, now| {
        let summary = Summary::of(pod);
        let status = &pod["status"];
        let ip = match &status["podIPs"][0]["ip"] {
            Value::Null => &status["podIP"],
            ip => ip,
        };
        vec![
            name(pod),
            format!("{}/{}", summary.ready, summary.total).into(),
            summary.reason.as_str().into(),
            summary.restarts(now).into(),
            age::of(pod, now),
            shown_or(ip, NONE).into(),
            shown_or(&pod["spec"]["nodeName"], NONE).into(),
            shown_or(&status["nominatedNodeName"], NONE).into(),
            readiness_gates(pod).into(),
        ]
    },
};

pub const POD_TEMPLATES: Printer = Printer {
    columns: &[
        NAME,
        text("Containers", "Names of each container in the template."),
        text("Images", "Images referenced by each container in the template."),
        text("Pod Labels", "The labels for the pod template."),
    ],
    cells: |object, _| {
        let template = &object["template"];
        let [names, images] = super::cells::containers(&template["spec"]);
        vec![name(object), names, images, super::cells::labels(&template["metadata"]["labels"]).into()]
    },
};

pub const COMPONENT_STATUSES: Printer = Printer {
    columns: &[
        NAME,
        text("Status", "Status of the component conditions"),
        text("Message", "Message of the component conditions"),
        text("Error", "Error of the component conditions"),
    ],
    cells: |object, _| {
        let healthy = items(&object["conditions"]).iter().find(|condition| condition["type"] == "Healthy");
        let (status, message, error) = match healthy {
            Some(own) if own["status"] == "True" => ("Healthy", shown(&own["message"]), shown(&own["error"])),
            Some(own) => ("Unhealthy", shown(&own["message"]), shown(&own["error"])),
            None => ("Unknown", "", ""),
        };
        vec![name(object), status.into(), message.into(), error.into()]
    },
};

pub const CONTROLLER_REVISIONS: Printer = Printer {
    columns: &[
        NAME,
        text("Controller", "Controller of the object"),
        integer("Revision", "Revision indicates the revision of the state represented by Data."),
        AGE,
    ],
    cells: |object, now| {
        let owners = items(&object["metadata"]["ownerReferences"]);
        let controller =
            owners.iter().find(|owner| owner["controller"] == true).map_or(NONE.into(), |owner| {
                let group = shown(&owner["apiVersion"]).split_once('/').map_or("", |(group, _)| group);
                let dot = if group.is_empty() { "" } else { "." };
                format!("{}{dot}{group}/{}", shown(&owner["kind"]).to_lowercase(), shown(&owner["name"]))
            });
        vec![name(object), controller.into(), json!(number(&object["revision"])), age::of(object, now)]
    },
};

struct Summary {
    ready: usize,
    total: usize,
    reason: String,
    restart_count: i64,
    last_restart: String,
}

impl Summary {
    fn of(pod: &Value) -> Summary {
        let (spec, status) = (&pod["spec"], &pod["status"]);
        let sidecars: Vec<&str> = items(&spec["initContainers"])
            .iter()
            .filter(|container| container["restartPolicy"] == "Always")
            .map(|container| shown(&container["name"]))
            .collect();
        let phase = shown(&status["phase"]);
        let mut summary = Summary {
            ready: 0,
            total: items(&spec["containers"]).len() + sidecars.len(),
            reason: shown_or(&status["reason"], phase).to_owned(),
            restart_count: 0,
            last_restart: String::new(),
        };
        if condition(pod, "PodScheduled").is_some_and(|own| own["reason"] == "SchedulingGated") {
            summary.reason = "SchedulingGated".into();
        }
        let initializing = summary.initialize(pod, &sidecars);
        if !initializing || has_condition(pod, "Initialized") {
            summary.run(pod, &sidecars);
        }
        if pod["metadata"]["deletionTimestamp"].is_string() {
            if status["reason"] == "NodeLost" {
                summary.reason = "Unknown".into();
            } else if !matches!(phase, "Succeeded" | "Failed") {
                summary.reason = "Terminating".into();
            }
        }
        summary
    }

    /// Goes through the init containers up to the first that holds the pod up; true when there is one.
    fn initialize(&mut self, pod: &Value, sidecars: &[&str]) -> bool {
        let all = items(&pod["spec"]["initContainers"]).len();
        for (at, container) in items(&pod["status"]["initContainerStatuses"]).iter().enumerate() {
            self.count_restarts(container);
            let (terminated, waiting) = (&container["state"]["terminated"], &container["state"]["waiting"]);
            let is_sidecar = sidecars.contains(&shown(&container["name"]));
            if terminated.is_object() && number(&terminated["exitCode"]) == 0 {
                continue;
            }
            if is_sidecar && container["started"] == true {
                self.ready += usize::from(container["ready"] == true);
                continue;
            }
            self.reason = if terminated.is_object() {
                format!("Init:{}", end_reason(terminated))
            } else if !matches!(shown(&waiting["reason"]), "" | "PodInitializing") {
                format!("Init:{}", shown(&waiting["reason"]))
            } else {
                format!("Init:{at}/{all}")
            };
            return true;
        }
        false
    }

    fn run(&mut self, pod: &Value, sidecars: &[&str]) {
        (self.restart_count, self.last_restart) = (0, String::new());
        for container in items(&pod["status"]["initContainerStatuses"]) {
            if sidecars.contains(&shown(&container["name"])) {
                self.count_restarts(container);
            }
        }
        let mut has_running = false;
        for container in items(&pod["status"]["containerStatuses"]).iter().rev() {
            self.count_restarts(container);
            let state = &container["state"];
            if !shown(&state["waiting"]["reason"]).is_empty() {
                self.reason = shown(&state["waiting"]["reason"]).to_owned();
            } else if state["terminated"].is_object() {
                self.reason = end_reason(&state["terminated"]);
            } else if container["ready"] == true && state["running"].is_object() {
                has_running = true;
                self.ready += 1;
            }
        }
        // One container has ended, another runs on.
        if self.reason == "Completed" && has_running {
            self.reason = if has_condition(pod, "Ready") { "Running".into() } else { "NotReady".into() };
        }
    }

    fn count_restarts(&mut self, container: &Value) {
        self.restart_count += number(&container["restartCount"]);
        // RFC 3339 in UTC sorts as text.
        let finished = shown(&container["lastState"]["terminated"]["finishedAt"]);
        if *finished > *self.last_restart {
            self.last_restart = finished.to_owned();
        }
    }

    fn restarts(&self, now: Timestamp) -> String {
        if self.restart_count == 0 || self.last_restart.is_empty() {
            return self.restart_count.to_string();
        }
        format!("{} ({} ago)", self.restart_count, age::since(&self.last_restart.as_str().into(), now))
    }
}

fn end_reason(terminated: &Value) -> String {
    match (shown(&terminated["reason"]), number(&terminated["signal"])) {
        ("", 0) => format!("ExitCode:{}", number(&terminated["exitCode"])),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn readiness_gates(pod: &Value) -> String {
    let gates = items(&pod["spec"]["readinessGates"]);
    if gates.is_empty() {
        return NONE.into();
    }
    let met = gates.iter().filter(|gate| has_condition(pod, shown(&gate["conditionType"]))).count();
    format!("{met}/{}", gates.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// READY STATUS RESTARTS of a pod with one container (and one init container when there are statuses for it).
    fn row(change: Value) -> String {
        let mut pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c"}]}, "status": {"phase": "Running"}});
        coracle_schema::json_merge_patch(&mut pod, &change);
        let now: Timestamp = "2026-01-01T00:05:00Z".parse().expect("time");
        let cells = (PODS.cells)(&pod, now);
        cells[1..4].iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn status_tells_what_the_containers_do() {
        let main = |state: Value| json!({"status": {"containerStatuses": [{"name": "c", "state": state}]}});
        let init = |state: Value| json!({"spec": {"initContainers": [{"name": "i"}]}, "status": {"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": state}]}});
        for (change, expected) in [
            (json!({"status": {"phase": "Pending"}}), "0/1 Pending 0"),
            (main(json!({"waiting": {"reason": "ContainerCreating"}})), "0/1 ContainerCreating 0"),
            (main(json!({"terminated": {"exitCode": 0, "reason": "Completed"}})), "0/1 Completed 0"),
            (main(json!({"terminated": {"exitCode": 3}})), "0/1 ExitCode:3 0"),
            (main(json!({"terminated": {"exitCode": 137, "signal": 9}})), "0/1 Signal:9 0"),
            (init(json!({"running": {}})), "0/1 Init:0/1 0"),
            (init(json!({"terminated": {"exitCode": 1, "reason": "Error"}})), "0/1 Init:Error 0"),
            (init(json!({"waiting": {"reason": "CrashLoopBackOff"}})), "0/1 Init:CrashLoopBackOff 0"),
            (json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}), "0/1 Terminating 0"),
            (json!({"status": {"phase": "Failed", "reason": "Evicted"}}), "0/1 Evicted 0"),
            (
                json!({"status": {"containerStatuses": [{"ready": true, "restartCount": 3, "state": {"running": {}},
                    "lastState": {"terminated": {"finishedAt": "2026-01-01T00:00:00Z"}}}]}}),
                "1/1 Running 3 (5m ago)",
            ),
            (
                json!({"spec": {"initContainers": [{"name": "s", "restartPolicy": "Always"}]}, "status": {
                    "initContainerStatuses": [{"name": "s", "started": true, "ready": true, "state": {"running": {}}}],
                    "containerStatuses": [{"ready": true, "state": {"running": {}}}]}}),
                "2/2 Running 0",
            ),
        ] {
            assert_eq!(row(change.clone()), expected, "{change}");
        }
    }
}
