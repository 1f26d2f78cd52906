//! How much of a device that several claims share one of them may ask for.

use coracle_schema::Quantity;
use serde_json::Value;

use super::{
    super::checks::{Causes, is_set, items},
    parts::bounded,
};
use crate::status::Cause;

const OPTIONS_MAX: usize = 10;

fn amount(value: &Value) -> Quantity {
    Quantity::from_value(value).unwrap_or_default()
}

fn invalid(out: &mut Causes, path: String, value: Quantity, why: &str) {
    out.push(Cause::invalid(path, value.to_string(), why));
}

pub fn policy(out: &mut Causes, most: &Value, policy: &Value, path: &str) {
    let (values, range) = (&policy["validValues"], &policy["validRange"]);
    let kind = match (is_set(values), !range.is_null()) {
        (false, false) => return,
        (true, true) => {
            let why = "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time";
            return out.push(Cause::forbidden(path, why));
        }
        (true, false) => "validValues",
        (false, true) => "validRange",
    };
    if policy["default"].is_null() {
        let why = format!("required when {kind} is defined");
        return out.push(Cause::required(format!("{path}.default"), &why));
    }
    let (most, default, at) = (amount(most), amount(&policy["default"]), format!("{path}.{kind}"));
    match kind {
        "validValues" => options(out, most, default, values, &at),
        _ => within(out, most, default, range, &at),
    }
}

fn options(out: &mut Causes, most: Quantity, default: Quantity, values: &Value, path: &str) {
    let all: Vec<Quantity> = items(values).iter().map(amount).collect();
    for (at, pair) in all.windows(2).enumerate().filter(|(_, pair)| pair[0] > pair[1]) {
        invalid(out, format!("{path}[{}]", at + 1), pair[1], "values must be sorted in ascending order");
    }
    let mut found = false;
    let few = bounded(out, values, path, OPTIONS_MAX, &mut |out, value, at| {
        let value = amount(value);
        if value > most {
            invalid(out, at.into(), value, &format!("option is larger than capacity value: {most}"));
        }
        found |= value == default;
    });
    for (at, value) in all.iter().enumerate().filter(|_| few) {
        if all[..at].iter().any(|before| before.ceil() == value.ceil()) {
            out.push(Cause::duplicate(format!("{path}[{at}]"), value.ceil().to_string()));
        }
    }
    if !found {
        invalid(out, path.into(), default, "default value is not valid according to the requestPolicy");
    }
}

fn within(out: &mut Causes, most: Quantity, default: Quantity, range: &Value, path: &str) {
    let at = |field: &str| format!("{path}.{field}");
    if range["min"].is_null() {
        return out.push(Cause::required(at("min"), "required when validRange is defined"));
    }
    let least = amount(&range["min"]);
    let max = Quantity::from_value(&range["max"]);
    if least > most {
        invalid(out, at("min"), least, &format!("min is larger than capacity value: {most}"));
    }
    if default < least {
        invalid(out, at("default"), default, &format!("default is less than min: {least}"));
    }
    if let Some(max) = max {
        if least > max {
            invalid(out, at("max"), least, &format!("min is larger than max: {max}"));
        }
        if max > most {
            invalid(out, at("max"), max, &format!("max is larger than capacity value: {most}"));
        }
        if default > max {
            invalid(out, at("default"), default, &format!("default is more than max: {max}"));
        }
    }
    let Some(step) = Quantity::from_value(&range["step"]) else { return };
    if step.is_negative() || step.is_zero() {
        return invalid(out, at("step"), step, "must be greater than zero");
    }
    if least + step > most {
        let why = format!("one step {} is larger than capacity value: {most}", least + step);
        invalid(out, at("step"), step, &why);
    }
    for value in [Some(default), max].into_iter().flatten() {
        if (value.ceil() - least.ceil()) % step.ceil() != 0 {
            let why = format!("value is not a multiple of a given step ({step}) from ({least})");
            invalid(out, at("step"), value, &why);
        }
    }
}
