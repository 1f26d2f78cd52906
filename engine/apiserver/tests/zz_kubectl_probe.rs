mod harness;
use std::sync::Arc;
use coracle_apiserver::*;
use futures::{FutureExt, StreamExt, future::BoxFuture};
struct Fake;
impl PodAccess for Fake {
    fn logs(&self, _r: LogRequest) -> BoxFuture<'static, Result<ByteStream, PodAccessError>> {
        async { Ok(futures::stream::iter(["one\n"].map(|l| Ok(bytes::Bytes::from(l)))).boxed() as ByteStream) }.boxed()
    }
    fn exec(&self, _r: ExecRequest) -> BoxFuture<'static, Result<Session, PodAccessError>> {
        let (stdin, mut pin) = tokio::io::duplex(64);
        let (mut pout, stdout) = tokio::io::duplex(64);
        let (resize, _resized) = tokio::sync::mpsc::channel(1);
        let exit = async move { tokio::io::copy(&mut pin, &mut pout).await.unwrap(); Ok(0) };
        async move { Ok(Session { stdin: Some(Box::new(stdin)), stdout: Box::new(stdout), stderr: None, resize, exit: exit.boxed() }) }.boxed()
    }
    fn attach(&self, r: ExecRequest) -> BoxFuture<'static, Result<Session, PodAccessError>> { self.exec(r) }
    fn port_forward(&self, _u: String, _p: u16) -> BoxFuture<'static, Result<Box<dyn Duplex>, PodAccessError>> {
        async { Err(PodAccessError::Internal("no".into())) }.boxed()
    }
}
#[tokio::test(flavor = "multi_thread")]
async fn serve() {
    let h = harness::Harness::start().await;
    h.server.set_pod_access(Arc::new(Fake));
    std::fs::write("/tmp/sec/kubeconfig", h.server.admin_kubeconfig(None, None).unwrap()).unwrap();
    h.account("default").await;
    let stop = tokio_util::sync::CancellationToken::new();
    let s2 = stop.clone();
    tokio::spawn(async move { while !std::path::Path::new("/tmp/sec/stop").exists() { tokio::time::sleep(std::time::Duration::from_millis(200)).await } s2.cancel() });
    h.server.clone().serve(stop).await;
}
