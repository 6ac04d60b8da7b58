//! IN, OUT, INS and OUTS, and who may use which port.
//!
//! Sources: SDM vol. 1, chapter 19; vol. 2, these instructions.

use iced_x86::Code as C;

use crate::{
    Core, Insn, Raised, Seg, dr7,
    insn::Width,
    rflags,
    segment::PRESENT,
    system::descriptor::{BUSY, SYSTEM_TYPE, TSS_32},
};

/// Where the TSS holds the offset of the I/O permission bit map.
const MAP_BASE: u64 = 0x66;

/// The width of the datum: iced-x86 names it in the code, and DX would mislead.
fn width(i: &Insn) -> Width {
    match i.code {
        C::In_AL_imm8 | C::In_AL_DX | C::Out_imm8_AL | C::Out_DX_AL => Width::W8,
        C::Insb_m8_DX | C::Outsb_DX_m8 => Width::W8,
        C::In_AX_imm8 | C::In_AX_DX | C::Out_imm8_AX | C::Out_DX_AX => Width::W16,
        C::Insw_m16_DX | C::Outsw_DX_m16 => Width::W16,
        _ => Width::W32,
    }
}

/// The port, once it is allowed.
fn port(core: &mut Core, i: &Insn, w: Width) -> Result<u16, Raised> {
    let port = if i.has_immediate() { i.imm as u16 & 0xff } else { core.regs[2] as u16 };
    core.check_port(port, w)?;
    Ok(port)
}

/// IN.
pub(crate) fn input(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let w = width(i);
    let port = port(core, i, w)?;
    let value = core.port_in(port, w);
    core.set(w, 0, value);
    Ok(())
}

/// OUT.
pub(crate) fn output(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    let w = width(i);
    let port = port(core, i, w)?;
    let value = core.get(w, 0);
    core.port_out(port, w, value);
    // It may have pulled any wire.
    core.leave_block = true;
    Ok(())
}

/// INS. A step does as many iterations of REP as stay in the page of the first, and stays put
/// while any are left.
pub(crate) fn ins(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    string(core, i, 7, ins_once)
}

/// OUTS. As INS.
pub(crate) fn outs(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    string(core, i, 6, outs_once)
}

fn ins_once(core: &mut Core, i: &Insn, w: Width, port: u16) -> Result<(), Raised> {
    let offset = core.regs[7] & i.address_width().mask();
    let lin = core.linear(Seg::Es, offset, w.bytes(), true)?;
    let place = core.place(core.class, Seg::Es, lin, w.bytes())?;
    let value = core.port_in(port, w);
    core.watch(lin, w.bytes(), true);
    core.store_place(place, &value.to_le_bytes()[..w.bytes() as usize]);
    Ok(())
}

fn outs_once(core: &mut Core, i: &Insn, w: Width, port: u16) -> Result<(), Raised> {
    let offset = core.regs[6] & i.address_width().mask();
    let value = core.load(w, i.seg(), offset)?;
    core.port_out(port, w, value);
    Ok(())
}

/// What an iteration of INS or OUTS does besides counting.
type Once = fn(&mut Core, &Insn, Width, u16) -> Result<(), Raised>;

fn string(core: &mut Core, i: &Insn, index: u8, once: Once) -> Result<(), Raised> {
    let (w, a) = (width(i), i.address_width());
    let repeats = i.rep() || i.repne();
    // Whoever may not use the port is told so even if the count is 0.
    let port = port(core, i, w)?;
    if repeats && core.get(a, 1) == 0 {
        return Ok(());
    }
    once(core, i, w, port)?;
    core.leave_block = true;
    let down = core.system_flags & rflags::DF != 0;
    let mut at = step(core, a, index, w, down);
    if !repeats {
        return Ok(());
    }
    let mut left = core.get(a, 1).wrapping_sub(1) & a.mask();
    core.set(a, 1, left);
    // One at a time where somebody may want to look in between.
    let alone = core.system_flags & rflags::TF != 0 || core.debug.dr7 & dr7::ENABLES != 0;
    while left != 0 && !alone && at & 0xfff <= 0x1000 - w.bytes() && at & 0xfff != 0 {
        if once(core, i, w, port).is_err() {
            // What is done is done; the next step raises it again.
            core.raised = None;
            break;
        }
        at = step(core, a, index, w, down);
        left -= 1;
        core.set(a, 1, left);
    }
    if left != 0 {
        // Whoever comes back here is not to meet the instruction's breakpoint again.
        core.system_flags |= rflags::RF;
        core.rip = core.rip.wrapping_sub(u64::from(i.len)) & core.ip_mask();
    }
    Ok(())
}

/// Moves the index register on; returns where it is now.
fn step(core: &mut Core, a: Width, index: u8, w: Width, down: bool) -> u64 {
    let old = core.get(a, index);
    let by = if down { w.bytes().wrapping_neg() } else { w.bytes() };
    let new = old.wrapping_add(by) & a.mask();
    core.set(a, index, new);
    new
}

impl Core {
    /// #GP(0) unless IOPL or the TSS's bit map allows an access of width `w` to `port`.
    fn check_port(&mut self, port: u16, w: Width) -> Result<(), Raised> {
        if !self.protected_enabled() || !self.vm86() && self.cpl <= self.iopl() {
            return Ok(());
        }
        let tr = self.segments.tr;
        let limit = u64::from(tr.limit);
        let kind = tr.rights & SYSTEM_TYPE;
        if tr.rights & PRESENT == 0 || kind | BUSY != TSS_32 | BUSY || limit < MAP_BASE + 1 {
            return Err(self.gp(0));
        }
        let map = self.system_load(Width::W16, tr.base.wrapping_add(MAP_BASE))?;
        let offset = map + u64::from(port >> 3);
        // Two bytes are read whatever the port, so the map has one byte more than ports need.
        if offset + 1 > limit {
            return Err(self.gp(0));
        }
        let bits = self.system_load(Width::W16, tr.base.wrapping_add(offset))?;
        let wanted = ((1 << w.bytes()) - 1) << (port & 7);
        if bits & wanted != 0 { Err(self.gp(0)) } else { Ok(()) }
    }

    fn port_in(&mut self, port: u16, w: Width) -> u64 {
        self.counters.port_io += 1;
        self.watch_port(port, w.bytes());
        let mut bytes = [0; 8];
        self.bus.port_in(self.access(), port, &mut bytes[..w.bytes() as usize]);
        self.follow_map();
        u64::from_le_bytes(bytes)
    }

    fn port_out(&mut self, port: u16, w: Width, value: u64) {
        self.counters.port_io += 1;
        self.watch_port(port, w.bytes());
        self.bus.port_out(self.access(), port, &value.to_le_bytes()[..w.bytes() as usize]);
        self.follow_map();
    }
}
