//! How far the start of this server came, and which of its controllers run.
//!
//! Kept true: a controller runs from when its task is made until that ends, however it does.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

#[derive(Clone, Copy)]
pub enum Hook {
    /// What every cluster has from its first second is in the store.
    Bootstrapped,
    /// So are the suggested objects of priority and fairness.
    FlowObjects,
    /// Requests are judged by the objects of priority and fairness as they are now.
    Flow,
    /// What definitions define is served.
    Definitions,
    /// Every group that was served at the start has its APIService.
    Registered,
    /// APIServices are made for what is served, and those of others are routed, described and asked whether they are
    /// there.
    ApiServices,
}

#[derive(Default)]
pub struct Hooks([Arc<AtomicBool>; Hook::ApiServices as usize + 1]);

impl Hooks {
    pub fn is(&self, hook: Hook) -> bool {
        self.0[hook as usize].load(Relaxed)
    }

    pub fn done(&self, hook: Hook) {
        self.0[hook as usize].store(true, Relaxed);
    }

    /// Runs until the guard is dropped.
    pub fn running(&self, hook: Hook) -> Running {
        self.done(hook);
        Running(self.0[hook as usize].clone())
    }
}

pub struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_controller_that_fails_runs_no_longer() {
        let hooks = Hooks::default();
        assert!(!hooks.is(Hook::Flow));
        let running = hooks.running(Hook::Flow);
        assert!(hooks.is(Hook::Flow) && !hooks.is(Hook::Definitions));
        let task = tokio::spawn(async move {
            let _running = running;
            panic!("it fails");
        });
        assert!(task.await.is_err() && !hooks.is(Hook::Flow));
    }
}
