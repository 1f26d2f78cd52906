//! From the objects to what requests are judged by.
//!
//! Kept true: `exempt` and `catch-all` exist whatever the store holds; a FlowSchema whose level is missing is passed over.

use std::{collections::HashMap, sync::Arc};

use coracle_kinds::Kind;
use http::HeaderValue;
use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, PriorityLevelConfiguration, PriorityLevelConfigurationSpec,
};

use super::{
    FlowControl, Mark,
    level::{Limit, Queuing},
    metrics::Counters,
    schema::{Schema, distinguisher, matches},
};
use crate::{bootstrap::flow_control, request_info::RequestInfo, types::UserInfo};

#[derive(Default)]
pub struct Compiled {
    /// The first that matches takes a request.
    pub schemas: Vec<Arc<Schema>>,
}

impl Compiled {
    pub fn classify(&self, user: &UserInfo, info: &RequestInfo) -> Option<&Arc<Schema>> {
        let first = self.schemas.iter().find(|schema| matches(&schema.rules, user, info));
        first.or_else(|| self.schemas.iter().find(|schema| &*schema.name == "catch-all"))
    }
}

impl FlowControl {
    /// Takes these objects for the configuration.
    pub(super) fn configure(&self, schemas: &[Arc<FlowSchema>], levels: &[Arc<PriorityLevelConfiguration>]) {
        let (schemas, levels) = with_mandatory(schemas, levels);
        let shares: i64 = levels.iter().filter_map(|level| level.spec.as_ref()).map(shares).sum();
        let mut known: HashMap<&str, (usize, &PriorityLevelConfiguration)> = HashMap::new();
        let mut names = Vec::new();
        for level in &levels {
            let (Some(name), Some(spec)) = (level.metadata.name.as_deref(), &level.spec) else { continue };
            let shared_name: Arc<str> = name.into();
            let at = self.shared.set(&shared_name, limit(spec, self.seats, shares));
            names.push(shared_name);
            known.insert(name, (at, level));
        }
        self.shared.keep(&names);
        let before = self.compiled.load();
        let mut compiled: Vec<Arc<Schema>> = schemas
            .iter()
            .filter_map(|schema| {
                let spec = schema.spec.as_ref()?;
                let (at, level) = known.get(spec.priority_level_configuration.name.as_str())?;
                let name = schema.metadata.name.as_deref()?;
                let level_name = level.metadata.name.as_deref()?;
                let same = |old: &&Arc<Schema>| *old.name == *name && *old.level_name == *level_name;
                let counters = before.schemas.iter().find(same).map(|old| old.counters.clone());
                Some(Arc::new(Schema {
                    name: name.into(),
                    precedence: spec.matching_precedence.unwrap_or(1000),
                    level: *at,
                    level_name: level_name.into(),
                    distinguisher: distinguisher(schema),
                    rules: spec.rules.clone().unwrap_or_default(),
                    mark: Mark {
                        schema_uid: uid(schema.metadata.uid.as_deref()),
                        level_uid: uid(level.metadata.uid.as_deref()),
                    },
                    counters: counters.unwrap_or_else(|| Arc::new(Counters::default())),
                }))
            })
            .collect();
        compiled.sort_by(|a, b| (a.precedence, &a.name).cmp(&(b.precedence, &b.name)));
        self.compiled.store(Arc::new(Compiled { schemas: compiled }));
    }
}

fn uid(uid: Option<&str>) -> HeaderValue {
    HeaderValue::from_str(uid.unwrap_or_default()).unwrap_or(HeaderValue::from_static(""))
}

type Objects = (Vec<Arc<FlowSchema>>, Vec<Arc<PriorityLevelConfiguration>>);

fn with_mandatory(schemas: &[Arc<FlowSchema>], levels: &[Arc<PriorityLevelConfiguration>]) -> Objects {
    let (mut schemas, mut levels) = (schemas.to_vec(), levels.to_vec());
    for object in flow_control::mandatory() {
        let named = |name: &Option<String>| object["metadata"]["name"].as_str() == name.as_deref();
        if object["kind"] == "FlowSchema" {
            if !schemas.iter().any(|own| named(&own.metadata.name)) {
                schemas.extend(Kind::from_value(&object).ok().map(Arc::new));
            }
        } else if !levels.iter().any(|own| named(&own.metadata.name)) {
            levels.extend(Kind::from_value(&object).ok().map(Arc::new));
        }
    }
    (schemas, levels)
}

fn shares(spec: &PriorityLevelConfigurationSpec) -> i64 {
    let limited = spec.limited.as_ref().map(|limited| limited.nominal_concurrency_shares.unwrap_or(30));
    let exempt = spec.exempt.as_ref().and_then(|exempt| exempt.nominal_concurrency_shares);
    i64::from(limited.or(exempt).unwrap_or_default()).max(0)
}

/// A level gets its share of all seats, rounded up.
fn limit(spec: &PriorityLevelConfigurationSpec, seats: u32, all_shares: i64) -> Limit {
    let Some(limited) = spec.limited.as_ref().filter(|_| spec.type_ != "Exempt") else {
        return Limit::Exempt;
    };
    let nominal = (i64::from(seats) * shares(spec) + all_shares - 1) / all_shares.max(1);
    let nominal = u32::try_from(nominal).unwrap_or_default();
    let percent = |percent: i32| {
        let share = f64::from(nominal) * f64::from(percent.max(0)) / 100.0;
        share.round() as u32
    };
    let response = limited.limit_response.as_ref().filter(|response| response.type_ == "Queue");
    let queuing = response.map(|response| {
        let queuing = response.queuing.clone().unwrap_or_default();
        let number = |value: Option<i32>, default: usize| {
            value.and_then(|value| usize::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(default)
        };
        Queuing {
            queues: number(queuing.queues, 64),
            hand: number(queuing.hand_size, 8),
            length: number(queuing.queue_length_limit, 50),
        }
    });
    Limit::Limited {
        nominal,
        lendable: percent(limited.lendable_percent.unwrap_or_default()),
        borrowable: limited.borrowing_limit_percent.map(percent),
        queuing,
    }
}
