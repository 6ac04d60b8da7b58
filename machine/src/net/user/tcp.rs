//! TCP at the gateway (RFC 9293): for each connection that the guest asks for the host makes one of
//! its own, and for each that somebody makes to a forwarded port the guest is asked.
//!
//! The guest's connection is accepted when the host's is there, and not before: what refuses the
//! host, refuses the guest. What there can be of all this is bounded; a connection too many ends the
//! one that has been idle for the longest.

mod connection;
mod segment;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    io,
    net::SocketAddrV4,
    time::Duration,
};

use mio::{
    Interest,
    event::Event,
    net::{TcpListener, TcpStream},
};
use smoltcp::wire::{Icmpv4DstUnreachable, IpAddress, Ipv4Packet, TcpPacket};

use self::connection::{Connection, Ends, Next};
use super::{
    lan::Lan,
    outside::{Outside, Source, unreachable},
};

/// More connections end the idlest.
pub(super) const CONNECTIONS_MAX: usize = 4096;
/// The first connections have large buffers, each way; the others must do with small ones.
const LARGE: usize = 1 << 20;
const LARGE_COUNT: usize = 128;
const SMALL: usize = 64 << 10;
/// A host that has no more sockets is asked again after this time.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// All connections.
#[derive(Default)]
pub(super) struct Tcp {
    entries: HashMap<usize, Entry>,
    by_ends: HashMap<Ends, usize>,
    listeners: Vec<Listener>,
    /// Connections that have something to do; each once.
    ready: VecDeque<usize>,
    /// When connections want to be woken.
    due: BTreeSet<(Duration, usize)>,
    next: usize,
}

struct Entry {
    ends: Ends,
    stage: Stage,
    is_ready: bool,
    due: Option<Duration>,
    last_active: Duration,
}

enum Stage {
    /// The host connects, for the guest's packet.
    Connecting(TcpStream, Vec<u8>),
    Connected(Box<Connection>),
}

struct Listener {
    socket: TcpListener,
    guest: SocketAddrV4,
    /// When connections wait that could not be accepted: when to try again.
    again: Option<Duration>,
}

impl Tcp {
    /// Leads connections to `socket` to the guest.
    pub(super) fn forward(
        &mut self,
        outside: &Outside,
        socket: std::net::TcpListener,
        guest: SocketAddrV4,
    ) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let mut socket = TcpListener::from_std(socket);
        let source = Source::Listener(self.listeners.len());
        outside.registry.register(&mut socket, source.into(), Interest::READABLE)?;
        self.listeners.push(Listener { socket, guest, again: None });
        Ok(())
    }

    /// The guest sends a packet with a segment in it; `is_finished` if its checksum is.
    pub(super) fn receive(
        &mut self,
        now: Duration,
        (lan, outside): (&mut Lan, Option<&Outside>),
        ip: &Ipv4Packet<&[u8]>,
        packet: &[u8],
        is_finished: bool,
    ) {
        let Ok(segment) = TcpPacket::new_checked(ip.payload()) else { return };
        let (from, to) = (ip.src_addr(), ip.dst_addr());
        let (guest_ip, remote_ip) = (IpAddress::from(from), IpAddress::from(to));
        if is_finished && !segment.verify_checksum(&guest_ip, &remote_ip) {
            return;
        }
        let ends = Ends {
            guest: SocketAddrV4::new(from, segment.src_port()),
            remote: SocketAddrV4::new(to, segment.dst_port()),
        };
        if let Some(&n) = self.by_ends.get(&ends) {
            if let Some(entry) = self.entries.get_mut(&n) {
                entry.last_active = now;
                // While the host connects, the guest may only ask again.
                if let Stage::Connected(connection) = &mut entry.stage {
                    connection.receive(now, lan, packet);
                    self.make_ready(n);
                }
            }
        } else if segment.syn() && !segment.ack() && !segment.rst() && !segment.fin() {
            if let Err(error) = self.open(now, outside, ends, packet) {
                refuse(lan, ends, packet, error);
            }
        } else if !segment.rst() {
            lan.send_ip(from, segment::reset(ends, &segment));
        }
    }

    /// The guest asks for a connection.
    fn open(
        &mut self,
        now: Duration,
        outside: Option<&Outside>,
        ends: Ends,
        syn: &[u8],
    ) -> Result<(), Refusal> {
        let outside = outside.ok_or(Refusal::Reset)?;
        let to = outside.reach(ends.remote).map_err(|reason| match reason {
            Icmpv4DstUnreachable::HostUnreachable => Refusal::Unreachable(reason),
            _ => Refusal::Reset,
        })?;
        let mut stream = TcpStream::connect(to).map_err(Refusal::from)?;
        let n = self.next;
        let source = Source::Connection(n);
        outside.registry.register(&mut stream, source.into(), BOTH).map_err(Refusal::from)?;
        self.add(now, ends, Stage::Connecting(stream, syn.to_vec()));
        Ok(())
    }

    /// Keeps a connection; its number.
    fn add(&mut self, now: Duration, ends: Ends, stage: Stage) -> usize {
        let n = self.next;
        self.next += 1;
        let entry = Entry { ends, stage, is_ready: false, due: None, last_active: now };
        self.by_ends.insert(ends, n);
        self.entries.insert(n, entry);
        n
    }

    /// Ends connections of which there are too many.
    fn make_room(&mut self, now: Duration, lan: &mut Lan) {
        while self.entries.len() > CONNECTIONS_MAX {
            let idlest = self.entries.iter().min_by_key(|(n, entry)| (entry.last_active, **n));
            let Some((&n, _)) = idlest else { return };
            if let Some(Entry { stage: Stage::Connected(mut connection), .. }) = self.remove(n) {
                connection.abort(now, lan);
            }
        }
    }

    fn remove(&mut self, n: usize) -> Option<Entry> {
        let entry = self.entries.remove(&n)?;
        self.by_ends.remove(&entry.ends);
        if let Some(due) = entry.due {
            self.due.remove(&(due, n));
        }
        // Who is still in `ready` is passed over; closing the socket ends its registration.
        Some(entry)
    }

    fn make_ready(&mut self, n: usize) {
        if let Some(entry) = self.entries.get_mut(&n)
            && !std::mem::replace(&mut entry.is_ready, true)
        {
            self.ready.push_back(n);
        }
    }

    /// Something happened to connection `n`'s socket.
    pub(super) fn event(&mut self, now: Duration, lan: &mut Lan, n: usize, event: &Event) {
        let count = self.entries.len();
        let Some(entry) = self.entries.get_mut(&n) else { return };
        entry.last_active = now;
        match &mut entry.stage {
            Stage::Connected(connection) => {
                // Errors and ends are found by reading and writing.
                connection.is_readable |= event.is_readable() || event.is_read_closed();
                connection.is_writable |= event.is_writable() || event.is_write_closed();
                self.make_ready(n);
            }
            Stage::Connecting(stream, _) => match outcome(stream) {
                None => {}
                Some(Err(error)) => {
                    if let Some(Entry { stage: Stage::Connecting(_, syn), ends, .. }) =
                        self.remove(n)
                    {
                        refuse(lan, ends, &syn, error.into());
                    }
                }
                Some(Ok(())) => self.accept(now, lan, n, count),
            },
        }
    }

    /// The host's connection `n`, one of `count`, is there: the guest's is, too.
    fn accept(&mut self, now: Duration, lan: &mut Lan, n: usize, count: usize) {
        let Some(mut entry) = self.entries.remove(&n) else { return };
        if let Stage::Connecting(stream, syn) = entry.stage {
            let parts = (entry.ends, stream);
            let Some(connection) = Connection::accept(now, lan, parts, &syn, resources(count))
            else {
                self.by_ends.remove(&entry.ends);
                return;
            };
            entry.stage = Stage::Connected(Box::new(connection));
        }
        self.entries.insert(n, entry);
        self.make_ready(n);
    }

    /// Somebody connects to a forwarded port.
    pub(super) fn knock(&mut self, now: Duration, outside: &Outside, n: usize) {
        loop {
            let Some(listener) = self.listeners.get_mut(n) else { return };
            listener.again = None;
            let (mut stream, peer) = match listener.socket.accept() {
                Ok(both) => both,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) => {
                    log::debug!("a connection to a forwarded port cannot be accepted: {e}");
                    listener.again = Some(now + ACCEPT_AGAIN);
                    return;
                }
            };
            let guest = listener.guest;
            let Some(remote) = outside.seen(peer) else { continue };
            let ends = Ends { guest, remote };
            let source = Source::Connection(self.next);
            let is_new = !self.by_ends.contains_key(&ends);
            if is_new && outside.registry.register(&mut stream, source.into(), BOTH).is_ok() {
                let resources = resources(self.entries.len());
                if let Some(connection) = Connection::connect(now, (ends, stream), resources) {
                    let n = self.add(now, ends, Stage::Connected(Box::new(connection)));
                    self.make_ready(n);
                }
            }
        }
    }

    /// Gives everybody their turn who has something to do by now.
    pub(super) fn run(&mut self, now: Duration, lan: &mut Lan, outside: &Outside) {
        for n in 0..self.listeners.len() {
            if self.listeners[n].again.is_some_and(|at| at <= now) {
                self.knock(now, outside, n);
            }
        }
        self.make_room(now, lan);
        while let Some(&(at, n)) = self.due.first()
            && at <= now
        {
            self.due.pop_first();
            if let Some(entry) = self.entries.get_mut(&n) {
                entry.due = None;
            }
            self.make_ready(n);
        }
        for _ in 0..self.ready.len() {
            if !lan.has_room() {
                return;
            }
            let Some(n) = self.ready.pop_front() else { return };
            self.turn(now, lan, n);
        }
    }

    fn turn(&mut self, now: Duration, lan: &mut Lan, n: usize) {
        let Some(entry) = self.entries.get_mut(&n) else { return };
        entry.is_ready = false;
        let Stage::Connected(connection) = &mut entry.stage else { return };
        match connection.turn(now, lan) {
            Next::Again => self.make_ready(n),
            Next::Over => drop(self.remove(n)),
            Next::Wait(due) => {
                if let Some(old) = std::mem::replace(&mut entry.due, due) {
                    self.due.remove(&(old, n));
                }
                self.due.extend(due.map(|due| (due, n)));
            }
        }
    }

    /// How many connections there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether somebody has something to do now.
    pub(super) fn is_busy(&self) -> bool {
        !self.ready.is_empty()
    }

    /// When somebody has something to do next.
    pub(super) fn next_event(&self) -> Option<Duration> {
        let again = self.listeners.iter().filter_map(|listener| listener.again).min();
        let due = self.due.first().map(|(due, _)| *due);
        again.into_iter().chain(due).min()
    }
}

/// Why the guest does not get a connection.
enum Refusal {
    /// As if there were nobody.
    Reset,
    Unreachable(Icmpv4DstUnreachable),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Self::Reset,
            _ => Self::Unreachable(unreachable(&error)),
        }
    }
}

/// Answers `syn`, with which the guest asked for a connection.
fn refuse(lan: &mut Lan, ends: Ends, syn: &[u8], why: Refusal) {
    match why {
        Refusal::Unreachable(reason) => lan.send_unreachable(syn, reason),
        Refusal::Reset => {
            let ip = Ipv4Packet::new_unchecked(syn);
            if let Ok(segment) = TcpPacket::new_checked(ip.payload()) {
                lan.send_ip(*ends.guest.ip(), segment::reset(ends, &segment));
            }
        }
    }
}

/// What became of the host's connecting, once that is known.
fn outcome(stream: &TcpStream) -> Option<io::Result<()>> {
    if let Some(error) = stream.take_error().transpose() {
        return Some(error.and_then(Err));
    }
    match stream.peer_addr() {
        Ok(_) => Some(Ok(())),
        Err(e) if e.kind() == io::ErrorKind::NotConnected => None,
        Err(e) => Some(Err(e)),
    }
}

/// The buffers of a connection beside `count` others, and the seed of its numbers.
fn resources(count: usize) -> (usize, u64) {
    // Without randomness numbers can be guessed, which only the guest could make use of.
    let seed = getrandom::u64().unwrap_or(count as u64);
    (if count <= LARGE_COUNT { LARGE } else { SMALL }, seed)
}
