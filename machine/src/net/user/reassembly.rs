//! Putting together IP packets that a guest sends in fragments (RFC 791, section 3.2; RFC 5722 for
//! those that overlap).

use std::{
    collections::{BTreeMap, VecDeque},
    net::Ipv4Addr,
    time::Duration,
};

use smoltcp::wire::{IpProtocol, Ipv4Packet};

use super::lan::IPV4;

/// So many packets can be incomplete.
const PACKETS_MAX: usize = 16;
/// An incomplete packet is given up after this time.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most that an IP packet can carry.
const PAYLOAD_MAX: usize = 65_535 - IPV4;

/// Packets of which a part is there, the oldest first.
#[derive(Default)]
pub(super) struct Reassembly(VecDeque<Partial>);

/// What the fragments of a packet have in common.
type Key = (Ipv4Addr, Ipv4Addr, u16, u8);

struct Partial {
    key: Key,
    since: Duration,
    /// The pieces by their places.
    pieces: BTreeMap<usize, Vec<u8>>,
    /// How much there is.
    len: usize,
    /// How much there will be, once the last one has come.
    whole: Option<usize>,
}

impl Reassembly {
    /// A fragment has come. The whole packet if it was the last that was missing.
    pub(super) fn add(&mut self, now: Duration, ip: &Ipv4Packet<&[u8]>) -> Option<Vec<u8>> {
        self.0.retain(|partial| now.saturating_sub(partial.since) < PATIENCE);
        let protocol: IpProtocol = ip.next_header();
        let key = (ip.src_addr(), ip.dst_addr(), ip.ident(), u8::from(protocol));
        let index = self.0.iter().position(|partial| partial.key == key).unwrap_or_else(|| {
            if self.0.len() == PACKETS_MAX {
                self.0.pop_front();
            }
            self.0.push_back(Partial::new(key, now));
            self.0.len() - 1
        });
        match self.0.get_mut(index)?.add(ip) {
            Some(false) => return None,
            // Who sends pieces that do not fit sends them all again.
            None => drop(self.0.remove(index)),
            Some(true) => return self.0.remove(index).map(|partial| partial.join(ip)),
        }
        None
    }
}

impl Partial {
    fn new(key: Key, since: Duration) -> Self {
        Self { key, since, pieces: BTreeMap::new(), len: 0, whole: None }
    }

    /// Whether the packet is whole with this piece; `None` if the piece cannot be part of it.
    fn add(&mut self, ip: &Ipv4Packet<&[u8]>) -> Option<bool> {
        let (at, piece) = (usize::from(ip.frag_offset()), ip.payload());
        let end = at + piece.len();
        let is_last = !ip.more_frags();
        let is_odd = piece.is_empty() || !is_last && !piece.len().is_multiple_of(8);
        if is_odd || end > PAYLOAD_MAX || self.whole.is_some_and(|whole| end > whole) {
            return None;
        }
        if self.pieces.get(&at).is_some_and(|other| other == piece) {
            return Some(false);
        }
        let before = self.pieces.range(..at).next_back();
        let overlaps = before.is_some_and(|(start, piece)| start + piece.len() > at)
            || self.pieces.range(at..end).next().is_some();
        let is_behind = self.pieces.range(end..).next().is_some();
        if overlaps || is_last && (self.whole.is_some() || is_behind) {
            return None;
        }
        if is_last {
            self.whole = Some(end);
        }
        self.pieces.insert(at, piece.to_vec());
        self.len += piece.len();
        Some(self.whole == Some(self.len))
    }

    /// The packet under a header like that of its fragment `ip`, without options.
    fn join(self, ip: &Ipv4Packet<&[u8]>) -> Vec<u8> {
        let mut bytes = vec![0; IPV4];
        bytes.extend(self.pieces.into_values().flatten());
        let len = bytes.len() as u16;
        let mut whole = Ipv4Packet::new_unchecked(&mut bytes[..]);
        whole.set_version(4);
        whole.set_header_len(IPV4 as u8);
        whole.set_total_len(len);
        whole.set_hop_limit(ip.hop_limit());
        whole.set_next_header(ip.next_header());
        whole.set_src_addr(ip.src_addr());
        whole.set_dst_addr(ip.dst_addr());
        whole.fill_checksum();
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    /// A fragment of packet `ident`.
    fn fragment(ident: u16, at: usize, payload: &[u8], is_last: bool) -> Vec<u8> {
        let mut bytes = vec![0; IPV4 + payload.len()];
        let len = bytes.len() as u16;
        let mut ip = Ipv4Packet::new_unchecked(&mut bytes[..]);
        ip.set_version(4);
        ip.set_header_len(IPV4 as u8);
        ip.set_total_len(len);
        ip.set_ident(ident);
        ip.set_next_header(IpProtocol::Udp);
        ip.set_more_frags(!is_last);
        ip.set_frag_offset(at as u16);
        ip.payload_mut().copy_from_slice(payload);
        bytes
    }

    fn add(all: &mut Reassembly, now: Duration, fragment: &[u8]) -> Option<Vec<u8>> {
        let packet = all.add(now, &Ipv4Packet::new_checked(fragment).expect("a packet"))?;
        let packet = Ipv4Packet::new_checked(&packet[..]).expect("a packet");
        assert!(packet.verify_checksum() && !packet.more_frags() && packet.frag_offset() == 0);
        Some(packet.payload().to_vec())
    }

    #[test]
    fn pieces_in_any_order_become_a_packet() {
        let payload: Vec<u8> = (0..100).collect();
        let pieces = [(0, 40, false), (40, 80, false), (80, 100, true)];
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let mut all = Reassembly::default();
            for (n, index) in order.into_iter().enumerate() {
                let (start, end, is_last) = pieces[index];
                let piece = fragment(7, start, &payload[start..end], is_last);
                // Once more does no harm; neither do pieces of another packet.
                let _ = n == 2 || add(&mut all, NOW, &piece).is_none();
                assert_eq!(add(&mut all, NOW, &fragment(8, 8 * n, &[0; 8], false)), None);
                let whole = add(&mut all, NOW, &piece);
                assert_eq!(whole.as_deref(), (n == 2).then_some(&payload[..]), "{order:?}");
            }
        }
    }

    #[test]
    fn pieces_that_do_not_fit_give_the_packet_up() {
        for (at, len, is_last) in [(4 * 8, 16, false), (48, 8, true), (0, 8, false), (16, 0, false)]
        {
            let mut all = Reassembly::default();
            assert_eq!(add(&mut all, NOW, &fragment(1, 40, &[1; 16], false)), None);
            assert_eq!(add(&mut all, NOW, &fragment(1, 0, &[1; 16], false)), None);
            assert_eq!(add(&mut all, NOW, &fragment(1, at, &vec![2; len], is_last)), None);
            assert!(all.0.is_empty(), "{at} {len}");
        }
        let mut all = Reassembly::default();
        assert_eq!(add(&mut all, NOW, &fragment(1, 65_528, &[0; 16], true)), None);
        assert!(all.0.is_empty());
    }

    #[test]
    fn what_stays_incomplete_is_forgotten() {
        let mut all = Reassembly::default();
        for ident in 0..100 {
            assert_eq!(add(&mut all, NOW, &fragment(ident, 0, &[0; 8], false)), None);
        }
        assert_eq!(all.0.len(), PACKETS_MAX);
        assert_eq!(add(&mut all, PATIENCE, &fragment(99, 8, &[0; 8], true)), None);
        assert_eq!(all.0.len(), 1);
    }
}
