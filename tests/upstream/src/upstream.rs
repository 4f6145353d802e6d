//! The listening upstream.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustls::ServerConfig;

use crate::{
    Authority, Certificate, Closed, Observed, Received, Reply, Script, connection,
    observed::Observatory,
    script::Scripts,
    wire::{self, Wire},
};

/// A real HTTP/1.1 server on loopback. Dropping it breaks every connection off and frees the port.
pub struct Upstream {
    house: Arc<House>,
    address: SocketAddr,
    tls: bool,
}

/// What the threads share.
struct House {
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    mute: bool,
    recorded: bool,
    scripts: Scripts,
    observatory: Arc<Observatory>,
    open: Mutex<HashMap<u64, TcpStream>>,
    leaving: AtomicBool,
}

/// How an upstream is to be.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    port: u16,
    certificate: Option<Certificate>,
    mute: bool,
    unrecorded: bool,
    at: Option<Ipv4Addr>,
}

impl Builder {
    /// This port instead of a free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// HTTPS with this certificate.
    #[must_use]
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// Accepts, reads nothing, and never says a word: to an HTTPS client, a handshake that hangs.
    #[must_use]
    pub fn mute(mut self) -> Self {
        self.mute = true;
        self
    }

    /// Keeps no requests, only their number: for benches and for servers that run for long.
    #[must_use]
    pub fn unrecorded(mut self) -> Self {
        self.unrecorded = true;
        self
    }

    /// This address of the machine instead of the loopback: for a network of a test's own.
    #[must_use]
    pub fn at(mut self, address: Ipv4Addr) -> Self {
        self.at = Some(address);
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// The port is taken.
    pub fn try_start(self) -> std::io::Result<Upstream> {
        let listener = TcpListener::bind((self.at.unwrap_or(Ipv4Addr::LOCALHOST), self.port))?;
        let address = listener.local_addr()?;
        let house = Arc::new(House {
            listener,
            tls: self.certificate.as_ref().map(Certificate::server),
            mute: self.mute,
            recorded: !self.unrecorded,
            scripts: Scripts::default(),
            observatory: Arc::default(),
            open: Mutex::default(),
            leaving: AtomicBool::new(false),
        });
        let doorman = Arc::clone(&house);
        thread::Builder::new().name("upstream".into()).spawn(move || doorman.accept())?;
        Ok(Upstream { house, address, tls: self.certificate.is_some() })
    }

    /// Starts it.
    pub fn start(self) -> Upstream {
        self.try_start().expect("an upstream on loopback")
    }
}

impl House {
    fn accept(self: Arc<Self>) {
        for number in 1.. {
            let Ok((socket, _)) = self.listener.accept() else { return };
            if self.leaving.load(Ordering::Acquire) {
                return;
            }
            let _ = socket.set_nodelay(true);
            let Ok(handle) = socket.try_clone() else { continue };
            self.open().insert(number, handle);
            self.observatory.change(|observed| {
                observed.connections_total += 1;
                observed.open_connections += 1;
                observed.max_connections = observed.max_connections.max(observed.open_connections);
            });
            let open = Open { house: Arc::clone(&self), number };
            let spawned = thread::Builder::new().name(format!("upstream {number}")).spawn(move || open.serve(socket));
            debug_assert!(spawned.is_ok(), "a thread for a connection");
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open connection. Its end is recorded however its thread ends.
struct Open {
    house: Arc<House>,
    number: u64,
}

impl Open {
    fn serve(self, socket: TcpStream) {
        let House { scripts, observatory, recorded, .. } = &*self.house;
        if self.house.mute {
            let _ = wire::pause(&socket, None);
            return;
        }
        let sent = Arc::clone(observatory);
        let wire = match &self.house.tls {
            None => Wire::plain(socket, sent),
            Some(config) => match Wire::tls(socket, Arc::clone(config), sent) {
                Ok(wire) => wire,
                Err(error) => return observatory.change(|observed| observed.handshake_failures.push(error.to_string())),
            },
        };
        connection::serve(wire, self.number, scripts, observatory, *recorded);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // The last handle of the socket: now it is closed indeed.
        self.house.open().remove(&self.number);
        self.house.observatory.change(|observed| {
            observed.open_connections -= 1;
            observed.closed.push(Closed { connection: self.number, at: Instant::now() });
        });
    }
}

impl Upstream {
    /// An HTTP upstream on a free port, with nothing scripted: 404 to everything.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// An HTTPS upstream with this certificate.
    pub fn start_tls(certificate: Certificate) -> Self {
        Self::builder().certificate(certificate).start()
    }

    /// An HTTP upstream that answers as [`crate::echo::answer`] does.
    pub fn start_echo() -> Self {
        let upstream = Self::start();
        upstream.otherwise(crate::echo::answer);
        upstream
    }

    /// Other ways to start.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`, or `https://`.
    pub fn url(&self) -> String {
        self.url_at("127.0.0.1")
    }

    /// The same with another name for the host.
    pub fn url_at(&self, host: &str) -> String {
        format!("{}://{host}:{}", if self.tls { "https" } else { "http" }, self.address.port())
    }

    /// The certificate of the authority that clients must trust, as PEM.
    pub fn ca_pem(&self) -> String {
        Authority::process().pem()
    }

    /// Begins a new script for a path (without query), forgetting its old one.
    pub fn on(&self, path: &str) -> Script<'_> {
        self.house.scripts.begin(path);
        Script { scripts: &self.house.scripts, path: path.into() }
    }

    /// Answers the next request with this, whatever its path; called again, the one after it.
    pub fn next(&self, reply: Reply) {
        self.house.scripts.once(reply);
    }

    /// Answers the requests for which nothing is scripted.
    pub fn otherwise(&self, handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) {
        self.house.scripts.otherwise(Arc::new(handler));
    }

    /// Reads the observations.
    pub fn observe<T>(&self, look: impl FnOnce(&Observed) -> T) -> T {
        look(&self.house.observatory.read())
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Received> {
        self.observe(|observed| observed.requests.clone())
    }

    /// The latest request.
    pub fn last_request(&self) -> Option<Received> {
        self.observe(|observed| observed.requests.last().cloned())
    }

    /// Connections open now.
    pub fn open_connections(&self) -> usize {
        self.observe(|observed| observed.open_connections)
    }

    /// Connections accepted so far.
    pub fn connections_total(&self) -> u64 {
        self.observe(|observed| observed.connections_total)
    }

    /// The most requests that were being answered at one time.
    pub fn max_concurrent(&self) -> usize {
        self.observe(|observed| observed.max_concurrent)
    }

    /// TLS handshakes that failed.
    pub fn handshake_failures(&self) -> Vec<String> {
        self.observe(|observed| observed.handshake_failures.clone())
    }

    /// Bytes of replies handed to the kernel, over all connections.
    pub fn bytes_sent(&self) -> u64 {
        self.house.observatory.bytes_sent.load(Ordering::Relaxed)
    }

    /// Forgets the requests and closings recorded so far. Counts stay.
    pub fn forget(&self) {
        self.house.observatory.change(|observed| {
            observed.requests.clear();
            observed.closed.clear();
        });
    }

    /// Waits until it happened, and says whether it did before the deadline.
    #[must_use]
    pub fn wait_for(&self, happened: impl FnMut(&Observed) -> bool, deadline: Duration) -> bool {
        self.house.observatory.wait_for(happened, deadline)
    }

    /// Waits until so many requests are complete in all, and says whether they were before the deadline.
    #[must_use]
    pub fn wait_for_requests(&self, total: u64, deadline: Duration) -> bool {
        self.wait_for(|observed| observed.requests_total >= total, deadline)
    }

    /// Waits until no connection is open, and says whether that was before the deadline.
    #[must_use]
    pub fn wait_until_closed(&self, deadline: Duration) -> bool {
        self.wait_for(|observed| observed.open_connections == 0, deadline)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.house.leaving.store(true, Ordering::Release);
        // Ends the blocked accept and every blocked read, write and pause.
        let _ = rustix::net::shutdown(&self.house.listener, rustix::net::Shutdown::Both);
        for socket in self.house.open().values() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}
