//! UDP, DNS, and what is refused.

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    time::Duration,
};

use smoltcp::{
    phy::ChecksumCapabilities,
    wire::{Icmpv4Message, Icmpv4Packet, Icmpv4Repr, IpProtocol},
};

use super::rig::{DNS, GATEWAY, GUEST, Rig, contents};

fn socket() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
    let port = socket.local_addr().expect("it is bound").port();
    (socket, port)
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_536];
    let (len, peer) = socket.recv_from(&mut buffer).expect("it arrives");
    (buffer[..len].to_vec(), peer)
}

#[test]
fn datagrams_of_any_size_come_and_go() {
    let mut rig = Rig::new("");
    let (server, port) = socket();
    let to = SocketAddrV4::new(GATEWAY, port);
    for len in [0, 1, 1472, 1473, 9000, 60_000] {
        let data = contents(len);
        rig.send_udp(5000, to, &data);
        let (heard, peer) = receive(&server);
        assert!(heard == data && peer.ip() == Ipv4Addr::LOCALHOST, "{len}");
        server.send_to(&data, peer).expect("sent");
        assert!(rig.expect_udp(to) == (5000, data), "{len}");
    }
}

#[test]
fn a_port_of_the_guest_is_one_port_outside() {
    let mut rig = Rig::new("");
    let ([a, b, c], ports): ([UdpSocket; 3], [u16; 3]) = {
        let all = [(); 3].map(|()| socket());
        let ports = all.each_ref().map(|(_, port)| *port);
        (all.map(|(socket, _)| socket), ports)
    };
    rig.send_udp(5000, SocketAddrV4::new(GATEWAY, ports[0]), b"to a");
    rig.send_udp(5000, SocketAddrV4::new(GATEWAY, ports[1]), b"to b");
    rig.send_udp(5001, SocketAddrV4::new(GATEWAY, ports[1]), b"to b, from another");
    let (peer, other, another) = (receive(&a).1, receive(&b).1, receive(&b).1);
    assert_eq!(peer, other);
    assert_ne!(peer, another);
    // Whoever knows it may use it, as servers of TFTP do.
    c.send_to(b"from c", peer).expect("sent");
    assert_eq!(rig.expect_udp(SocketAddrV4::new(GATEWAY, ports[2])), (5000, b"from c".to_vec()));
}

#[test]
fn questions_go_to_the_resolver_and_answers_come_from_the_dns_server() {
    let (resolver, port) = socket();
    let mut rig = Rig::new(&format!(",resolver=127.0.0.1:{port}"));
    for question in [&b"question"[..], b"another"] {
        rig.send_udp(5353, SocketAddrV4::new(DNS, 53), question);
        let (heard, peer) = receive(&resolver);
        assert_eq!(heard, question);
        resolver.send_to(b"answer", peer).expect("sent");
        let answer = rig.expect_udp(SocketAddrV4::new(DNS, 53));
        assert_eq!(answer, (5353, b"answer".to_vec()));
    }
    // It is nothing but a DNS server.
    rig.send_udp(5353, SocketAddrV4::new(DNS, 54), b"?");
    let (kind, code, _) = rig.expect_icmp(DNS);
    assert_eq!((kind, code), (Icmpv4Message::DstUnreachable, 3));
}

#[test]
fn datagrams_to_a_forwarded_port_reach_the_guest() {
    let free = socket().1;
    // Also where nothing else goes out.
    let mut rig = Rig::new(&format!(",restrict=on,hostfwd=udp:127.0.0.1:{free}-:53"));
    let (client, port) = socket();
    client.send_to(b"question", ("127.0.0.1", free)).expect("sent");
    // The gateway asks where the guest is.
    rig.expect("a question", |frame| (frame.bytes[12..14] == [8, 6]).then_some(()));
    rig.send_arp(smoltcp::wire::ArpOperation::Reply, GUEST, GATEWAY);
    let peer = SocketAddrV4::new(GATEWAY, port);
    assert_eq!(rig.expect_udp(peer), (53, b"question".to_vec()));
    rig.send_udp(53, peer, b"answer");
    let (heard, from) = receive(&client);
    assert_eq!((heard, from.port()), (b"answer".to_vec(), free));
}

#[test]
fn a_ping_goes_out_where_the_host_allows_it() {
    // Whether it does is the host's affair (ping_group_range); the host itself answers at any of its
    // addresses, of which one that is not loopback is not sure to be there.
    let mut rig = Rig::new("");
    let outer = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    let routed = outer.connect("192.0.2.1:9").and_then(|()| outer.local_addr());
    let Some(SocketAddr::V4(own)) = routed.ok().filter(|at| !at.ip().is_loopback()) else {
        println!("skipped: the host has no address besides loopback");
        return;
    };
    let data = contents(100);
    let request = Icmpv4Repr::EchoRequest { ident: 0x4321, seq_no: 5, data: &data };
    let mut bytes = vec![0; request.buffer_len()];
    request.emit(&mut Icmpv4Packet::new_unchecked(&mut bytes), &ChecksumCapabilities::default());
    rig.send_ip(*own.ip(), IpProtocol::Icmp, &bytes);
    for _ in 0..1000 {
        if !rig.frames.is_empty() {
            let (kind, _, rest) = rig.expect_icmp(*own.ip());
            assert_eq!((kind, &rest[..4]), (Icmpv4Message::EchoReply, &[0x43, 0x21, 0, 5][..]));
            assert_eq!(rest[4..], data);
            return;
        }
        rig.run();
    }
    println!("skipped: the host does not let us ping");
}

#[test]
fn what_cannot_be_reached_is_said_to_be() {
    let mut rig = Rig::new("");
    let mut ask = |to: [u8; 4]| {
        rig.send_udp(1, SocketAddrV4::new(to.into(), 7), b"?");
        let (kind, code, quoted) = rig.expect_icmp(GATEWAY);
        assert_eq!((kind, &quoted[20..24]), (Icmpv4Message::DstUnreachable, &to[..]));
        code
    };
    assert_eq!(ask([10, 0, 2, 77]), 1, "nobody is there");
    assert_eq!(ask([127, 0, 0, 1]), 1, "loopback is the guest's own affair");
    let mut rig = Rig::new(",restrict=on");
    rig.send_udp(1, SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 7), b"?");
    assert_eq!(rig.expect_icmp(GATEWAY).1, 13, "it is not allowed");
    rig.send_udp(1, SocketAddrV4::new(GATEWAY, 7), b"?");
    assert_eq!(rig.expect_icmp(GATEWAY).1, 13);
    rig.send_ip(GATEWAY, IpProtocol::Unknown(200), b"?");
    assert_eq!(rig.expect_icmp(GATEWAY).1, 2, "there is no such protocol");
}

#[test]
fn what_is_not_sound_goes_nowhere() {
    let mut rig = Rig::new("");
    let (server, port) = socket();
    server.set_nonblocking(true).expect("set");
    let good = super::rig::udp(5000, SocketAddrV4::new(GATEWAY, port), b"data");
    let frame = super::rig::ip_frame(GATEWAY, IpProtocol::Udp, &good);
    // A bit of each kind: IP's version, its checksum, its sender, UDP's checksum, its data.
    for at in [14, 24, 26, 40, 42] {
        let mut bad = frame.clone();
        bad[at] ^= 0x20;
        rig.send(&bad, trine_devices::Offload::default());
    }
    for len in 0..frame.len() {
        rig.send(&frame[..len], trine_devices::Offload::default());
    }
    assert!(rig.frames.is_empty());
    let mut buffer = [0; 16];
    assert!(server.recv(&mut buffer).is_err());
    rig.send(&frame, trine_devices::Offload::default());
    server.set_nonblocking(false).expect("set");
    assert_eq!(server.recv(&mut buffer).expect("that one arrives"), 4);
}
