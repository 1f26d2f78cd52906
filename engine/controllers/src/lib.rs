//! The built-in controllers, one folder each.

mod bootstrap_signer;
mod certificates;
mod cluster_role_aggregation;
mod deployment;
mod disruption;
mod endpoint_slice;
mod endpoint_slice_mirroring;
mod endpoints;
mod garbage_collector;
mod ip_address;
mod namespace;
mod node_lifecycle;
mod pod_gc;
mod replica_set;
mod resource_quota;
mod root_ca;
mod service_account;
mod service_account_token;
mod service_cidr;
mod service_load_balancer;
mod storage_protection;
mod storage_version_migrator;
mod taint_eviction;
mod token_cleaner;

mod bootstrap_token;
mod disruption_target;
mod error;
mod freshness;
mod guard;
mod key;
mod kinds;
mod ownership;
mod pods;
mod queue;
mod queue_metrics;
mod read;
mod run;
mod runner;
mod service_ports;
mod unchanged;

pub use certificates::{CertificateAuthority, Requested};
pub use queue_metrics::QueueMetrics;
pub use run::{Dependencies, run};
pub use service_account_token::{SecretToken, TokenSigner};
