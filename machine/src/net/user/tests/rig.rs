//! A gateway with a guest that is made of frames, or of smoltcp.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

use mio::{Events, Poll};
use smoltcp::{
    phy::ChecksumCapabilities,
    wire::{
        ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
        EthernetRepr, Icmpv4Message, Icmpv4Packet, IpProtocol, Ipv4Packet, Ipv4Repr, UdpPacket,
        UdpRepr,
    },
};
use trine_devices::{Frame, Offload, plain};

use super::super::{gateway::Gateway, outside::Outside, reassembly::Reassembly};
use crate::net::spec::{NetKind, NetSpec, UserSpec};

/// The guest, where the gateway expects it.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
pub const GUEST_MAC: EthernetAddress = EthernetAddress([0x52, 0x54, 0, 1, 2, 3]);
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
pub const DNS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
/// What is longer than any answer takes.
const LONG: Duration = Duration::from_secs(60);

pub fn spec(options: &str) -> UserSpec {
    let spec: NetSpec = format!("user{options}").parse().expect("an option");
    let NetKind::User(spec) = spec.kind else { panic!("{options}") };
    *spec
}

/// A gateway, and the frames that it has sent.
pub struct Rig {
    pub gateway: Gateway,
    poll: Poll,
    start: Instant,
    pub frames: VecDeque<Frame>,
    fragments: Reassembly,
}

impl Rig {
    pub fn new(options: &str) -> Self {
        let spec = spec(options);
        let poll = Poll::new().expect("the host can wait");
        let registry = poll.registry().try_clone().expect("it can be shared");
        let mut gateway = Gateway::new(&spec, Some(Outside::new(&spec, registry))).expect("made");
        for forward in &spec.forwards {
            super::super::open_forward(&mut gateway, forward).expect("the port is free");
        }
        let (frames, fragments) = (VecDeque::new(), Reassembly::default());
        Self { gateway, poll, start: Instant::now(), frames, fragments }
    }

    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// The guest sends a frame.
    pub fn send(&mut self, frame: &[u8], offload: Offload) {
        let now = self.now();
        self.gateway.receive(now, &mut frame.to_vec(), offload);
        self.frames.extend(self.gateway.take());
    }

    /// The gateway does what there is to do; waits for the host a little if there is nothing.
    pub fn run(&mut self) {
        let mut events = Events::with_capacity(64);
        let wait = if self.gateway.is_busy() { 0 } else { 1 };
        self.poll.poll(&mut events, Some(Duration::from_millis(wait))).expect("it waits");
        let now = self.now();
        self.gateway.set_room(1 << 20);
        events.iter().for_each(|event| self.gateway.event(now, event));
        self.gateway.run(now);
        self.frames.extend(self.gateway.take());
    }

    /// The first frame that comes of which `pick` makes something.
    pub fn expect<T>(&mut self, what: &str, mut pick: impl FnMut(&Frame) -> Option<T>) -> T {
        let end = Instant::now() + LONG;
        loop {
            while let Some(frame) = self.frames.pop_front() {
                if let Some(found) = pick(&frame) {
                    return found;
                }
            }
            assert!(Instant::now() < end, "{what} did not come");
            self.run();
        }
    }

    /// The payload of the next IP packet of this protocol from `from`, with its fragments joined and
    /// its checksums put in.
    pub fn expect_ip(&mut self, protocol: IpProtocol, from: Ipv4Addr) -> Vec<u8> {
        let mut fragments = std::mem::take(&mut self.fragments);
        let payload = self.expect(&format!("{protocol} from {from}"), |frame| {
            let mut found = None;
            plain(&frame.bytes, frame.offload, |bytes| found = ip(&mut fragments, bytes));
            let (source, is_of, payload) = found?;
            (source == from && is_of == protocol).then_some(payload)
        });
        self.fragments = fragments;
        payload
    }

    /// The next UDP datagram from there: to which port, and what it says.
    pub fn expect_udp(&mut self, from: SocketAddrV4) -> (u16, Vec<u8>) {
        loop {
            let bytes = self.expect_ip(IpProtocol::Udp, *from.ip());
            let udp = UdpPacket::new_checked(&bytes[..]).expect("a datagram");
            assert!(udp.verify_checksum(&(*from.ip()).into(), &GUEST.into()), "its checksum");
            if udp.src_port() == from.port() {
                return (udp.dst_port(), udp.payload().to_vec());
            }
        }
    }

    /// The next ICMP message from there.
    pub fn expect_icmp(&mut self, from: Ipv4Addr) -> (Icmpv4Message, u8, Vec<u8>) {
        let bytes = self.expect_ip(IpProtocol::Icmp, from);
        let icmp = Icmpv4Packet::new_checked(&bytes[..]).expect("a message");
        assert!(icmp.verify_checksum());
        (icmp.msg_type(), icmp.msg_code(), bytes[4..].to_vec())
    }

    /// Sends an IP packet with this payload, in fragments if it is long.
    pub fn send_ip(&mut self, to: Ipv4Addr, protocol: IpProtocol, payload: &[u8]) {
        const PIECE: usize = 1480;
        for (n, piece) in payload.chunks(PIECE).enumerate() {
            let mut frame = ip_frame(to, protocol, piece);
            let mut ip = Ipv4Packet::new_unchecked(&mut frame[14..]);
            ip.set_dont_frag(false);
            ip.set_more_frags((n + 1) * PIECE < payload.len());
            ip.set_frag_offset((n * PIECE) as u16);
            ip.fill_checksum();
            self.send(&frame, Offload::default());
        }
    }

    pub fn send_udp(&mut self, port: u16, to: SocketAddrV4, payload: &[u8]) {
        let bytes = udp(port, to, payload);
        self.send_ip(*to.ip(), IpProtocol::Udp, &bytes);
    }

    /// Asks who has `ip`.
    pub fn send_arp(&mut self, operation: ArpOperation, sender: Ipv4Addr, ip: Ipv4Addr) {
        let mut frame = vec![0; 42];
        let dst_addr = EthernetAddress::BROADCAST;
        let ethertype = EthernetProtocol::Arp;
        EthernetRepr { src_addr: GUEST_MAC, dst_addr, ethertype }
            .emit(&mut EthernetFrame::new_unchecked(&mut frame));
        ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr: GUEST_MAC,
            source_protocol_addr: sender,
            target_hardware_addr: EthernetAddress([0; 6]),
            target_protocol_addr: ip,
        }
        .emit(&mut ArpPacket::new_unchecked(&mut frame[14..]));
        self.send(&frame, Offload::default());
    }
}

/// Sender, protocol and payload of the IP packet in a frame, or that it completes.
fn ip(fragments: &mut Reassembly, frame: &[u8]) -> Option<(Ipv4Addr, IpProtocol, Vec<u8>)> {
    let ethernet = EthernetFrame::new_checked(frame).expect("a frame");
    assert!(frame.len() <= 1514, "it fits into the guest's Ethernet");
    if ethernet.ethertype() != EthernetProtocol::Ipv4 {
        return None;
    }
    let ip = Ipv4Packet::new_checked(ethernet.payload()).expect("an IP packet");
    assert!(ip.verify_checksum());
    let whole;
    let ip = if ip.more_frags() || ip.frag_offset() > 0 {
        whole = fragments.add(Duration::ZERO, &ip)?;
        Ipv4Packet::new_checked(&whole[..]).expect("an IP packet")
    } else {
        ip
    };
    Some((ip.src_addr(), ip.next_header(), ip.payload().to_vec()))
}

/// A frame with an IP packet from the guest.
pub fn ip_frame(to: Ipv4Addr, protocol: IpProtocol, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 34 + payload.len()];
    EthernetRepr {
        src_addr: GUEST_MAC,
        dst_addr: EthernetAddress([0x52, 0x55, 10, 0, 2, 2]),
        ethertype: EthernetProtocol::Ipv4,
    }
    .emit(&mut EthernetFrame::new_unchecked(&mut frame));
    let mut ip = Ipv4Packet::new_unchecked(&mut frame[14..]);
    Ipv4Repr {
        src_addr: GUEST,
        dst_addr: to,
        next_header: protocol,
        payload_len: payload.len(),
        hop_limit: 64,
    }
    .emit(&mut ip, &ChecksumCapabilities::default());
    ip.payload_mut().copy_from_slice(payload);
    frame
}

/// A UDP datagram from the guest.
pub fn udp(port: u16, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 8 + payload.len()];
    UdpRepr { src_port: port, dst_port: to.port() }.emit(
        &mut UdpPacket::new_unchecked(&mut bytes),
        &GUEST.into(),
        &(*to.ip()).into(),
        payload.len(),
        |place| place.copy_from_slice(payload),
        &ChecksumCapabilities::default(),
    );
    bytes
}

/// Bytes that are all over the place.
pub fn contents(len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}
