//! Exceptions, and how they travel through our code.
//!
//! Source: SDM vol. 3A, chapter 7.

use serde::{Deserialize, Serialize};

/// Proof that an exception has been recorded in the core. It carries nothing, so that results stay
/// in registers; only [`crate::Core::raise`] makes one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Raised(());

impl Raised {
    pub(crate) const fn recorded() -> Self {
        Self(())
    }
}

/// An exception that waits for delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Exception {
    /// Its vector.
    pub vector: u8,
    /// Its error code, if it has one.
    pub code: Option<u32>,
    /// For #PF the linear address (goes to CR2), for #DB the new bits of DR6.
    pub payload: u64,
}

/// Exception vectors (SDM vol. 3A, table 7-1).
#[expect(missing_docs, reason = "the manual's own names")]
pub mod vector {
    pub const DE: u8 = 0;
    pub const DB: u8 = 1;
    pub const NMI: u8 = 2;
    pub const BP: u8 = 3;
    pub const OF: u8 = 4;
    pub const BR: u8 = 5;
    pub const UD: u8 = 6;
    pub const NM: u8 = 7;
    pub const DF: u8 = 8;
    pub const TS: u8 = 10;
    pub const NP: u8 = 11;
    pub const SS: u8 = 12;
    pub const GP: u8 = 13;
    pub const PF: u8 = 14;
    pub const MF: u8 = 16;
    pub const AC: u8 = 17;
    pub const MC: u8 = 18;
    pub const XM: u8 = 19;
    pub const CP: u8 = 21;

    /// The mnemonic of an exception's vector.
    #[must_use]
    pub const fn name(vector: u8) -> &'static str {
        match vector {
            DE => "#DE",
            DB => "#DB",
            NMI => "NMI",
            BP => "#BP",
            OF => "#OF",
            BR => "#BR",
            UD => "#UD",
            NM => "#NM",
            DF => "#DF",
            TS => "#TS",
            NP => "#NP",
            SS => "#SS",
            GP => "#GP",
            PF => "#PF",
            MF => "#MF",
            AC => "#AC",
            MC => "#MC",
            XM => "#XM",
            CP => "#CP",
            _ => "interrupt",
        }
    }
}

/// How a CPU came to shut down: each exception in turn with the address of the instruction.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TripleFault {
    /// The exceptions that led to it, first one first.
    pub chain: Vec<Exception>,
    /// CS selector of the instruction.
    pub cs: u16,
    /// Its RIP.
    pub rip: u64,
    /// Its stack pointer.
    pub rsp: u64,
    /// CR2 at the end.
    pub cr2: u64,
}

impl std::fmt::Display for TripleFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "triple fault at {:04x}:{:x} (stack {:x}): ", self.cs, self.rip, self.rsp)?;
        for (n, e) in self.chain.iter().enumerate() {
            let then = if n == 0 { "" } else { ", then " };
            write!(f, "{then}{}", vector::name(e.vector))?;
            if let Some(code) = e.code {
                write!(f, "({code:#x})")?;
            }
            if e.vector == vector::PF {
                write!(f, " at {:#x}", e.payload)?;
            }
        }
        Ok(())
    }
}
