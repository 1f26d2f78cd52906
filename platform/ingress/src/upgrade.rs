//! WebSockets and other protocols that begin as HTTP: after the switch, bytes go both ways untouched.

use http::Response;
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tracing::debug;

use crate::{exchange::Connection, respond::AnswerBody, tasks::Tasks};

/// Answers the client with the backend's 101, and joins the two connections once both have switched.
/// That ends when both sides have closed, or when the ingress stops: such a connection has no end of its own to wait for.
pub fn join(
    client: OnUpgrade,
    mut response: Response<Incoming>,
    connection: Connection,
    tasks: &Tasks,
) -> Response<AnswerBody> {
    let backend = hyper::upgrade::on(&mut response);
    let joined = async move {
        let (switched, ()) = tokio::join!(async { tokio::try_join!(client, backend) }, connection.finish());
        let (client, backend) = match switched {
            Ok(both) => both,
            Err(error) => return debug!(%error, "connection did not switch protocols"),
        };
        let copied =
            tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(backend)).await;
        if let Err(error) = copied {
            debug!(%error, "switched connection ended");
        }
    };
    let stopping = tasks.stopping.clone();
    tasks.spawn(async move {
        stopping.run_until_cancelled_owned(joined).await;
    });
    response.map(|_| AnswerBody::Own(None))
}
