//! A request, whose body is read within bounds, and the reply to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Bytes, Frame as Piece, Incoming};
use hyper::header::{
    ALLOW, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderName, HeaderValue, RETRY_AFTER,
    TRANSFER_ENCODING,
};
use hyper::http::request::Parts;
use hyper::{Request as HyperRequest, Response, StatusCode};
use tokio::time::{timeout, timeout_at};

use super::limits::{Budget, Held};

/// A body may take a second more for each so many bytes of it.
const BYTES_A_SECOND: usize = 10 << 10;

/// How long to read on what is refused: whoever is still sending does not see the reply.
const DISCARD: Duration = Duration::from_secs(5);

/// What bodies may take.
#[derive(Debug)]
pub(super) struct Bounds {
    /// The largest one, in bytes.
    pub(super) body: usize,
    /// All that are in memory.
    pub(super) bodies: Arc<Budget>,
    /// How long one may take, whatever its length.
    pub(super) patience: Duration,
}

/// A request. Its body is not read yet.
pub(super) struct Request {
    head: Parts,
    body: Option<Incoming>,
    bounds: Arc<Bounds>,
}

/// A body, for as long as it is in memory.
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) held: Held,
}

impl Request {
    pub(super) fn new(request: HyperRequest<Incoming>, bounds: Arc<Bounds>) -> Self {
        let (head, body) = request.into_parts();
        Self {
            head,
            body: Some(body),
            bounds,
        }
    }

    pub(super) fn method(&self) -> &str {
        self.head.method.as_str()
    }

    pub(super) fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// Whether it has a body, be it empty.
    pub(super) fn has_body(&self) -> bool {
        let has = |name: HeaderName| self.head.headers.contains_key(name);
        has(CONTENT_LENGTH) || has(TRANSFER_ENCODING)
    }

    /// Reads the body.
    ///
    /// # Errors
    /// The reply to one that is too large, too slow, broken, or more than there is room for.
    pub(super) async fn body(&mut self) -> Result<Body, Reply> {
        let limit = self.bounds.body;
        let mut body = Body {
            bytes: Vec::new(),
            held: self.bounds.bodies.hold(),
        };
        let Some(incoming) = &mut self.body else {
            return Ok(body);
        };
        if incoming.size_hint().lower() > limit as u64 {
            return Err(Reply::too_large(limit));
        }
        let latest = deadline(self.bounds.patience);
        loop {
            let earned = Duration::from_secs((body.bytes.len() / BYTES_A_SECOND) as u64);
            match timeout_at(latest + earned, incoming.frame()).await {
                Err(_) => return Err(Reply::too_slow()),
                Ok(None) => break,
                Ok(Some(Err(_))) => return Err(Reply::bad("the body is broken")),
                Ok(Some(Ok(piece))) => body.add(&piece, limit)?,
            }
        }
        self.body = None;
        Ok(body)
    }

    /// Reads and forgets what was not read of the body, for some time.
    pub(super) async fn discard(self) {
        let waits = self.head.headers.contains_key(EXPECT);
        if let Some(mut body) = self.body.filter(|body| !waits && !body.is_end_stream()) {
            let rest = async { while let Some(Ok(_)) = body.frame().await {} };
            let _ = timeout(DISCARD, rest).await;
        }
    }
}

impl Body {
    fn add(&mut self, piece: &Piece<Bytes>, limit: usize) -> Result<(), Reply> {
        let Some(data) = piece.data_ref() else {
            return Ok(()); // Trailers.
        };
        if self.bytes.len() + data.len() > limit {
            return Err(Reply::too_large(limit));
        }
        if !self.held.grow(data.len()) {
            return Err(Reply::busy(
                "the bodies of other requests fill the memory for them",
            ));
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }
}

/// A reply.
#[derive(Debug)]
pub(super) struct Reply {
    status: StatusCode,
    kind: &'static str,
    header: Option<(HeaderName, &'static str)>,
    body: Bytes,
}

impl Reply {
    /// The kind of a message.
    pub(super) const MESSAGE: &'static str = "application/octet-stream";

    /// The kind of a payload, whatever it is: pylm's.
    pub(super) const PAYLOAD: &'static str = "text/plain";

    pub(super) fn new(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            kind,
            header: None,
            body: body.into(),
        }
    }

    /// A reply whose body is not copied.
    pub(super) fn of<B>(status: StatusCode, kind: &'static str, body: B) -> Self
    where
        B: AsRef<[u8]> + Send + 'static,
    {
        Self::new(status, kind, Bytes::from_owner(body))
    }

    /// One that says in words why there is no result.
    pub(super) fn error(status: StatusCode, cause: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", format!("{cause}\n"))
    }

    pub(super) fn bad(cause: &str) -> Self {
        Self::error(StatusCode::BAD_REQUEST, cause)
    }

    pub(super) fn not_allowed(allowed: &'static str) -> Self {
        Self {
            header: Some((ALLOW, allowed)),
            ..Self::error(
                StatusCode::METHOD_NOT_ALLOWED,
                &format!("only {allowed} is understood here"),
            )
        }
    }

    /// There is no room for it now.
    pub(super) fn busy(cause: &str) -> Self {
        Self {
            header: Some((RETRY_AFTER, "1")),
            ..Self::error(StatusCode::SERVICE_UNAVAILABLE, cause)
        }
    }

    /// It came too late, or its result did.
    pub(super) fn stopped() -> Self {
        Self::busy("this server is being stopped")
    }

    pub(super) fn late(after: Duration) -> Self {
        let cause = format!("no result within {:.1} s", after.as_secs_f64());
        Self::error(StatusCode::GATEWAY_TIMEOUT, &cause)
    }

    fn too_large(limit: usize) -> Self {
        let cause = format!("a body may have {limit} bytes");
        Self::error(StatusCode::PAYLOAD_TOO_LARGE, &cause)
    }

    fn too_slow() -> Self {
        Self::error(StatusCode::REQUEST_TIMEOUT, "the body came too slowly")
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if self.status != StatusCode::NO_CONTENT {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        }
        if let Some((name, value)) = self.header {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// The time by which something must have happened that may take so long.
pub(super) fn deadline(by: Duration) -> tokio::time::Instant {
    crate::time::after(Instant::now(), by).into()
}
