//! Ordered, exclusive and atomic accesses.
//!
//! What LDAPR loads and STLR stores is in the order that x86 promises; a read-modify-write of
//! LDADD and kin (`FEAT_LSE`) with [`Order::AcquireRelease`] is what LOCK does.
//!
//! Source: Arm ARM, C6.2; B2.3 (ordering).

use super::{Asm, OrSp, OrZero, Size, signed};

/// How much memory is accessed. Narrow loads extend with zeros.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Access {
    /// 8 bits.
    B,
    /// 16 bits.
    H,
    /// 32 bits.
    W,
    /// 64 bits.
    X,
}

impl Access {
    const fn bits(self) -> u32 {
        (self as u32) << 30
    }
}

/// The order of an atomic operation among the accesses around it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Order {
    /// None.
    Relaxed,
    /// Its store is after all that precedes it (suffix L).
    Release,
    /// Its load is before all that follows it (suffix A).
    Acquire,
    /// Both (suffix AL).
    AcquireRelease,
}

impl Order {
    const fn acquires(self) -> u32 {
        self as u32 >> 1
    }

    const fn releases(self) -> u32 {
        self as u32 & 1
    }
}

/// Methods on a register and an address in another, without offset: name, title, encoding for 8
/// bits.
macro_rules! ordered {
    ($($name:ident, $title:literal, $base:literal;)*) => {
        impl Asm {
            $(
                #[doc = concat!("C6.2, ", $title, ".")]
                pub fn $name(
                    &mut self,
                    access: Access,
                    t: impl Into<OrZero>,
                    n: impl Into<OrSp>,
                ) {
                    self.put($base | access.bits() | n.into().code() << 5 | t.into().code());
                }
            )*
        }
    };
}

ordered! {
    ldar, "LDAR, LDARB, LDARH: load-acquire, after every STLR before it", 0x08df_fc00;
    ldapr, "LDAPR, LDAPRB, LDAPRH (`FEAT_LRCPC`): load-acquire that may overtake STLR", 0x38bf_c000;
    stlr, "STLR, STLRB, STLRH: store-release", 0x089f_fc00;
    ldxr, "LDXR, LDXRB, LDXRH: load exclusive", 0x085f_7c00;
    ldaxr, "LDAXR, LDAXRB, LDAXRH: load-acquire exclusive", 0x085f_fc00;
}

/// Methods that access memory at -256 to 255 bytes from a register: name, title, encoding for 8
/// bits.
macro_rules! ordered_offset {
    ($($name:ident, $title:literal, $base:literal;)*) => {
        impl Asm {
            $(
                #[doc = concat!("C6.2, ", $title, ".")]
                pub fn $name(
                    &mut self,
                    access: Access,
                    t: impl Into<OrZero>,
                    n: impl Into<OrSp>,
                    offset: i32,
                ) {
                    let nine = signed(i64::from(offset), 9).expect("an offset of -256 to 255");
                    let registers = n.into().code() << 5 | t.into().code();
                    self.put($base | access.bits() | nine << 12 | registers);
                }
            )*
        }
    };
}

ordered_offset! {
    ldapur, "LDAPUR, LDAPURB, LDAPURH (`FEAT_LRCPC2`): LDAPR with an offset", 0x1940_0000;
    stlur, "STLUR, STLURB, STLURH (`FEAT_LRCPC2`): STLR with an offset", 0x1900_0000;
}

/// Methods on an operand S, a register T for what was in memory, and an address: name, title,
/// encoding for 8 bits.
macro_rules! atomic {
    ($($name:ident, $title:literal, $base:literal;)*) => {
        impl Asm {
            $(
                #[doc = concat!("C6.2, ", $title, " (`FEAT_LSE`). `t` becomes what was there.")]
                pub fn $name(
                    &mut self,
                    access: Access,
                    order: Order,
                    s: impl Into<OrZero>,
                    t: impl Into<OrZero>,
                    n: impl Into<OrSp>,
                ) {
                    let order = order.acquires() << 23 | order.releases() << 22;
                    let registers = s.into().code() << 16 | n.into().code() << 5 | t.into().code();
                    self.put($base | access.bits() | order | registers);
                }
            )*
        }
    };
}

atomic! {
    ldadd, "LDADD: adds `s`", 0x3820_0000;
    ldclr, "LDCLR: clears the bits of `s`", 0x3820_1000;
    ldeor, "LDEOR: exclusive or with `s`", 0x3820_2000;
    ldset, "LDSET: sets the bits of `s`", 0x3820_3000;
    swp, "SWP: stores `s`", 0x3820_8000;
}

impl Asm {
    /// CAS (`FEAT_LSE`): stores `t` if `s` is there; `s` becomes what was there.
    pub fn cas(
        &mut self,
        access: Access,
        order: Order,
        s: impl Into<OrZero>,
        t: impl Into<OrZero>,
        n: impl Into<OrSp>,
    ) {
        let order = order.acquires() << 22 | order.releases() << 15;
        let registers = s.into().code() << 16 | n.into().code() << 5 | t.into().code();
        self.put(0x08a0_7c00 | access.bits() | order | registers);
    }

    /// CASP (`FEAT_LSE`): CAS of two words or doublewords, aligned to both. `s` and `t` are the
    /// first registers of two, and even.
    pub fn casp(
        &mut self,
        size: Size,
        order: Order,
        s: impl Into<OrZero>,
        t: impl Into<OrZero>,
        n: impl Into<OrSp>,
    ) {
        let (s, t) = (s.into().code(), t.into().code());
        assert!(s % 2 == 0 && t % 2 == 0, "CASP takes pairs of registers");
        let order = order.acquires() << 22 | order.releases() << 15;
        self.put(0x0820_7c00 | (size as u32) << 30 | order | s << 16 | n.into().code() << 5 | t);
    }

    /// STXR, STXRB, STXRH: stores `t` if the access is still exclusive; `s` becomes 0, or else 1.
    pub fn stxr(
        &mut self,
        access: Access,
        s: impl Into<OrZero>,
        t: impl Into<OrZero>,
        n: impl Into<OrSp>,
    ) {
        let registers = s.into().code() << 16 | n.into().code() << 5 | t.into().code();
        self.put(0x0800_7c00 | access.bits() | registers);
    }

    /// STLXR, STLXRB, STLXRH: STXR that releases.
    pub fn stlxr(
        &mut self,
        access: Access,
        s: impl Into<OrZero>,
        t: impl Into<OrZero>,
        n: impl Into<OrSp>,
    ) {
        let registers = s.into().code() << 16 | n.into().code() << 5 | t.into().code();
        self.put(0x0800_fc00 | access.bits() | registers);
    }

    /// LDXP: two words or doublewords, exclusive; atomic only if the store that follows succeeds.
    pub fn ldxp(
        &mut self,
        size: Size,
        t: impl Into<OrZero>,
        t2: impl Into<OrZero>,
        n: impl Into<OrSp>,
    ) {
        let registers = t2.into().code() << 10 | n.into().code() << 5 | t.into().code();
        self.put(0x887f_0000 | (size as u32) << 30 | registers);
    }

    /// LDAXP: LDXP that acquires.
    pub fn ldaxp(
        &mut self,
        size: Size,
        t: impl Into<OrZero>,
        t2: impl Into<OrZero>,
        n: impl Into<OrSp>,
    ) {
        let registers = t2.into().code() << 10 | n.into().code() << 5 | t.into().code();
        self.put(0x887f_8000 | (size as u32) << 30 | registers);
    }

    /// STXP: stores two words or doublewords if the access is still exclusive; `s` becomes 0, or
    /// else 1.
    pub fn stxp(
        &mut self,
        size: Size,
        s: impl Into<OrZero>,
        t: impl Into<OrZero>,
        t2: impl Into<OrZero>,
        n: impl Into<OrSp>,
    ) {
        let stored = t2.into().code() << 10 | t.into().code();
        let registers = s.into().code() << 16 | n.into().code() << 5 | stored;
        self.put(0x8820_0000 | (size as u32) << 30 | registers);
    }

    /// STLXP: STXP that releases.
    pub fn stlxp(
        &mut self,
        size: Size,
        s: impl Into<OrZero>,
        t: impl Into<OrZero>,
        t2: impl Into<OrZero>,
        n: impl Into<OrSp>,
    ) {
        let stored = t2.into().code() << 10 | t.into().code();
        let registers = s.into().code() << 16 | n.into().code() << 5 | stored;
        self.put(0x8820_8000 | (size as u32) << 30 | registers);
    }

    /// CLREX: no access is exclusive any more.
    pub fn clrex(&mut self) {
        self.put(0xd503_3f5f);
    }
}
