//! What the manuals leave undefined, form by form, with their sections.

use iced_x86::{Instruction, Mnemonic, OpKind, RflagsBits};
use trine_native::Outcome;

use super::guest::word;

/// What of an outcome is not compared.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Freedom {
    /// Bits of RFLAGS.
    pub(crate) flags: u64,
    /// Bits of the x87 status word.
    pub(crate) status: u64,
    /// Bits of the x87's last data address.
    pub(crate) last_data: u64,
    /// Last places by which an x87 result may differ.
    pub(crate) ulps: u64,
    /// All of x87.
    pub(crate) x87: bool,
    /// All of SSE.
    pub(crate) sse: bool,
    /// Memory.
    pub(crate) memory: bool,
}

/// What an instruction leaves behind that faults, where the manuals do not say that it is nothing.
const AFTER_FAULTS: [(&[Mnemonic], &str, Leaves); 3] = [
    (
        &[Mnemonic::Fldenv, Mnemonic::Frstor],
        "vol. 1, section 8.1.10: fields are loaded one by one; an area over a segment's end",
        Leaves::X87,
    ),
    (
        &[Mnemonic::Fnstenv, Mnemonic::Fnsave],
        "vol. 1, section 8.1.10: fields are stored one by one; an area over a segment's end",
        Leaves::Memory,
    ),
    (
        &[Mnemonic::Xrstor, Mnemonic::Xrstor64],
        "vol. 1, section 13.8: components are loaded before another's contents fault",
        Leaves::Components,
    ),
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leaves {
    Memory,
    X87,
    /// x87 and SSE.
    Components,
}

/// Functions whose results the manual gives to within an ulp (vol. 1, section 8.3.10: "less than 1
/// ulp"), so that C1, which tells of a rounding up, and PE are as free.
const TRANSCENDENTAL: [Mnemonic; 8] = [
    Mnemonic::F2xm1,
    Mnemonic::Fcos,
    Mnemonic::Fpatan,
    Mnemonic::Fptan,
    Mnemonic::Fsin,
    Mnemonic::Fsincos,
    Mnemonic::Fyl2x,
    Mnemonic::Fyl2xp1,
];

/// The x87 status word's C1, and UE and PE.
const C1: u64 = 1 << 9;
const UE: u64 = 1 << 4;
const PE: u64 = 1 << 5;

/// What is free after `insn`, which ended as `host` says.
pub(crate) fn freedom(insn: &Instruction, host: &Outcome) -> Freedom {
    let mut out = Freedom { flags: undefined_flags(insn), ..Freedom::default() };
    let mnemonic = insn.mnemonic();
    let faulted = !matches!(host.vector, 1 | 3);
    for (mnemonics, _, leaves) in AFTER_FAULTS {
        if faulted && mnemonics.contains(&mnemonic) {
            match leaves {
                Leaves::Memory => out.memory = true,
                Leaves::X87 => out.x87 = true,
                Leaves::Components => (out.x87, out.sse) = (true, true),
            }
        }
    }
    if TRANSCENDENTAL.contains(&mnemonic) {
        out.ulps = 1;
        out.status = C1 | UE | PE;
    }
    out
}

/// The flags that the manual calls undefined after `insn` (vol. 2, "Flags Affected" of each
/// instruction; vol. 1, table A-2), as iced-x86's tables have them.
fn undefined_flags(insn: &Instruction) -> u64 {
    const PLACES: [(u32, u32); 6] = [
        (RflagsBits::CF, 0),
        (RflagsBits::PF, 2),
        (RflagsBits::AF, 4),
        (RflagsBits::ZF, 6),
        (RflagsBits::SF, 7),
        (RflagsBits::OF, 11),
    ];
    use Mnemonic as M;
    let mut undefined = insn.rflags_undefined();
    // Vol. 2B, RCL/RCR/ROL/ROR: OF after any count but 1 (iced-x86 takes a count of 9 or 17, which
    // turns all the way round, for 0).
    if matches!(insn.mnemonic(), M::Rcl | M::Rcr | M::Rol | M::Ror)
        && insn.op1_kind() == OpKind::Immediate8
        && insn.immediate8() & 0x1f > 1
    {
        undefined |= RflagsBits::OF;
    }
    PLACES.iter().filter(|(bit, _)| undefined & bit != 0).fold(0, |bits, (_, n)| bits | 1 << n)
}

/// Whether two x87 registers (ten bytes each) differ by one unit in the last place at most.
pub(crate) fn near(host: &[u8], ours: &[u8]) -> bool {
    let parts = |bytes: &[u8]| (word(bytes, 0), word(bytes, 8) as u16);
    let ((h, he), (o, oe)) = (parts(host), parts(ours));
    // A carry into the next binade, or out of it.
    let power = |more: u64, less: u64| more == 1 << 63 && less == u64::MAX;
    he == oe && h.abs_diff(o) <= 1
        || he == oe.wrapping_add(1) && power(h, o)
        || oe == he.wrapping_add(1) && power(o, h)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_near() {
        let bytes = |significand: u64, rest: u16| {
            let mut out = significand.to_le_bytes().to_vec();
            out.extend(rest.to_le_bytes());
            out
        };
        let one = bytes(1 << 63, 0x3fff);
        assert!(near(&one, &one) && near(&one, &bytes(1 << 63 | 1, 0x3fff)));
        assert!(near(&one, &bytes(u64::MAX, 0x3ffe)) && near(&bytes(u64::MAX, 0x3ffe), &one));
        assert!(!near(&one, &bytes(1 << 63 | 2, 0x3fff)));
        assert!(!near(&one, &bytes(1 << 63, 0xbfff)));
        assert!(!near(&one, &bytes(u64::MAX - 1, 0x3ffe)));
    }
}
