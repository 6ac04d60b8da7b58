//! TCP, with smoltcp as the guest and the host's own TCP as the world.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use smoltcp::{
    iface::{Config, Interface, SocketHandle, SocketSet},
    phy::{self, Checksum as ChecksumKind, ChecksumCapabilities, DeviceCapabilities, Medium},
    socket::tcp::{self, State},
    wire::{HardwareAddress, Icmpv4Message, IpCidr, IpProtocol, TcpPacket},
};
use trine_devices::{Checksum, Offload, plain};

use super::rig::{GATEWAY, GUEST, GUEST_MAC, Rig, contents};

/// A guest with one connection.
struct Guest {
    rig: Rig,
    card: Card,
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
}

/// What the guest's frames go through.
struct Card {
    /// Frames pass with their checksums left to do, and uncut.
    is_offloading: bool,
    /// The longest that came.
    longest: usize,
    came: Vec<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

impl phy::Device for Card {
    type RxToken<'a> = Came;
    type TxToken<'a> = Sent<'a>;

    fn receive(&mut self, _now: smoltcp::time::Instant) -> Option<(Came, Sent<'_>)> {
        (!self.came.is_empty()).then(|| (Came(self.came.remove(0)), Sent(&mut self.sent)))
    }

    fn transmit(&mut self, _now: smoltcp::time::Instant) -> Option<Sent<'_>> {
        Some(Sent(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        if self.is_offloading {
            let mut checksum = ChecksumCapabilities::ignored();
            checksum.ipv4 = ChecksumKind::Both;
            capabilities.checksum = checksum;
        }
        capabilities
    }
}

struct Came(Vec<u8>);

impl phy::RxToken for Came {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

struct Sent<'a>(&'a mut Vec<Vec<u8>>);

impl phy::TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push(frame);
        result
    }
}

impl Guest {
    fn new(options: &str, is_offloading: bool) -> Self {
        let rig = Rig::new(options);
        let mut card = Card { is_offloading, longest: 0, came: Vec::new(), sent: Vec::new() };
        let config = Config::new(HardwareAddress::Ethernet(GUEST_MAC));
        let mut interface = Interface::new(config, &mut card, smoltcp::time::Instant::ZERO);
        interface.update_ip_addrs(|all| all.push(IpCidr::new(GUEST.into(), 24)).expect("room"));
        interface.routes_mut().add_default_ipv4_route(GATEWAY).expect("there is room");
        let buffer = || tcp::SocketBuffer::new(vec![0; 300_000]);
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(tcp::Socket::new(buffer(), buffer()));
        Self { rig, card, interface, sockets, handle }
    }

    fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    fn connect(&mut self, to: SocketAddrV4) {
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.handle);
        socket.connect(self.interface.context(), to, 40_000).expect("it may");
    }

    /// Both sides do what they have to do.
    fn step(&mut self) {
        let now = smoltcp::time::Instant::from_micros(self.rig.now().as_micros() as i64);
        self.interface.poll(now, &mut self.card, &mut self.sockets);
        for frame in std::mem::take(&mut self.card.sent) {
            let is_tcp = frame.get(23) == Some(&6);
            let checksum = Checksum { start: 34, offset: 16 };
            let checksum = (self.card.is_offloading && is_tcp).then_some(checksum);
            self.rig.send(&frame, Offload { checksum, segments: None });
        }
        self.rig.run();
        for frame in self.rig.frames.drain(..) {
            self.card.longest = self.card.longest.max(frame.bytes.len());
            match self.card.is_offloading {
                true => self.card.came.push(frame.bytes),
                false => plain(&frame.bytes, frame.offload, |bytes| {
                    assert!(bytes.len() <= 1514, "it fits into the guest's Ethernet");
                    self.card.came.push(bytes.to_vec());
                }),
            }
        }
    }

    /// Goes on until `done`.
    fn until(&mut self, what: &str, mut done: impl FnMut(&mut tcp::Socket<'static>) -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !done(self.socket()) {
            assert!(Instant::now() < end, "{what}: {}", self.socket().state());
            self.step();
        }
    }

    /// Goes on until the gateway has nothing left of its connections.
    fn until_forgotten(&mut self) {
        let end = Instant::now() + Duration::from_secs(60);
        while self.rig.gateway.connections() > 0 {
            assert!(Instant::now() < end, "a connection is left");
            self.step();
        }
    }

    /// Sends all of `data`, and receives until the other side is done.
    fn exchange(&mut self, data: &[u8], close_at_end: bool) -> Vec<u8> {
        let (mut sent, mut all) = (0, Vec::new());
        self.until("the exchange", |socket| {
            if sent < data.len() && socket.can_send() {
                sent += socket.send_slice(&data[sent..]).expect("it can be sent");
                if sent == data.len() && close_at_end {
                    socket.close();
                }
            }
            let received = socket.recv(|bytes| {
                all.extend(&*bytes);
                (bytes.len(), ())
            });
            received == Err(tcp::RecvError::Finished) && sent == data.len()
        });
        all
    }
}

/// A server for one connection, and its port.
fn server<T: Send + 'static>(
    serve: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (SocketAddrV4, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let thread = std::thread::spawn(move || serve(listener.accept().expect("a connection").0));
    (SocketAddrV4::new(GATEWAY, port), thread)
}

#[test]
fn megabytes_go_both_ways() {
    for is_offloading in [true, false] {
        let data = contents(5_000_000);
        let expected = data.clone();
        let (at, thread) = server(move |mut stream| {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).expect("it is read");
            assert!(all == expected);
            stream.write_all(&all).expect("it is written");
        });
        let mut guest = Guest::new("", is_offloading);
        guest.connect(at);
        // The guest says that it is done before the server says anything.
        assert!(guest.exchange(&data, true) == data);
        thread.join().expect("it got everything");
        guest.until("the end", |socket| matches!(socket.state(), State::TimeWait | State::Closed));
        assert!(guest.card.longest > 60_000, "segments are long: {}", guest.card.longest);
        guest.until_forgotten();
    }
}

#[test]
fn the_server_may_be_done_first() {
    // More than fits into all buffers on the way, and the server takes its time.
    let data = contents(16_000_000);
    let expected = data.clone();
    let (at, thread) = server(move |mut stream| {
        stream.write_all(b"hello").expect("it is written");
        stream.shutdown(Shutdown::Write).expect("it is shut down");
        std::thread::sleep(Duration::from_millis(300));
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("it is read");
        assert!(all == expected);
    });
    let mut guest = Guest::new("", true);
    guest.connect(at);
    assert_eq!(guest.exchange(&data, false), b"hello");
    guest.socket().close();
    guest.until("the server's end", |_| thread.is_finished());
    thread.join().expect("it got everything");
    guest.until("the end", |socket| !socket.is_open());
    guest.until_forgotten();
}

#[test]
fn resets_are_passed_on() {
    // From the server: it goes with data that it has not read.
    let (at, thread) = server(|mut stream| {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("it comes");
    });
    let mut guest = Guest::new("", true);
    guest.connect(at);
    guest.until("a connection", |socket| socket.may_send());
    guest.socket().send_slice(&[0; 1000]).expect("it can be sent");
    guest.until("the reset", |socket| socket.state() == State::Closed);
    thread.join().expect("it was read");
    // From the guest.
    let (at, thread) = server(|mut stream| {
        let mut byte = [0];
        stream.read(&mut byte).expect_err("it is reset").kind()
    });
    let mut guest = Guest::new("", true);
    guest.connect(at);
    guest.until("a connection", |socket| socket.may_send());
    guest.socket().abort();
    guest.until("the reset is sent", |socket| socket.remote_endpoint().is_none());
    guest.until("nothing more", |_| thread.is_finished());
    assert_eq!(thread.join().expect("no panic"), std::io::ErrorKind::ConnectionReset);
    guest.until_forgotten();
}

#[test]
fn what_refuses_the_host_refuses_the_guest() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    for (options, to) in [
        ("", SocketAddrV4::new(GATEWAY, free.port())),
        (",restrict=on", SocketAddrV4::new(GATEWAY, free.port())),
        (",restrict=on", SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 80)),
    ] {
        let mut guest = Guest::new(options, true);
        guest.connect(to);
        guest.step();
        guest.until("a refusal", |socket| socket.state() == State::Closed);
        guest.until_forgotten();
    }
    let mut guest = Guest::new("", true);
    guest.connect(SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 99), 80));
    let mut rig = Rig::new("");
    let syn = syn(1, SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 99), 80));
    rig.send(&syn, Offload::default());
    let (kind, code, _) = rig.expect_icmp(GATEWAY);
    assert_eq!((kind, code), (Icmpv4Message::DstUnreachable, 1));
}

/// A frame that asks for a connection.
fn syn(port: u16, to: SocketAddrV4) -> Vec<u8> {
    let mut bytes = [0; 20];
    let mut tcp = TcpPacket::new_unchecked(&mut bytes);
    tcp.set_src_port(port);
    tcp.set_dst_port(to.port());
    tcp.set_header_len(20);
    tcp.set_syn(true);
    tcp.set_window_len(1000);
    tcp.fill_checksum(&GUEST.into(), &(*to.ip()).into());
    super::rig::ip_frame(*to.ip(), IpProtocol::Tcp, &bytes)
}

#[test]
fn a_segment_of_no_connection_is_reset() {
    let mut rig = Rig::new("");
    let to = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 80);
    let mut frame = syn(1234, to);
    let mut tcp = TcpPacket::new_unchecked(&mut frame[34..]);
    tcp.set_syn(false);
    tcp.set_ack(true);
    tcp.set_ack_number(smoltcp::wire::TcpSeqNumber(77));
    tcp.fill_checksum(&GUEST.into(), &(*to.ip()).into());
    rig.send(&frame, Offload::default());
    let bytes = rig.expect_ip(IpProtocol::Tcp, *to.ip());
    let reset = TcpPacket::new_checked(&bytes[..]).expect("a segment");
    assert!(reset.rst() && reset.verify_checksum(&(*to.ip()).into(), &GUEST.into()));
    assert_eq!((reset.seq_number().0, reset.src_port(), reset.dst_port()), (77, 80, 1234));
}

#[test]
fn a_forwarded_port_leads_to_the_guest() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let port = free.port();
    for is_offloading in [true, false] {
        let options = format!(",restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22");
        let mut guest = Guest::new(&options, is_offloading);
        guest.socket().listen(22).expect("it may");
        let data = contents(1_000_000);
        let expected = data.clone();
        let client = std::thread::spawn(move || {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it is there");
            let own = stream.local_addr().expect("it has one").port();
            let mut half = stream.try_clone().expect("a copy");
            let writer = std::thread::spawn(move || {
                half.write_all(&expected).expect("it is written");
                half.shutdown(Shutdown::Write).expect("it is shut down");
            });
            let mut all = Vec::new();
            stream.read_to_end(&mut all).expect("it is read");
            writer.join().expect("all is written");
            (all, own)
        });
        guest.until("a connection", |socket| socket.may_send());
        let remote = guest.socket().remote_endpoint().expect("there is one");
        assert!(guest.exchange(&data, true) == data);
        guest.until("the client's end", |_| client.is_finished());
        let (all, own) = client.join().expect("it got everything");
        assert!(all == data);
        assert_eq!((remote.addr, remote.port), (GATEWAY.into(), own));
    }
    // Nobody listens in the guest.
    let mut guest = Guest::new(&format!(",hostfwd=tcp:127.0.0.1:{port}-:23"), true);
    let client = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it is there");
        stream.read(&mut [0]).map_err(|e| e.kind())
    });
    guest.until("an end", |_| client.is_finished());
    assert_eq!(client.join().expect("no panic"), Err(std::io::ErrorKind::ConnectionReset));
}

#[test]
fn a_guest_that_takes_nothing_stops_the_server() {
    let (at, thread) = server(|mut stream| {
        stream.set_nonblocking(true).expect("set");
        let (mut written, mut quiet) = (0_u64, 0);
        // It gives up when nothing was taken for a while.
        while quiet < 50 {
            match stream.write(&[0; 65_536]) {
                Ok(n) => (written, quiet) = (written + n as u64, 0),
                Err(_) => {
                    quiet += 1;
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        }
        written
    });
    let mut guest = Guest::new("", true);
    guest.connect(at);
    guest.until("the server gives up", |_| thread.is_finished());
    let written = thread.join().expect("no panic");
    assert!((300_000..64 << 20).contains(&written), "{written}");
    let mut received = 0;
    guest.until("all of it", |socket| {
        let result = socket.recv(|bytes| (bytes.len(), bytes.len() as u64));
        received += *result.as_ref().unwrap_or(&0);
        result == Err(tcp::RecvError::Finished)
    });
    assert_eq!(received, written);
}

#[test]
fn connections_are_bounded() {
    // Nobody accepts: the host's queue takes some, and the others wait.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = SocketAddrV4::new(GATEWAY, listener.local_addr().expect("it is bound").port());
    let mut rig = Rig::new("");
    rig.send_arp(smoltcp::wire::ArpOperation::Request, GUEST, GATEWAY);
    for port in 0..6000 {
        rig.send(&syn(port + 1, to), Offload::default());
        if port % 100 == 0 {
            rig.run();
        }
        rig.frames.clear();
    }
    rig.run();
    assert!(rig.gateway.connections() <= super::super::tcp::CONNECTIONS_MAX);
}
