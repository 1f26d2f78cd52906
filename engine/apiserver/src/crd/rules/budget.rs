//! Whether the rules of a definition can be afforded: each of them, and all together.
//!
//! Source: https://github.com/kubernetes/apiextensions-apiserver/blob/master/pkg/apis/apiextensions/validation/validation.go
//! (`StaticEstimatedCostLimit`, `getCostErrorMessage`)

use crate::status::Cause;

const RULE_LIMIT: u64 = 10_000_000;
const TOTAL_LIMIT: u64 = 100_000_000;
/// So many of the most expensive are named when the total is too high.
const NAMED: usize = 4;

/// Where in a schema, how often data can be there.
#[derive(Clone, Copy)]
pub struct Repeated(Option<u64>);

impl Repeated {
    pub const ONCE: Repeated = Repeated(Some(1));

    /// Within a list or map of at most so many; without a limit, the size of a request is one.
    pub fn within(self, most: Option<u64>) -> Repeated {
        Repeated(self.0.zip(most).map(|(own, most)| own.saturating_mul(most)))
    }

    pub fn cost(self, of_one: u64, as_often_as_fits: u64) -> u64 {
        of_one.saturating_mul(self.0.unwrap_or(as_often_as_fits))
    }
}

#[derive(Default)]
pub struct Total {
    cost: u64,
    expensive: Vec<(u64, String)>,
}

impl Total {
    /// Counts one expression; `what` is `rule` or `messageExpression`.
    pub fn observe(&mut self, causes: &mut Vec<Cause>, what: &str, cost: u64, path: &str) {
        if cost > RULE_LIMIT {
            causes
                .push(Cause::forbidden(path, &exceeds(&format!("estimated {what} cost"), cost, RULE_LIMIT)));
        }
        self.cost = self.cost.saturating_add(cost);
        if cost >= RULE_LIMIT / 100 {
            self.expensive.push((cost, path.to_owned()));
        }
    }

    pub fn check(mut self, causes: &mut Vec<Cause>, path: &str) {
        if self.cost <= TOTAL_LIMIT {
            return;
        }
        self.expensive.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
        for (_, path) in self.expensive.iter().take(NAMED) {
            let why =
                "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            causes.push(Cause::forbidden(path.as_str(), why));
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        causes.push(Cause::forbidden(path, &exceeds(what, self.cost, TOTAL_LIMIT)));
    }
}

fn exceeds(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = match factor {
        // Then the number says nothing.
        own if own > 100.0 => "more than 100x".to_owned(),
        own if own < 1.5 => format!("{own:.6}x"),
        own => format!("{own:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}
