//! All that the gateway says of IPv6: that it leads nowhere.
//!
//! A guest that has a network configured asks for routers, and waits for one to answer: iPXE for 20
//! seconds before it boots by IPv4. So whoever asks learns at once that there is no router by default,
//! no prefix and no DHCP.
//!
//! Source: RFC 4861, sections 4.1, 4.2 and 6.2.6; RFC 8200, section 8.1 (the checksum).

use smoltcp::wire::EthernetAddress;

use super::lan::ETHERNET;

/// Bytes of an IPv6 header.
const IPV6: usize = 40;
/// Bytes of the messages, without options.
const SOLICITATION: usize = 8;
const ADVERTISEMENT: usize = 16;

const ICMPV6: u8 = 58;
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
/// The hop limit of neighbour discovery: nobody forwarded it.
const HOP_LIMIT: u8 = 255;

/// All nodes on the link: ff02::1, and how Ethernet has it.
const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const ALL_NODES_ETHERNET: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

/// The frame that answers an IPv6 packet, if it asks for routers. `gateway` is the card's that answers.
pub(super) fn answer(packet: &[u8], gateway: EthernetAddress) -> Option<Vec<u8>> {
    let (header, message) = packet.split_first_chunk::<IPV6>()?;
    let is_asking = header[0] >> 4 == 6
        && (header[6], header[7]) == (ICMPV6, HOP_LIMIT)
        && message.len() >= SOLICITATION
        && message[..2] == [ROUTER_SOLICITATION, 0];
    is_asking.then(|| advertisement(gateway))
}

/// "I am no router by default": its lifetime is 0, and so is all else.
fn advertisement(gateway: EthernetAddress) -> Vec<u8> {
    let mut message = [0; ADVERTISEMENT];
    message[0] = ROUTER_ADVERTISEMENT;
    let source = link_local(gateway);
    let mut packet = Vec::with_capacity(IPV6 + ADVERTISEMENT);
    packet.extend([0x60, 0, 0, 0, 0, ADVERTISEMENT as u8, ICMPV6, HOP_LIMIT]);
    packet.extend(source);
    packet.extend(ALL_NODES);
    let pseudo_header = [0, ADVERTISEMENT as u8, 0, ICMPV6];
    let sum = !sum(&[&source[..], &ALL_NODES, &pseudo_header, &message].concat());
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    packet.extend(message);
    let mut frame = Vec::with_capacity(ETHERNET + packet.len());
    frame.extend(ALL_NODES_ETHERNET);
    frame.extend(gateway.0);
    frame.extend([0x86, 0xdd]);
    frame.extend(packet);
    frame
}

/// The address that a card gives itself (RFC 4291, appendix A).
fn link_local(EthernetAddress([a, b, c, d, e, f]): EthernetAddress) -> [u8; 16] {
    [0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f]
}

/// The sum of 16-bit words in one's complement (RFC 1071); there are so few that they fit into 32 bits.
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    ((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: EthernetAddress = EthernetAddress([0x52, 0x55, 10, 0, 2, 2]);

    /// What iPXE asks.
    fn solicitation() -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 8, ICMPV6, HOP_LIMIT];
        packet.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x50, 0x54, 0, 0xff, 0xfe, 0x12, 0x34, 0x56]);
        packet.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        packet.extend([ROUTER_SOLICITATION, 0, 0, 0, 0, 0, 0, 0]);
        packet
    }

    #[test]
    fn who_asks_for_routers_learns_that_there_is_none() {
        let frame = answer(&solicitation(), GATEWAY).expect("an answer");
        assert_eq!(frame[..14], [0x33, 0x33, 0, 0, 0, 1, 0x52, 0x55, 10, 0, 2, 2, 0x86, 0xdd]);
        let packet = &frame[ETHERNET..];
        assert_eq!(packet[..8], [0x60, 0, 0, 0, 0, 16, 58, 255]);
        assert_eq!(
            packet[8..24],
            [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x50, 0x55, 10, 0xff, 0xfe, 0, 2, 2]
        );
        let message = &packet[IPV6..];
        assert_eq!((message[0], message[1]), (ROUTER_ADVERTISEMENT, 0));
        assert_eq!(message[4..], [0; 12], "no flags, no lifetime, no times");
        let checked = [&packet[8..40], &[0, 16, 0, 58], message].concat();
        assert_eq!(sum(&checked), 0xffff);
    }

    #[test]
    fn nothing_else_has_an_answer() {
        let whole = solicitation();
        for len in 0..whole.len() {
            assert_eq!(answer(&whole[..len], GATEWAY), None, "{len}");
        }
        for (at, value) in [(0, 0x40), (6, 17), (7, 64), (IPV6, 128), (IPV6 + 1, 1)] {
            let mut other = whole.clone();
            other[at] = value;
            assert_eq!(answer(&other, GATEWAY), None, "{at}");
        }
    }
}
