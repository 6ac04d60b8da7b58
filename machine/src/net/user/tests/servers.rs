//! The gateway's own servers, and ARP and ICMP.

use std::net::{Ipv4Addr, SocketAddrV4};

use smoltcp::{
    phy::ChecksumCapabilities,
    wire::{
        ArpOperation, ArpPacket, ArpRepr, DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress,
        Icmpv4Message, Icmpv4Packet, Icmpv4Repr, IpProtocol,
    },
};
use trine_devices::{Link, Offload, Offloads};
use trine_guest::VmTime;

use super::rig::{DNS, GATEWAY, GUEST, GUEST_MAC, Rig, contents, ip_frame, spec, udp};

#[test]
fn arp_is_answered_for_the_gateways_addresses_alone() {
    let mut rig = Rig::new("");
    let ask = |rig: &mut Rig, ip| {
        rig.send_arp(ArpOperation::Request, GUEST, ip);
        let frame = rig.frames.pop_front()?;
        let reply = ArpRepr::parse(&ArpPacket::new_checked(&frame.bytes[14..]).ok()?).ok()?;
        let ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Reply,
            source_hardware_addr,
            source_protocol_addr,
            target_hardware_addr,
            target_protocol_addr,
        } = reply
        else {
            return None;
        };
        assert_eq!((source_protocol_addr, target_protocol_addr), (ip, GUEST));
        assert_eq!((target_hardware_addr, &frame.bytes[..6]), (GUEST_MAC, &GUEST_MAC.0[..]));
        Some(source_hardware_addr)
    };
    assert_eq!(ask(&mut rig, GATEWAY), Some(EthernetAddress([0x52, 0x55, 10, 0, 2, 2])));
    assert_eq!(ask(&mut rig, DNS), Some(EthernetAddress([0x52, 0x55, 10, 0, 2, 3])));
    // A guest that asks whether somebody has its address hears nothing.
    for ip in [GUEST, Ipv4Addr::new(10, 0, 2, 77), Ipv4Addr::new(9, 9, 9, 9)] {
        assert_eq!(ask(&mut rig, ip), None, "{ip}");
    }
}

#[test]
fn the_gateway_and_its_dns_server_answer_pings_of_any_size() {
    let mut rig = Rig::new(",restrict=on");
    for (to, len) in [(GATEWAY, 0), (DNS, 56), (GATEWAY, 1472), (GATEWAY, 1473), (DNS, 60_000)] {
        let data = contents(len);
        let request = Icmpv4Repr::EchoRequest { ident: 7, seq_no: 9, data: &data };
        let mut bytes = vec![0; request.buffer_len()];
        request
            .emit(&mut Icmpv4Packet::new_unchecked(&mut bytes), &ChecksumCapabilities::default());
        rig.send_ip(to, IpProtocol::Icmp, &bytes);
        let (kind, code, rest) = rig.expect_icmp(to);
        assert_eq!((kind, code, &rest[..4]), (Icmpv4Message::EchoReply, 0, &[0, 7, 0, 9][..]));
        assert_eq!(rest[4..], data, "{len} bytes to {to}");
    }
}

/// A message of a DHCP client, as a frame.
fn dhcp(kind: DhcpMessageType, requested_ip: Option<Ipv4Addr>) -> Vec<u8> {
    let message = DhcpRepr {
        message_type: kind,
        transaction_id: 0x1234,
        secs: 0,
        client_hardware_address: GUEST_MAC,
        client_ip: Ipv4Addr::UNSPECIFIED,
        your_ip: Ipv4Addr::UNSPECIFIED,
        server_ip: Ipv4Addr::UNSPECIFIED,
        router: None,
        subnet_mask: None,
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: false,
        requested_ip,
        client_identifier: None,
        server_identifier: None,
        parameter_request_list: None,
        dns_servers: None,
        max_size: None,
        lease_duration: None,
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
    };
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut DhcpPacket::new_unchecked(&mut bytes)).expect("it fits");
    let to = SocketAddrV4::new(Ipv4Addr::BROADCAST, 67);
    let mut datagram = udp(68, to, &bytes);
    // The client has no address yet, and leaves the checksum out.
    datagram[6..8].fill(0);
    let mut frame = ip_frame(Ipv4Addr::BROADCAST, IpProtocol::Udp, &datagram);
    frame[26..30].fill(0);
    smoltcp::wire::Ipv4Packet::new_unchecked(&mut frame[14..]).fill_checksum();
    frame
}

#[test]
fn a_guest_without_an_address_gets_one() {
    let mut rig = Rig::new("");
    for (kind, answer) in [
        (DhcpMessageType::Discover, DhcpMessageType::Offer),
        (DhcpMessageType::Request, DhcpMessageType::Ack),
    ] {
        rig.send(&dhcp(kind, Some(GUEST)), Offload::default());
        let frame = rig.frames.pop_front().expect("an answer");
        assert_eq!(frame.bytes[..6], GUEST_MAC.0);
        let message = DhcpPacket::new_checked(&frame.bytes[42..]).expect("a message");
        let reply = DhcpRepr::parse(&message).expect("it holds together");
        assert_eq!((reply.message_type, reply.your_ip), (answer, GUEST));
        assert_eq!((reply.router, reply.server_ip), (Some(GATEWAY), GATEWAY));
    }
}

#[test]
fn a_file_is_read_over_tftp() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = contents(100_000);
    std::fs::write(folder.path().join("kernel"), &file).expect("written");
    let mut rig = Rig::new(&format!(",restrict=on,tftp={}", folder.path().display()));
    let server = SocketAddrV4::new(GATEWAY, 69);
    rig.send_udp(2000, server, b"\0\x01kernel\0octet\0blksize\x001400\0windowsize\x0016\0");
    let (port, reply) = rig.expect_udp(server);
    assert_eq!((port, &reply[..2]), (2000, &[0, 6][..]));
    let (mut all, mut received) = (Vec::<u8>::new(), 0_u16);
    loop {
        if received.is_multiple_of(16) {
            let [high, low] = received.to_be_bytes();
            rig.send_udp(2000, server, &[0, 4, high, low]);
        }
        let (_, block) = rig.expect_udp(server);
        received += 1;
        assert_eq!(block[..4], [0, 3, (received >> 8) as u8, received as u8]);
        all.extend(&block[4..]);
        if block.len() < 1404 {
            break;
        }
    }
    assert!(all == file);
}

#[test]
fn a_closed_network_answers_after_the_same_time_always() {
    let wake = std::sync::Arc::new(|| panic!("nobody is woken"));
    let run = || {
        let mut link = super::super::open(&spec(",restrict=on"), wake.clone()).expect("a network");
        let mut all = Vec::new();
        for (n, kind) in [DhcpMessageType::Discover, DhcpMessageType::Request].iter().enumerate() {
            let now = VmTime(n as u64 * 1_000_000);
            link.send(now, &dhcp(*kind, Some(GUEST)), Offload::default());
            let at = link.next_frame().expect("an answer");
            assert!(link.receive(now, Offloads::default()).is_none(), "not yet");
            all.push((at, link.receive(at, Offloads::default()).expect("it is there")));
            assert_eq!(link.next_frame(), None);
        }
        all
    };
    assert_eq!(run(), run());
}

#[test]
fn answers_that_nobody_fetches_are_bounded() {
    let wake = std::sync::Arc::new(|| ());
    let mut link: Box<dyn Link> = super::super::open(&spec(",restrict=on"), wake).expect("made");
    for _ in 0..10_000 {
        link.send(VmTime(0), &dhcp(DhcpMessageType::Discover, None), Offload::default());
    }
    let fetched = std::iter::from_fn(|| link.receive(VmTime(u64::MAX), Offloads::default()));
    assert_eq!(fetched.count(), super::super::WAITING_MAX);
}
