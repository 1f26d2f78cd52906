//! WebSockets and other protocols that begin as HTTP: after the switch, bytes go both ways untouched.

use std::io;

use http::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tracing::debug;

use crate::{exchange::Connection, respond::AnswerBody, tasks::Tasks};

/// Answers the client with the backend's 101, and joins the two connections once the client's has switched too.
/// That ends when both sides have closed, or when the ingress stops: such a connection has no end of its own to wait for.
pub fn join(
    client: OnUpgrade,
    answer: Response<()>,
    connection: Connection,
    tasks: &Tasks,
) -> Response<AnswerBody> {
    let joined = async move {
        let client = match client.await {
            Ok(client) => client,
            Err(error) => return debug!(%error, "connection did not switch protocols"),
        };
        if let Err(error) = pass(TokioIo::new(client), connection).await {
            debug!(%error, "switched connection ended");
        }
    };
    let stopping = tasks.stopping.clone();
    tasks.spawn(async move {
        stopping.run_until_cancelled_owned(joined).await;
    });
    answer.map(|()| AnswerBody::Own(None))
}

async fn pass(mut client: TokioIo<hyper::upgrade::Upgraded>, connection: Connection) -> io::Result<()> {
    // What the backend sent right behind its answer.
    let (mut backend, first) = connection.into_switched();
    client.write_all(&first).await?;
    client.flush().await?;
    drop(first);
    tokio::io::copy_bidirectional(&mut client, &mut backend).await?;
    Ok(())
}
