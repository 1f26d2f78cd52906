//! The built-in controllers, one folder each.

mod deployment;
mod error;
mod freshness;
mod key;
mod ownership;
mod pods;
mod queue;
mod read;
mod replica_set;
mod run;
mod runner;

pub use run::{Dependencies, run};
