//! The guest's side of the gateway: who is where on its Ethernet, and the frames that go there.
//!
//! Sources: RFC 894 (IP over Ethernet), RFC 826 (ARP), RFC 791 (IP and its fragments), RFC 768
//! (UDP), RFC 792 (ICMP). Packets are taken apart and put together by smoltcp.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{Ipv4Addr, SocketAddrV4},
};

use smoltcp::{
    phy::ChecksumCapabilities,
    wire::{
        ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
        EthernetRepr, Icmpv4DstUnreachable, Icmpv4Packet, Icmpv4Repr, IpProtocol, Ipv4Packet,
        Ipv4Repr, UDP_HEADER_LEN, UdpPacket, UdpRepr,
    },
};
use trine_devices::{Frame, Offload};

use super::ipv6;
use crate::net::spec::Addresses;

/// Bytes of an Ethernet header.
pub(super) const ETHERNET: usize = 14;
/// Bytes of an IP header without options.
pub(super) const IPV4: usize = 20;
/// The longest IP packet on the guest's Ethernet.
pub(super) const MTU: usize = 1500;
/// What IP packets start with in their life.
pub(super) const TTL: u8 = 64;

/// The gateway remembers so many guests.
const NEIGHBOURS_MAX: usize = 64;
/// So many frames wait for their guest's address.
const HELD_MAX: usize = 64;
/// Bytes of a packet that come back in an ICMP error: what fits into 576 bytes (RFC 1812, section
/// 4.3.2.3).
const QUOTE_MAX: usize = 548;

/// The guest's network.
pub(super) struct Lan {
    pub(super) addresses: Addresses,
    /// Who has which Ethernet address.
    neighbours: BTreeMap<Ipv4Addr, EthernetAddress>,
    /// Frames for those whose Ethernet address was asked for.
    held: VecDeque<(Ipv4Addr, Frame)>,
    /// Frames for the guest.
    out: Vec<Frame>,
    /// How many bytes of frames it is content to be given.
    room: usize,
    /// Numbers packets that are sent in fragments.
    ident: u16,
}

impl Lan {
    pub(super) fn new(addresses: Addresses) -> Self {
        let (neighbours, held) = (BTreeMap::new(), VecDeque::new());
        Self { addresses, neighbours, held, out: Vec::new(), room: usize::MAX, ident: 0 }
    }

    /// Whether those who can wait may send.
    pub(super) fn has_room(&self) -> bool {
        self.room > 0
    }

    /// So many bytes of frames can be taken now.
    pub(super) fn set_room(&mut self, room: usize) {
        self.room = room;
    }

    /// What is to be sent, in order.
    pub(super) fn take(&mut self) -> Vec<Frame> {
        std::mem::take(&mut self.out)
    }

    /// The address of the gateway's cards: made of the IP address, as QEMU does.
    fn own_address(ip: Ipv4Addr) -> EthernetAddress {
        let [a, b, c, d] = ip.octets();
        EthernetAddress([0x52, 0x55, a, b, c, d])
    }

    fn is_own(&self, ip: Ipv4Addr) -> bool {
        [self.addresses.gateway, self.addresses.dns].contains(&ip)
    }

    /// `ip` was heard from `address`.
    pub(super) fn learn(&mut self, ip: Ipv4Addr, address: EthernetAddress) {
        let is_guest = self.addresses.contains(ip) && !self.is_own(ip) && address.is_unicast();
        let is_known = self.neighbours.contains_key(&ip);
        if !is_guest || !is_known && self.neighbours.len() == NEIGHBOURS_MAX {
            return;
        }
        self.neighbours.insert(ip, address);
        if is_known {
            return;
        }
        for (to, frame) in std::mem::take(&mut self.held) {
            if to == ip {
                self.send_ip(to, frame);
            } else {
                self.held.push_back((to, frame));
            }
        }
    }

    /// The guest asks for an Ethernet address, or tells its own.
    pub(super) fn arp(&mut self, payload: &[u8]) {
        let Ok(packet) = ArpPacket::new_checked(payload) else { return };
        let Ok(ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr: asker,
            source_protocol_addr: asker_ip,
            target_protocol_addr: wanted,
            ..
        }) = ArpRepr::parse(&packet)
        else {
            return;
        };
        self.learn(asker_ip, asker);
        if operation == ArpOperation::Request && self.is_own(wanted) && asker.is_unicast() {
            self.send_arp(ArpRepr::EthernetIpv4 {
                operation: ArpOperation::Reply,
                source_hardware_addr: Self::own_address(wanted),
                source_protocol_addr: wanted,
                target_hardware_addr: asker,
                target_protocol_addr: asker_ip,
            });
        }
    }

    /// The guest sends an IPv6 packet.
    pub(super) fn ipv6(&mut self, packet: &[u8]) {
        let gateway = Self::own_address(self.addresses.gateway);
        if let Some(bytes) = ipv6::answer(packet, gateway) {
            self.push(Frame { bytes, offload: Offload::default() });
        }
    }

    fn send_arp(&mut self, arp: ArpRepr) {
        let ArpRepr::EthernetIpv4 { operation, source_hardware_addr, target_hardware_addr, .. } =
            arp
        else {
            return;
        };
        let mut bytes = vec![0; ETHERNET + arp.buffer_len()];
        let dst_addr = match operation {
            ArpOperation::Request => EthernetAddress::BROADCAST,
            _ => target_hardware_addr,
        };
        let ethertype = EthernetProtocol::Arp;
        EthernetRepr { src_addr: source_hardware_addr, dst_addr, ethertype }
            .emit(&mut EthernetFrame::new_unchecked(&mut bytes));
        arp.emit(&mut ArpPacket::new_unchecked(&mut bytes[ETHERNET..]));
        self.push(Frame { bytes, offload: Offload::default() });
    }

    /// Sends an IP packet, which has room for an Ethernet header before it.
    pub(super) fn send_ip(&mut self, to: Ipv4Addr, frame: Frame) {
        if let Some(&address) = self.neighbours.get(&to) {
            return self.send_to(address, frame);
        }
        let gateway = self.addresses.gateway;
        self.send_arp(ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request,
            source_hardware_addr: Self::own_address(gateway),
            source_protocol_addr: gateway,
            target_hardware_addr: EthernetAddress([0; 6]),
            target_protocol_addr: to,
        });
        if self.held.len() == HELD_MAX {
            self.held.pop_front();
        }
        self.held.push_back((to, frame));
    }

    fn send_to(&mut self, address: EthernetAddress, mut frame: Frame) {
        // Whatever lies behind the gateway comes from its card.
        let from = Ipv4Packet::new_unchecked(&frame.bytes[ETHERNET..]).src_addr();
        let from = if from == self.addresses.dns { from } else { self.addresses.gateway };
        let header = EthernetRepr {
            src_addr: Self::own_address(from),
            dst_addr: address,
            ethertype: EthernetProtocol::Ipv4,
        };
        header.emit(&mut EthernetFrame::new_unchecked(&mut frame.bytes));
        self.push(frame);
    }

    fn push(&mut self, frame: Frame) {
        self.room = self.room.saturating_sub(frame.bytes.len());
        self.out.push(frame);
    }

    /// Sends a UDP datagram, in fragments if it is long.
    pub(super) fn send_udp(&mut self, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) {
        if let Some(datagram) = udp(from, to, payload) {
            self.send_payload(*from.ip(), *to.ip(), IpProtocol::Udp, &datagram);
        }
    }

    /// Sends a UDP datagram to all, or to `address` if the guest has no IP address yet.
    pub(super) fn broadcast_udp(
        &mut self,
        from: SocketAddrV4,
        port: u16,
        payload: &[u8],
        address: Option<EthernetAddress>,
    ) {
        let to = SocketAddrV4::new(Ipv4Addr::BROADCAST, port);
        if let Some(datagram) = udp(from, to, payload) {
            let bytes = packet(*from.ip(), *to.ip(), IpProtocol::Udp, &datagram);
            let frame = Frame { bytes, offload: Offload::default() };
            self.send_to(address.unwrap_or(EthernetAddress::BROADCAST), frame);
        }
    }

    /// Sends an ICMP message.
    pub(super) fn send_icmp(&mut self, from: Ipv4Addr, to: Ipv4Addr, message: &Icmpv4Repr<'_>) {
        let mut bytes = vec![0; message.buffer_len()];
        message
            .emit(&mut Icmpv4Packet::new_unchecked(&mut bytes), &ChecksumCapabilities::default());
        self.send_payload(from, to, IpProtocol::Icmp, &bytes);
    }

    /// Tells the sender of an IP packet that it got no further than the gateway.
    pub(super) fn send_unreachable(&mut self, packet: &[u8], reason: Icmpv4DstUnreachable) {
        let Ok(ip) = Ipv4Packet::new_checked(packet) else { return };
        let Ok(header) = Ipv4Repr::parse(&ip, &ChecksumCapabilities::ignored()) else { return };
        let data = &ip.payload()[..ip.payload().len().min(QUOTE_MAX - IPV4)];
        let message = Icmpv4Repr::DstUnreachable { reason, header, data };
        let from =
            if self.is_own(header.dst_addr) { header.dst_addr } else { self.addresses.gateway };
        self.send_icmp(from, header.src_addr, &message);
    }

    /// Sends what is in an IP packet, in fragments if it is long.
    fn send_payload(&mut self, from: Ipv4Addr, to: Ipv4Addr, protocol: IpProtocol, payload: &[u8]) {
        /// Fragments are multiples of 8 bytes, but for the last one.
        const PIECE: usize = (MTU - IPV4) / 8 * 8;
        let whole = |bytes| Frame { bytes, offload: Offload::default() };
        if payload.len() <= MTU - IPV4 {
            return self.send_ip(to, whole(packet(from, to, protocol, payload)));
        }
        self.ident = self.ident.wrapping_add(1);
        for (n, piece) in payload.chunks(PIECE).enumerate() {
            let mut bytes = packet(from, to, protocol, piece);
            let mut ip = Ipv4Packet::new_unchecked(&mut bytes[ETHERNET..]);
            ip.set_ident(self.ident);
            ip.set_dont_frag(false);
            ip.set_more_frags((n + 1) * PIECE < payload.len());
            ip.set_frag_offset((n * PIECE) as u16);
            ip.fill_checksum();
            self.send_ip(to, whole(bytes));
        }
    }
}

/// An IP packet behind room for an Ethernet header.
fn packet(from: Ipv4Addr, to: Ipv4Addr, protocol: IpProtocol, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; ETHERNET + IPV4 + payload.len()];
    let header = Ipv4Repr {
        src_addr: from,
        dst_addr: to,
        next_header: protocol,
        payload_len: payload.len(),
        hop_limit: TTL,
    };
    let mut ip = Ipv4Packet::new_unchecked(&mut bytes[ETHERNET..]);
    header.emit(&mut ip, &ChecksumCapabilities::default());
    ip.payload_mut().copy_from_slice(payload);
    bytes
}

/// A UDP datagram with its header; `None` if it is too long for one.
fn udp(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Option<Vec<u8>> {
    if payload.len() > usize::from(u16::MAX) - IPV4 - UDP_HEADER_LEN {
        return None;
    }
    let mut bytes = vec![0; UDP_HEADER_LEN + payload.len()];
    UdpRepr { src_port: from.port(), dst_port: to.port() }.emit(
        &mut UdpPacket::new_unchecked(&mut bytes),
        &(*from.ip()).into(),
        &(*to.ip()).into(),
        payload.len(),
        |place| place.copy_from_slice(payload),
        &ChecksumCapabilities::default(),
    );
    Some(bytes)
}
