//! Which names a definition may use, and what its status says. Pure.
//!
//! Kept true: of two definitions of one group that want a name, the one that has it keeps it.
//! Source: https://github.com/kubernetes/apiextensions-apiserver/tree/master/pkg/controller (status, establish)

use std::collections::HashSet;

use serde_json::{Value, json};

use super::definition::CLEANUP;
use crate::{
    kinds,
    object::{finalizers, strings},
};

/// The names of one group that other definitions hold.
#[derive(Default)]
pub struct Taken {
    resources: HashSet<String>,
    kinds: HashSet<String>,
}

const RESOURCE_NAMES: [&str; 2] = ["plural", "singular"];
const KIND_NAMES: [&str; 2] = ["kind", "listKind"];

impl Taken {
    pub fn add(&mut self, names: &Value) {
        let text = |field: &str| names[field].as_str().filter(|text| !text.is_empty()).map(String::from);
        self.resources.extend(RESOURCE_NAMES.iter().filter_map(|field| text(field)));
        self.resources.extend(strings(&names["shortNames"]).into_iter().map(String::from));
        self.kinds.extend(KIND_NAMES.iter().filter_map(|field| text(field)));
    }
}

/// The status that a definition should have, given what others hold.
pub fn status(definition: &Value, taken: &Taken, now: &str) -> Value {
    let wanted = &definition["spec"]["names"];
    let mut status = definition["status"].clone();
    if !status.is_object() {
        status = json!({});
    }
    let (accepted, conflict) = accept(wanted, &status["acceptedNames"], taken);
    status["acceptedNames"] = accepted;
    let established = condition(&status, "Established").is_some_and(|it| it["status"] == "True");
    match &conflict {
        None => set(&mut status, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now),
        Some((reason, message)) => set(&mut status, "NamesAccepted", "False", reason, message, now),
    }
    match conflict {
        _ if established => {}
        None if has_broken_authorities(definition) => {
            let message = "The conversion webhook CABundle is invalid";
            set(&mut status, "Established", "False", "InvalidCABundle", message, now);
        }
        None => {
            let message = "the initial names have been accepted";
            set(&mut status, "Established", "True", "InitialNamesAccepted", message, now);
        }
        Some(_) => {
            set(&mut status, "Established", "False", "NotAccepted", "not all names are accepted", now);
        }
    }
    let goes = condition(&status, "Terminating").is_some_and(|it| it["reason"] == "InstanceDeletionPending");
    if goes && finalizers(definition).contains(&CLEANUP) {
        let message = "CustomResource deletion is in progress";
        set(&mut status, "Terminating", "True", "InstanceDeletionInProgress", message, now);
    }
    status
}

/// Whether nobody can be trusted as the conversion webhook.
fn has_broken_authorities(definition: &Value) -> bool {
    let mut causes = Vec::new();
    kinds::authorities(
        &mut causes,
        &definition["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"],
        "",
    );
    !causes.is_empty()
}

pub fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status["conditions"].as_array().into_iter().flatten().find(|condition| condition["type"] == kind)
}

pub fn is_established(status: &Value) -> bool {
    condition(status, "Established").is_some_and(|it| it["status"] == "True")
}

type Conflict = (&'static str, String);

/// The names that are free are taken; for the others the ones held before stay. The last conflict is told.
fn accept(wanted: &Value, held: &Value, taken: &Taken) -> (Value, Option<Conflict>) {
    let mut accepted = wanted.clone();
    let mut conflict = None;
    for (field, reason, all) in [
        ("plural", "PluralConflict", &taken.resources),
        ("singular", "SingularConflict", &taken.resources),
        ("shortNames", "ShortNamesConflict", &taken.resources),
        ("kind", "KindConflict", &taken.kinds),
        ("listKind", "ListKindConflict", &taken.kinds),
    ] {
        let names = wanted[field].as_str().map_or_else(|| strings(&wanted[field]), |name| vec![name]);
        let in_use = names.into_iter().filter(|name| all.contains(*name));
        let texts: Vec<String> = in_use.map(|name| format!("{name:?} is already in use")).collect();
        let text = match &texts[..] {
            [] => continue,
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        match held.get(field) {
            Some(before) => accepted[field] = before.clone(),
            None => drop(crate::object::remove(&mut accepted, field)),
        }
        conflict = Some((reason, text));
    }
    (accepted, conflict)
}

/// Sets a condition; the time changes when the status does.
pub fn set(status: &mut Value, kind: &str, value: &str, reason: &str, message: &str, now: &str) {
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let Some(conditions) = status["conditions"].as_array_mut() else { return };
    let mut next = json!({
        "type": kind, "status": value, "lastTransitionTime": now, "reason": reason, "message": message,
    });
    match conditions.iter_mut().find(|condition| condition["type"] == kind) {
        Some(old) => {
            if old["status"] == value {
                next["lastTransitionTime"] = old["lastTransitionTime"].clone();
            }
            *old = next;
        }
        None => conditions.push(next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition() -> Value {
        json!({"spec": {"names": {
            "plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList", "shortNames": ["th"]
        }}})
    }

    fn brief(status: &Value) -> Vec<String> {
        let conditions = status["conditions"].as_array().expect("conditions").iter();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        conditions
            .map(|it| [&it["type"], &it["status"], &it["reason"], &it["message"]].map(text).join("|"))
            .collect()
    }

    #[test]
    fn a_definition_that_goes_says_that_its_objects_do() {
        let mut gone = definition();
        gone["metadata"]["finalizers"] = json!([CLEANUP]);
        set(&mut gone["status"], "Terminating", "True", "InstanceDeletionPending", "soon", "then");
        let status = status(&gone, &Taken::default(), "now");
        let said = "Terminating|True|InstanceDeletionInProgress|CustomResource deletion is in progress";
        assert_eq!(brief(&status)[0], said);
        assert_eq!(condition(&status, "Terminating").expect("condition")["lastTransitionTime"], "then");
    }

    #[test]
    fn free_names_are_accepted_and_the_definition_established() {
        let status = status(&definition(), &Taken::default(), "now");
        assert_eq!(
            brief(&status),
            [
                "NamesAccepted|True|NoConflicts|no conflicts found",
                "Established|True|InitialNamesAccepted|the initial names have been accepted",
            ]
        );
        assert_eq!(status["acceptedNames"], definition()["spec"]["names"]);
    }

    #[test]
    fn a_definition_whose_conversion_webhook_nobody_can_trust_is_not_established() {
        let mut broken = definition();
        broken["spec"]["conversion"] = json!({"webhook": {"clientConfig": {"caBundle": "AAAA"}}});
        let said = &brief(&status(&broken, &Taken::default(), "now"))[1];
        assert_eq!(said, "Established|False|InvalidCABundle|The conversion webhook CABundle is invalid");
    }

    #[test]
    fn several_short_names_that_others_hold_are_told_together() {
        let mut wanted = definition();
        wanted["spec"]["names"]["shortNames"] = json!(["th", "free", "thg"]);
        let mut taken = Taken::default();
        taken.add(&json!({"plural": "things", "shortNames": ["th", "thg"]}));
        let status = status(&wanted, &taken, "now");
        let said =
            "NamesAccepted|False|ShortNamesConflict|[\"th\" is already in use, \"thg\" is already in use]";
        assert_eq!(brief(&status)[0], said);
    }

    #[test]
    fn a_name_that_another_definition_holds_is_refused() {
        let mut taken = Taken::default();
        taken.add(&json!({"plural": "others", "shortNames": ["th"], "kind": "Thing"}));
        let status = status(&definition(), &taken, "now");
        assert_eq!(
            brief(&status),
            [
                "NamesAccepted|False|KindConflict|\"Thing\" is already in use",
                "Established|False|NotAccepted|not all names are accepted",
            ]
        );
        assert_eq!(
            status["acceptedNames"],
            json!({"plural": "things", "singular": "thing", "listKind": "ThingList"})
        );
    }
}
