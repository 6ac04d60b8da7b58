//! Finishing frames: checksums and the cutting of TCP into segments.
//!
//! Sources: RFC 1071 (the checksum), RFC 791, 8200 and 9293 (headers of IPv4, IPv6 and TCP). All of
//! it is what a guest wrote: a frame that is not what its sender says goes nowhere.

use super::{Checksum, Offload, Segmentation, Segments};

/// Bytes of an Ethernet header, and of one VLAN tag behind the addresses.
const ETHERNET: usize = 14;
const VLAN_TAG: usize = 4;
const TYPE_VLAN: u16 = 0x8100;
const TYPE_IPV4: u16 = 0x0800;
const TYPE_IPV6: u16 = 0x86dd;
/// Bytes of an IPv6 header, and of the shortest ones of IPv4 and TCP.
const IPV6: usize = 40;
const IPV4_MIN: usize = 20;
const TCP_MIN: usize = 20;
const PROTOCOL_TCP: u8 = 6;
/// The least payload that a segment can be asked to have: what fits into the smallest datagram that
/// every network carries (RFC 791, section 3.2). Less is only asked to keep the host busy.
const SEGMENT_MIN: u16 = 28;

// TCP flags: those that only the first, and those that only the last segment keeps.
const TCP_CWR: u8 = 1 << 7;
const TCP_FIN_PSH: u8 = 0b1001;

/// Calls `send` with the frames that are `frame` with all that was left to do done; with none if the
/// frame is not what `offload` says.
pub fn plain(frame: &[u8], offload: Offload, mut send: impl FnMut(&[u8])) {
    match offload {
        Offload { segments: Some(segments), .. } => {
            if segments.size >= SEGMENT_MIN
                && let Some(headers) = Headers::parse(frame, segments.kind)
            {
                headers.cut(frame, segments, &mut send);
            }
        }
        Offload { checksum: Some(checksum), .. } => {
            let mut finished = frame.to_vec();
            if put_checksum(&mut finished, checksum).is_some() {
                send(&finished);
            }
        }
        Offload { checksum: None, segments: None } => send(frame),
    }
}

/// Puts the checksum of `frame` into its place; `None` if that is not in the frame.
fn put_checksum(frame: &mut [u8], checksum: Checksum) -> Option<()> {
    let covered = frame.get_mut(usize::from(checksum.start)..)?;
    let sum = fold(sum(covered));
    let offset = usize::from(checksum.offset);
    let place = covered.get_mut(offset..offset.checked_add(2)?)?;
    // UDP has no checksum where it is 0; all ones is the same number (RFC 768).
    let value = if sum == 0xffff { 0xffff } else { !sum };
    place.copy_from_slice(&value.to_be_bytes());
    Some(())
}

/// The sum of the big-endian words of `bytes`, zero behind the end, not folded. Doublewords are added,
/// which is the same once it is folded.
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    let (doublewords, rest) = bytes.as_chunks();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    let all = doublewords.iter().chain([&last]);
    all.map(|doubleword| u64::from(u32::from_be_bytes(*doubleword))).sum()
}

/// The ones' complement sum in 16 bits.
pub(crate) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Where the headers of a TCP frame are.
struct Headers {
    kind: Segmentation,
    /// The start of the IP header.
    network: usize,
    /// The start of the TCP header.
    transport: usize,
    /// The start of the payload.
    payload: usize,
}

impl Headers {
    fn parse(frame: &[u8], kind: Segmentation) -> Option<Self> {
        let mut network = ETHERNET;
        let mut of = word(frame, network - 2)?;
        if of == TYPE_VLAN {
            network += VLAN_TAG;
            of = word(frame, network - 2)?;
        }
        let first = *frame.get(network)?;
        let (want, protocol, len) = match kind {
            Segmentation::Tcp4 => {
                (TYPE_IPV4, *frame.get(network + 9)?, usize::from(first & 15) * 4)
            }
            Segmentation::Tcp6 => (TYPE_IPV6, *frame.get(network + 6)?, IPV6),
        };
        let transport = network + len;
        let payload = transport + usize::from(frame.get(transport + 12)? >> 4) * 4;
        let is_tcp = of == want && protocol == PROTOCOL_TCP && len >= IPV4_MIN;
        let is_whole = payload >= transport + TCP_MIN && payload <= frame.len();
        (is_tcp && is_whole).then_some(Self { kind, network, transport, payload })
    }

    /// Sends the segments of `frame`.
    fn cut(&self, frame: &[u8], segments: Segments, send: &mut impl FnMut(&[u8])) {
        let payload = &frame[self.payload..];
        let size = usize::from(segments.size);
        // A frame without payload is one segment.
        let count = payload.len().div_ceil(size).max(1);
        let mut segment = Vec::with_capacity(self.payload + size.min(payload.len()));
        for n in 0..count {
            let start = n * size;
            let part = &payload[start..payload.len().min(start + size)];
            segment.clear();
            segment.extend(&frame[..self.payload]);
            segment.extend(part);
            self.finish(&mut segment, n, start, n + 1 == count);
            send(&segment);
        }
    }

    /// Makes the headers of segment `n`, whose payload begins at byte `start`, its own.
    fn finish(&self, segment: &mut [u8], n: usize, start: usize, is_last: bool) {
        let &Self { kind, network, transport, .. } = self;
        let len = segment.len() - network;
        let mut put = |at: usize, value: u16| {
            segment[at..at + 2].copy_from_slice(&value.to_be_bytes());
        };
        match kind {
            Segmentation::Tcp4 => {
                put(network + 2, len as u16);
                put(network + 10, 0);
                let id = word(segment, network + 4).unwrap_or(0);
                segment[network + 4..network + 6]
                    .copy_from_slice(&id.wrapping_add(n as u16).to_be_bytes());
                let sum = !fold(sum(&segment[network..transport]));
                segment[network + 10..network + 12].copy_from_slice(&sum.to_be_bytes());
            }
            Segmentation::Tcp6 => put(network + 4, (len - IPV6) as u16),
        }
        let tcp = &mut segment[transport..];
        let sequence = tcp[4..].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        tcp[4..8].copy_from_slice(&sequence.wrapping_add(start as u32).to_be_bytes());
        if n > 0 {
            tcp[13] &= !TCP_CWR;
        }
        if !is_last {
            tcp[13] &= !TCP_FIN_PSH;
        }
        tcp[16..18].fill(0);
        let tcp_len = tcp.len() as u64;
        let addresses = match kind {
            Segmentation::Tcp4 => network + 12..network + 20,
            Segmentation::Tcp6 => network + 8..network + 40,
        };
        // The pseudo-header: addresses, protocol and length.
        let pseudo = sum(&segment[addresses]) + u64::from(PROTOCOL_TCP) + tcp_len;
        let checksum = !fold(pseudo + sum(&segment[transport..]));
        segment[transport + 16..transport + 18].copy_from_slice(&checksum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TCP frame with `options` bytes of options and a payload of 0, 1, 2 and so on.
    fn tcp(kind: Segmentation, tag: bool, options: usize, payload: usize) -> Vec<u8> {
        let mut frame = vec![2; 12];
        if tag {
            frame.extend([0x81, 0x00, 0x00, 0x05]);
        }
        match kind {
            Segmentation::Tcp4 => {
                frame.extend([0x08, 0x00, 0x45, 0, 0xff, 0xff, 0xff, 0xff, 0x40, 0, 64, 6, 9, 9]);
                frame.extend([10, 0, 2, 15, 10, 0, 2, 2]);
            }
            Segmentation::Tcp6 => {
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0xff, 0xff, 6, 64]);
                frame.extend([0x20; 32]);
            }
        }
        frame.extend([0x12, 0x34, 0, 80, 0xff, 0xff, 0xff, 0xf0, 0, 0, 0, 7]);
        // CWR, ACK, PSH and FIN.
        frame.extend([((20 + options) / 4 << 4) as u8, 0x99, 1, 2, 0x55, 0x55, 0, 0]);
        frame.extend(vec![1; options]);
        frame.extend((0..payload).map(|n| n as u8));
        frame
    }

    fn cut(frame: &[u8], kind: Segmentation, size: u16) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        let segments = Some(Segments { kind, size });
        plain(frame, Offload { checksum: None, segments }, |frame| all.push(frame.to_vec()));
        all
    }

    /// RFC 1071, section 3, and shorter.
    #[test]
    fn sums_are_ones_complement() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        let sums = [8, 7, 6, 5, 1, 0].map(|len| fold(sum(&bytes[..len])));
        assert_eq!(sums, [0xddf2, 0xdcfb, 0xe6fa, 0xe605, 0, 0]);
        assert_eq!(fold(sum(&[0xff; 65_535])), 0xff00);
    }

    #[test]
    fn tcp_is_cut_into_segments_that_are_right() {
        for (kind, tag, options) in [
            (Segmentation::Tcp4, false, 12),
            (Segmentation::Tcp6, false, 0),
            (Segmentation::Tcp4, true, 0),
        ] {
            let whole = tcp(kind, tag, options, 3000);
            let all = cut(&whole, kind, 1448);
            let network = if tag { 18 } else { 14 };
            let transport = network + if kind == Segmentation::Tcp4 { 20 } else { 40 };
            let payload = transport + 20 + options;
            assert_eq!(
                all.iter().map(|f| f.len() - payload).collect::<Vec<_>>(),
                [1448, 1448, 104]
            );
            let joined: Vec<u8> = all.iter().flat_map(|f| f[payload..].to_vec()).collect();
            assert_eq!(joined, whole[payload..]);
            for (n, frame) in all.iter().enumerate() {
                let len = frame.len() - network;
                if kind == Segmentation::Tcp4 {
                    assert_eq!(word(frame, network + 2), Some(len as u16));
                    assert_eq!(word(frame, network + 4), Some(0xffff_u16.wrapping_add(n as u16)));
                    assert_eq!(fold(sum(&frame[network..transport])), 0xffff, "of the header");
                } else {
                    assert_eq!(word(frame, network + 4), Some((len - 40) as u16));
                }
                let sequence = u32::from_be_bytes(frame[transport + 4..][..4].try_into().unwrap());
                assert_eq!(sequence, 0xffff_fff0_u32.wrapping_add(1448 * n as u32));
                assert_eq!(frame[transport + 13], [0x90, 0x10, 0x19][n], "flags of {n}");
                let addresses = if kind == Segmentation::Tcp4 { 8 } else { 32 };
                let tcp = &frame[transport..];
                let pseudo = sum(&frame[transport - addresses..transport]) + 6 + tcp.len() as u64;
                assert_eq!(fold(pseudo + sum(tcp)), 0xffff, "of segment {n}");
            }
        }
    }

    #[test]
    fn a_frame_of_one_segment_stays_one() {
        let kind = Segmentation::Tcp4;
        for (payload, size, count) in
            [(0, 1448, 1), (1, 1448, 1), (1448, 1448, 1), (100, 28, 4), (100, 27, 0), (100, 0, 0)]
        {
            let all = cut(&tcp(kind, false, 0, payload), kind, size);
            assert_eq!(all.len(), count, "{payload} bytes by {size}");
        }
    }

    #[test]
    fn what_is_not_tcp_goes_nowhere() {
        let whole = tcp(Segmentation::Tcp4, false, 0, 100);
        assert!(cut(&whole, Segmentation::Tcp6, 40).is_empty());
        for len in 0..54 {
            assert!(cut(&whole[..len], Segmentation::Tcp4, 40).is_empty(), "{len} bytes");
        }
        for (at, value) in [(14, 0x44), (14, 0x4f), (23, 17), (46, 0x40), (46, 0xf0), (12, 0x86)] {
            let mut bad = whole[..60].to_vec();
            bad[at] = value;
            assert!(cut(&bad, Segmentation::Tcp4, 40).is_empty(), "byte {at} is {value:x}");
        }
    }

    #[test]
    fn a_checksum_is_put_into_its_place() {
        let finish = |frame: &[u8], start, offset| {
            let mut out = None;
            let checksum = Some(Checksum { start, offset });
            plain(frame, Offload { checksum, segments: None }, |f| out = Some(f.to_vec()));
            out
        };
        // RFC 1071, section 3: the sum of these is ddf2.
        let frame = [0xaa, 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7, 0, 0];
        assert_eq!(finish(&frame, 1, 8).unwrap()[9..], [0x22, 0x0d]);
        assert_eq!(finish(&[0xff, 0xff, 0, 0], 0, 2).unwrap(), [0xff; 4], "never 0");
        assert_eq!(finish(&[1, 2, 3], 0, 1).unwrap(), [1, 0xfb, 0xfd], "of an odd number of bytes");
        for (start, offset) in [(0, 10), (12, 0), (10, 0), (u16::MAX, u16::MAX), (11, 0)] {
            assert_eq!(finish(&frame, start, offset), None, "{start} {offset}");
        }
        assert_eq!(finish(&frame, 9, 0).unwrap().len(), 11);
    }
}
