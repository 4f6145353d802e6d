//! Addresses on loopback where nobody answers. For one that accepts and is then mute, see [`crate::Builder::mute`].

use std::{
    net::{Ipv4Addr, SocketAddr},
    os::fd::OwnedFd,
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, ipproto, listen, socket_with};

/// A port that nobody listens on, and that nobody else can take: connecting is refused.
pub struct Refusing {
    _socket: OwnedFd,
    address: SocketAddr,
}

/// A listener with a full backlog: connecting hangs, as it does to a host behind a firewall that drops packets.
pub struct Unaccepting {
    _listener: OwnedFd,
    _waiting: Vec<OwnedFd>,
    address: SocketAddr,
}

fn bound() -> std::io::Result<(OwnedFd, SocketAddr)> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::TCP))?;
    bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let address = getsockname(&socket)?.try_into().map_err(std::io::Error::from)?;
    Ok((socket, address))
}

impl Refusing {
    /// Reserves the port.
    pub fn start() -> Self {
        let (socket, address) = bound().expect("a port on loopback");
        Self { _socket: socket, address }
    }

    /// Where.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Unaccepting {
    /// Listens, and fills the backlog with connections of its own.
    pub fn start() -> Self {
        let (listener, address) = bound().expect("a port on loopback");
        listen(&listener, 0).expect("a listener");
        let waiting = (0..4).map(|_| {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, Some(ipproto::TCP)).expect("a socket");
            let _in_progress = connect(&socket, &address);
            socket
        });
        Self { _waiting: waiting.collect(), _listener: listener, address }
    }

    /// Where.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}
