//! Reads the API server's `/metrics` for people.
//!
//! Source: https://prometheus.io/docs/instrumenting/exposition_formats/

use std::collections::BTreeMap;

/// One page of metrics.
pub struct Page {
    samples: Vec<Sample>,
}

struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Page {
    pub fn parse(text: &str) -> Page {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Page { samples: lines.filter_map(sample).collect() }
    }

    /// The sum of what has these labels. (`Iterator::sum` of nothing would be -0.)
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.of(name, labels).map(|sample| sample.value).fold(0.0, |sum, value| sum + value)
    }

    /// The sums by the values of `label`, without those that are 0.
    pub fn sums(&self, name: &str, label: &str) -> BTreeMap<&str, f64> {
        let mut sums = BTreeMap::new();
        for sample in self.of(name, &[]).filter(|sample| sample.value != 0.0) {
            *sums.entry(sample.labels.get(label).map_or("", String::as_str)).or_default() += sample.value;
        }
        sums
    }

    fn of<'s, 'n>(
        &'s self,
        name: &'n str,
        labels: &'n [(&'n str, &'n str)],
    ) -> impl Iterator<Item = &'s Sample> + use<'s, 'n> {
        self.samples.iter().filter(move |sample| {
            let has = |(key, value): &(&str, &str)| sample.labels.get(*key).is_some_and(|own| own == value);
            sample.name == name && labels.iter().all(has)
        })
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (head, value) = line.rsplit_once(' ')?;
    let (name, labels) = head.split_once('{').unwrap_or((head, ""));
    let pairs = labels.trim_end_matches('}').split("\",").filter_map(|pair| {
        let (key, value) = pair.split_once("=\"")?;
        Some((key.to_string(), value.trim_end_matches('"').to_string()))
    });
    Some(Sample { name: name.to_string(), labels: pairs.collect(), value: value.parse().ok()? })
}

/// Two pages, so that rates can be told.
pub struct Load {
    pub before: Page,
    pub now: Page,
    pub seconds: f64,
}

/// Lines of `coracle status` about the API server.
pub fn describe(load: &Load) -> Vec<(&'static str, String)> {
    let Load { before, now, seconds } = load;
    const TOTAL: &str = "apiserver_request_total";
    const LEVELS: &str = "apiserver_flowcontrol_current_inqueue_requests";
    let rate = (now.sum(TOTAL, &[]) - before.sum(TOTAL, &[])) / seconds;
    let reading = now.sum("apiserver_current_inflight_requests", &[("request_kind", "readOnly")]);
    let writing = now.sum("apiserver_current_inflight_requests", &[("request_kind", "mutating")]);
    let failed: f64 = now
        .sums(TOTAL, "code")
        .iter()
        .filter(|(code, _)| code.starts_with('5'))
        .map(|(_, count)| count)
        .fold(0.0, |sum, count| sum + count);
    let watches = now.sum("apiserver_longrunning_requests", &[("verb", "WATCH")]);
    let streams = now.sum("apiserver_longrunning_requests", &[("verb", "CONNECT")]);
    let objects = now.sum("apiserver_storage_objects", &[]);
    let waiting: Vec<String> = now
        .sums(LEVELS, "priority_level")
        .iter()
        .map(|(level, count)| format!("{count} waiting in {level}"))
        .collect();
    let rejected = now.sum("apiserver_flowcontrol_rejected_requests_total", &[]);
    let seats: Vec<String> = now
        .sums("apiserver_flowcontrol_current_executing_seats", "priority_level")
        .iter()
        .map(|(level, count)| format!("{count} seats in {level}"))
        .collect();
    let flow = [seats, waiting, vec![format!("{rejected} rejected since the start")]].concat().join(", ");
    vec![
        (
            "requests",
            format!(
                "{rate:.1} per second, {reading} reading and {writing} writing now, {} answered since the start, {failed} failed",
                now.sum(TOTAL, &[])
            ),
        ),
        (
            "watches",
            format!(
                "{watches}, {} events sent; {streams} streams",
                now.sum("apiserver_watch_events_total", &[])
            ),
        ),
        ("flow", flow),
        (
            "store",
            format!(
                "{objects} objects at revision {}, {} events to resume from",
                now.sum("coracle_store_revision", &[]),
                now.sum("coracle_store_history_events", &[])
            ),
        ),
        (
            "audit",
            format!(
                "{} events, {} lost",
                now.sum("apiserver_audit_event_total", &[]),
                now.sum("apiserver_audit_error_total", &[])
            ),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_summed_up() {
        let before = Page::parse("apiserver_request_total{code=\"200\",verb=\"GET\"} 10\n");
        let now = Page::parse(
            "# HELP x y\napiserver_request_total{code=\"200\",verb=\"GET\"} 14\napiserver_request_total{code=\"503\",verb=\"GET\"} 1\n\
             apiserver_current_inflight_requests{request_kind=\"readOnly\"} 1\n\
             apiserver_longrunning_requests{resource=\"pods\",verb=\"WATCH\"} 2\n\
             apiserver_longrunning_requests{resource=\"nodes\",verb=\"WATCH\"} 1\n\
             apiserver_flowcontrol_current_inqueue_requests{flow_schema=\"a\",priority_level=\"b\"} 4\n\
             apiserver_storage_objects{resource=\"pods\"} 7\ncoracle_store_revision 42\n",
        );
        let lines: Vec<String> =
            describe(&Load { before, now, seconds: 2.0 }).into_iter().map(|(_, line)| line).collect();
        assert_eq!(
            lines[..4],
            [
                "2.5 per second, 1 reading and 0 writing now, 15 answered since the start, 1 failed",
                "3, 0 events sent; 0 streams",
                "4 waiting in b, 0 rejected since the start",
                "7 objects at revision 42, 0 events to resume from",
            ]
        );
    }
}
