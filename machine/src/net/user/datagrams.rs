//! Datagrams at the gateway: UDP (RFC 768), questions to the DNS server, and pings.
//!
//! A socket of the host's stands for each port of the guest's, whoever that talks to
//! (endpoint-independent mapping, RFC 4787, section 4.1), until it has been quiet for a while. A ping
//! is a datagram whose port is the echo's identifier, over the socket that Linux and BSDs have for
//! those who may not do more (`SOCK_DGRAM` of ICMP).

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use mio::{Interest, net::UdpSocket};
use smoltcp::{
    phy::ChecksumCapabilities,
    wire::{Icmpv4DstUnreachable, Icmpv4Message, Icmpv4Packet, Icmpv4Repr},
};

use super::{
    lan::Lan,
    outside::{DNS_PORT, Outside, Source, unreachable},
};

/// More sockets push out the idlest.
const SOCKETS_MAX: usize = 1024;
/// A socket that has been quiet for so long is closed: UDP's after what QEMU waits (RFC 4787,
/// section 4.3, asks for two minutes), one of a question sooner.
const IDLE: Duration = Duration::from_secs(240);
const IDLE_SHORT: Duration = Duration::from_secs(20);
/// How often somebody looks for sockets that were quiet.
const SWEEP: Duration = Duration::from_secs(10);
/// Datagrams that one socket moves before others have their turn.
const TURN: usize = 64;
/// The longest datagram.
const DATAGRAM_MAX: usize = 65_535;

/// What a socket is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Kind {
    Udp,
    /// Questions to the gateway's DNS server.
    Dns,
    Ping,
}

/// All sockets for datagrams.
#[derive(Default)]
pub(super) struct Datagrams {
    sockets: HashMap<usize, Socket>,
    by_port: HashMap<(SocketAddrV4, Kind), usize>,
    /// Sockets that may have something to read.
    ready: Vec<usize>,
    next: usize,
    next_sweep: Option<Duration>,
    buffer: Vec<u8>,
}

struct Socket {
    /// The guest's port, or identifier.
    guest: SocketAddrV4,
    kind: Kind,
    socket: UdpSocket,
    last_active: Duration,
    /// It is there for as long as the gateway.
    is_forward: bool,
    /// How often it was used to send.
    sent: usize,
}

impl Datagrams {
    /// Leads datagrams to `socket` to the guest.
    pub(super) fn forward(
        &mut self,
        outside: &Outside,
        socket: std::net::UdpSocket,
        guest: SocketAddrV4,
    ) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket);
        let (last_active, is_forward) = (Duration::ZERO, true);
        let kind = Kind::Udp;
        self.add(outside, Socket { guest, kind, socket, last_active, is_forward, sent: 0 })?;
        Ok(())
    }

    fn add(&mut self, outside: &Outside, mut socket: Socket) -> io::Result<usize> {
        let n = self.next;
        let source = Source::Datagrams(n);
        outside.registry.register(&mut socket.socket, source.into(), Interest::READABLE)?;
        self.next += 1;
        // A second forward to a port is only for datagrams to the guest.
        self.by_port.entry((socket.guest, socket.kind)).or_insert(n);
        self.sockets.insert(n, socket);
        Ok(n)
    }

    /// The guest sends a datagram (for a ping, the whole message). It comes in the IP packet
    /// `packet`.
    pub(super) fn send(
        &mut self,
        now: Duration,
        (lan, outside): (&mut Lan, &Outside),
        (kind, guest, to): (Kind, SocketAddrV4, SocketAddrV4),
        payload: &[u8],
        packet: &[u8],
    ) {
        let refused = match self.try_send(now, outside, (kind, guest, to), payload) {
            Ok(()) => return,
            Err(refused) => refused,
        };
        // A ping that goes nowhere is only not answered.
        if kind != Kind::Ping {
            lan.send_unreachable(packet, refused);
        }
    }

    fn try_send(
        &mut self,
        now: Duration,
        outside: &Outside,
        (kind, guest, to): (Kind, SocketAddrV4, SocketAddrV4),
        payload: &[u8],
    ) -> Result<(), Icmpv4DstUnreachable> {
        let known = self.by_port.get(&(guest, kind)).copied();
        let is_forward =
            known.and_then(|n| self.sockets.get(&n)).is_some_and(|socket| socket.is_forward);
        let to = match outside.answer_to(to) {
            Some(to) if is_forward => to,
            _ => outside.reach(to)?,
        };
        let n = match known {
            Some(n) => n,
            None => {
                let socket = open(kind, to).map_err(|error| {
                    log::debug!("there is no socket for the guest's datagrams: {error}");
                    unreachable(&error)
                })?;
                self.make_room();
                let socket =
                    Socket { guest, kind, socket, last_active: now, is_forward: false, sent: 0 };
                self.add(outside, socket).map_err(|error| unreachable(&error))?
            }
        };
        self.next_sweep.get_or_insert(now + SWEEP);
        let Some(socket) = self.sockets.get_mut(&n) else { return Ok(()) };
        socket.last_active = now;
        // Who asks once more asks another server.
        let to = match kind {
            Kind::Dns => {
                let servers = outside.resolvers();
                servers.get(socket.sent % servers.len().max(1)).copied().unwrap_or(to)
            }
            _ => to,
        };
        socket.sent = socket.sent.wrapping_add(1);
        match socket.socket.send_to(payload, to) {
            Ok(_) => Ok(()),
            // There is no room: datagrams get lost. And an earlier one may have been refused, which
            // a socket says when it is used next.
            Err(e) if is_passing(&e) => Ok(()),
            Err(e) => Err(unreachable(&e)),
        }
    }

    fn make_room(&mut self) {
        let idle = self.sockets.iter().filter(|(_, socket)| !socket.is_forward);
        if idle.clone().count() >= SOCKETS_MAX
            && let Some((&n, _)) = idle.min_by_key(|(n, socket)| (socket.last_active, **n))
        {
            self.remove(n);
        }
    }

    fn remove(&mut self, n: usize) {
        if let Some(socket) = self.sockets.remove(&n) {
            self.by_port.remove(&(socket.guest, socket.kind));
        }
    }

    /// Socket `n` has something to read.
    pub(super) fn event(&mut self, n: usize) {
        if !self.ready.contains(&n) {
            self.ready.push(n);
        }
    }

    /// Does what is to be done by now.
    pub(super) fn run(&mut self, now: Duration, lan: &mut Lan, outside: &Outside) {
        if self.next_sweep.is_some_and(|at| at <= now) {
            let limit = |socket: &Socket| if socket.kind == Kind::Udp { IDLE } else { IDLE_SHORT };
            let is_quiet = |socket: &Socket| {
                !socket.is_forward && now.saturating_sub(socket.last_active) >= limit(socket)
            };
            let quiet = self.sockets.iter().filter(|(_, socket)| is_quiet(socket));
            let quiet: Vec<usize> = quiet.map(|(n, _)| *n).collect();
            quiet.into_iter().for_each(|n| self.remove(n));
            let is_any = self.sockets.values().any(|socket| !socket.is_forward);
            self.next_sweep = is_any.then_some(now + SWEEP);
        }
        for n in std::mem::take(&mut self.ready) {
            if !lan.has_room() || self.receive(now, lan, outside, n) {
                self.event(n);
            }
        }
    }

    /// Passes on what came for socket `n`; whether there may be more.
    fn receive(&mut self, now: Duration, lan: &mut Lan, outside: &Outside, n: usize) -> bool {
        let Some(socket) = self.sockets.get_mut(&n) else { return false };
        self.buffer.resize(DATAGRAM_MAX, 0);
        for _ in 0..TURN {
            let (len, peer) = match socket.socket.recv_from(&mut self.buffer) {
                Ok(both) => both,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return false,
                // Somebody did not want what was sent.
                Err(e) if is_passing(&e) => continue,
                Err(_) => return false,
            };
            socket.last_active = now;
            let payload = &self.buffer[..len];
            match socket.kind {
                Kind::Dns => {
                    let server = SocketAddrV4::new(lan.addresses.dns, DNS_PORT);
                    lan.send_udp(server, socket.guest, payload);
                }
                Kind::Udp => {
                    if let Some(peer) = outside.seen(peer) {
                        lan.send_udp(peer, socket.guest, payload);
                    }
                }
                Kind::Ping => {
                    if let Some(peer) = outside.seen(peer) {
                        answer_ping(lan, *peer.ip(), socket.guest, payload);
                    }
                }
            }
        }
        true
    }

    /// Whether there is something to read now.
    pub(super) fn is_busy(&self) -> bool {
        !self.ready.is_empty()
    }

    /// When there is something to do next.
    pub(super) fn next_event(&self) -> Option<Duration> {
        self.next_sweep
    }
}

/// Whether an error says nothing of what comes after it.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::WouldBlock
            | ErrorKind::Interrupted
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
    )
}

/// A socket with which `to` can be reached.
fn open(kind: Kind, to: SocketAddr) -> io::Result<UdpSocket> {
    if kind == Kind::Ping {
        return open_ping();
    }
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    UdpSocket::bind(any)
}

fn open_ping() -> io::Result<UdpSocket> {
    use rustix::net::{AddressFamily, SocketType, ipproto, socket};
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, Some(ipproto::ICMP))?;
    // To the host's calls it is like one of UDP, with messages in the place of payloads.
    let socket = std::net::UdpSocket::from(socket);
    socket.set_nonblocking(true)?;
    Ok(UdpSocket::from_std(socket))
}

/// Passes on an echo reply. The host has chosen its identifier.
fn answer_ping(lan: &mut Lan, from: Ipv4Addr, guest: SocketAddrV4, message: &[u8]) {
    // Some hosts leave the IP header on.
    let header = match message.first() {
        Some(first) if first >> 4 == 4 => usize::from(first & 15) * 4,
        _ => 0,
    };
    let Some(message) = message.get(header..) else { return };
    let Ok(packet) = Icmpv4Packet::new_checked(message) else { return };
    if packet.msg_type() != Icmpv4Message::EchoReply {
        return;
    }
    let Ok(reply) = Icmpv4Repr::parse(&packet, &ChecksumCapabilities::ignored()) else { return };
    if let Icmpv4Repr::EchoReply { seq_no, data, .. } = reply {
        let reply = Icmpv4Repr::EchoReply { ident: guest.port(), seq_no, data };
        lan.send_icmp(from, *guest.ip(), &reply);
    }
}
