//! WebSockets and other protocols that begin as HTTP: after the switch, bytes go both ways untouched.

use http::Response;
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tracing::debug;

use crate::respond::AnswerBody;

/// Answers the client with the backend's 101, and joins the two connections once both have switched.
/// The task ends when either side closes.
pub fn join(client: OnUpgrade, mut response: Response<Incoming>) -> Response<AnswerBody> {
    let backend = hyper::upgrade::on(&mut response);
    tokio::spawn(async move {
        let switched = tokio::try_join!(client, backend);
        let (client, backend) = match switched {
            Ok(both) => both,
            Err(error) => return debug!(%error, "connection did not switch protocols"),
        };
        let copied =
            tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(backend)).await;
        if let Err(error) = copied {
            debug!(%error, "switched connection ended");
        }
    });
    response.map(|_| AnswerBody::Own(None))
}
