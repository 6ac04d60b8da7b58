//! The names of registers.

/// A general register, X0 to X30.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Reg(u8);

/// A general register, or the zero register.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OrZero(u8);

/// A general register, or the stack pointer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OrSp(u8);

/// A SIMD and floating-point register, V0 to V31.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct VReg(u8);

/// XZR and WZR: reads as zero, and takes what nobody wants.
pub const ZR: OrZero = OrZero(31);
/// SP and WSP.
pub const SP: OrSp = OrSp(31);
/// X30, where BL and BLR leave the return address.
pub const LR: Reg = Reg(30);

impl Reg {
    /// X`n`.
    ///
    /// # Panics
    /// If there is none: above 30.
    #[must_use]
    pub const fn new(n: u8) -> Self {
        assert!(n < 31, "there is X0 to X30");
        Self(n)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    pub(super) const fn code(self) -> u32 {
        self.0 as u32
    }
}

impl VReg {
    /// V`n`.
    ///
    /// # Panics
    /// If there is none: above 31.
    #[must_use]
    pub const fn new(n: u8) -> Self {
        assert!(n < 32, "there is V0 to V31");
        Self(n)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    pub(super) const fn code(self) -> u32 {
        self.0 as u32
    }
}

impl OrZero {
    pub(super) const fn code(self) -> u32 {
        self.0 as u32
    }
}

impl OrSp {
    pub(super) const fn code(self) -> u32 {
        self.0 as u32
    }
}

impl From<Reg> for OrZero {
    fn from(reg: Reg) -> Self {
        Self(reg.0)
    }
}

impl From<Reg> for OrSp {
    fn from(reg: Reg) -> Self {
        Self(reg.0)
    }
}

macro_rules! registers {
    ($type:ident: $($name:ident = $n:literal)*) => {
        $(
            #[doc = stringify!($name)]
            pub const $name: $type = $type($n);
        )*
    };
}

registers! { Reg:
    X0 = 0 X1 = 1 X2 = 2 X3 = 3 X4 = 4 X5 = 5 X6 = 6 X7 = 7
    X8 = 8 X9 = 9 X10 = 10 X11 = 11 X12 = 12 X13 = 13 X14 = 14 X15 = 15
    X16 = 16 X17 = 17 X18 = 18 X19 = 19 X20 = 20 X21 = 21 X22 = 22 X23 = 23
    X24 = 24 X25 = 25 X26 = 26 X27 = 27 X28 = 28 X29 = 29 X30 = 30
}

registers! { VReg:
    V0 = 0 V1 = 1 V2 = 2 V3 = 3 V4 = 4 V5 = 5 V6 = 6 V7 = 7
    V8 = 8 V9 = 9 V10 = 10 V11 = 11 V12 = 12 V13 = 13 V14 = 14 V15 = 15
    V16 = 16 V17 = 17 V18 = 18 V19 = 19 V20 = 20 V21 = 21 V22 = 22 V23 = 23
    V24 = 24 V25 = 25 V26 = 26 V27 = 27 V28 = 28 V29 = 29 V30 = 30 V31 = 31
}
