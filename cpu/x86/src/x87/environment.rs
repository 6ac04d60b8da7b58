//! FNSTENV, FLDENV, FNSAVE and FRSTOR: the environment and the whole state in memory.
//!
//! The environment has four forms, by operand size and by whether the CPU is in protected mode
//! (64-bit mode included) or in real or virtual-8086 mode, where the pointers are linear addresses.
//!
//! Source: SDM vol. 1, figures 8-9 to 8-12.

use std::ops::Range;

use trine_softfloat::x87::F80;

use crate::{Core, Insn, Raised, paging::Intent, state::X87};

/// Bytes of the largest image: an environment of 32-bit form and eight registers.
const LARGEST: usize = 108;
/// Bytes of the registers.
const REGISTERS: usize = 80;

/// Bytes of an environment.
const fn environment_bytes(wide: bool) -> usize {
    if wide { 28 } else { 14 }
}

/// The environment as a 28-byte or 14-byte image, in the first bytes.
fn environment(x: &X87, wide: bool, protected: bool) -> [u8; LARGEST] {
    let tags = x.tag_word();
    let mut image = [0; LARGEST];
    // Linear in the forms of real mode.
    let linear =
        |selector: u16, offset: u64| (u32::from(selector) << 4).wrapping_add(offset as u32);
    let fields: [u32; 7] = if protected {
        let selector = u32::from(x.cs) | if wide { u32::from(x.opcode) << 16 } else { 0 };
        let head = [x.control, x.status, tags].map(u32::from);
        [head[0], head[1], head[2], x.ip as u32, selector, x.dp as u32, u32::from(x.ds)]
    } else {
        let (ip, dp) = (linear(x.cs, x.ip), linear(x.ds, x.dp));
        let head = [x.control, x.status, tags].map(u32::from);
        let high = |address: u32| address >> 16 << 12;
        let opcode = u32::from(x.opcode);
        [head[0], head[1], head[2], ip & 0xffff, high(ip) | opcode, dp & 0xffff, high(dp)]
    };
    for (n, field) in fields.into_iter().enumerate() {
        if wide {
            // The upper halves of what has 16 bits are ones.
            let reserved =
                matches!(n, 0..=2) || (n == 6 && protected) || (!protected && n % 2 == 1);
            let field = if reserved { field | 0xffff_0000 } else { field };
            image[4 * n..4 * n + 4].copy_from_slice(&field.to_le_bytes());
        } else {
            image[2 * n..2 * n + 2].copy_from_slice(&(field as u16).to_le_bytes());
        }
    }
    image
}

/// Takes the environment from an image.
fn set_environment(x: &mut X87, image: &[u8; LARGEST], wide: bool, protected: bool) {
    let field = |n: usize| {
        if wide {
            let at = 4 * n;
            u32::from_le_bytes([image[at], image[at + 1], image[at + 2], image[at + 3]])
        } else {
            u32::from(u16::from_le_bytes([image[2 * n], image[2 * n + 1]]))
        }
    };
    x.status = field(1) as u16;
    x.set_tag_word(field(2) as u16);
    x.set_control(field(0) as u16);
    if protected {
        x.ip = field(3).into();
        x.cs = field(4) as u16;
        // The 16-bit form has no room for the opcode, which becomes 0.
        x.opcode = (field(4) >> 16) as u16 & 0x7ff;
        x.dp = field(5).into();
        x.ds = field(6) as u16;
    } else {
        let linear = |low: usize, high: usize| {
            u64::from(field(low) & 0xffff | (field(high) >> 12 & 0xffff) << 16)
        };
        (x.ip, x.cs) = (linear(3, 4), 0);
        (x.dp, x.ds) = (linear(5, 6), 0);
        x.opcode = field(4) as u16 & 0x7ff;
    }
}

/// Looks at the first field and the last byte of an image of `size` bytes, as Intel's CPUs do; returns
/// its offset. It has to be aligned to 2 or 4 bytes where alignment is checked.
fn area(core: &mut Core, i: &Insn, size: usize, wide: bool, write: bool) -> Result<u64, Raised> {
    let offset = core.address(i);
    let field = if wide { 4 } else { 2 };
    let lin = core.linear(i.seg(), offset, field, write)?;
    let intent = if write { Intent::Write } else { Intent::Read };
    core.translate(core.class, lin, intent)?;
    let second = lin.wrapping_add(field - 1) & !0xfff;
    if second != lin & !0xfff {
        core.translate(core.class, second, intent)?;
    }
    let lin = core.linear(i.seg(), inside(i, offset, size as u64 - 1), 1, write)?;
    core.translate(core.class, lin, intent)?;
    Ok(offset)
}

/// The offset of an image's part, which wraps as addresses do.
fn inside(i: &Insn, offset: u64, at: u64) -> u64 {
    offset.wrapping_add(at) & i.address_width().mask()
}

/// The parts of an image of `size` bytes, each of which is accessed by itself: the fields of the
/// environment; significand and exponent of the registers.
fn parts(size: usize, wide: bool) -> impl Iterator<Item = Range<usize>> {
    let (end, field) = (environment_bytes(wide), if wide { 4 } else { 2 });
    let fields = (0..end).step_by(field).map(move |at| at..at + field);
    fields.chain((end..size).step_by(10).flat_map(|at| [at..at + 8, at + 8..at + 10]))
}

/// The linear address of a part, whose alignment nobody checks.
fn place(
    core: &mut Core,
    i: &Insn,
    offset: u64,
    part: &Range<usize>,
    write: bool,
) -> Result<u64, Raised> {
    let first = inside(i, offset, part.start as u64);
    let lin = core.linear(i.seg(), first, 1, write)?;
    core.linear(i.seg(), first.wrapping_add(part.len() as u64 - 1), 1, write)?;
    Ok(lin)
}

/// Stores an image, all or nothing.
fn store(core: &mut Core, i: &Insn, image: &[u8], wide: bool) -> Result<(), Raised> {
    let offset = area(core, i, image.len(), wide, true)?;
    for part in parts(image.len(), wide) {
        let lin = place(core, i, offset, &part, true)?;
        core.place(core.class, i.seg(), lin, part.len() as u64)?;
    }
    for part in parts(image.len(), wide) {
        let lin = place(core, i, offset, &part, true)?;
        core.store_linear_bytes(core.class, i.seg(), lin, &image[part])?;
    }
    Ok(())
}

/// Loads the first `size` bytes of an image.
fn load(core: &mut Core, i: &Insn, size: usize, wide: bool) -> Result<[u8; LARGEST], Raised> {
    let offset = area(core, i, size, wide, false)?;
    let mut image = [0; LARGEST];
    for part in parts(size, wide) {
        let lin = place(core, i, offset, &part, false)?;
        core.load_linear_bytes(core.class, i.seg(), lin, &mut image[part])?;
    }
    Ok(image)
}

/// FNSTENV: `WIDE` is the form of 32-bit operand size. It masks all exceptions.
pub(crate) fn store_environment<const WIDE: bool>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.x87_available()?;
    let image = environment(&core.x87, WIDE, i.mode.protected());
    store(core, i, &image[..environment_bytes(WIDE)], WIDE)?;
    core.x87.set_control(core.x87.control | super::stack::EXCEPTIONS);
    Ok(())
}

/// FLDENV.
pub(crate) fn load_environment<const WIDE: bool>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.x87_ready()?;
    let image = load(core, i, environment_bytes(WIDE), WIDE)?;
    set_environment(&mut core.x87, &image, WIDE, i.mode.protected());
    Ok(())
}

/// FNSAVE, after which the FPU is as FNINIT leaves it.
pub(crate) fn save<const WIDE: bool>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.x87_available()?;
    let mut image = environment(&core.x87, WIDE, i.mode.protected());
    let size = environment_bytes(WIDE);
    for (n, at) in (0..8).zip((size..).step_by(10)) {
        image[at..at + 10].copy_from_slice(&core.x87.st(n).to_bytes());
    }
    store(core, i, &image[..size + REGISTERS], WIDE)?;
    core.x87.init();
    Ok(())
}

/// FRSTOR.
pub(crate) fn restore<const WIDE: bool>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    core.x87_ready()?;
    let size = environment_bytes(WIDE);
    let image = load(core, i, size + REGISTERS, WIDE)?;
    let x = &mut core.x87;
    set_environment(x, &image, WIDE, i.mode.protected());
    let top = x.top();
    for (n, bytes) in (0..8).zip(image[size..].chunks_exact(10)) {
        let mut ten = [0; 10];
        ten.copy_from_slice(bytes);
        let value = F80::from_bytes(ten);
        x.reg[usize::from((top + n) & 7)] = (value.significand, value.sign_exp);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn x87() -> X87 {
        let mut x = X87 {
            control: 0x37f,
            status: 3 << 11 | 0x20,
            valid: 0b0011_1000,
            opcode: 0x5a6,
            ip: 0x1234_5678,
            cs: 0xc5c5,
            dp: 0x9abc_def0,
            ds: 0xd5d5,
            ..X87::default()
        };
        // ST(0) is 1.0, ST(1) 0.0, ST(2) infinity; R0 is empty whatever it holds.
        x.reg[3] = (1 << 63, 0x3fff);
        x.reg[5] = (1 << 63, 0x7fff);
        x.reg[0] = (1 << 63, 0x3fff);
        x
    }

    fn words<const N: usize>(image: &[u8; LARGEST], wide: bool) -> [u32; N] {
        let size = if wide { 4 } else { 2 };
        std::array::from_fn(|n| {
            let mut bytes = [0; 4];
            bytes[..size].copy_from_slice(&image[size * n..size * (n + 1)]);
            u32::from_le_bytes(bytes)
        })
    }

    /// Tags by contents: R3 valid, R4 zero, R5 special, the others empty.
    const TAGS: u32 = 0b11_11_10_01_00_11_11_11;

    #[test]
    fn protected_forms_are_figures_8_9_and_8_11() {
        let image = environment(&x87(), true, true);
        let want = [
            0xffff_037f,
            0xffff_1820,
            0xffff_0000 | TAGS,
            0x1234_5678,
            0x05a6_c5c5,
            0x9abc_def0,
            0xffff_d5d5,
        ];
        assert_eq!(words::<7>(&image, true), want);
        let image = environment(&x87(), false, true);
        let want = [0x37f, 0x1820, TAGS, 0x5678, 0xc5c5, 0xdef0, 0xd5d5];
        assert_eq!(words::<7>(&image, false), want);
    }

    #[test]
    fn real_forms_have_linear_addresses() {
        let x = X87 { cs: 0xf000, ip: 0x1234, ds: 0x8765, dp: 0xffff, ..x87() };
        // F000h * 16 + 1234h and 8765h * 16 + FFFFh.
        let image = environment(&x, true, false);
        let want = [
            0xffff_037f,
            0xffff_1820,
            0xffff_0000 | TAGS,
            0xffff_1234,
            0x0000_f5a6,
            0xffff_764f,
            0x0000_9000,
        ];
        assert_eq!(words::<7>(&image, true), want);
        let image = environment(&x, false, false);
        let want = [0x37f, 0x1820, TAGS, 0x1234, 0xf5a6, 0x764f, 0x9000];
        assert_eq!(words::<7>(&image, false), want);
    }

    #[test]
    fn each_form_loads_what_it_stored() {
        for (wide, protected) in [(false, false), (false, true), (true, false), (true, true)] {
            let x = x87();
            let mut loaded = X87 { reg: x.reg, ..X87::default() };
            let image = environment(&x, wide, protected);
            set_environment(&mut loaded, &image, wide, protected);
            assert_eq!(environment(&loaded, wide, protected), image, "{wide} {protected}");
            assert_eq!((loaded.control, loaded.status), (x.control, x.status));
            assert_eq!(loaded.valid, x.valid);
        }
    }

    #[test]
    fn loading_derives_the_summary_of_exceptions() {
        let mut x = X87 { control: 0x37e, status: 0x8081, ..X87::default() };
        let mut image = environment(&x, true, true);
        image[4..6].copy_from_slice(&0x0001_u16.to_le_bytes());
        set_environment(&mut x, &image, true, true);
        assert_eq!(x.status, 0x8081);
        image[0..2].copy_from_slice(&0xffff_u16.to_le_bytes());
        image[4..6].copy_from_slice(&0x8081_u16.to_le_bytes());
        set_environment(&mut x, &image, true, true);
        assert_eq!((x.control, x.status), (0x1f7f, 0x0001));
    }
}
