//! A failing test as one vector line, where it fits: an instruction that neither repeats nor faults
//! nor jumps to an address from a register or memory, with all its operands in the first 64 KiB once
//! every segment begins at 0. Registers that it does not use are left out.

use std::{collections::BTreeMap, fmt::Write as _};

use iced_x86::{FlowControl, InstructionInfoFactory, Register};

use super::{
    access::accesses,
    case::{Case, Expectation, FLAGS, IP},
    hex,
};

/// Where a vector's instruction lies, and the bytes behind it that stay free.
const CODE: std::ops::Range<u32> = 0x1000..0x1010;
/// The interrupt table of a vector ends here.
const FREE: u32 = 0x400;
/// The general registers of a test, in its own order, with their places there.
const NAMES: [(&str, usize, Register); 8] = [
    ("rax", 0, Register::RAX),
    ("rbx", 1, Register::RBX),
    ("rcx", 2, Register::RCX),
    ("rdx", 3, Register::RDX),
    ("rsp", 8, Register::RSP),
    ("rbp", 9, Register::RBP),
    ("rsi", 10, Register::RSI),
    ("rdi", 11, Register::RDI),
];

/// The line, or `None` where the case does not fit into one.
pub fn line(case: &Case<'_>, want: &Expectation) -> Option<String> {
    let jump = case.insn.is_jcc_short_or_near()
        || case.insn.is_jmp_short_or_near()
        || case.insn.is_loop()
        || case.insn.is_loopcc()
        || case.insn.is_jcx_short();
    let plain = (case.insn.flow_control() == FlowControl::Next || jump)
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
    let mut info = InstructionInfoFactory::new();
    let used = info.info(&case.insn).used_registers();
    let is_used = |place: Register| used.iter().any(|u| u.register().full_register() == place);
    for (register, n, _) in NAMES.into_iter().filter(|(.., place)| is_used(*place)) {
        let _ = write!(out, " {register}={:x}", case.regs[n]);
    }
    let _ = write!(out, " rflags={:x}", case.regs[FLAGS]);
    for (at, (before, _)) in &memory {
        let _ = write!(out, " mem[{at:x}]={before:02x}");
    }
    out.push_str(" =>");
    for (register, n, _) in NAMES.iter().filter(|(_, n, _)| want.regs[*n] != case.regs[*n]) {
        let _ = write!(out, " {register}={:x}", want.regs[*n]);
    }
    if jump {
        let to = want.regs[IP].wrapping_sub(case.regs[IP]);
        let _ = write!(out, " rip={:x}", (CODE.start as u16).wrapping_add(to));
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
