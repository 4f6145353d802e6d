//! HTTP to the model's own endpoint.

use std::io::Read;

use http::header::{ACCEPT, ACCEPT_ENCODING, HeaderName, HeaderValue};
use ureq::BodyReader;
use wasmtime::component::Resource;

use super::keys::apply;
use crate::call::CallState;
use crate::patience::Cause;
use crate::redact::Redactor;
use crate::wit::pg_llm::guest::http::{Error, Header, Host, HostResponse, Method, Request};

/// A response whose head has arrived, as the host keeps it.
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Response {
    status: u16,
    headers: Vec<Header>,
    body: BodyReader<'static>,
    redactor: Redactor,
    ended: bool,
}

/// Most bytes that one `read` gives.
const READ_BYTES: usize = 64 << 10;

/// Headers that say how a message is framed or routed, which is the host's business, or that carry credentials, which are the key ring's.
const HOST_OWNED: [&str; 16] = [
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
];

/// Whether a header is about framing or routing, so that not even a key may be sent as it.
pub(super) fn is_framing(name: &HeaderName) -> bool {
    HOST_OWNED[..14].contains(&name.as_str())
}

impl Host for CallState {
    fn send(&mut self, request: Request) -> wasmtime::Result<Result<Resource<Response>, Error>> {
        // Its words come from the network too: no secret leaves through an error.
        let redactor = Redactor::new(&self.keys);
        match self.send_request(request) {
            Ok(response) => Ok(Ok(self.table.push(response)?)),
            Err(e) => Ok(Err(redact_error(&redactor, e))),
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
        if response.ended || max == 0 {
            return Ok(Ok(Vec::new()));
        }
        loop {
            let mut bytes = vec![0; max];
            let read = self.ticker.pause(|| response.body.read(&mut bytes));
            let n = match read {
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => {
                    let error = host_cause(self.patience.cause()).unwrap_or_else(|| Error::Broken(e.to_string()));
                    return Ok(Err(redact_error(&response.redactor, error)));
                }
            };
            // An interrupt can look like the end of the body.
            if let Some(error) = host_cause(self.patience.cause()) {
                return Ok(Err(error));
            }
            if n == 0 {
                response.ended = true;
                return Ok(Ok(response.redactor.finish()));
            }
            self.usage.response_bytes += n as u64;
            if self.usage.response_bytes > self.limits.response_bytes {
                return Ok(Err(Error::TooLarge(format!("the response is larger than {} bytes", self.limits.response_bytes))));
            }
            bytes.truncate(n);
            let bytes = response.redactor.push(bytes);
            if !bytes.is_empty() {
                return Ok(Ok(bytes));
            }
        }
    }

    fn drop(&mut self, this: Resource<Response>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl CallState {
    fn send_request(&mut self, request: Request) -> Result<Response, Error> {
        let Some(endpoint) = &self.endpoint else { return Err(Error::Refused("this model has no endpoint".to_owned())) };
        if self.usage.http_requests >= self.limits.http_requests {
            return Err(Error::TooLarge(format!("more than {} HTTP requests in one call", self.limits.http_requests)));
        }
        let head: usize = request.path_with_query.len() + request.headers.iter().map(|h| h.name.len() + h.value.len()).sum::<usize>();
        let size = (head + request.body.len()) as u64;
        if self.usage.request_bytes + size > self.limits.request_bytes {
            return Err(Error::TooLarge(format!("requests of more than {} bytes in one call", self.limits.request_bytes)));
        }
        let url = endpoint.join(&request.path_with_query).map_err(|e| Error::Refused(e.to_string()))?;

        let mut message = http::Request::builder().method(method(request.method)).uri(url);
        let Some(headers) = message.headers_mut() else { return Err(Error::Refused("the URL is not valid".to_owned())) };
        guest_headers(&request.headers, headers)?;
        if let Some(auth) = &request.auth {
            apply(auth, &self.keys, headers)?;
        }
        let message = message.body(request.body).map_err(|e| Error::Refused(e.to_string()))?;

        self.usage.http_requests += 1;
        self.usage.request_bytes += size;
        self.patience.clear_refusal();
        let agent = self.agents.get(endpoint.is_tls(), self.patience.private_ok).map_err(Error::Connect)?;
        self.patience.connecting.set(false);
        let answer = self.ticker.pause(|| match request.method {
            // A body of no bytes is still a body, which these do not have.
            Method::Get | Method::Delete => agent.run(message.map(|_| ())),
            Method::Post | Method::Put | Method::Patch => agent.run(message),
        });
        let answer = match (answer, host_cause(self.patience.cause())) {
            (_, Some(error)) => return Err(error),
            (Ok(answer), None) => answer,
            (Err(e), None) => return Err(transport_error(&e, self.patience.connecting.get())),
        };
        Ok(self.receive(answer))
    }

    fn receive(&mut self, answer: http::Response<ureq::Body>) -> Response {
        let (head, body) = answer.into_parts();
        let redactor = Redactor::new(&self.keys);
        let headers: Vec<Header> = head
            .headers
            .iter()
            .map(|(name, value)| Header { name: name.as_str().to_owned(), value: redactor.whole(&String::from_utf8_lossy(value.as_bytes())) })
            .collect();
        self.usage.response_bytes += headers.iter().map(|h| (h.name.len() + h.value.len()) as u64).sum::<u64>();
        Response { status: head.status.as_u16(), headers, body: body.into_reader(), redactor, ended: false }
    }
}

fn guest_headers(from: &[Header], to: &mut http::HeaderMap) -> Result<(), Error> {
    for Header { name, value } in from {
        let bad = |what: &str| Error::Refused(format!("header \"{}\" {what}", name.escape_default()));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("is not a header name"))?;
        if HOST_OWNED.contains(&name.as_str()) {
            return Err(bad("is set by the host alone"));
        }
        let value = HeaderValue::from_str(value).map_err(|_| bad("has a value that is not visible ASCII"))?;
        to.append(name, value);
    }
    // A compressed event stream arrives in blocks, not in events.
    if to.get(ACCEPT).is_some_and(|a| a.as_bytes().starts_with(b"text/event-stream") || a.as_bytes().starts_with(b"application/x-ndjson")) {
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
fn host_cause(cause: Option<Cause>) -> Option<Error> {
    cause.map(|c| match c {
        Cause::Stopped => Error::Cancelled,
        Cause::TimedOut => Error::Timeout,
        Cause::Refused(why) => Error::Refused(why),
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
