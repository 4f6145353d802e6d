//! HTTP to the model's own endpoint.

use std::io::Read;
use std::time::Instant;

use http::header::{ACCEPT, ACCEPT_ENCODING, HeaderName, HeaderValue};
use ureq::BodyReader;
use wasmtime::component::Resource;

use super::keys::prefix;
use super::shown;
use crate::call::CallState;
use crate::patience::{Cause, Patience};
use crate::redact::{Needles, Redactor};
use crate::ticker::Ticker;
use crate::wit::pg_llm::guest::http::{Error, Header, Host, HostResponse, Method, Request};

/// A response whose head has arrived, as the host keeps it.
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Response {
    status: u16,
    headers: Vec<Header>,
    body: BodyReader<'static>,
    redactor: Redactor,
    /// Bytes without secrets that the guest has not read yet: those from `given` on.
    clean: Vec<u8>,
    given: usize,
    /// There is nothing more to come, and why.
    end: Option<Result<(), Error>>,
}

/// Most bytes that one `read` gives.
const READ_BYTES: usize = 16 << 10;

/// Most bytes that are read of a body which its guest has dropped.
const UNREAD_BYTES: usize = 4 << 10;

/// Most headers of one request; a header map panics somewhere beyond 20,000.
const HEADERS: usize = 256;

/// Longest head of a request, without its key: path, headers, prefix of the key. Servers take far less, and a line must fit the transport's buffer.
const HEAD_BYTES: usize = 32 << 10;

/// Headers that say how a message is framed or routed, which is the host's business, that carry credentials, which are the key ring's, or that have the
/// response come in a form in which a repeated key would not be found.
const HOST_OWNED: [&str; 18] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "accept-encoding",
    "via",
    "forwarded",
    "cookie",
    "authorization",
    "proxy-authorization",
    "accept-charset",
    "range",
];

/// Whether a header is about framing or routing, so that not even a key may be sent as it.
pub(super) fn is_framing(name: &HeaderName) -> bool {
    HOST_OWNED[..14].contains(&name.as_str())
}

impl Host for CallState {
    fn send(&mut self, request: Request) -> wasmtime::Result<Result<Resource<Response>, Error>> {
        match self.send_request(&request) {
            Ok(response) => Ok(Ok(self.table.push(response)?)),
            // Its words come from the network too: no secret leaves through an error.
            Err(e) => Ok(Err(redact_error(&self.redactor(), e))),
        }
    }
}

impl HostResponse for CallState {
    fn status(&mut self, this: Resource<Response>) -> wasmtime::Result<u16> {
        Ok(self.table.get(&this)?.status)
    }

    fn headers(&mut self, this: Resource<Response>) -> wasmtime::Result<Vec<Header>> {
        Ok(self.table.get(&this)?.headers.clone())
    }

    fn read(&mut self, this: Resource<Response>, max: u32) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        let response = self.table.get_mut(&this)?;
        let max = usize::try_from(max).unwrap_or(READ_BYTES).min(READ_BYTES);
        if max == 0 {
            return Ok(Ok(Vec::new()));
        }
        if response.is_drained() && response.end.is_none() {
            response.fill(&self.ticker, &self.patience, &mut self.usage.response_bytes, self.limits.response_bytes);
        }
        Ok(response.take(max))
    }

    fn drop(&mut self, this: Resource<Response>) -> wasmtime::Result<()> {
        let mut response = self.table.delete(this)?;
        if !response.read_to_end_at_once(&self.patience) {
            self.unread = Some(response);
        }
        Ok(())
    }
}

impl Response {
    /// Whether the body is at its end, once what has arrived of it already is read: then its connection serves the next call too. A stream's last event, which
    /// a guest stops reading at, comes before the end of its body. Waits for nothing, and reads little: more is not worth a connection.
    pub(crate) fn read_to_end_at_once(&mut self, patience: &Patience) -> bool {
        if let Some(end) = &self.end {
            return end.is_ok();
        }
        if patience.cause().is_some() {
            return false;
        }
        let mut waste = vec![0; 1024];
        patience.no_waiting.set(true);
        let end = (0..UNREAD_BYTES / waste.len()).find_map(|_| match self.body.read(&mut waste) {
            Ok(0) => Some(Ok(())),
            Ok(_) => None,
            Err(e) => Some(Err(Error::Broken(e.to_string()))),
        });
        patience.no_waiting.set(false);
        matches!(end, Some(Ok(())))
    }

    fn is_drained(&self) -> bool {
        self.given == self.clean.len()
    }

    /// Reads until there are bytes and none is held back, or to the end.
    ///
    /// The guest must not be able to tell whether something was held back: if it could, it would have its guesses at a key repeated by the upstream and learn which one
    /// is right, character by character. So it has no say in how much is read at a time, and gets a piece only when all of it is clean.
    fn fill(&mut self, ticker: &Ticker, patience: &Patience, total: &mut u64, most: u64) {
        self.clean.clear();
        self.given = 0;
        while self.end.is_none() && (self.clean.is_empty() || self.redactor.holds()) {
            let mut bytes = vec![0; READ_BYTES];
            let read = ticker.pause(|| self.body.read(&mut bytes));
            let end = match (read, host_cause(patience.cause())) {
                (Err(e), _) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                // An interrupt can look like the end of the body.
                (_, Some(error)) => Err(error),
                (Err(e), None) => Err(Error::Broken(e.to_string())),
                (Ok(0), None) => Ok(()),
                (Ok(n), None) => {
                    *total += n as u64;
                    bytes.truncate(n);
                    if *total <= most {
                        self.clean.append(&mut self.redactor.push(bytes));
                        continue;
                    }
                    Err(Error::TooLarge(format!("the response is larger than {most} bytes")))
                }
            };
            self.clean.append(&mut self.redactor.finish());
            self.end = Some(end.map_err(|error| redact_error(&self.redactor, error)));
        }
    }

    /// The next bytes, else how it ended.
    fn take(&mut self, max: usize) -> Result<Vec<u8>, Error> {
        if self.is_drained() {
            return self.end.clone().unwrap_or(Ok(())).map(|()| Vec::new());
        }
        if self.given == 0 && self.clean.len() <= max {
            return Ok(std::mem::take(&mut self.clean));
        }
        let until = self.clean.len().min(self.given.saturating_add(max));
        let bytes = self.clean[self.given..until].to_vec();
        self.given = until;
        Ok(bytes)
    }
}

impl CallState {
    fn send_request(&mut self, request: &Request) -> Result<Response, Error> {
        let Some(endpoint) = &self.endpoint else { return Err(Error::Refused("this model has no endpoint".to_owned())) };
        let head: usize = request.path_with_query.len()
            + request.headers.iter().map(|h| h.name.len() + h.value.len()).sum::<usize>()
            + prefix(request.auth.as_ref());
        if head > HEAD_BYTES {
            return Err(Error::TooLarge(format!("a request whose path and headers have more than {HEAD_BYTES} bytes")));
        }
        if request.headers.len() > HEADERS {
            return Err(Error::TooLarge(format!("a request with more than {HEADERS} headers")));
        }
        let size = head + request.body.len();
        self.check_budget(size)?;
        let url = endpoint.join(&request.path_with_query).map_err(|e| Error::Refused(e.to_string()))?;
        let tls = endpoint.is_tls();

        let message = http::Request::builder().method(method(request.method)).uri(url).body(());
        let (mut head, ()) = message.map_err(|e| Error::Refused(e.to_string()))?.into_parts();
        guest_headers(&request.headers, &mut head.headers)?;
        // A body of no bytes is still a body, which these do not have.
        let body = match request.method {
            Method::Get | Method::Delete => None,
            Method::Post | Method::Put | Method::Patch => Some(request.body.as_slice()),
        };
        let mut renewed = false;
        loop {
            let mut head = head.clone();
            let bearer = match &request.auth {
                Some(auth) => self.authorize(auth, &mut head, body.unwrap_or_default())?,
                None => None,
            };
            let answer = self.transmit(tls, self.private_ok, http::Request::from_parts(head, body), size)?;
            // A kept token may be refused before its time, when it was revoked: with another one, the same request may be right.
            if let (401, Some(bearer)) = (answer.status().as_u16(), bearer)
                && self.is_refused(&bearer)
                && !std::mem::replace(&mut renewed, true)
            {
                continue;
            }
            return Ok(self.receive(answer));
        }
    }

    /// Whether one more request, of `size` bytes, is within the call's limits.
    fn check_budget(&self, size: usize) -> Result<(), Error> {
        if self.usage.http_requests >= self.limits.http_requests {
            return Err(Error::TooLarge(format!("more than {} HTTP requests in one call", self.limits.http_requests)));
        }
        if self.usage.request_bytes + size as u64 > self.limits.request_bytes {
            return Err(Error::TooLarge(format!("requests of more than {} bytes in one call", self.limits.request_bytes)));
        }
        Ok(())
    }

    /// Sends a request as it is, and waits for the head of the response.
    pub(super) fn transmit(
        &mut self,
        tls: bool,
        private_ok: bool,
        request: http::Request<Option<&[u8]>>,
        size: usize,
    ) -> Result<http::Response<ureq::Body>, Error> {
        self.check_budget(size)?;
        self.usage.http_requests += 1;
        self.usage.request_bytes += size as u64;
        self.patience.clear_refusal();
        self.patience.private_ok.set(private_ok);
        let agent = self.agents.get(tls, private_ok).map_err(Error::Connect)?;
        self.patience.connecting.set(None);
        let asked = Instant::now();
        let (head, body) = request.into_parts();
        let answer = self.ticker.pause(|| match body {
            None => agent.run(http::Request::from_parts(head, ())),
            Some(body) => agent.run(http::Request::from_parts(head, body)),
        });
        self.usage.connect = self.patience.connect_time.get();
        if answer.is_ok() {
            self.usage.first_byte = asked.elapsed();
        }
        match (answer, host_cause(self.patience.cause())) {
            (_, Some(error)) => Err(error),
            (Ok(answer), None) => Ok(answer),
            (Err(e), None) => Err(transport_error(&e, self.patience.connecting.get().is_some())),
        }
    }

    /// For the keys that this call has and the tokens that it was given.
    pub(super) fn redactor(&self) -> Redactor {
        Redactor::for_needles(self.needles.get_or_init(|| Needles::of(self.keys.secrets().chain(&self.issued))).clone())
    }

    fn receive(&mut self, answer: http::Response<ureq::Body>) -> Response {
        let (head, body) = answer.into_parts();
        let redactor = self.redactor();
        let headers: Vec<Header> = head
            .headers
            .iter()
            .map(|(name, value)| Header {
                name: name.as_str().to_owned(),
                value: redactor.whole(&String::from_utf8_lossy(value.as_bytes())),
            })
            .collect();
        self.usage.response_bytes += headers.iter().map(|h| (h.name.len() + h.value.len()) as u64).sum::<u64>();
        Response { status: head.status.as_u16(), headers, body: body.into_reader(), redactor, clean: Vec::new(), given: 0, end: None }
    }
}

/// Whether a header may have this value: `HeaderValue` itself takes bytes beyond ASCII too, which every server reads in its own way.
pub(super) fn is_visible(value: &str) -> bool {
    value.bytes().all(|b| b == b'\t' || b == b' ' || b.is_ascii_graphic())
}

/// Media types whose pieces are wanted as they come.
const STREAMED: [&[u8]; 3] = [b"text/event-stream", b"application/x-ndjson", b"application/vnd.amazon.eventstream"];

fn guest_headers(from: &[Header], to: &mut http::HeaderMap) -> Result<(), Error> {
    for Header { name, value } in from {
        let bad = |what: &str| Error::Refused(format!("header \"{}\" {what}", shown(name)));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("is not a header name"))?;
        if HOST_OWNED.contains(&name.as_str()) {
            return Err(bad("is set by the host alone"));
        }
        let value = Some(value)
            .filter(|v| is_visible(v))
            .and_then(|v| HeaderValue::from_str(v).ok())
            .ok_or_else(|| bad("has a value that is not visible ASCII"))?;
        to.append(name, value);
    }
    // A compressed event stream arrives in blocks, not in events.
    if to.get(ACCEPT).is_some_and(|a| STREAMED.iter().any(|media_type| a.as_bytes().starts_with(media_type))) {
        to.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    Ok(())
}

fn method(method: Method) -> http::Method {
    match method {
        Method::Get => http::Method::GET,
        Method::Post => http::Method::POST,
        Method::Put => http::Method::PUT,
        Method::Patch => http::Method::PATCH,
        Method::Delete => http::Method::DELETE,
    }
}

/// What the host itself ended, whatever ureq made of it.
pub(super) fn host_cause(cause: Option<Cause>) -> Option<Error> {
    cause.map(|c| match c {
        Cause::Stopped => Error::Cancelled,
        Cause::TimedOut => Error::Timeout,
        Cause::Refused(why) => Error::Refused(why),
        Cause::Exhausted(what) => Error::Connect(what.to_owned()),
    })
}

fn transport_error(error: &ureq::Error, connecting: bool) -> Error {
    let text = match error {
        ureq::Error::Io(e) => e.to_string(),
        other => other.to_string(),
    };
    match error {
        ureq::Error::Http(_) | ureq::Error::BadUri(_) | ureq::Error::BodyExceedsLimit(_) => Error::Refused(text),
        ureq::Error::LargeResponseHeader(..) => Error::TooLarge(text),
        _ if connecting => Error::Connect(text),
        _ => Error::Broken(text),
    }
}

fn redact_error(redactor: &Redactor, error: Error) -> Error {
    match error {
        Error::Refused(t) => Error::Refused(redactor.whole(&t)),
        Error::Key(t) => Error::Key(redactor.whole(&t)),
        Error::Connect(t) => Error::Connect(redactor.whole(&t)),
        Error::Broken(t) => Error::Broken(redactor.whole(&t)),
        Error::TooLarge(t) => Error::TooLarge(redactor.whole(&t)),
        Error::Timeout => Error::Timeout,
        Error::Cancelled => Error::Cancelled,
    }
}
