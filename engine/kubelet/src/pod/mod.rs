//! One worker per pod: desired and observed state in, actions and a coalesced status out.

pub mod adopt;
pub mod exit;
pub mod manager;
mod mounts;
pub mod observed;
pub mod plan;
mod probing;
mod runtime_class;
pub mod sandbox;
mod start;
pub mod status;
pub mod stop;
mod unsupported;
mod view;
pub mod worker;
mod writer;
