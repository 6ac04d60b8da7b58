//! The XSAVE family: which state components there are, and saving and restoring them.
//!
//! Sources: SDM vol. 1, chapter 13; vol. 2D, XSAVE, XSAVEC, XSAVEOPT, XSAVES, XRSTOR and XRSTORS.

use crate::{
    Core, CpuModel, Feature, Insn, Raised, cr0, cr4,
    fxsave::{Area, Image, LEGACY_BYTES, MXCSR, ST0, XMM0, area, mxcsr_mask, xmm_count},
    paging::Intent,
    state::X87,
    vector, xcr0,
};

/// A state component beyond x87 and SSE.
pub(crate) struct Component {
    /// Its number: its bit in XCR0 and the subleaf of CPUID leaf 0DH.
    pub(crate) number: u32,
    /// The feature it is the state of.
    pub(crate) feature: Feature,
    /// Where it is in the standard format. As on Intel's CPUs, so that an area means the same
    /// under every engine.
    pub(crate) offset: usize,
    /// Its bytes.
    pub(crate) size: usize,
    /// Whether the compacted format aligns it to 64 bytes.
    pub(crate) aligned: bool,
}

/// The components beyond x87 and SSE, by number.
pub(crate) const COMPONENTS: [Component; 2] = [
    Component { number: 2, feature: Feature::Avx, offset: 576, size: 256, aligned: false },
    Component { number: 9, feature: Feature::Pku, offset: 2688, size: 8, aligned: false },
];

/// Where the header is.
const HEADER: usize = LEGACY_BYTES;
/// Bytes of the legacy region and the header.
const HEADER_END: usize = HEADER + 64;
/// Bytes of the largest area.
const AREA_BYTES: usize = 2696;
/// XCOMP_BV: the format is compacted.
const COMPACTED: u64 = 1 << 63;
/// MXCSR's initial value.
const MXCSR_INIT: u32 = 0x1f80;

/// The bits of XCR0 that `model` allows.
#[must_use]
pub(crate) fn supported(model: &CpuModel) -> u64 {
    COMPONENTS
        .iter()
        .filter(|c| model.has(c.feature))
        .fold(xcr0::X87 | xcr0::SSE, |bits, c| bits | 1 << c.number)
}

/// Whether XSETBV takes `value` for XCR0.
#[must_use]
pub(crate) fn is_valid_xcr0(model: &CpuModel, value: u64) -> bool {
    value & xcr0::X87 != 0
        && value & !supported(model) == 0
        && (value & xcr0::AVX == 0 || value & xcr0::SSE != 0)
}

/// Bytes of an area in the standard format with the components of `mask`.
#[must_use]
pub(crate) fn standard_size(mask: u64) -> usize {
    COMPONENTS
        .iter()
        .filter(|c| mask >> c.number & 1 != 0)
        .map(|c| c.offset + c.size)
        .fold(HEADER_END, usize::max)
}

/// Bytes of an area in the compacted format with the components of `mask`.
#[must_use]
pub(crate) fn compacted_size(mask: u64) -> usize {
    placed(mask, true).last().map_or(HEADER_END, |(c, at)| at + c.size)
}

/// The components of `mask` beyond x87 and SSE, with their offsets.
fn placed(mask: u64, compacted: bool) -> impl Iterator<Item = (&'static Component, usize)> {
    let mut next = HEADER_END;
    COMPONENTS.iter().filter(move |c| mask >> c.number & 1 != 0).map(move |c| {
        if !compacted {
            return (c, c.offset);
        }
        let at = if c.aligned { next.next_multiple_of(64) } else { next };
        next = at + c.size;
        (c, at)
    })
}

/// The initial x87 state.
const X87_INIT: X87 = X87 {
    reg: [(0, 0); 8],
    control: 0x37f,
    status: 0,
    valid: 0,
    opcode: 0,
    ip: 0,
    cs: 0,
    dp: 0,
    ds: 0,
};

/// XINUSE: the components of `mask` that are not in their initial state.
pub(crate) fn in_use(core: &Core, mask: u64) -> u64 {
    let count = xmm_count(core);
    let ymm = &core.simd.ymm[..count];
    let mut bits = 0;
    if core.x87 != X87_INIT {
        bits |= xcr0::X87;
    }
    if core.simd.mxcsr != MXCSR_INIT || ymm.iter().any(|y| y[0] | y[1] != 0) {
        bits |= xcr0::SSE;
    }
    if ymm.iter().any(|y| y[2] | y[3] != 0) {
        bits |= xcr0::AVX;
    }
    if core.control.pkru != 0 {
        bits |= xcr0::PKRU;
    }
    bits & mask
}

fn enter(core: &mut Core, supervisor: bool) -> Result<(), Raised> {
    if core.control.cr4 & cr4::OSXSAVE == 0 {
        return Err(core.ud());
    }
    if core.control.cr0 & cr0::TS != 0 {
        return Err(core.fault(vector::NM));
    }
    if supervisor { core.require_cpl0() } else { Ok(()) }
}

/// EDX:EAX, as far as `enabled` goes.
fn requested(core: &Core, enabled: u64) -> u64 {
    enabled & (core.regs[2] << 32 | core.regs[0] & 0xffff_ffff)
}

/// A component's bytes into an image.
fn put(core: &Core, image: &mut Image<AREA_BYTES>, component: &Component, at: usize) {
    match component.number {
        2 => {
            for (n, ymm) in core.simd.ymm[..xmm_count(core)].iter().enumerate() {
                image.put(at + 16 * n, &ymm[2].to_le_bytes());
                image.put(at + 16 * n + 8, &ymm[3].to_le_bytes());
            }
        }
        _ => image.put(at, &u64::from(core.control.pkru).to_le_bytes()),
    }
}

/// The byte of the legacy region that Intel's CPUs look at first if they are asked for `mask`,
/// whatever of it is there.
fn legacy_probe(mask: u64) -> Option<usize> {
    match () {
        () if mask & xcr0::X87 != 0 => Some(0),
        () if mask & (xcr0::SSE | xcr0::AVX) != 0 => Some(MXCSR),
        () => None,
    }
}

/// Replaces a component, by its initial state if it is not `present` in the image.
fn get(core: &mut Core, image: &Image<AREA_BYTES>, c: &Component, at: usize, present: bool) {
    match c.number {
        2 => {
            let count = xmm_count(core);
            for (n, ymm) in core.simd.ymm[..count].iter_mut().enumerate() {
                let word = |at| if present { image.qword(at) } else { 0 };
                ymm[2] = word(at + 16 * n);
                ymm[3] = word(at + 16 * n + 8);
            }
        }
        _ => {
            let pkru = if present { image.dword(at) } else { 0 };
            if core.control.pkru != pkru {
                core.control.pkru = pkru;
                core.flush_tlb();
            }
        }
    }
}

/// XSAVE and, with `OPTIMISED`, XSAVEOPT: the standard format. `WIDE` is the form with REX.W.
pub(crate) fn xsave<const WIDE: bool, const OPTIMISED: bool>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    enter(core, false)?;
    let mask = requested(core, core.control.xcr0);
    let used = in_use(core, mask);
    let wanted = if OPTIMISED { used } else { mask };
    let size = standard_size(mask);
    let area = area(core, i, size, size - 1, 64, true)?;
    // The header is read and written.
    for at in [legacy_probe(mask), Some(HEADER)].into_iter().flatten() {
        core.place(core.class, area.seg, area.linear(core, at), 8)?;
    }
    let mut image = Image::<AREA_BYTES>::new();
    image.load(core, area, HEADER, HEADER + 8)?;
    let old = image.qword(HEADER);
    if wanted & xcr0::X87 != 0 {
        let x87 = core.x87;
        image.put_x87(&x87, WIDE);
    }
    if mask & (xcr0::SSE | xcr0::AVX) != 0 {
        image.put_mxcsr(core);
    }
    if wanted & xcr0::SSE != 0 {
        image.put_xmm(core);
    }
    image.put(HEADER, &(old & !mask | used).to_le_bytes());
    for (component, at) in placed(wanted, false) {
        put(core, &mut image, component, at);
    }
    image.store(core, area)
}

/// XSAVEC and, with `SUPERVISOR`, XSAVES: the compacted format.
pub(crate) fn xsavec<const WIDE: bool, const SUPERVISOR: bool>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    enter(core, SUPERVISOR)?;
    let mask = requested(core, enabled(core, SUPERVISOR));
    let used = in_use(core, mask);
    let size = compacted_size(mask);
    let area = area(core, i, size, size - 1, 64, true)?;
    let mut image = Image::<AREA_BYTES>::new();
    if used & xcr0::X87 != 0 {
        let x87 = core.x87;
        image.put_x87(&x87, WIDE);
    }
    if used & xcr0::SSE != 0 {
        image.put_mxcsr(core);
        image.put_xmm(core);
    }
    image.put(HEADER, &used.to_le_bytes());
    image.put(HEADER + 8, &(mask | COMPACTED).to_le_bytes());
    for (component, at) in placed(mask, true) {
        if used >> component.number & 1 != 0 {
            put(core, &mut image, component, at);
        }
    }
    image.store(core, area)
}

fn enabled(core: &Core, supervisor: bool) -> u64 {
    core.control.xcr0 | if supervisor { core.msrs.xss } else { 0 }
}

/// Whether the header in `image` is one that may be restored with `enabled` components.
fn header_is_valid(core: &Core, image: &Image<AREA_BYTES>, enabled: u64, supervisor: bool) -> bool {
    let (state, format) = (image.qword(HEADER), image.qword(HEADER + 8));
    if image.bytes[HEADER + 16..HEADER + 24].iter().any(|b| *b != 0) {
        return false;
    }
    if format & COMPACTED == 0 {
        return !supervisor && format == 0 && state & !enabled == 0;
    }
    core.model.has(Feature::Xsavec)
        && format & !(enabled | COMPACTED) == 0
        && state & !format == 0
        && state & COMPACTED == 0
        && image.bytes[HEADER + 24..HEADER_END].iter().all(|b| *b == 0)
}

/// What XRSTOR finds in an area whose header is loaded.
struct Found {
    /// The format is compacted.
    compacted: bool,
    /// The components that have a place.
    placed: u64,
    /// The requested components that are there.
    present: u64,
    /// MXCSR is to be loaded.
    mxcsr: bool,
}

impl Found {
    fn new(image: &Image<AREA_BYTES>, mask: u64) -> Self {
        let (state, format) = (image.qword(HEADER), image.qword(HEADER + 8));
        let compacted = format & COMPACTED != 0;
        let present = state & mask;
        // The standard format has MXCSR apart from the XMM registers: AVX asks for it too, and the
        // header does not say whether it is there.
        let mxcsr =
            if compacted { present & xcr0::SSE != 0 } else { mask & (xcr0::SSE | xcr0::AVX) != 0 };
        Self { compacted, placed: if compacted { format } else { mask }, present, mxcsr }
    }

    fn has(&self, component: &Component) -> bool {
        self.present >> component.number & 1 != 0
    }

    /// The first accesses, to what is asked for and has a place: Intel's CPUs make them whether it
    /// is there or not, and look at most of the header later.
    fn probe(&self, core: &mut Core, area: Area, mask: u64, enabled: u64) -> Result<(), Raised> {
        if self.placed & !(enabled | COMPACTED) != 0 {
            return Err(core.gp(0));
        }
        // MXCSR is there for AVX in the standard format only.
        let legacy = mask & self.placed & if self.compacted { !xcr0::AVX } else { !0 };
        if let Some(at) = legacy_probe(legacy) {
            core.translate(core.class, area.linear(core, at), Intent::Read)?;
        }
        for (component, at) in placed(self.placed, self.compacted) {
            if mask >> component.number & 1 != 0 {
                let last = at + component.size - 1;
                core.linear(area.seg, area.offset(last), 1, false)?;
                core.translate(core.class, area.linear(core, last), Intent::Read)?;
            }
        }
        Ok(())
    }

    /// The contents of what is there.
    fn load(
        &self,
        core: &mut Core,
        area: Area,
        image: &mut Image<AREA_BYTES>,
    ) -> Result<(), Raised> {
        let x87 = self.present & xcr0::X87 != 0;
        let sse = self.present & xcr0::SSE != 0;
        let legacy = [
            (x87, 0, MXCSR),
            (self.mxcsr, MXCSR, ST0),
            (x87, ST0, XMM0),
            (sse, XMM0, XMM0 + 16 * xmm_count(core)),
        ];
        for (_, from, to) in legacy.into_iter().filter(|part| part.0) {
            image.load(core, area, from, to)?;
        }
        for (component, at) in placed(self.placed, self.compacted) {
            if self.has(component) {
                image.load(core, area, at, at + component.size)?;
            }
        }
        Ok(())
    }
}

/// XRSTOR and, with `SUPERVISOR`, XRSTORS.
pub(crate) fn xrstor<const WIDE: bool, const SUPERVISOR: bool>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    enter(core, SUPERVISOR)?;
    let enabled = enabled(core, SUPERVISOR);
    let mask = requested(core, enabled);
    let area = area(core, i, HEADER_END, HEADER + 8, 64, false)?;
    let mut image = Image::<AREA_BYTES>::new();
    image.load(core, area, HEADER, HEADER_END)?;
    let found = Found::new(&image, mask);
    found.probe(core, area, mask, enabled)?;
    if !header_is_valid(core, &image, enabled, SUPERVISOR) {
        return Err(core.gp(0));
    }
    found.load(core, area, &mut image)?;
    if found.mxcsr && image.dword(MXCSR) & !mxcsr_mask(&core.model) != 0 {
        return Err(core.gp(0));
    }
    restore::<WIDE>(core, &image, mask, found.present, found.mxcsr);
    for (component, at) in placed(found.placed, found.compacted) {
        if mask >> component.number & 1 != 0 {
            get(core, &image, component, at, found.has(component));
        }
    }
    // What is asked for and has no place becomes initial.
    for component in &COMPONENTS {
        if mask & !found.placed & 1 << component.number != 0 {
            get(core, &image, component, 0, false);
        }
    }
    Ok(())
}

/// The x87 and SSE part of XRSTOR.
fn restore<const WIDE: bool>(
    core: &mut Core,
    image: &Image<AREA_BYTES>,
    mask: u64,
    present: u64,
    load_mxcsr: bool,
) {
    if mask & xcr0::X87 != 0 {
        core.x87 = if present & xcr0::X87 != 0 { image.x87(WIDE) } else { X87_INIT };
    }
    if mask & xcr0::SSE != 0 {
        if present & xcr0::SSE != 0 {
            image.set_xmm(core);
        } else {
            let count = xmm_count(core);
            for ymm in &mut core.simd.ymm[..count] {
                ymm[..2].fill(0);
            }
            core.simd.mxcsr = MXCSR_INIT;
        }
    }
    if load_mxcsr {
        core.simd.mxcsr = image.dword(MXCSR);
    }
}
