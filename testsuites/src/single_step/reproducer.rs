//! A failing test as one vector line, where it fits: an instruction that neither jumps nor repeats
//! nor faults, with all its operands in the first 64 KiB once every segment begins at 0.

use std::{collections::BTreeMap, fmt::Write as _};

use iced_x86::FlowControl;

use super::{
    access::accesses,
    case::{Case, Expectation, FLAGS, IP},
    hex,
};

/// Where a vector's instruction lies, and the bytes behind it that stay free.
const CODE: std::ops::Range<u32> = 0x1000..0x1010;
/// The interrupt table of a vector ends here.
const FREE: u32 = 0x400;
/// The general registers of a test, in its own order.
const NAMES: [(&str, usize); 8] = [
    ("rax", 0),
    ("rbx", 1),
    ("rcx", 2),
    ("rdx", 3),
    ("rsp", 8),
    ("rbp", 9),
    ("rsi", 10),
    ("rdi", 11),
];

/// The line, or `None` where the case does not fit into one.
pub fn line(case: &Case<'_>, want: &Expectation) -> Option<String> {
    let plain = case.insn.flow_control() == FlowControl::Next
        && case.alias.is_none()
        && !case.repeats()
        && want.ending == case.kind.ending()
        // Instructions that move segment registers, whose bases the vector's would not match.
        && !matches!(case.opcode, 0x06 | 0x07 | 0x0e | 0x16 | 0x17 | 0x1e | 0x1f | 0x8c | 0x8e)
        && !matches!(case.opcode, 0xc4 | 0xc5);
    if !plain {
        return None;
    }
    let mut memory: BTreeMap<u32, (u8, Option<u8>)> = BTreeMap::new();
    for access in accesses(case) {
        for n in 0..access.size {
            let offset = u32::from(access.offset) + u32::from(n);
            let at = case.address(case.segment(access.segment), access.offset.wrapping_add(n));
            let before = case.byte(at);
            let after = want.ram.iter().rev().find(|b| case.kind.wrap(b.at) == at);
            let after = after.filter(|b| b.defined == 0xff).map(|b| b.value);
            let fits = (FREE..=0xffff).contains(&offset) && !CODE.contains(&offset);
            let other = memory.insert(offset, (before, after.filter(|byte| *byte != before)));
            if !fits || other.is_some_and(|(byte, _)| byte != before) {
                return None;
            }
        }
    }
    let code = hex(case.test.bytes.get(..case.insn.len())?);
    let name = case.test.name.replace('"', "'");
    let mut out = format!("real {code} \"{name}\"");
    for (register, n) in NAMES {
        let _ = write!(out, " {register}={:x}", case.regs[n]);
    }
    let _ = write!(out, " rflags={:x}", case.regs[FLAGS]);
    for (at, (before, _)) in &memory {
        let _ = write!(out, " mem[{at:x}]={before:02x}");
    }
    out.push_str(" =>");
    for (register, n) in NAMES.iter().filter(|(_, n)| want.regs[*n] != case.regs[*n]) {
        let _ = write!(out, " {register}={:x}", want.regs[*n]);
    }
    let _ = write!(out, " rflags={:x}", want.regs[FLAGS] | 2);
    let undefined = !want.defined[FLAGS];
    if undefined != 0 {
        let _ = write!(out, " undef={undefined:x}");
    }
    for (at, after) in memory.iter().filter_map(|(at, (_, after))| Some((at, (*after)?))) {
        let _ = write!(out, " mem[{at:x}]={after:02x}");
    }
    let others_defined =
        want.defined.iter().enumerate().all(|(n, bits)| n >= IP || *bits == 0xffff);
    others_defined.then_some(out)
}
