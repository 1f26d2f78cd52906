//! Small messages leave in one piece.
//!
//! hyper hands over the head and the body of a message as two parts, for `writev`. To copy a few hundred bytes together and
//! to `send` them costs less processor time than that; large messages are still not copied.

use std::{
    io::{IoSlice, Result},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is copied together at most. Most heads and answers of APIs are smaller.
const SMALL: usize = 1024;

pub struct Joined<S>(pub S);

impl<S: AsyncRead + Unpin> AsyncRead for Joined<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Joined<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let stream = Pin::new(&mut self.0);
        if let [part] = parts {
            return stream.poll_write(context, part);
        }
        let mut all = [0; SMALL];
        let mut size = 0;
        for part in parts {
            let Some(place) = all.get_mut(size..size + part.len()) else {
                return stream.poll_write_vectored(context, parts);
            };
            place.copy_from_slice(part);
            size += part.len();
        }
        stream.poll_write(context, &all[..size])
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn parts_arrive_in_order_whatever_their_sizes() {
        for sizes in [[1, 0, 2], [SMALL, 0, 0], [SMALL, 1, 1], [1, SMALL, 3 * SMALL]] {
            let bytes: Vec<Vec<u8>> =
                sizes.iter().zip(b"abc").map(|(size, byte)| vec![*byte; *size]).collect();
            let (near, mut far) = tokio::io::duplex(16 * SMALL);
            let mut near = Joined(near);
            let parts: Vec<IoSlice> = bytes.iter().map(|part| IoSlice::new(part)).collect();
            let written = poll_fn(|context| Pin::new(&mut near).poll_write_vectored(context, &parts)).await;
            // A stream may take less: then hyper writes the rest.
            let rest = bytes.concat().split_off(written.unwrap());
            near.write_all(&rest).await.unwrap();
            drop(near);
            let mut arrived = Vec::new();
            far.read_to_end(&mut arrived).await.unwrap();
            assert_eq!(arrived, bytes.concat());
        }
    }
}
