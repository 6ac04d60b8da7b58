//! ACPI machine language: an encoder for the terms our DSDT uses (ACPI 6.3, chapter 20, for the
//! code; chapter 6.4 for resource descriptors).
//!
//! A term is a value of [`Aml`] and terms nest as they do in ASL:
//! `device("COM1", &[name("_HID", eisa_id("PNP0501")), …])`. Names and strings come from this crate
//! alone, so a name that is none is a mistake here and panics.

use crate::record::Record;

/// An encoded term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Aml(Vec<u8>);

const ZERO_OP: u8 = 0x00;
const ONE_OP: u8 = 0x01;
const NAME_OP: u8 = 0x08;
const BYTE_PREFIX: u8 = 0x0a;
const WORD_PREFIX: u8 = 0x0b;
const DWORD_PREFIX: u8 = 0x0c;
const STRING_PREFIX: u8 = 0x0d;
const QWORD_PREFIX: u8 = 0x0e;
const SCOPE_OP: u8 = 0x10;
const BUFFER_OP: u8 = 0x11;
const PACKAGE_OP: u8 = 0x12;
const VAR_PACKAGE_OP: u8 = 0x13;
const METHOD_OP: u8 = 0x14;
const DUAL_NAME_PREFIX: u8 = 0x2e;
const MULTI_NAME_PREFIX: u8 = 0x2f;
const EXT_OP_PREFIX: u8 = 0x5b;
const DEVICE_OP: u8 = 0x82;
const ARG0_OP: u8 = 0x68;
const STORE_OP: u8 = 0x70;

impl Aml {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Terms one after another.
pub(crate) fn terms(terms: &[Aml]) -> Aml {
    Aml(terms.iter().flat_map(|term| term.0.iter().copied()).collect())
}

/// A name or path: segments of up to four characters with dots between, perhaps after a backslash.
fn path(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let relative = name.strip_prefix('\\').inspect(|_| bytes.push(b'\\')).unwrap_or(name);
    let segments: Vec<&str> = relative.split('.').filter(|segment| !segment.is_empty()).collect();
    match segments.len() {
        0 => bytes.push(0),
        1 => {}
        2 => bytes.push(DUAL_NAME_PREFIX),
        count => bytes.extend([MULTI_NAME_PREFIX, count as u8]),
    }
    for segment in segments {
        let good = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_';
        assert!(segment.len() <= 4 && segment.bytes().all(good), "{segment} is no AML name");
        assert!(!segment.as_bytes()[0].is_ascii_digit(), "{segment} is no AML name");
        bytes.extend(segment.bytes().chain(std::iter::repeat(b'_')).take(4));
    }
    bytes
}

/// `PkgLength` (section 20.2.4) for what follows it, and that.
fn package_length(body: &[u8]) -> Vec<u8> {
    // The length counts its own bytes: one that holds 6 bits, or more that hold 4 and 8 bits each.
    let mut bytes = Vec::with_capacity(body.len() + 4);
    if body.len() + 1 < 1 << 6 {
        bytes.push(body.len() as u8 + 1);
    } else {
        let more = if body.len() + 2 < 1 << 12 {
            1
        } else if body.len() + 3 < 1 << 20 {
            2
        } else {
            3
        };
        let len = body.len() + 1 + more;
        assert!(len < 1 << 28, "an AML package is too long");
        bytes.push((more as u8) << 6 | (len & 0xf) as u8);
        bytes.extend((0..more).map(|index| (len >> (4 + 8 * index)) as u8));
    }
    bytes.extend_from_slice(body);
    bytes
}

/// An integer, in as few bytes as it takes.
pub(crate) fn integer(value: u64) -> Aml {
    let mut bytes = Record::new();
    match value {
        0 => bytes.push_u8(ZERO_OP),
        1 => bytes.push_u8(ONE_OP),
        2..=0xff => bytes.push_u8(BYTE_PREFIX).push_u8(value as u8),
        0x100..=0xffff => bytes.push_u8(WORD_PREFIX).push_u16(value as u16),
        0x1_0000..=0xffff_ffff => bytes.push_u8(DWORD_PREFIX).push_u32(value as u32),
        _ => bytes.push_u8(QWORD_PREFIX).push_u64(value),
    };
    Aml(bytes.into_bytes())
}

/// A string.
pub(crate) fn string(text: &str) -> Aml {
    assert!(text.bytes().all(|c| c.is_ascii() && c != 0), "{text} is no AML string");
    let mut bytes = vec![STRING_PREFIX];
    bytes.extend(text.bytes());
    bytes.push(0);
    Aml(bytes)
}

/// A seven-character EISA ID such as PNP0A03, compressed into an integer (section 19.6.36).
pub(crate) fn eisa_id(id: &str) -> Aml {
    assert!(id.len() == 7 && id.is_ascii(), "{id} is no EISA ID");
    let letters = id[..3].bytes().fold(0u32, |value, c| value << 5 | u32::from(c & 0x1f));
    let product =
        u32::from_str_radix(&id[3..], 16).unwrap_or_else(|_| panic!("{id} is no EISA ID"));
    integer(u64::from((letters << 16 | product).swap_bytes()))
}

/// `Name (name, value)`.
pub(crate) fn name(name: &str, value: Aml) -> Aml {
    let mut bytes = vec![NAME_OP];
    bytes.extend(path(name));
    bytes.extend(value.0);
    Aml(bytes)
}

/// `Scope (path) { body }`.
pub(crate) fn scope(at: &str, body: &[Aml]) -> Aml {
    named_block(&[SCOPE_OP], at, &[], body)
}

/// `Device (name) { body }`.
pub(crate) fn device(name: &str, body: &[Aml]) -> Aml {
    named_block(&[EXT_OP_PREFIX, DEVICE_OP], name, &[], body)
}

/// `Method (name, arguments, NotSerialized) { body }`.
pub(crate) fn method(name: &str, arguments: u8, body: &[Aml]) -> Aml {
    assert!(arguments <= 7, "{name} has too many arguments");
    named_block(&[METHOD_OP], name, &[arguments], body)
}

fn named_block(op: &[u8], name: &str, flags: &[u8], body: &[Aml]) -> Aml {
    let mut inner = path(name);
    inner.extend_from_slice(flags);
    inner.extend(terms(body).0);
    let mut bytes = op.to_vec();
    bytes.extend(package_length(&inner));
    Aml(bytes)
}

/// `Package () { elements }`.
pub(crate) fn package(elements: &[Aml]) -> Aml {
    let (op, mut inner) = match u8::try_from(elements.len()) {
        Ok(count) => (PACKAGE_OP, vec![count]),
        Err(_) => (VAR_PACKAGE_OP, integer(elements.len() as u64).0),
    };
    inner.extend(terms(elements).0);
    let mut bytes = vec![op];
    bytes.extend(package_length(&inner));
    Aml(bytes)
}

/// `Buffer () { content }`.
pub(crate) fn buffer(content: &[u8]) -> Aml {
    let mut inner = integer(content.len() as u64).0;
    inner.extend_from_slice(content);
    let mut bytes = vec![BUFFER_OP];
    bytes.extend(package_length(&inner));
    Aml(bytes)
}

/// The argument of a method, 0 to 6.
pub(crate) fn argument(index: u8) -> Aml {
    assert!(index <= 6, "a method has seven arguments at most");
    Aml(vec![ARG0_OP + index])
}

/// `Store (value, name)`.
pub(crate) fn store(value: Aml, to: &str) -> Aml {
    let mut bytes = vec![STORE_OP];
    bytes.extend(value.0);
    bytes.extend(path(to));
    Aml(bytes)
}

/// `ResourceTemplate () { … }`: resource descriptors in a buffer (section 6.4).
#[derive(Clone, Debug, Default)]
pub(crate) struct ResourceTemplate(Record);

/// What an address space descriptor describes (section 6.4.3.5).
#[derive(Clone, Copy)]
enum Space {
    Memory = 0,
    Io = 1,
    Bus = 2,
}

/// General flags of an address space descriptor: the device produces the range for those behind it,
/// and both ends are fixed.
const PRODUCER_FIXED: u8 = 0b1100;
/// Type-specific flags of I/O: the entire range, no ISA aliases.
const ENTIRE_RANGE: u8 = 0b11;

impl ResourceTemplate {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// I/O ports at a fixed place, all 16 address bits decoded (section 6.4.2.5).
    pub(crate) fn io(mut self, first: u16, count: u8) -> Self {
        self.0.push(&[0x47, 1]).push_u16(first).push_u16(first).push(&[1, count]);
        self
    }

    /// An edge-triggered, active-high interrupt of the ISA bus (section 6.4.2.1).
    pub(crate) fn irq(mut self, irq: u8) -> Self {
        self.0.push_u8(0x22).push_u16(1u16.checked_shl(irq.into()).unwrap_or(0));
        self
    }

    /// A level-triggered, active-high interrupt that devices may share (section 6.4.3.6).
    pub(crate) fn shared_interrupt(mut self, gsi: u32) -> Self {
        const CONSUMER: u8 = 1 << 0;
        const SHARED: u8 = 1 << 3;
        self.0.push_u8(0x89).push_u16(6).push(&[CONSUMER | SHARED, 1]).push_u32(gsi);
        self
    }

    /// Memory at a fixed place below 4 GiB, writable (section 6.4.3.4).
    pub(crate) fn memory32_fixed(mut self, at: u32, len: u32) -> Self {
        self.0.push_u8(0x86).push_u16(9).push_u8(1).push_u32(at).push_u32(len);
        self
    }

    /// Bus numbers behind a bridge.
    pub(crate) fn buses(self, first: u8, last: u8) -> Self {
        self.word(Space::Bus, 0, first.into(), last.into())
    }

    /// I/O ports behind a bridge.
    pub(crate) fn io_window(self, first: u16, last: u16) -> Self {
        let len = u32::from(last) - u32::from(first) + 1;
        if len > 0xffff {
            // The length of all 65536 ports does not fit the word form.
            return self.dword(Space::Io, ENTIRE_RANGE, first.into(), last.into());
        }
        self.word(Space::Io, ENTIRE_RANGE, first, last)
    }

    /// Memory behind a bridge.
    pub(crate) fn memory_window(self, first: u64, last: u64, prefetchable: bool) -> Self {
        // Writable; not cacheable, or prefetchable.
        let flags = if prefetchable { 0b111 } else { 0b001 };
        match (u32::try_from(first), u32::try_from(last)) {
            (Ok(first), Ok(last)) if last - first < u32::MAX => {
                self.dword(Space::Memory, flags, first, last)
            }
            _ => self.qword(Space::Memory, flags, first, last),
        }
    }

    fn word(mut self, space: Space, flags: u8, first: u16, last: u16) -> Self {
        self.0.push_u8(0x88).push_u16(13).push(&[space as u8, PRODUCER_FIXED, flags]);
        self.0.push_u16(0).push_u16(first).push_u16(last).push_u16(0).push_u16(last - first + 1);
        self
    }

    fn dword(mut self, space: Space, flags: u8, first: u32, last: u32) -> Self {
        self.0.push_u8(0x87).push_u16(23).push(&[space as u8, PRODUCER_FIXED, flags]);
        self.0.push_u32(0).push_u32(first).push_u32(last).push_u32(0).push_u32(last - first + 1);
        self
    }

    fn qword(mut self, space: Space, flags: u8, first: u64, last: u64) -> Self {
        self.0.push_u8(0x8a).push_u16(43).push(&[space as u8, PRODUCER_FIXED, flags]);
        self.0.push_u64(0).push_u64(first).push_u64(last).push_u64(0).push_u64(last - first + 1);
        self
    }

    /// The buffer, with the end tag (section 6.4.2.9); a checksum of zero is taken as right.
    pub(crate) fn build(mut self) -> Aml {
        self.0.push(&[0x79, 0]);
        buffer(self.0.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_lengths_grow_at_the_right_sizes() {
        let head = |len: usize| package_length(&vec![0; len])[..4.min(len + 1)].to_vec();
        assert_eq!(head(0), [1]);
        assert_eq!(head(62)[0], 63);
        assert_eq!(head(63)[..2], [0x40 | 1, 4]); // 65 = 0x041
        assert_eq!(head(4093)[..2], [0x40 | 0xf, 0xff]); // 4095
        assert_eq!(head(4094)[..3], [0x80 | 1, 0x00, 0x01]); // 4097 = 0x01001
    }

    #[test]
    fn integers_take_the_shortest_form() {
        assert_eq!(integer(0).0, [0]);
        assert_eq!(integer(1).0, [1]);
        assert_eq!(integer(5).0, [0x0a, 5]);
        assert_eq!(integer(0x1234).0, [0x0b, 0x34, 0x12]);
        assert_eq!(integer(0x12_3456).0, [0x0c, 0x56, 0x34, 0x12, 0]);
        assert_eq!(integer(1 << 32).0, [0x0e, 0, 0, 0, 0, 1, 0, 0, 0]);
    }

    #[test]
    fn eisa_ids_are_packed_as_isa_plug_and_play_has_it() {
        // PNP0A03 is 0x030AD041 in every listing of a DSDT.
        assert_eq!(eisa_id("PNP0A03"), integer(0x030a_d041));
        assert_eq!(eisa_id("PNP0501"), integer(0x0105_d041));
    }

    #[test]
    fn paths_are_padded_and_prefixed() {
        assert_eq!(path("COM1"), b"COM1");
        assert_eq!(path("\\_SB"), b"\\_SB_");
        assert_eq!(path("\\"), b"\\\0");
        assert_eq!(path("_SB.PCI0"), b"\x2e_SB_PCI0");
        assert_eq!(path("\\_SB.PCI0.ISA"), b"\\\x2f\x03_SB_PCI0ISA_");
    }

    #[test]
    fn resource_templates_end_in_an_end_tag() {
        let crs = ResourceTemplate::new().io(0x3f8, 8).irq(4).build();
        assert_eq!(
            crs.0,
            [
                0x11, 0x10, 0x0a, 13, // Buffer of 13 bytes
                0x47, 1, 0xf8, 3, 0xf8, 3, 1, 8, // IO
                0x22, 0x10, 0, // IRQ 4
                0x79, 0
            ]
        );
    }
}
