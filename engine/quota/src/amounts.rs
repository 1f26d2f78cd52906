//! Quantities by resource name.

use std::{collections::BTreeMap, fmt};

use coracle_schema::Quantity;
use serde_json::{Map, Value};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts(BTreeMap<String, Quantity>);

impl Amounts {
    /// Of a JSON map; what is no quantity is passed over (validation has refused it).
    pub fn of(map: &Value) -> Amounts {
        let fields = map.as_object().into_iter().flatten();
        fields.filter_map(|(name, value)| Some((name.clone(), Quantity::from_value(value)?))).collect()
    }

    pub fn get(&self, name: &str) -> Option<Quantity> {
        self.0.get(name).copied()
    }

    pub fn set(&mut self, name: impl Into<String>, amount: Quantity) {
        self.0.insert(name.into(), amount);
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, Quantity)> {
        self.0.iter().map(|(name, amount)| (name.as_str(), *amount))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn add(&mut self, other: &Amounts) {
        for (name, amount) in &other.0 {
            self.add_one(name, *amount);
        }
    }

    pub fn add_one(&mut self, name: &str, amount: Quantity) {
        match self.0.get_mut(name) {
            Some(own) => *own = *own + amount,
            None => drop(self.0.insert(name.to_owned(), amount)),
        }
    }

    /// The larger of each.
    pub fn cover(&mut self, other: &Amounts) {
        for (name, amount) in &other.0 {
            let own = self.0.entry(name.clone()).or_insert(*amount);
            *own = (*own).max(*amount);
        }
    }

    /// What grows from `other` to this.
    pub fn growth_since(&self, other: &Amounts) -> Amounts {
        let grown = self.0.iter().filter_map(|(name, amount)| {
            let more = *amount - other.get(name).unwrap_or_default();
            (more > Quantity::ZERO).then(|| (name.clone(), more))
        });
        grown.collect()
    }

    /// Those that `wanted` picks by name.
    pub fn only(&self, wanted: impl Fn(&str) -> bool) -> Amounts {
        self.0.iter().filter(|(name, _)| wanted(name)).map(|(name, amount)| (name.clone(), *amount)).collect()
    }

    pub fn to_value(&self) -> Value {
        let fields = self.0.iter().map(|(name, amount)| (name.clone(), amount.to_string().into()));
        Value::Object(fields.collect::<Map<String, Value>>())
    }
}

impl FromIterator<(String, Quantity)> for Amounts {
    fn from_iter<I: IntoIterator<Item = (String, Quantity)>>(pairs: I) -> Amounts {
        Amounts(pairs.into_iter().collect())
    }
}

/// `cpu=1,memory=1Gi`
impl fmt::Display for Amounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, amount)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{name}={amount}")?;
        }
        Ok(())
    }
}
