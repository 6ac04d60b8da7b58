//! FXSAVE, FXRSTOR, and the legacy region that they share with the XSAVE family.
//!
//! Sources: SDM vol. 1, section 10.5 and table 13-1; vol. 2A, FXSAVE and FXRSTOR. What the tables
//! leave open (reserved bytes are left alone, bits 79:16 of a register's slot above its 80 bits
//! are cleared, ES and B follow the flags and masks that are loaded) is as Intel's CPUs do it.

use crate::{
    Core, CpuModel, Feature, Insn, Raised, Seg, cr0, cr4, paging::Intent, state::X87, vector,
};

/// Bytes of the legacy region.
pub(crate) const LEGACY_BYTES: usize = 512;
/// Where MXCSR is; its mask follows.
pub(crate) const MXCSR: usize = 24;
/// Where ST0 is; each register takes 16 bytes.
pub(crate) const ST0: usize = 32;
/// Where XMM0 is.
pub(crate) const XMM0: usize = 160;

/// The bits of MXCSR that may be set. DAZ came with SSE2.
#[must_use]
pub(crate) fn mxcsr_mask(model: &CpuModel) -> u32 {
    if model.has(Feature::Sse2) { 0xffff } else { 0xffbf }
}

/// Bytes of an area that are accessed at once: they are aligned, and so do not wrap.
const CHUNK: usize = 16;

/// The bytes of an area in memory, and which of them are to be stored.
pub(crate) struct Image<const N: usize> {
    pub(crate) bytes: [u8; N],
    /// Ascending or not, but few.
    ranges: [(usize, usize); 8],
    count: usize,
}

impl<const N: usize> Image<N> {
    pub(crate) fn new() -> Self {
        Self { bytes: [0; N], ranges: [(0, 0); 8], count: 0 }
    }

    /// Sets bytes that are to be stored.
    pub(crate) fn put(&mut self, at: usize, data: &[u8]) {
        self.bytes[at..at + data.len()].copy_from_slice(data);
        match self.ranges[..self.count].last_mut() {
            Some(last) if last.1 == at => last.1 = at + data.len(),
            _ => {
                self.ranges[self.count] = (at, at + data.len());
                self.count += 1;
            }
        }
    }

    pub(crate) fn word(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    pub(crate) fn dword(&self, at: usize) -> u32 {
        u32::from(self.word(at)) | u32::from(self.word(at + 2)) << 16
    }

    pub(crate) fn qword(&self, at: usize) -> u64 {
        u64::from(self.dword(at)) | u64::from(self.dword(at + 4)) << 32
    }

    /// Stores what was put, all or nothing.
    pub(crate) fn store(&self, core: &mut Core, area: Area) -> Result<(), Raised> {
        let ranges = &self.ranges[..self.count];
        for &(from, to) in ranges {
            for at in (from..to).step_by(CHUNK) {
                let (lin, size) = (area.linear(core, at), (to - at).min(CHUNK) as u64);
                if core.writable(core.class, lin, size).is_none() {
                    core.place(core.class, area.seg, lin, size)?;
                }
            }
        }
        for &(from, to) in ranges {
            for at in (from..to).step_by(CHUNK) {
                let data = &self.bytes[at..to.min(at + CHUNK)];
                let lin = area.linear(core, at);
                match core.writable(core.class, lin, data.len() as u64) {
                    Some(offset) => core.leave_block |= core.ram.store_bytes(offset, data),
                    None => core.store_linear_bytes(core.class, area.seg, lin, data)?,
                }
            }
        }
        Ok(())
    }

    /// Loads bytes `from..to`.
    pub(crate) fn load(
        &mut self,
        core: &mut Core,
        area: Area,
        from: usize,
        to: usize,
    ) -> Result<(), Raised> {
        for at in (from..to).step_by(CHUNK) {
            let data = &mut self.bytes[at..to.min(at + CHUNK)];
            let lin = area.linear(core, at);
            match core.readable(core.class, lin, data.len() as u64) {
                Some(offset) => core.ram.load_bytes(offset, data),
                None => core.load_linear_bytes(core.class, area.seg, lin, data)?,
            }
        }
        Ok(())
    }

    /// The x87 part: bytes 0 to 23 and the registers. `wide` is the form with 64-bit pointers.
    pub(crate) fn put_x87(&mut self, x87: &X87, wide: bool) {
        let mut head = [0; MXCSR];
        head[0..2].copy_from_slice(&x87.control.to_le_bytes());
        head[2..4].copy_from_slice(&x87.status.to_le_bytes());
        head[4] = x87.valid;
        head[6..8].copy_from_slice(&(x87.opcode & 0x7ff).to_le_bytes());
        if wide {
            head[8..16].copy_from_slice(&x87.ip.to_le_bytes());
            head[16..24].copy_from_slice(&x87.dp.to_le_bytes());
        } else {
            head[8..12].copy_from_slice(&(x87.ip as u32).to_le_bytes());
            head[12..14].copy_from_slice(&x87.cs.to_le_bytes());
            head[16..20].copy_from_slice(&(x87.dp as u32).to_le_bytes());
            head[20..22].copy_from_slice(&x87.ds.to_le_bytes());
        }
        self.put(0, &head);
        let top = usize::from(x87.status >> 11 & 7);
        for n in 0..8 {
            let (significand, exponent) = x87.reg[(top + n) & 7];
            let mut slot = [0; 16];
            slot[..8].copy_from_slice(&significand.to_le_bytes());
            slot[8..10].copy_from_slice(&exponent.to_le_bytes());
            self.put(ST0 + 16 * n, &slot);
        }
    }

    /// MXCSR and its mask.
    pub(crate) fn put_mxcsr(&mut self, core: &Core) {
        self.put(MXCSR, &core.simd.mxcsr.to_le_bytes());
        self.put(MXCSR + 4, &mxcsr_mask(&core.model).to_le_bytes());
    }

    /// The XMM registers that the mode has.
    pub(crate) fn put_xmm(&mut self, core: &Core) {
        for (n, ymm) in core.simd.ymm[..xmm_count(core)].iter().enumerate() {
            self.put(XMM0 + 16 * n, &ymm[0].to_le_bytes());
            self.put(XMM0 + 16 * n + 8, &ymm[1].to_le_bytes());
        }
    }

    /// The x87 state that the image holds.
    pub(crate) fn x87(&self, wide: bool) -> X87 {
        // Recent Intel CPUs keep 57 bits of it, with or without LA57, and all of the data pointer.
        let ip = (self.qword(8) as i64) << 7 >> 7;
        let mut x87 = X87 {
            reg: [(0, 0); 8],
            control: self.word(0) & 0x1f3f | 0x40,
            status: self.word(2) & 0x7f7f,
            valid: self.bytes[4],
            opcode: self.word(6) & 0x7ff,
            ip: if wide { ip as u64 } else { u64::from(self.dword(8)) },
            cs: if wide { 0 } else { self.word(12) },
            dp: if wide { self.qword(16) } else { u64::from(self.dword(16)) },
            ds: if wide { 0 } else { self.word(20) },
        };
        if x87.status & !x87.control & 0x3f != 0 {
            x87.status |= 0x8080;
        }
        let top = usize::from(x87.status >> 11 & 7);
        for n in 0..8 {
            let at = ST0 + 16 * n;
            x87.reg[(top + n) & 7] = (self.qword(at), self.word(at + 8));
        }
        x87
    }

    /// Replaces the XMM registers that the mode has.
    pub(crate) fn set_xmm(&self, core: &mut Core) {
        let count = xmm_count(core);
        for (n, ymm) in core.simd.ymm[..count].iter_mut().enumerate() {
            ymm[0] = self.qword(XMM0 + 16 * n);
            ymm[1] = self.qword(XMM0 + 16 * n + 8);
        }
    }
}

/// 16 XMM registers in 64-bit mode, else 8.
pub(crate) fn xmm_count(core: &Core) -> usize {
    if core.mode.is_64() { 16 } else { 8 }
}

/// An area in memory, whose offsets wrap as addresses do.
#[derive(Clone, Copy)]
pub(crate) struct Area {
    pub(crate) seg: Seg,
    offset: u64,
    mask: u64,
}

impl Area {
    /// The offset of byte `n`.
    pub(crate) fn offset(self, n: usize) -> u64 {
        self.offset.wrapping_add(n as u64) & self.mask
    }

    /// The linear address of byte `n`.
    pub(crate) fn linear(self, core: &Core, n: usize) -> u64 {
        core.based(self.seg, self.offset(n))
    }
}

/// The operand's area of `size` bytes that must be aligned to `align`; its byte `probe` is the
/// first one that Intel's CPUs look at.
pub(crate) fn area(
    core: &mut Core,
    i: &Insn,
    size: usize,
    probe: usize,
    align: u64,
    write: bool,
) -> Result<Area, Raised> {
    let area = Area { seg: i.seg(), offset: core.address(i), mask: i.address_width().mask() };
    // Whether it is #AC or #GP is left open; Intel's CPUs check a doubleword first.
    let lin = core.linear(area.seg, area.offset(0), 4, false)?;
    if lin & (align - 1) != 0 {
        return Err(core.gp(0));
    }
    core.linear(area.seg, area.offset(0), 1, write)?;
    core.linear(area.seg, area.offset(size - 1), 1, write)?;
    let intent = if write { Intent::Write } else { Intent::Read };
    core.translate(core.class, area.linear(core, probe), intent)?;
    Ok(area)
}

fn enter(core: &mut Core) -> Result<(), Raised> {
    if core.control.cr0 & (cr0::EM | cr0::TS) != 0 {
        return Err(core.fault(vector::NM));
    }
    Ok(())
}

/// FXSAVE: `WIDE` is FXSAVE64.
pub(crate) fn fxsave<const WIDE: bool>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    enter(core)?;
    let area = area(core, i, LEGACY_BYTES, LEGACY_BYTES - 1, 16, true)?;
    let mut image = Image::<LEGACY_BYTES>::new();
    let x87 = core.x87;
    image.put_x87(&x87, WIDE);
    if core.model.has(Feature::Sse) {
        image.put_mxcsr(core);
        // Without OSFXSR the operating system does not know of XMM, and need not be told.
        if core.control.cr4 & cr4::OSFXSR != 0 {
            image.put_xmm(core);
        }
    }
    image.store(core, area)
}

/// FXRSTOR: `WIDE` is FXRSTOR64.
pub(crate) fn fxrstor<const WIDE: bool>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    enter(core)?;
    let area = area(core, i, LEGACY_BYTES, LEGACY_BYTES - 1, 16, false)?;
    let mut image = Image::<LEGACY_BYTES>::new();
    image.load(core, area, 0, LEGACY_BYTES)?;
    if core.control.cr4 & cr4::OSFXSR != 0 && core.model.has(Feature::Sse) {
        let mxcsr = image.dword(MXCSR);
        if mxcsr & !mxcsr_mask(&core.model) != 0 {
            return Err(core.gp(0));
        }
        core.simd.mxcsr = mxcsr;
        image.set_xmm(core);
    }
    core.x87 = image.x87(WIDE);
    Ok(())
}
