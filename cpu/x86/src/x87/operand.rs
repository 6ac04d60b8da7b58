//! Memory operands: their formats, and how each is read and written.
//!
//! Source: SDM vol. 1, section 8.1.2 (formats); vol. 3A, table 7-7 (alignment).

use trine_softfloat::{
    Env, Rounding,
    x87::{self, F80, Operand},
};

use crate::{Core, Insn, Raised, Width};

/// A format of memory operands.
pub(crate) trait Format: 'static {
    /// Its bits.
    type Bits: Copy;

    /// Reads one.
    ///
    /// # Errors
    /// The access faults.
    fn load(core: &mut Core, i: &Insn, offset: u64) -> Result<Self::Bits, Raised>;

    /// Writes one.
    ///
    /// # Errors
    /// The access faults.
    fn store(core: &mut Core, i: &Insn, offset: u64, bits: Self::Bits) -> Result<(), Raised>;
}

/// A format that can be loaded to a register.
pub(crate) trait Source: Format {
    /// Its value in a register.
    fn unpack(env: &mut Env, bits: Self::Bits) -> F80;
}

/// A format that arithmetic and comparisons take.
pub(crate) trait Arithmetic: Format {
    /// Its value as an operand.
    fn operand(bits: Self::Bits) -> Operand;
}

/// A format that a register can be stored in.
pub(crate) trait Target: Format {
    /// What a masked stack underflow stores.
    const INDEFINITE: Self::Bits;
    /// The value in this format.
    fn pack(env: &mut Env, value: F80) -> Self::Bits;
}

/// An integer format that FISTTP stores.
pub(crate) trait Integer: Target {
    /// The value in this format.
    fn round(env: &mut Env, value: F80, rounding: Rounding) -> Self::Bits;
}

/// Formats of 16, 32 and 64 bits.
macro_rules! word {
    ($(#[$doc:meta])* $Name:ident, $Bits:ty, $width:expr) => {
        $(#[$doc])*
        pub(crate) struct $Name;
        impl Format for $Name {
            type Bits = $Bits;
            #[inline(always)]
            fn load(core: &mut Core, i: &Insn, offset: u64) -> Result<$Bits, Raised> {
                let bits = if i.flat() {
                    core.load_linear($width, core.class, i.seg(), offset)?
                } else {
                    core.load($width, i.seg(), offset)?
                };
                Ok(bits as $Bits)
            }
            #[inline(always)]
            fn store(core: &mut Core, i: &Insn, offset: u64, bits: $Bits) -> Result<(), Raised> {
                let bits = bits as u64 & $width.mask();
                if i.flat() {
                    core.store_linear($width, core.class, i.seg(), offset, bits)
                } else {
                    core.store($width, i.seg(), offset, bits)
                }
            }
        }
    };
}

/// Formats of 80 bits.
macro_rules! bytes {
    ($(#[$doc:meta])* $Name:ident) => {
        $(#[$doc])*
        pub(crate) struct $Name;
        impl Format for $Name {
            type Bits = [u8; 10];
            #[inline]
            fn load(core: &mut Core, i: &Insn, offset: u64) -> Result<[u8; 10], Raised> {
                aligned(core, i, offset, false)?;
                core.load_array(i.seg(), offset)
            }
            #[inline]
            fn store(core: &mut Core, i: &Insn, offset: u64, bits: [u8; 10]) -> Result<(), Raised> {
                aligned(core, i, offset, true)?;
                core.store_array(i.seg(), offset, bits)
            }
        }
    };
}

word!(
    /// Single precision.
    M32, u32, Width::W32);
word!(
    /// Double precision.
    M64, u64, Width::W64);
word!(
    /// A 16-bit integer.
    I16, i16, Width::W16);
word!(
    /// A 32-bit integer.
    I32, i32, Width::W32);
word!(
    /// A 64-bit integer.
    I64, i64, Width::W64);
bytes!(
    /// Double extended precision.
    M80);
bytes!(
    /// Packed decimal.
    Bcd);

/// Ten bytes have to be aligned to eight where alignment is checked.
#[inline(always)]
fn aligned(core: &mut Core, i: &Insn, offset: u64, write: bool) -> Result<(), Raised> {
    if core.checks_alignment() {
        core.linear(i.seg(), offset, 8, write)?;
    }
    Ok(())
}

macro_rules! source {
    ($Name:ident, |$env:ident, $bits:ident| $value:expr) => {
        impl Source for $Name {
            #[inline(always)]
            fn unpack($env: &mut Env, $bits: Self::Bits) -> F80 {
                $value
            }
        }
    };
}

source!(M32, |env, bits| x87::from_f32(env, bits));
source!(M64, |env, bits| x87::from_f64(env, bits));
source!(M80, |_env, bits| F80::from_bytes(bits));
source!(I16, |_env, bits| x87::from_i16(bits));
source!(I32, |_env, bits| x87::from_i32(bits));
source!(I64, |_env, bits| x87::from_i64(bits));
source!(Bcd, |_env, bits| x87::from_bcd(bits));

macro_rules! arithmetic {
    ($Name:ident, |$bits:ident| $value:expr) => {
        impl Arithmetic for $Name {
            #[inline(always)]
            fn operand($bits: Self::Bits) -> Operand {
                $value
            }
        }
    };
}

arithmetic!(M32, |bits| Operand::from_f32(bits));
arithmetic!(M64, |bits| Operand::from_f64(bits));
arithmetic!(I16, |bits| x87::from_i16(bits).into());
arithmetic!(I32, |bits| x87::from_i32(bits).into());

macro_rules! target {
    ($Name:ident, $indefinite:expr, |$env:ident, $value:ident| $bits:expr) => {
        impl Target for $Name {
            const INDEFINITE: Self::Bits = $indefinite;
            #[inline(always)]
            fn pack($env: &mut Env, $value: F80) -> Self::Bits {
                $bits
            }
        }
    };
    ($Name:ident, $indefinite:expr, $convert:path) => {
        target!($Name, $indefinite, |env, value| {
            let rounding = env.rounding;
            $convert(env, value, rounding)
        });
        impl Integer for $Name {
            #[inline(always)]
            fn round(env: &mut Env, value: F80, rounding: Rounding) -> Self::Bits {
                $convert(env, value, rounding)
            }
        }
    };
}

/// The packed decimal indefinite.
const BCD_INDEFINITE: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff];

target!(M32, 0xffc0_0000, |env, value| x87::to_f32(env, value));
target!(M64, 0xfff8_0000_0000_0000, |env, value| x87::to_f64(env, value));
target!(M80, F80::INDEFINITE.to_bytes(), |_env, value| value.to_bytes());
target!(Bcd, BCD_INDEFINITE, |env, value| x87::to_bcd(env, value));
target!(I16, i16::MIN, x87::to_i16);
target!(I32, i32::MIN, x87::to_i32);
target!(I64, i64::MIN, x87::to_i64);
