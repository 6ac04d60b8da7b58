//! One TCP connection of the guest's: smoltcp is its end towards the guest, a socket of the host's
//! the one towards the world, and bytes go from one to the other.
//!
//! Each has an interface of smoltcp's to itself, so that a segment costs the same however many
//! connections there are. Towards the guest it makes segments of up to 64 KiB, which are cut into
//! those that the guest can take only where the guest's card cannot take them whole.
//! A connection ends as the TCP on its other side does: half by half, or by a reset.

use std::{
    io::{self, Read, Write},
    net::SocketAddrV4,
    time::Duration,
};

use mio::net::TcpStream;
use rustix::net::sockopt;
use smoltcp::{
    iface::{Config, Interface, PollResult, SocketHandle, SocketSet},
    phy::{self, Checksum as ChecksumKind, ChecksumCapabilities, DeviceCapabilities, Medium},
    socket::tcp::{self, State},
    time::Instant,
    wire::{HardwareAddress, IpCidr, Ipv4Packet, TcpPacket},
};
use trine_devices::{Checksum, Frame, Offload, Segmentation, Segments};

use super::segment;
use crate::net::user::lan::{ETHERNET, IPV4, Lan, MTU};

/// The longest IP packet, and with it what smoltcp makes segments for.
const PACKET_MAX: usize = 65_535;
/// Bytes of the shortest TCP header.
const TCP: usize = 20;
/// Where the TCP checksum is in its header.
const CHECKSUM_OFFSET: u16 = 16;
/// Bytes that one connection moves before others have their turn.
const TURN: usize = 1 << 20;
/// How often an idle connection asks the guest whether it is still there, which also tells how much
/// it can take, if that went lost.
const KEEP_ALIVE: smoltcp::time::Duration = smoltcp::time::Duration::from_secs(60);
/// What the guest says is acknowledged after this time, if nothing is said that could do it. A guest
/// that sends many small segments is spared as many interrupts.
const ACK_DELAY: smoltcp::time::Duration = smoltcp::time::Duration::from_millis(1);

/// The two ends, as the guest sees them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Ends {
    pub(super) guest: SocketAddrV4,
    pub(super) remote: SocketAddrV4,
}

/// What is to be done next with a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// Nothing before somebody says something, or it is time.
    Wait(Option<Duration>),
    /// More of the same, when others had their turn or the guest has room.
    Again,
    /// It is over.
    Over,
}

/// A connection of which both ends are known.
pub(super) struct Connection {
    ends: Ends,
    stream: TcpStream,
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    /// The longest segment that the guest takes.
    mss: u16,
    /// The host's socket may have something to read, or room to write.
    pub(super) is_readable: bool,
    pub(super) is_writable: bool,
    /// The host's side has said all that it will.
    is_host_done: bool,
    /// The guest has.
    has_fin: bool,
    /// The guest has, and the host's side knows.
    is_guest_done: bool,
    /// Both have, and the guest knows.
    is_parted: bool,
}

fn instant(now: Duration) -> Instant {
    Instant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}

impl Connection {
    /// A connection over `stream` with buffers of `buffer` bytes each way.
    fn new(now: Duration, ends: Ends, stream: TcpStream, buffer: usize, seed: u64) -> Self {
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut Nowhere, instant(now));
        let address = IpCidr::new((*ends.remote.ip()).into(), 0);
        interface.update_ip_addrs(|all| {
            // There is room for one.
            let _ = all.push(address);
        });
        let buffer = || tcp::SocketBuffer::new(vec![0; buffer]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        // What comes from a socket was gathered there, and the guest is near.
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(Some(ACK_DELAY));
        socket.set_keep_alive(Some(KEEP_ALIVE));
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        // A failure only makes small messages slower.
        let _ = stream.set_nodelay(true);
        Self {
            ends,
            stream,
            interface,
            sockets,
            handle,
            mss: segment::MSS_DEFAULT,
            is_readable: true,
            is_writable: true,
            is_host_done: false,
            has_fin: false,
            is_guest_done: false,
            is_parted: false,
        }
    }

    /// A connection that the guest has asked for with the packet `syn`, and that the host has made;
    /// `None` if `syn` asks for none.
    pub(super) fn accept(
        now: Duration,
        lan: &mut Lan,
        (ends, stream): (Ends, TcpStream),
        syn: &[u8],
        (buffer, seed): (usize, u64),
    ) -> Option<Self> {
        let mut connection = Self::new(now, ends, stream, buffer, seed);
        connection.socket().listen(ends.remote).ok()?;
        connection.receive(now, lan, syn);
        (connection.socket().state() == State::SynReceived).then_some(connection)
    }

    /// A connection that somebody wants to have with the guest.
    pub(super) fn connect(
        now: Duration,
        (ends, stream): (Ends, TcpStream),
        (buffer, seed): (usize, u64),
    ) -> Option<Self> {
        let mut connection = Self::new(now, ends, stream, buffer, seed);
        let socket = connection.sockets.get_mut::<tcp::Socket<'_>>(connection.handle);
        socket.connect(connection.interface.context(), ends.guest, ends.remote).ok()?;
        Some(connection)
    }

    fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// The guest sends a segment.
    pub(super) fn receive(&mut self, now: Duration, lan: &mut Lan, packet: &[u8]) {
        let widened;
        let mut packet = packet;
        if let Some((mss, whole)) = segment::widen(packet) {
            (self.mss, widened) = (mss, whole);
            packet = &widened;
        }
        let mut wire = Wire { packet: Some(packet), lan, ends: self.ends, mss: self.mss };
        self.interface.poll_ingress_single(instant(now), &mut wire, &mut self.sockets);
    }

    /// Moves bytes both ways, as many as there are and as there is room for.
    pub(super) fn turn(&mut self, now: Duration, lan: &mut Lan) -> Next {
        let mut moved = 0;
        loop {
            let before = moved;
            let passed = self.pass_to_host().and_then(|n| Ok(n + self.pass_to_guest(lan)?));
            let Ok(passed) = passed else {
                self.abort(now, lan);
                return Next::Over;
            };
            moved += passed + self.send(now, lan);
            if !lan.has_room() {
                return Next::Again;
            }
            let socket = self.socket();
            let is_closed = matches!(socket.state(), State::Closed | State::TimeWait);
            if is_closed && socket.recv_queue() == 0 {
                self.reset_unless_done();
                return Next::Over;
            }
            if moved == before {
                break;
            }
            if moved >= TURN {
                return Next::Again;
            }
        }
        if self.is_parted {
            return Next::Wait(None);
        }
        let at = self.interface.poll_at(instant(now), &self.sockets);
        Next::Wait(at.map(|at| Duration::from_micros(at.total_micros().max(0) as u64)))
    }

    /// What the guest has said goes to the host's socket; how many bytes.
    fn pass_to_host(&mut self) -> io::Result<usize> {
        let mut moved = 0;
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.handle);
        while self.is_writable && socket.can_recv() {
            let written = socket.recv(|bytes| match self.stream.write(bytes) {
                Ok(n) => (n, Ok(n)),
                Err(e) => (0, Err(e)),
            });
            match written {
                Ok(Ok(n)) => moved += n,
                Ok(Err(e)) if e.kind() == io::ErrorKind::WouldBlock => self.is_writable = false,
                Ok(Err(e)) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(e)) => return Err(e),
                Err(_) => break,
            }
        }
        self.has_fin |= matches!(
            socket.state(),
            State::CloseWait | State::LastAck | State::Closing | State::TimeWait
        );
        if self.has_fin && socket.recv_queue() == 0 && !self.is_guest_done {
            self.is_guest_done = true;
            // Where the peer is gone already, reading says so.
            let _ = self.stream.shutdown(std::net::Shutdown::Write);
        }
        Ok(moved)
    }

    /// What the host's socket has goes to the guest; how many bytes.
    fn pass_to_guest(&mut self, lan: &Lan) -> io::Result<usize> {
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.handle);
        if !self.is_readable || self.is_host_done || !lan.has_room() || !socket.can_send() {
            return Ok(0);
        }
        let read = socket.send(|room| match self.stream.read(room) {
            Ok(n) => (n, Ok(n)),
            Err(e) => (0, Err(e)),
        });
        match read {
            Ok(Ok(0)) => {
                self.is_host_done = true;
                socket.close();
                Ok(0)
            }
            Ok(Ok(n)) => Ok(n),
            Ok(Err(e)) if e.kind() == io::ErrorKind::WouldBlock => {
                self.is_readable = false;
                Ok(0)
            }
            Ok(Err(e)) if e.kind() == io::ErrorKind::Interrupted => Ok(0),
            Ok(Err(e)) => Err(e),
            Err(_) => Ok(0),
        }
    }

    /// Sends segments for as long as there is something to say and room for it; how many.
    fn send(&mut self, now: Duration, lan: &mut Lan) -> usize {
        let mut count = 0;
        // Once the guest's end is acknowledged there is nothing more to say, but when its time is over
        // smoltcp would forget what the host's side has not taken yet.
        while lan.has_room() && !self.is_parted {
            let mut wire = Wire { packet: None, lan, ends: self.ends, mss: self.mss };
            match self.interface.poll_egress(instant(now), &mut wire, &mut self.sockets) {
                PollResult::SocketStateChanged => count += 1,
                PollResult::None => {
                    self.is_parted = self.socket().state() == State::TimeWait;
                    break;
                }
            }
        }
        count
    }

    /// The guest is told that the connection is no more.
    pub(super) fn abort(&mut self, now: Duration, lan: &mut Lan) {
        self.socket().abort();
        let mut wire = Wire { packet: None, lan, ends: self.ends, mss: self.mss };
        self.interface.poll_egress(instant(now), &mut wire, &mut self.sockets);
        self.reset_unless_done();
    }

    /// Where not both ends have said that they are done, the host's peer is to know.
    fn reset_unless_done(&mut self) {
        if !(self.is_host_done && self.is_guest_done) {
            // Without it the peer sees an orderly end, which is only less than could be said.
            let _ = sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
        }
    }
}

/// What smoltcp takes for its device: one packet from the guest at most, and frames to it.
struct Wire<'a> {
    packet: Option<&'a [u8]>,
    lan: &'a mut Lan,
    ends: Ends,
    mss: u16,
}

fn capabilities() -> DeviceCapabilities {
    let mut checksum = ChecksumCapabilities::ignored();
    checksum.ipv4 = ChecksumKind::Tx;
    let mut capabilities = DeviceCapabilities::default();
    capabilities.medium = Medium::Ip;
    capabilities.max_transmission_unit = PACKET_MAX;
    capabilities.checksum = checksum;
    capabilities
}

impl phy::Device for Wire<'_> {
    type RxToken<'a>
        = Received<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Sending<'a>
    where
        Self: 'a;

    fn receive(&mut self, _now: Instant) -> Option<(Received<'_>, Sending<'_>)> {
        let packet = self.packet.take()?;
        Some((Received(packet), Sending { lan: self.lan, ends: self.ends, mss: self.mss }))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Sending<'_>> {
        Some(Sending { lan: self.lan, ends: self.ends, mss: self.mss })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        capabilities()
    }
}

struct Received<'a>(&'a [u8]);

impl phy::RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

struct Sending<'a> {
    lan: &'a mut Lan,
    ends: Ends,
    mss: u16,
}

impl phy::TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut bytes = vec![0; ETHERNET + len];
        let result = f(&mut bytes[ETHERNET..]);
        let offload = finish(&mut bytes[ETHERNET..], self.mss);
        self.lan.send_ip(*self.ends.guest.ip(), Frame { bytes, offload });
        result
    }
}

/// Prepares a packet of smoltcp's for whoever finishes it; what is left to do to it.
fn finish(packet: &mut [u8], mss: u16) -> Offload {
    let mut ip = Ipv4Packet::new_unchecked(packet);
    let sum = segment::pseudo_header_sum(ip.src_addr(), ip.dst_addr(), ip.payload_mut().len());
    let mut tcp = TcpPacket::new_unchecked(ip.payload_mut());
    tcp.set_checksum(sum);
    if tcp.syn() {
        segment::set_mss(tcp.options_mut(), (MTU - IPV4 - TCP) as u16);
    }
    let payload = tcp.payload_mut().len();
    let is_long = payload > usize::from(mss);
    Offload {
        checksum: Some(Checksum { start: (ETHERNET + IPV4) as u16, offset: CHECKSUM_OFFSET }),
        segments: is_long.then_some(Segments { kind: Segmentation::Tcp4, size: mss }),
    }
}

/// The device as an interface is made with it, which only asks what it can do.
struct Nowhere;

impl phy::Device for Nowhere {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received<'_>, Sending<'_>)> {
        None
    }

    fn transmit(&mut self, _now: Instant) -> Option<Sending<'_>> {
        None
    }

    fn capabilities(&self) -> DeviceCapabilities {
        capabilities()
    }
}
