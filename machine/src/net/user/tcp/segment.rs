//! TCP segments as such (RFC 9293, section 3.1): what is changed in those that begin a connection,
//! and resets.

use std::net::Ipv4Addr;

use smoltcp::{
    phy::{Checksum, ChecksumCapabilities},
    wire::{
        IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
    },
};
use trine_devices::{Frame, Offload};

use super::connection::Ends;
use crate::net::user::lan::{ETHERNET, IPV4, TTL};

/// The longest segment that everybody takes (RFC 9293, section 3.7.1).
pub(super) const MSS_DEFAULT: u16 = 536;
/// Who asks for less only wants to keep the host busy.
const MSS_MIN: u16 = 64;
/// What smoltcp is told in its place: that nothing need be cut.
const MSS_WIDE: u16 = (65_535 - IPV4 - 20) as u16;

// Kinds of options.
const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_MSS: u8 = 2;

fn unchecked() -> ChecksumCapabilities {
    let mut all = ChecksumCapabilities::ignored();
    all.ipv4 = Checksum::Tx;
    all
}

/// If `packet` begins a connection and says how long segments may be: that, and the packet as if
/// they might be as long as any.
pub(super) fn widen(packet: &[u8]) -> Option<(u16, Vec<u8>)> {
    let ip = Ipv4Packet::new_checked(packet).ok()?;
    let tcp = TcpPacket::new_checked(ip.payload()).ok()?;
    if !tcp.syn() {
        return None;
    }
    let header_len = usize::from(ip.header_len());
    let mut whole = packet.to_vec();
    let mut tcp = TcpPacket::new_unchecked(&mut whole[header_len..]);
    let mss = set_mss(tcp.options_mut(), MSS_WIDE)?;
    Some((mss.max(MSS_MIN), whole))
}

/// Replaces the length of segments among the options of a segment; what it was.
pub(super) fn set_mss(options: &mut [u8], mss: u16) -> Option<u16> {
    let mut rest = options;
    loop {
        match *rest {
            [OPTION_END, ..] => return None,
            [OPTION_NOP, ..] => rest = &mut rest[1..],
            [OPTION_MSS, 4, ref mut high, ref mut low, ..] => {
                let old = u16::from_be_bytes([*high, *low]);
                [*high, *low] = mss.to_be_bytes();
                return Some(old);
            }
            [_, len @ 2..=u8::MAX, ..] => rest = rest.get_mut(usize::from(len)..)?,
            _ => return None,
        }
    }
}

/// The sum over which a checksum begins: addresses, protocol and length (RFC 9293, section 3.1).
pub(super) fn pseudo_header_sum(from: Ipv4Addr, to: Ipv4Addr, len: usize) -> u16 {
    let words = |ip: Ipv4Addr| (ip.to_bits() >> 16) + (ip.to_bits() & 0xffff);
    let protocol = u32::from(u8::from(IpProtocol::Tcp));
    let sum = words(from) + words(to) + protocol + len as u32;
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum + (sum >> 16)) as u16
}

/// The answer to a segment that belongs to no connection (RFC 9293, section 3.10.7.1).
pub(super) fn reset(ends: Ends, segment: &TcpPacket<&[u8]>) -> Frame {
    let (guest, remote) = (ends.guest, ends.remote);
    let (seq_number, ack_number) = match segment.ack() {
        true => (segment.ack_number(), None),
        false => (TcpSeqNumber(0), Some(segment.seq_number() + segment.segment_len())),
    };
    let tcp = TcpRepr {
        src_port: remote.port(),
        dst_port: guest.port(),
        control: TcpControl::Rst,
        seq_number,
        ack_number,
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let ip = Ipv4Repr {
        src_addr: *remote.ip(),
        dst_addr: *guest.ip(),
        next_header: IpProtocol::Tcp,
        payload_len: tcp.buffer_len(),
        hop_limit: TTL,
    };
    let mut bytes = vec![0; ETHERNET + IPV4 + tcp.buffer_len()];
    let mut packet = Ipv4Packet::new_unchecked(&mut bytes[ETHERNET..]);
    ip.emit(&mut packet, &unchecked());
    tcp.emit(
        &mut TcpPacket::new_unchecked(packet.payload_mut()),
        &IpAddress::from(*remote.ip()),
        &IpAddress::from(*guest.ip()),
        &ChecksumCapabilities::default(),
    );
    Frame { bytes, offload: Offload::default() }
}
