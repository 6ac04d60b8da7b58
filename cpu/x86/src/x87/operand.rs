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
                let low = core.load_array::<8>(i.seg(), offset)?;
                let high = core.load_array::<2>(i.seg(), behind(i, offset))?;
                let mut bits = [0; 10];
                bits[..8].copy_from_slice(&low);
                bits[8..].copy_from_slice(&high);
                Ok(bits)
            }
            #[inline]
            fn store(core: &mut Core, i: &Insn, offset: u64, bits: [u8; 10]) -> Result<(), Raised> {
                let (low, high) = bits.split_at(8);
                core.store(Width::W64, i.seg(), offset, word(low))?;
                core.store(Width::W16, i.seg(), behind(i, offset), word(high))
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

/// Where the last two of ten bytes lie: they are an access of their own, which wraps as addresses
/// do, and if it faults, the first eight have been stored.
#[inline(always)]
fn behind(i: &Insn, offset: u64) -> u64 {
    offset.wrapping_add(8) & i.address_width().mask()
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
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
