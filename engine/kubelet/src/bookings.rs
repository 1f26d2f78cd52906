//! What the pods of this node hold of it, as admission counts it.
//!
//! Invariant: pure. A pod counts from its admission until it has ended or its object is removed, whichever is first:
//!            what is left of a removed pod is still being stopped, but the scheduler, too, sees room where it was.
//! Source:    https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/kubelet.go (`filterOutInactivePods`)

use std::collections::HashMap;

use crate::resources::{Amounts, QosClass, milli_cpu};

/// By uid: the pods that may hold something, and what those of them hold that were admitted.
#[derive(Debug, Default)]
pub struct Bookings(HashMap<String, Option<Booking>>);

type Booking = (QosClass, Amounts);

impl Bookings {
    /// A pod came to this node; a later [`Bookings::book`] counts. What a former worker booked for it is forgotten.
    pub fn expect(&mut self, uid: &str) {
        self.0.insert(uid.to_owned(), None);
    }

    /// Without effect for a pod that was released: its worker may be slower than the end of its object.
    pub fn book(&mut self, uid: &str, class: QosClass, amounts: Amounts) {
        if let Some(held) = self.0.get_mut(uid) {
            *held = Some((class, amounts));
        }
    }

    /// The pod has ended or is no longer an object of the API.
    pub fn release(&mut self, uid: &str) {
        self.0.remove(uid);
    }

    /// What is held, and by how many pods.
    pub fn held(&self) -> (Amounts, u32) {
        let mut sum = Amounts::new();
        for (name, n) in self.0.values().flatten().flat_map(|(_, amounts)| amounts) {
            *sum.entry(name.clone()).or_default() += n;
        }
        let pods = self.0.values().flatten().count();
        (sum, u32::try_from(pods).unwrap_or(u32::MAX))
    }

    /// What the pods of a class ask of the processors, in thousandths of one.
    pub fn milli_cpu(&self, class: QosClass) -> i64 {
        let own = self.0.values().flatten().filter(|(own, _)| *own == class);
        own.map(|(_, amounts)| milli_cpu(amounts)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(n: i128) -> Amounts {
        Amounts::from([("cpu".to_owned(), n)])
    }

    #[test]
    fn a_pod_counts_from_its_admission_until_it_is_removed() {
        let mut bookings = Bookings::default();
        for uid in ["a", "b", "waits"] {
            bookings.expect(uid);
        }
        bookings.book("a", QosClass::Burstable, cpu(3));
        bookings.book("b", QosClass::Guaranteed, cpu(4));
        assert_eq!(bookings.held(), (cpu(7), 2));
        bookings.release("a");
        assert_eq!(bookings.held(), (cpu(4), 1));
    }

    #[test]
    fn a_class_asks_for_what_its_pods_ask_for() {
        let mut bookings = Bookings::default();
        for (uid, class, milli) in [
            ("a", QosClass::Burstable, 100),
            ("b", QosClass::Burstable, 250),
            ("c", QosClass::Guaranteed, 500),
        ] {
            bookings.expect(uid);
            bookings.book(uid, class, cpu(milli * 1_000_000));
        }
        let asked = [QosClass::Guaranteed, QosClass::Burstable, QosClass::BestEffort]
            .map(|class| bookings.milli_cpu(class));
        assert_eq!(asked, [500, 350, 0]);
    }

    #[test]
    fn a_pod_that_was_removed_before_its_admission_never_counts() {
        let mut bookings = Bookings::default();
        bookings.expect("a");
        bookings.release("a");
        bookings.book("a", QosClass::Burstable, cpu(3));
        assert_eq!(bookings.held(), (Amounts::new(), 0));
    }

    #[test]
    fn a_pod_whose_worker_is_replaced_does_not_count_against_itself() {
        let mut bookings = Bookings::default();
        for _ in 0..2 {
            bookings.expect("a");
            assert_eq!(bookings.held(), (Amounts::new(), 0));
            bookings.book("a", QosClass::Burstable, cpu(3));
        }
    }
}
