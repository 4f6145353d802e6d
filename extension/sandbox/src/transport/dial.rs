//! Opening a connection: names, the address policy, a connect that can be interrupted.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};

use super::names::{is_address, resolve};
use super::socket::Socket;
use super::wiping::Wiping;
use crate::egress::{AddressClass, classify};
use crate::interrupt::{Interest, Wake};
use crate::patience::{self, Cause, Patience};

/// Resolves nothing: ureq asks before it looks into its pool, and a pooled connection needs no look-up. [`Dial`] resolves.
#[derive(Debug)]
pub(super) struct NotYet;

impl Resolver for NotYet {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut nothing = self.empty();
        nothing.push(SocketAddr::from(([0, 0, 0, 0], 0)));
        Ok(nothing)
    }
}

/// Connects, and only to addresses that the call may reach.
#[derive(Debug)]
pub(super) struct Dial;

impl Connector<()> for Dial {
    type Out = Socket;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<Socket>, ureq::Error> {
        let Some(patience) = patience::current() else { return Err(ureq::Error::Io(io::Error::other("no call in progress"))) };
        patience.connecting.set(Some(Instant::now()));
        let stream = dial(details.uri, &patience).map_err(ureq::Error::Io)?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Socket::new(stream, buffers)))
    }
}

/// The end of the chain: the connection stands, TLS included, and keeps nothing of what it has sent.
#[derive(Debug)]
pub(super) struct Connected;

impl<In: Transport> Connector<In> for Connected {
    type Out = Wiping<In>;

    fn connect(&self, _: &ConnectionDetails, chained: Option<In>) -> Result<Option<Wiping<In>>, ureq::Error> {
        if let Some(patience) = patience::current() {
            let took = patience.connecting.take().map_or(Duration::ZERO, |since| since.elapsed());
            patience.connect_time.set(patience.connect_time.get() + took);
        }
        Ok(chained.map(Wiping))
    }
}

fn dial(uri: &Uri, patience: &Rc<Patience>) -> io::Result<TcpStream> {
    let host = uri.host().ok_or_else(|| io::Error::other("the endpoint has no host"))?;
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
    let found = resolve(host, port, patience).map_err(|e| io::Error::new(e.kind(), format!("cannot look up host \"{host}\": {e}")))?;

    // What was looked up is what is connected to: there is no second look-up that could say something else.
    let (mut allowed, mut refused) = (Vec::new(), None);
    let (private_ok, literal) = (patience.private_ok.get(), is_address(host));
    for address in found {
        match classify(address.ip()) {
            AddressClass::NotPublic(why) if !private_ok => refused = Some((address.ip(), why)),
            AddressClass::Metadata(why) if !(private_ok && literal) => refused = Some((address.ip(), why)),
            _ => allowed.push(address),
        }
    }
    if let (true, Some((ip, why))) = (allowed.is_empty(), refused) {
        let text = format!("host \"{host}\" has the address {ip}, which is {why}");
        patience.set_cause(Cause::Refused(text.clone()));
        return Err(io::Error::other(text));
    }

    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("host \"{host}\" has no address"));
    let count = allowed.len();
    for (i, address) in allowed.into_iter().enumerate() {
        // The addresses share what time is left; the last one may have all of it.
        let left = patience.deadline.get().saturating_duration_since(Instant::now());
        let share = left / u32::try_from(count - i).unwrap_or(1);
        let until = (i + 1 < count).then(|| Instant::now() + share.max(Duration::from_millis(250)));
        match open(address, until, patience) {
            Ok(stream) => return Ok(stream),
            // Ours, and nothing that the endpoint did.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS)) => {
                patience.set_cause(Cause::Exhausted("no connection can be opened: no file descriptors or no memory left"));
                return Err(e);
            }
            Err(e) => last = io::Error::new(e.kind(), format!("cannot connect to {address}: {e}")),
        }
        if patience.cause().is_some() {
            break;
        }
    }
    Err(last)
}

fn open(address: SocketAddr, until: Option<Instant>, patience: &Patience) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    match connect(&socket, &address) {
        Ok(()) => {}
        Err(rustix::io::Errno::INPROGRESS | rustix::io::Errno::INTR) => match patience.wait(Some((socket.as_fd(), Interest::Write)), until)
        {
            Wake::Ready => sockopt::socket_error(&socket)??,
            Wake::TimedOut => return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
            Wake::Stopped => return Err(io::Error::other("cancelled")),
        },
        Err(e) => return Err(e.into()),
    }
    Ok(TcpStream::from(socket))
}
