//! The gateway: takes apart what the guest sends, and knows who sees to it.
//!
//! On the guest's network it is two hosts. The gateway proper is also the host's loopback interface
//! and has servers of DHCP and TFTP; the other one passes questions on to the host's DNS servers.
//! Sources: RFC 894, 791, 792, 768.

use std::{io, net::SocketAddrV4, time::Duration};

use mio::event::Event;
use smoltcp::{
    phy::ChecksumCapabilities,
    wire::{
        DHCP_SERVER_PORT, EthernetAddress, EthernetFrame, EthernetProtocol, Icmpv4DstUnreachable,
        Icmpv4Packet, Icmpv4Repr, IpAddress, IpProtocol, Ipv4Packet, UdpPacket,
    },
};
use trine_devices::{Frame, Offload};

use super::{
    datagrams::{Datagrams, Kind},
    dhcp::Dhcp,
    lan::{ETHERNET, IPV4, Lan},
    outside::{DNS_PORT, Outside, Source, is_unicast},
    reassembly::Reassembly,
    tcp::Tcp,
    tftp::Tftp,
};
use crate::net::spec::UserSpec;

const TFTP_PORT: u16 = 69;

/// The gateway of one guest.
pub(super) struct Gateway {
    lan: Lan,
    reassembly: Reassembly,
    dhcp: Dhcp,
    tftp: Tftp,
    tcp: Tcp,
    datagrams: Datagrams,
    /// `None` where there is nothing to reach.
    outside: Option<Outside>,
}

/// An IP packet of the guest's, with what is known of it.
struct Packet<'a> {
    ip: Ipv4Packet<&'a [u8]>,
    bytes: &'a [u8],
    /// The checksums of what is in it are there.
    is_finished: bool,
    /// Who sent it.
    from: EthernetAddress,
}

impl Gateway {
    /// The gateway that `spec` describes, with a way to `outside`.
    ///
    /// # Errors
    /// If the folder for TFTP is not there.
    pub(super) fn new(spec: &UserSpec, outside: Option<Outside>) -> io::Result<Self> {
        Ok(Self {
            lan: Lan::new(spec.addresses),
            reassembly: Reassembly::default(),
            dhcp: Dhcp::new(spec),
            tftp: Tftp::new(spec.tftp.as_deref())?,
            tcp: Tcp::default(),
            datagrams: Datagrams::default(),
            outside,
        })
    }

    /// Leads connections to `socket` to the guest.
    pub(super) fn forward_tcp(
        &mut self,
        socket: std::net::TcpListener,
        guest: SocketAddrV4,
    ) -> io::Result<()> {
        self.outside.as_ref().map_or(Ok(()), |outside| self.tcp.forward(outside, socket, guest))
    }

    /// Leads datagrams to `socket` to the guest.
    pub(super) fn forward_udp(
        &mut self,
        socket: std::net::UdpSocket,
        guest: SocketAddrV4,
    ) -> io::Result<()> {
        let outside = self.outside.as_ref();
        outside.map_or(Ok(()), |outside| self.datagrams.forward(outside, socket, guest))
    }

    /// So many bytes of frames are welcome now.
    pub(super) fn set_room(&mut self, room: usize) {
        self.lan.set_room(room);
    }

    /// Whether there is more to do at once, if there is room.
    pub(super) fn is_busy(&self) -> bool {
        self.tcp.is_busy() || self.datagrams.is_busy()
    }

    /// When there is something to do next, if nobody says anything.
    pub(super) fn next_event(&self) -> Option<Duration> {
        self.tcp.next_event().into_iter().chain(self.datagrams.next_event()).min()
    }

    /// How many TCP connections there are.
    #[cfg(test)]
    pub(super) fn connections(&self) -> usize {
        self.tcp.len()
    }

    /// The frames for the guest.
    pub(super) fn take(&mut self) -> Vec<Frame> {
        self.lan.take()
    }

    /// Something happened to a socket.
    pub(super) fn event(&mut self, now: Duration, event: &Event) {
        match (Source::from(event.token()), &self.outside) {
            (Source::Connection(n), _) => self.tcp.event(now, &mut self.lan, n, event),
            (Source::Listener(n), Some(outside)) => self.tcp.knock(now, outside, n),
            (Source::Datagrams(n), _) => self.datagrams.event(n),
            _ => {}
        }
    }

    /// Does what is to be done by now.
    pub(super) fn run(&mut self, now: Duration) {
        if let Some(outside) = &self.outside {
            self.tcp.run(now, &mut self.lan, outside);
            self.datagrams.run(now, &mut self.lan, outside);
        }
    }

    /// The guest sends a frame.
    pub(super) fn receive(&mut self, now: Duration, frame: &mut [u8], offload: Offload) {
        let Ok(ethernet) = EthernetFrame::new_checked(&*frame) else { return };
        let from = ethernet.src_addr();
        match ethernet.ethertype() {
            EthernetProtocol::Arp => self.lan.arp(&frame[ETHERNET..]),
            EthernetProtocol::Ipv4 => {
                let bytes = &mut frame[ETHERNET..];
                if offload.segments.is_some() {
                    put_length(bytes);
                }
                self.packet(now, from, bytes, offload.checksum.is_none());
            }
            EthernetProtocol::Ipv6 => self.lan.ipv6(&frame[ETHERNET..]),
            _ => {}
        }
    }

    fn packet(&mut self, now: Duration, from: EthernetAddress, bytes: &[u8], is_finished: bool) {
        let Ok(ip) = Ipv4Packet::new_checked(bytes) else { return };
        let is_sound =
            ip.version() == 4 && usize::from(ip.header_len()) >= IPV4 && ip.verify_checksum();
        let source = ip.src_addr();
        let is_guest = self.lan.addresses.contains(source)
            && ![self.lan.addresses.gateway, self.lan.addresses.dns].contains(&source);
        if !is_sound || !is_guest && !source.is_unspecified() {
            return;
        }
        self.lan.learn(source, from);
        let bytes = &bytes[..usize::from(ip.total_len())];
        if ip.more_frags() || ip.frag_offset() != 0 {
            if let Some(whole) = self.reassembly.add(now, &ip) {
                let ip = Ipv4Packet::new_unchecked(&whole[..]);
                self.payload(now, &Packet { ip, bytes: &whole, is_finished: true, from });
            }
            return;
        }
        self.payload(now, &Packet { ip, bytes, is_finished, from });
    }

    fn payload(&mut self, now: Duration, packet: &Packet<'_>) {
        let to = packet.ip.dst_addr();
        match packet.ip.next_header() {
            IpProtocol::Udp => self.udp(now, packet),
            // To all, and from nobody, there is only UDP.
            _ if !is_unicast(to) || packet.ip.src_addr().is_unspecified() => {}
            _ if to == self.lan.addresses.broadcast() => {}
            IpProtocol::Tcp => {
                let Packet { ip, bytes, is_finished, .. } = packet;
                let sides = (&mut self.lan, self.outside.as_ref());
                self.tcp.receive(now, sides, ip, bytes, *is_finished);
            }
            IpProtocol::Icmp => self.icmp(now, packet),
            _ => self.lan.send_unreachable(packet.bytes, Icmpv4DstUnreachable::ProtoUnreachable),
        }
    }

    fn udp(&mut self, now: Duration, packet: &Packet<'_>) {
        let &Packet { ref ip, bytes, is_finished, from } = packet;
        let (source, to) = (ip.src_addr(), ip.dst_addr());
        let Ok(udp) = UdpPacket::new_checked(ip.payload()) else { return };
        let is_sound = !is_finished
            || udp.checksum() == 0
            || udp.verify_checksum(&IpAddress::from(source), &IpAddress::from(to));
        if !is_sound {
            return;
        }
        let (gateway, dns) = (self.lan.addresses.gateway, self.lan.addresses.dns);
        let is_to_all = to.is_broadcast() || to == self.lan.addresses.broadcast();
        let guest = SocketAddrV4::new(source, udp.src_port());
        let payload = udp.payload();
        match udp.dst_port() {
            DHCP_SERVER_PORT if is_to_all || to == gateway => self.dhcp(payload, from),
            _ if source.is_unspecified() || is_to_all || !is_unicast(to) => {}
            TFTP_PORT if to == gateway && self.tftp.is_there() => {
                let server = SocketAddrV4::new(gateway, TFTP_PORT);
                let lan = &mut self.lan;
                self.tftp.answer(guest, payload, |reply| lan.send_udp(server, guest, reply));
            }
            port => {
                let Some(outside) = &self.outside else {
                    return self.lan.send_unreachable(bytes, Icmpv4DstUnreachable::CommProhibited);
                };
                let kind = if to == dns && port == DNS_PORT { Kind::Dns } else { Kind::Udp };
                let ends = (kind, guest, SocketAddrV4::new(to, port));
                self.datagrams.send(now, (&mut self.lan, outside), ends, payload, bytes);
            }
        }
    }

    fn dhcp(&mut self, message: &[u8], from: EthernetAddress) {
        let Some(reply) = self.dhcp.answer(message) else { return };
        // A client gets its answer where it says that it is, if that is where it asked from.
        let to = reply.to.filter(|to| *to == from);
        let server = SocketAddrV4::new(self.lan.addresses.gateway, DHCP_SERVER_PORT);
        self.lan.broadcast_udp(server, reply.port, &reply.bytes, to);
    }

    fn icmp(&mut self, now: Duration, packet: &Packet<'_>) {
        let Ok(message) = Icmpv4Packet::new_checked(packet.ip.payload()) else { return };
        let Ok(Icmpv4Repr::EchoRequest { ident, seq_no, data }) =
            Icmpv4Repr::parse(&message, &ChecksumCapabilities::default())
        else {
            return;
        };
        let (source, to) = (packet.ip.src_addr(), packet.ip.dst_addr());
        if [self.lan.addresses.gateway, self.lan.addresses.dns].contains(&to) {
            let reply = Icmpv4Repr::EchoReply { ident, seq_no, data };
            return self.lan.send_icmp(to, source, &reply);
        }
        let Some(outside) = &self.outside else {
            return self.lan.send_unreachable(packet.bytes, Icmpv4DstUnreachable::CommProhibited);
        };
        let ends = (Kind::Ping, SocketAddrV4::new(source, ident), SocketAddrV4::new(to, 0));
        let lan = (&mut self.lan, outside);
        self.datagrams.send(now, lan, ends, packet.ip.payload(), packet.bytes);
    }
}

/// Puts the length of an IP packet into it: what is still to be cut may leave that to whoever cuts
/// it.
fn put_length(packet: &mut [u8]) {
    let len = packet.len();
    let header_len = packet.first().map_or(0, |first| usize::from(first & 15) * 4);
    if (IPV4..=len).contains(&header_len) {
        let mut ip = Ipv4Packet::new_unchecked(packet);
        ip.set_total_len(len.min(usize::from(u16::MAX)) as u16);
        ip.fill_checksum();
    }
}
