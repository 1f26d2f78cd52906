//! Gives pods a node, or says why it cannot.

mod budgets;
mod change;
mod cluster;
mod decide;
mod filters;
mod preempt;
mod quantity;
mod queue;
mod resources;
mod run;
mod score;
#[cfg(test)]
mod tests;
mod watch;
mod writes;

pub use run::run;
