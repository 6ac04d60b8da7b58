//! A guest that sends anything: nothing of it ends the gateway, or makes it grow.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddrV4, TcpListener},
};

use smoltcp::wire::{IpProtocol, Ipv4Packet, TcpOption, TcpPacket, TcpSeqNumber};
use trine_devices::{Checksum, Frame, Offload, Segmentation, Segments};

use super::rig::{DNS, GATEWAY, GUEST, Rig, ip_frame};

/// Random numbers: xorshift64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A frame that looks like something. Nothing in it leads off this host.
fn frame(dice: &mut Dice) -> (Vec<u8>, Offload) {
    let to = [GATEWAY, DNS, GUEST, Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 1)];
    let to = to[dice.below(to.len() as u64) as usize];
    let kinds = [IpProtocol::Udp, IpProtocol::Icmp, IpProtocol::Tcp, IpProtocol::Unknown(99)];
    let kind = kinds[dice.below(4) as usize];
    let lens = [0, 8, 20, 60, 300, 1480, 4000, 65_000];
    let most = lens[dice.below(8) as usize];
    let len = dice.below(most + 1);
    let mut payload: Vec<u8> = (0..len).map(|_| dice.next() as u8).collect();
    let ports: [u16; 5] = [67, 69, 53, 68, 1];
    if let Some(place) = payload.get_mut(2..4) {
        place.copy_from_slice(&ports[dice.below(5) as usize].to_be_bytes());
    }
    if let Some(place) = payload.get_mut(4..8).filter(|_| kind == IpProtocol::Udp) {
        place.copy_from_slice(&[(len >> 8) as u8, len as u8, 0, 0]);
    }
    if let Some(place) = payload.get_mut(8..10).filter(|_| dice.one_in(2)) {
        place.copy_from_slice(&[0, dice.below(7) as u8]);
    }
    let mut frame = ip_frame(to, kind, &payload);
    // A fragment, or some damage.
    let mut ip = Ipv4Packet::new_unchecked(&mut frame[14..]);
    if dice.one_in(4) {
        ip.set_ident(dice.below(4) as u16);
        ip.set_dont_frag(false);
        ip.set_more_frags(dice.one_in(2));
        ip.set_frag_offset((dice.below(8192) * 8) as u16);
    }
    if dice.one_in(8) {
        ip.set_header_len((dice.below(16) * 4) as u8);
        ip.set_total_len(dice.next() as u16);
    }
    if usize::from(ip.header_len()) <= 20 + payload.len() {
        ip.fill_checksum();
    }
    if dice.one_in(4) {
        let at = dice.below(frame.len() as u64) as usize;
        // Not where it goes, and not its IP's checksum.
        if !(24..34).contains(&at) {
            frame[at] = dice.next() as u8;
        }
    }
    if dice.one_in(8) {
        frame.truncate(dice.below(frame.len() as u64 + 1) as usize);
    }
    let word = |dice: &mut Dice| dice.next() as u16;
    let checksum = dice.one_in(2).then(|| Checksum { start: word(dice), offset: word(dice) });
    let kind = if dice.one_in(2) { Segmentation::Tcp4 } else { Segmentation::Tcp6 };
    let segments = dice.one_in(4).then(|| Segments { kind, size: word(dice) });
    (frame, Offload { checksum, segments })
}

fn anything(steps: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("f"), [7; 5000]).expect("written");
    // Its resolver is a socket that nobody reads.
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let port = nobody.local_addr().expect("it is bound").port();
    let tftp = folder.path().display();
    for options in
        [format!(",restrict=on,tftp={tftp}"), format!(",tftp={tftp},resolver=127.0.0.1:{port}")]
    {
        let mut rig = Rig::new(&options);
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        let mut answers = 0;
        for step in 0..steps / 2 {
            let (frame, offload) = frame(&mut dice);
            rig.send(&frame, offload);
            if step % 64 == 0 {
                rig.run();
                answers += rig.frames.len();
                rig.frames.clear();
            }
        }
        assert!(answers > 1000, "{answers}");
    }
}

#[test]
fn anything_may_be_sent() {
    anything(100_000);
}

#[test]
#[ignore = "takes a minute"]
fn a_million_of_anything_may_be_sent() {
    anything(1_000_000);
}

/// What a guest knows of its connection, so that what it sends is near enough to what is right.
#[derive(Default)]
struct Peer {
    port: u16,
    sequence: u32,
    acknowledged: u32,
}

impl Peer {
    /// A segment that may be right.
    fn segment(&self, dice: &mut Dice, to: SocketAddrV4) -> (Vec<u8>, Offload) {
        let near = |dice: &mut Dice, value: u32| match dice.below(8) {
            0 => dice.next() as u32,
            1 => value.wrapping_add(dice.below(200_000) as u32),
            2 => value.wrapping_sub(dice.below(200_000) as u32),
            3 => value.wrapping_add(1 << 31),
            _ => value,
        };
        let len = if dice.one_in(3) { dice.below(60_000) } else { dice.below(20) } as usize;
        let options = if dice.one_in(4) { 12 } else { 0 };
        let mut bytes = vec![dice.next() as u8; 20 + options + len];
        let mut tcp = TcpPacket::new_unchecked(&mut bytes);
        tcp.set_src_port(self.port);
        tcp.set_dst_port(to.port());
        tcp.set_seq_number(TcpSeqNumber(near(dice, self.sequence) as i32));
        tcp.set_ack_number(TcpSeqNumber(near(dice, self.acknowledged) as i32));
        tcp.clear_flags();
        tcp.set_header_len((20 + options) as u8);
        tcp.set_ack(!dice.one_in(10));
        tcp.set_syn(dice.one_in(20));
        tcp.set_fin(dice.one_in(30));
        tcp.set_rst(dice.one_in(200));
        tcp.set_psh(dice.one_in(2));
        tcp.set_urg(dice.one_in(20));
        let windows = [0, 1, 1000, 65_535];
        tcp.set_window_len(windows[dice.below(4) as usize]);
        if options > 0 {
            let place = tcp.options_mut();
            place.iter_mut().for_each(|byte| *byte = dice.next() as u8);
            match dice.below(4) {
                0 => drop(TcpOption::MaxSegmentSize(dice.below(2000) as u16).emit(place)),
                1 => drop(TcpOption::WindowScale(dice.next() as u8).emit(place)),
                2 => place.fill(1),
                _ => {}
            }
        }
        let frame = ip_frame(*to.ip(), IpProtocol::Tcp, &bytes);
        let checksum = Some(Checksum { start: 34, offset: 16 });
        let segments = Some(Segments { kind: Segmentation::Tcp4, size: dice.next() as u16 });
        (frame, Offload { checksum, segments: segments.filter(|_| dice.one_in(2)) })
    }

    /// Learns from what the gateway sends.
    fn hear(&mut self, frame: &Frame) {
        let Ok(ip) = Ipv4Packet::new_checked(&frame.bytes[14..]) else { return };
        let Ok(tcp) = TcpPacket::new_checked(ip.payload()) else { return };
        if ip.next_header() == IpProtocol::Tcp && tcp.dst_port() == self.port {
            if tcp.ack() {
                self.sequence = tcp.ack_number().0 as u32;
            }
            let len = tcp.segment_len() as u32;
            self.acknowledged = (tcp.seq_number().0 as u32).wrapping_add(len);
        }
    }
}

/// Segments of all kinds for connections that are there.
fn any_segments(steps: u64) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = SocketAddrV4::new(GATEWAY, listener.local_addr().expect("it is bound").port());
    // A server that says much and listens to everything.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(mut half) = stream.try_clone() else { continue };
            std::thread::spawn(move || while half.write_all(&[1; 4096]).is_ok() {});
            let mut stream = stream;
            std::thread::spawn(move || {
                let mut buffer = [0; 65_536];
                while matches!(stream.read(&mut buffer), Ok(1..)) {}
            });
        }
    });
    let mut rig = Rig::new("");
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let mut peers: Vec<Peer> = (1..=8).map(|port| Peer { port, ..Peer::default() }).collect();
    let mut opened = 0;
    for step in 0..steps {
        let peer = &mut peers[dice.below(8) as usize];
        let (mut frame, offload) = peer.segment(&mut dice, to);
        if step % 500 == 0 {
            // A new connection of this peer's.
            peer.port = peer.port.wrapping_add(8).max(8);
            let mut tcp = TcpPacket::new_unchecked(&mut frame[34..]);
            tcp.clear_flags();
            tcp.set_header_len(tcp.header_len().max(20));
            tcp.set_src_port(peer.port);
            tcp.set_syn(true);
        }
        rig.send(&frame, offload);
        if step % 4 == 0 || step % 500 == 0 {
            rig.run();
        }
        for frame in std::mem::take(&mut rig.frames) {
            opened += u64::from(frame.bytes.get(47).is_some_and(|flags| flags & 0x12 == 0x12));
            peers.iter_mut().for_each(|peer| peer.hear(&frame));
        }
    }
    assert!(opened > steps / 1000, "{opened} connections");
}

#[test]
fn any_segment_may_be_sent() {
    any_segments(100_000);
}

#[test]
#[ignore = "takes minutes"]
fn a_million_of_any_segments_may_be_sent() {
    any_segments(1_000_000);
}
