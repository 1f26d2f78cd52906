//! What others add to the API: admission webhooks, conversion webhooks, aggregated servers.

mod aggregation;
mod backend;
mod conversion;
mod managers;
mod versions;
mod webhooks;
