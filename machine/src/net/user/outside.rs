//! The world behind the gateway: what of it a guest may reach, and where that is for the host.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
};

use mio::{Registry, Token};
use smoltcp::wire::Icmpv4DstUnreachable;

use super::resolvers;
use crate::net::spec::{Addresses, UserSpec};

/// The port of DNS servers.
pub(super) const DNS_PORT: u16 = 53;

/// What sockets are registered as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// The guest, or somebody who wants all of this to end.
    Guest,
    /// A TCP connection.
    Connection(usize),
    /// A TCP port that leads to the guest.
    Listener(usize),
    /// A socket for datagrams.
    Datagrams(usize),
}

impl From<Source> for Token {
    fn from(source: Source) -> Self {
        Self(match source {
            Source::Guest => 0,
            Source::Connection(n) => n << 2 | 1,
            Source::Listener(n) => n << 2 | 2,
            Source::Datagrams(n) => n << 2 | 3,
        })
    }
}

impl From<Token> for Source {
    fn from(Token(token): Token) -> Self {
        match (token & 3, token >> 2) {
            (1, n) => Self::Connection(n),
            (2, n) => Self::Listener(n),
            (3, n) => Self::Datagrams(n),
            _ => Self::Guest,
        }
    }
}

/// What the guest reaches, and how.
pub(super) struct Outside {
    pub(super) registry: Registry,
    addresses: Addresses,
    is_restricted: bool,
    resolver: Option<SocketAddr>,
}

impl Outside {
    pub(super) fn new(spec: &UserSpec, registry: Registry) -> Self {
        let UserSpec { addresses, is_restricted, resolver, .. } = *spec;
        Self { registry, addresses, is_restricted, resolver }
    }

    /// Where `to`, as the guest has it, is for the host. The gateway is the host itself.
    ///
    /// # Errors
    /// Why the guest does not get there.
    pub(super) fn reach(&self, to: SocketAddrV4) -> Result<SocketAddr, Icmpv4DstUnreachable> {
        if self.is_restricted {
            return Err(Icmpv4DstUnreachable::CommProhibited);
        }
        if *to.ip() == self.addresses.dns {
            let resolver = (to.port() == DNS_PORT).then(|| self.resolvers().into_iter().next());
            return resolver.flatten().ok_or(Icmpv4DstUnreachable::PortUnreachable);
        }
        self.answer_to(to).ok_or(Icmpv4DstUnreachable::HostUnreachable)
    }

    /// Where somebody is who was [seen](Self::seen): the guest may answer, whatever else it may do.
    pub(super) fn answer_to(&self, to: SocketAddrV4) -> Option<SocketAddr> {
        let is_here = *to.ip() & self.addresses.mask() == self.addresses.net;
        match *to.ip() {
            ip if ip == self.addresses.gateway => Some((Ipv4Addr::LOCALHOST, to.port()).into()),
            ip => (!is_here && is_unicast(ip) && !ip.is_loopback()).then_some(to.into()),
        }
    }

    /// Who answers DNS, all of one family.
    pub(super) fn resolvers(&self) -> Vec<SocketAddr> {
        match self.resolver {
            Some(resolver) => vec![resolver],
            None => resolvers::of_host(),
        }
    }

    /// How the guest sees somebody of the outside: what is on the host itself, as the gateway.
    /// `None` if it cannot be seen.
    pub(super) fn seen(&self, peer: SocketAddr) -> Option<SocketAddrV4> {
        let IpAddr::V4(ip) = peer.ip().to_canonical() else { return None };
        let is_here = ip & self.addresses.mask() == self.addresses.net;
        let ip = if is_here || ip.is_loopback() { self.addresses.gateway } else { ip };
        is_unicast(ip).then(|| SocketAddrV4::new(ip, peer.port()))
    }
}

/// Whether this is the address of one host.
pub(super) fn is_unicast(ip: Ipv4Addr) -> bool {
    (1..224).contains(&ip.octets()[0])
}

/// What a guest is told where the host cannot get somewhere.
pub(super) fn unreachable(error: &io::Error) -> Icmpv4DstUnreachable {
    match error.kind() {
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
            Icmpv4DstUnreachable::NetUnreachable
        }
        io::ErrorKind::PermissionDenied => Icmpv4DstUnreachable::CommProhibited,
        _ => Icmpv4DstUnreachable::HostUnreachable,
    }
}
