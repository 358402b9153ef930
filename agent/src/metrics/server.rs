//! A small HTTP server on a thread of its own, so that a decoder that waits for the output does not
//! hold it up. Clients may be slow or hostile: connections are few, short, and carry one request.

use std::{
    io,
    net::TcpListener,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::prometheus_text;
use thiserror::Error;
use tokio::{
    net::TcpStream,
    runtime,
    sync::{Semaphore, oneshot},
    time,
};

use super::{Address, Health, Metrics};
use crate::privilege::{self, Part};

/// Connections at a time; others wait in the kernel, which bounds them too.
const CONNECTIONS: usize = 8;
/// How long a request may take to come.
const REQUEST: Duration = Duration::from_secs(2);
/// How long a connection may last, whatever its client does.
const CONNECTION: Duration = Duration::from_secs(10);
/// Bytes of a request's head; hyper takes no less for this bound.
const HEAD: usize = 8 << 10;
/// After a failure to accept, such as one for lack of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";

/// Why nothing is served.
#[derive(Debug, Error)]
#[error("failed to listen on {address}{hint}")]
pub struct ListenError {
    address: Address,
    hint: &'static str,
    source: io::Error,
}

impl ListenError {
    fn new(address: Address, source: io::Error) -> Self {
        let hint = match source.kind() {
            io::ErrorKind::AddrInUse => " (another program has this port; choose another one)",
            io::ErrorKind::AddrNotAvailable => " (this machine has no such address)",
            io::ErrorKind::PermissionDenied => " (ports below 1024 need CAP_NET_BIND_SERVICE)",
            _ => "",
        };
        Self { address, hint, source }
    }
}

/// The running server. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    _stop: oneshot::Sender<()>,
}

/// What is served.
struct Site {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
}

impl Server {
    /// Listens, and serves from now on.
    pub fn start(
        address: Address,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
    ) -> Result<Self, ListenError> {
        let failed = |error| ListenError::new(address, error);
        let listener = listen(address).map_err(failed)?;
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(failed)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let site = Arc::new(Site { metrics, health });
        let serve = async move {
            tokio::select! {
                error = serve(listener, site) => tracing::warn!(%error, "no metrics any more"),
                _ = stopped => {}
            }
        };
        let thread = thread::Builder::new().name("tlstap-metrics".to_owned());
        let work = move || {
            privilege::keep(Part::Maps);
            runtime.block_on(serve);
        };
        thread.spawn(work).map_err(failed)?;
        Ok(Self { _stop: stop })
    }
}

fn listen(address: Address) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(&*address.candidates())?;
    listener.set_nonblocking(true)?;
    tracing::info!(address = %listener.local_addr()?, "metrics are served");
    Ok(listener)
}

/// Ends only when it cannot begin.
async fn serve(listener: TcpListener, site: Arc<Site>) -> io::Error {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return io::Error::other("no slots");
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let site = Arc::clone(&site);
                tokio::spawn(async move {
                    let _ = time::timeout(CONNECTION, converse(stream, site)).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a client of the metrics was not accepted");
                time::sleep(PAUSE).await;
            }
        }
    }
}

/// One request and its answer.
async fn converse(stream: TcpStream, site: Arc<Site>) {
    let answer = |request: Request<Incoming>| {
        let site = Arc::clone(&site);
        async move { Ok::<_, hyper::Error>(site.answer(request.method(), request.uri().path()).await) }
    };
    let talked = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEAD)
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .await;
    if let Err(error) = talked {
        tracing::debug!(%error, "a client of the metrics was not served");
    }
}

impl Site {
    async fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut refusal = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        match path {
            "/" => page(StatusCode::OK, TEXT, "/metrics\n/healthz\n/readyz\n"),
            "/metrics" => {
                page(StatusCode::OK, prometheus_text::CONTENT_TYPE, self.metrics.text().await)
            }
            "/healthz" => self.health(),
            "/readyz" if self.health.is_ready() => page(StatusCode::OK, TEXT, "ready\n"),
            "/readyz" => {
                let text = "the first libraries are being probed\n";
                page(StatusCode::SERVICE_UNAVAILABLE, TEXT, text)
            }
            _ => page(StatusCode::NOT_FOUND, TEXT, "there are /metrics, /healthz and /readyz\n"),
        }
    }

    fn health(&self) -> Response<Full<Bytes>> {
        let stuck = self.health.stuck(Instant::now());
        match stuck.is_empty() {
            true => page(StatusCode::OK, TEXT, "ok\n"),
            false => page(StatusCode::SERVICE_UNAVAILABLE, TEXT, stuck),
        }
    }
}

fn page(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
