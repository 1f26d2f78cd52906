//! What the pods of this node hold of it, as admission counts it.
//!
//! Invariant: pure. A pod counts from its admission until it has ended or its object is removed, whichever is first:
//!            what is left of a removed pod is still being stopped, but the scheduler, too, sees room where it was.
//! Source:    https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/kubelet.go (`filterOutInactivePods`)

use std::collections::HashMap;

use crate::resources::Amounts;

/// By uid: the pods that may hold something, and what those of them hold that were admitted.
#[derive(Debug, Default)]
pub struct Bookings(HashMap<String, Option<Amounts>>);

impl Bookings {
    /// A pod came to this node; a later [`Bookings::book`] counts. What a former worker booked for it is forgotten.
    pub fn expect(&mut self, uid: &str) {
        self.0.insert(uid.to_owned(), None);
    }

    /// Without effect for a pod that was released: its worker may be slower than the end of its object.
    pub fn book(&mut self, uid: &str, amounts: Amounts) {
        if let Some(held) = self.0.get_mut(uid) {
            *held = Some(amounts);
        }
    }

    /// The pod has ended or is no longer an object of the API.
    pub fn release(&mut self, uid: &str) {
        self.0.remove(uid);
    }

    /// What is held, and by how many pods.
    pub fn held(&self) -> (Amounts, u32) {
        let mut sum = Amounts::new();
        for (name, n) in self.0.values().flatten().flatten() {
            *sum.entry(name.clone()).or_default() += n;
        }
        let pods = self.0.values().flatten().count();
        (sum, u32::try_from(pods).unwrap_or(u32::MAX))
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
        bookings.book("a", cpu(3));
        bookings.book("b", cpu(4));
        assert_eq!(bookings.held(), (cpu(7), 2));
        bookings.release("a");
        assert_eq!(bookings.held(), (cpu(4), 1));
    }

    #[test]
    fn a_pod_that_was_removed_before_its_admission_never_counts() {
        let mut bookings = Bookings::default();
        bookings.expect("a");
        bookings.release("a");
        bookings.book("a", cpu(3));
        assert_eq!(bookings.held(), (Amounts::new(), 0));
    }

    #[test]
    fn a_pod_whose_worker_is_replaced_does_not_count_against_itself() {
        let mut bookings = Bookings::default();
        for _ in 0..2 {
            bookings.expect("a");
            assert_eq!(bookings.held(), (Amounts::new(), 0));
            bookings.book("a", cpu(3));
        }
    }
}
