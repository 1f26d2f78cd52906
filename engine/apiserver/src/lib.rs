//! The Kubernetes API over the store: HTTP, authentication, authorization, admission, patch, watch, subresources,
//! discovery, OpenAPI.
//!
//! Kept true: every write goes through the same path (authenticate, authorize, shape, admission, strategy, commit),
//!            whether it comes over the network or from inside of this process.
//! Reads and writes: the store. Source: https://kubernetes.io/docs/reference/using-api/api-concepts/

pub mod admission;
pub mod aggregation;
pub mod audit;
pub mod authn;
pub mod authz;
pub mod bootstrap;
mod component_status;
mod config;
mod conversion;
pub mod crd;
mod decode;
mod discovery;
mod flow;
mod frames;
mod health;
mod http;
pub mod kinds;
mod managed_fields;
mod metadata;
mod metrics;
mod names;
mod negotiate;
mod object;
mod openapi;
mod options;
mod outbound;
pub mod pki;
mod pod_access;
mod present;
pub mod protobuf;
pub mod registry;
mod request_info;
pub mod reviews;
pub mod selector;
mod server;
pub mod status;
pub mod strategy;
pub mod streams;
mod subresources;
pub mod tables;
pub mod types;
pub mod verbs;

pub use component_status::ComponentCheck;
pub use config::{Config, Protection};
pub use pod_access::{ByteStream, Duplex, ExecRequest, LogRequest, PodAccess, PodAccessError, Session};
pub use server::{ApiServer, BuildError, admin_kubeconfig_from};
