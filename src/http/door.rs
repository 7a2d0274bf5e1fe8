//! The door: connections are accepted, and each of their requests is answered.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_io_timeout::TimeoutStream;

use super::limits::Gauge;
use super::request::{Bounds, Reply, Request};
use super::server::{Alive, Service, Settings, over};
use crate::core::complaints::Complaints;

/// The largest head of a request.
const HEAD_BYTES: usize = 64 << 10;

/// How long to accept nothing after that failed: most likely, the process has no more files.
const PAUSE: Duration = Duration::from_millis(50);

/// What the connections share.
pub(super) struct Door<S> {
    pub(super) component: String,
    pub(super) part: String,
    pub(super) settings: Settings,
    pub(super) service: Arc<S>,
    pub(super) gauge: Arc<Gauge>,
    pub(super) connections: Arc<Gauge>,
    pub(super) bounds: Arc<Bounds>,
    pub(super) ending: watch::Receiver<bool>,
    pub(super) complaints: Mutex<Complaints>,
}

impl<S: Service> Door<S> {
    /// Accepts connections until the end. There may be twice as many as there may be requests:
    /// so there is room to say that there is no room.
    pub(super) async fn accept(self: Arc<Self>, listener: TcpListener, alive: Alive) {
        let most = self.settings.concurrent.saturating_mul(2);
        let slots = Arc::new(Semaphore::new(most.clamp(64, Semaphore::MAX_PERMITS)));
        let mut ending = self.ending.clone();
        loop {
            let next = async {
                let slot = slots.clone().acquire_owned().await;
                (slot, listener.accept().await)
            };
            let (slot, accepted) = tokio::select! {
                next = next => next,
                () = over(&mut ending) => return,
            };
            match (slot, accepted) {
                (Ok(slot), Ok((stream, peer))) => {
                    let connection = self.clone().connection(stream, peer, slot, alive.clone());
                    tokio::spawn(connection);
                }
                (Err(_), _) => return, // Cannot be: nobody closes it.
                (_, Err(error)) => {
                    self.complain("accept", &format!("cannot accept a connection: {error}"));
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        _slot: OwnedSemaphorePermit,
        _alive: Alive,
    ) {
        let _counted = self.connections.enter();
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.settings.patience));
        let service = service_fn(|request| {
            let door = self.clone();
            async move { Ok::<_, Infallible>(door.reply(request).await.into_response()) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.settings.patience)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(Box::pin(stream)), service);
        let mut connection = pin!(connection);
        let mut ending = self.ending.clone();
        let done = tokio::select! {
            done = connection.as_mut() => done,
            () = over(&mut ending) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        // To hang up, or to be idle for long, is no fault.
        if let Err(error) = done
            && error.is_parse()
        {
            let host = peer.ip().to_string();
            self.complain(&host, &format!("refused from {host}: {error}"));
        }
    }

    async fn reply(&self, request: hyper::Request<Incoming>) -> Reply {
        let mut request = Request::new(request, self.bounds.clone());
        let reply = self.answer(&mut request).await;
        request.discard().await;
        reply.unwrap_or_else(|refusal| refusal)
    }

    async fn answer(&self, request: &mut Request) -> Result<Reply, Reply> {
        let mut methods = S::METHODS.split(", ");
        if !methods.any(|method| method == request.method()) {
            return Err(Reply::not_allowed(S::METHODS));
        }
        if *self.ending.borrow() {
            return Err(Reply::stopped());
        }
        let Some(_open) = self.gauge.enter() else {
            return Err(Reply::busy("there are too many requests"));
        };
        self.service.answer(request).await
    }

    fn complain(&self, peer: &str, what: &str) {
        if let Some(more) = self.complaints.lock().note(peer, Instant::now()) {
            log::warn!(target: &self.component, "{} {what}{more}", self.part);
        }
    }
}
