//! Gives pods a node, or says why it cannot.
//! CONTRACT: public names and signatures below are what `bin` compiles against.

use tokio_util::sync::CancellationToken;

/// Runs until `stop`. `client` acts as `system:kube-scheduler`.
pub async fn run(_store: coracle_store::Reader, _client: kube::Client, _stop: CancellationToken) {
    unimplemented!()
}
