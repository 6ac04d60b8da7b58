//! The intermediate representation: what a region of guest code does, as lists of operations.
//!
//! A [`Region`] is made of [`Block`]s, a block of guest instructions ([`Step`]), a step of
//! operations ([`Op`]). A value ([`Val`]) is the operation that makes it; values never leave their
//! instruction, the guest's registers and flags carry everything else. So the lists need no phi
//! nodes, and every instruction boundary is a place where the guest's state is whole.
//!
//! An operation that can *stop* (a memory access that is not plain, a jump that is not known) stops
//! before anything has changed, as the rules of [`trine_x86::Sem`] want it; the interpreter then
//! does the whole instruction.

use trine_x86::{Cold, Flag, Insn, Pure, Rmw, Seg, Width};

use crate::{simd::Shape, x87::Part};

/// A value: the number of the operation in its step that makes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Val(pub u16);

impl Val {
    /// As an index.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Two operands of a width, one result of that width.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bin {
    Add,
    Sub,
    And,
    Or,
    Xor,
    Shl,
    Shr,
    Sar,
    /// Rotated to the left, by less than the width.
    Rol,
    Mul,
    MulHighUnsigned,
    MulHighSigned,
    Equal,
    Below,
}

/// One operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Un {
    Not,
    ByteSwap,
    CountOnes,
    LeadingZeros,
    TrailingZeros,
}

/// What the arithmetic flags become; see the primitives of the same names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setter {
    Add {
        a: Val,
        b: Val,
        r: Val,
    },
    Sub {
        a: Val,
        b: Val,
        r: Val,
    },
    Logic {
        r: Val,
    },
    Inc {
        r: Val,
    },
    Dec {
        r: Val,
    },
    Shift {
        r: Val,
        cf: Val,
        of: Val,
    },
    Rotate {
        cf: Val,
        of: Val,
    },
    One {
        flag: Flag,
        value: Val,
    },
    Masked {
        mask: u64,
        bits: Val,
    },
    /// Of a vector comparison: the flags but OF as they are, and OF = 0.
    Compare {
        bits: Val,
    },
}

/// An operation.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// Removed by a pass.
    Nop,
    /// A constant.
    Imm(u64),
    /// The region's origin and a constant, cut to the width: what is reached from RIP.
    Near(Width, i64),
    /// A general register, zero-extended ([`trine_x86::slot`] numbers).
    Get(Width, u8),
    /// Writes one.
    Set(Width, u8, Val),
    /// `base + index << scale + disp`, cut to the width.
    Address {
        /// The width of the sum.
        w: Width,
        /// Register, if there is one.
        base: Option<u8>,
        /// Register and shift, if there is one.
        index: Option<(u8, u8)>,
        /// Constant part.
        disp: i64,
    },
    /// The linear address of `seg:offset`. Stops if the segment's simple check does not allow it.
    Linear {
        /// Bytes of the access: the width.
        w: Width,
        /// Segment.
        seg: Seg,
        /// Offset.
        offset: Val,
        /// A write.
        write: bool,
        /// 64-bit mode: no limit, and a base of 64 bits.
        long: bool,
    },
    /// Loads from a linear address.
    Load(Width, Val),
    /// Stores.
    Store(Width, Val, Val),
    /// Loads from an address that will be stored to.
    Open(Width, Val),
    /// Stores to what that operation opened.
    Commit(Width, Val, Val),
    /// Locked read-modify-write: width, address, operation, operand.
    Update(Width, Val, Rmw, Val),
    /// Locked compare and exchange: width, address, expected, new.
    CompareExchange(Width, Val, Val, Val),
    /// Two operands.
    Bin(Bin, Width, Val, Val),
    /// One operand.
    Un(Un, Width, Val),
    /// Cut to a width.
    Truncate(Width, Val),
    /// Sign-extended from one width to another.
    SignExtend(Width, Width, Val),
    /// The second if the first is not 0, else the third.
    Select(Val, Val, Val),
    /// A pure function.
    Pure(Pure, Val, Val),
    /// Sets flags after an operation of that width.
    SetFlags(Width, Setter),
    /// One flag, 0 or 1.
    Flag(Flag),
    /// All arithmetic flags at their places in RFLAGS.
    Flags,
    /// A condition, 0 or 1.
    Condition(u8),
    /// Goes where the value says when the instruction ends. Stops if no code is known there.
    Jump(Val),
    /// Goes to [`Block::taken`] when the instruction ends, if the value is not 0 (`None`: always).
    Branch(Option<Val>),
    /// The operations up to that number only if the value is not 0.
    When(Val, u16),
    /// What the instruction does to vector registers: its memory operand's linear address, and a
    /// general register that it reads. The value is the general register or, of a comparison, the
    /// flags that it gives.
    Vector(Shape, Option<Val>, Option<Val>),
    /// What the instruction does with the x87.
    X87(Part),
    /// Always stops: the interpreter does this instruction.
    Stop,
}

/// What a step asks of its engine.
#[derive(Clone, Copy)]
pub enum Work {
    /// Operations.
    Hot,
    /// Operations, of which [`Op::Vector`] is what this function does to vector registers.
    Vector(Cold),
    /// A call; if `ends`, nothing is known behind it.
    Cold {
        /// The function.
        cold: Cold,
        /// It ends its block.
        ends: bool,
    },
}

/// A guest instruction.
#[derive(Clone)]
pub struct Step {
    /// The instruction, decoded for its block.
    pub insn: Insn,
    /// What it does.
    pub work: Work,
    /// Where its operations lie in [`Region::ops`].
    pub ops: std::ops::Range<usize>,
    /// Its bytes go on in the next page: it stops unless [`Region::beyond`] still holds.
    pub straddles: bool,
    /// It may stop, so flags from before it must be known.
    pub stops: bool,
    /// Flags ([`trine_x86::rflags`]) that somebody may look at behind it.
    pub live: u64,
}

/// How a block ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It goes on at [`Block::next`].
    Next,
    /// By its last instruction's [`Op::Branch`]: at [`Block::taken`], else at [`Block::next`].
    Branch,
    /// By its last instruction, at [`Block::taken`] in any case.
    Goto,
    /// By its last instruction's [`Op::Jump`].
    Jump,
    /// In a cold instruction that ends blocks.
    Cold,
    /// Before an instruction that is not for the translator.
    Stop,
}

/// Guest instructions that follow each other. RIPs are counted from the region's origin.
#[derive(Clone)]
pub struct Block {
    /// RIP of the first one.
    pub ip: u64,
    /// Its instructions: a range of [`Region::steps`].
    pub steps: std::ops::Range<usize>,
    /// How it ends.
    pub end: End,
    /// RIP behind it.
    pub next: u64,
    /// RIP of the branch's target.
    pub taken: u64,
    /// It ends in a call of code in this page, which will mostly return to [`Block::next`].
    pub calls: bool,
    /// Blocks of this region at those two.
    pub inside: [Option<usize>; 2],
    /// How many ways lead here inside the region (the first block's entry counts).
    pub ways: u32,
    /// Flags that somebody may look at before they are set again.
    pub live_in: u64,
}

/// Guest code that is translated together. It is entered at its first block.
///
/// All its RIPs are counted from its *origin*: RIP of the page that it lies in (64-bit mode), or 0.
/// So what a page holds in 64-bit mode is translated once, wherever programs have it. While code
/// runs, the core has the origin in [`trine_x86::slot::ORIGIN`].
#[derive(Clone, Default)]
pub struct Region {
    /// All operations.
    pub ops: Vec<Op>,
    /// All steps.
    pub steps: Vec<Step>,
    /// The blocks; the first one is the entry.
    pub blocks: Vec<Block>,
    /// The page behind the one that it lies in.
    pub beyond: Option<Beyond>,
}

/// What has to hold of the next page's start, of which an instruction's last bytes were read.
#[derive(Clone, Copy, Debug)]
pub struct Beyond {
    /// Its linear address, from the region's origin.
    pub lin: u64,
    /// Its offset in RAM.
    pub offset: u64,
    /// Address of the word with the page's version.
    pub version: usize,
    /// The version at which the bytes were read.
    pub known: u32,
}

impl Region {
    /// Whether it is one of 64-bit mode.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.steps.first().is_some_and(|step| step.insn.mode.is_64())
    }
}

impl Op {
    /// The values it uses.
    pub fn uses(&self, mut each: impl FnMut(Val)) {
        match *self {
            Self::Set(_, _, a)
            | Self::Linear { offset: a, .. }
            | Self::Load(_, a)
            | Self::Open(_, a)
            | Self::Un(_, _, a)
            | Self::Truncate(_, a)
            | Self::SignExtend(_, _, a)
            | Self::Jump(a)
            | Self::Branch(Some(a))
            | Self::When(a, _) => each(a),
            Self::Store(_, a, b)
            | Self::Commit(_, a, b)
            | Self::Update(_, a, _, b)
            | Self::Bin(_, _, a, b)
            | Self::Pure(_, a, b) => [a, b].into_iter().for_each(each),
            Self::CompareExchange(_, a, b, c) | Self::Select(a, b, c) => {
                [a, b, c].into_iter().for_each(each);
            }
            Self::SetFlags(_, setter) => setter.uses(each),
            Self::Vector(_, a, b) => a.into_iter().chain(b).for_each(each),
            Self::X87(part) => part.uses(each),
            _ => {}
        }
    }

    /// Whether it may stop the instruction.
    #[must_use]
    pub fn stops(&self) -> bool {
        match self {
            Self::Linear { .. }
            | Self::Load(..)
            | Self::Store(..)
            | Self::Open(..)
            | Self::Update(..)
            | Self::CompareExchange(..)
            | Self::Jump(..)
            | Self::Vector(_, Some(_), _)
            | Self::Stop => true,
            Self::X87(part) => part.stops(),
            _ => false,
        }
    }

    /// Whether it looks at the arithmetic flags or sets them.
    #[must_use]
    pub fn concerns_flags(&self) -> bool {
        matches!(
            self,
            Self::SetFlags(..)
                | Self::Flag(_)
                | Self::Flags
                | Self::Condition(_)
                | Self::Update(_, _, Rmw::Adc | Rmw::Sbb, _)
        )
    }

    /// Whether it makes a value.
    #[must_use]
    pub fn makes_value(&self) -> bool {
        self.is_pure()
            || matches!(
                self,
                Self::Linear { .. }
                    | Self::Load(..)
                    | Self::Open(..)
                    | Self::Update(..)
                    | Self::CompareExchange(..)
                    | Self::Vector(..)
            )
    }

    /// Whether it does nothing but make a value.
    #[must_use]
    pub fn is_pure(&self) -> bool {
        matches!(
            self,
            Self::Imm(_)
                | Self::Near(..)
                | Self::Get(..)
                | Self::Address { .. }
                | Self::Bin(..)
                | Self::Un(..)
                | Self::Truncate(..)
                | Self::SignExtend(..)
                | Self::Select(..)
                | Self::Pure(..)
                | Self::Flag(_)
                | Self::Flags
                | Self::Condition(_)
        )
    }
}

impl Setter {
    /// The values it uses.
    pub fn uses(&self, each: impl FnMut(Val)) {
        match *self {
            Self::Add { a, b, r } | Self::Sub { a, b, r } => [a, b, r].into_iter().for_each(each),
            Self::Shift { r, cf, of } => [r, cf, of].into_iter().for_each(each),
            Self::Rotate { cf, of } => [cf, of].into_iter().for_each(each),
            Self::Logic { r: a }
            | Self::Inc { r: a }
            | Self::Dec { r: a }
            | Self::One { value: a, .. }
            | Self::Masked { bits: a, .. }
            | Self::Compare { bits: a } => [a].into_iter().for_each(each),
        }
    }

    /// The flags that it sets.
    #[must_use]
    pub fn sets(&self) -> u64 {
        use trine_x86::rflags::{ARITHMETIC, CF, OF};
        match *self {
            Self::Inc { .. } | Self::Dec { .. } => ARITHMETIC & !CF,
            Self::Rotate { .. } => CF | OF,
            Self::One { flag, .. } => flag.bit(),
            Self::Masked { mask, .. } => mask & ARITHMETIC,
            _ => ARITHMETIC,
        }
    }
}

impl Bin {
    /// The result, of operands that have zeros above `w`.
    #[must_use]
    pub fn eval(self, w: Width, a: u64, b: u64) -> u64 {
        let bits = u64::from(w.bits());
        let signed = |v: u64| w.sign_extend(v).cast_signed();
        match self {
            Self::Add => a.wrapping_add(b) & w.mask(),
            Self::Sub => a.wrapping_sub(b) & w.mask(),
            Self::And => a & b,
            Self::Or => a | b,
            Self::Xor => a ^ b,
            Self::Shl if b < bits => a << b & w.mask(),
            Self::Shr if b < bits => a >> b,
            Self::Shl | Self::Shr => 0,
            Self::Sar => (signed(a) >> b.min(63)).cast_unsigned() & w.mask(),
            Self::Rol => a << b & w.mask() | a.checked_shr((bits - b) as u32).unwrap_or(0),
            Self::Mul => a.wrapping_mul(b) & w.mask(),
            Self::MulHighUnsigned => (u128::from(a) * u128::from(b) >> bits) as u64 & w.mask(),
            Self::MulHighSigned => {
                (i128::from(signed(a)) * i128::from(signed(b)) >> bits) as u64 & w.mask()
            }
            Self::Equal => u64::from(a == b),
            Self::Below => u64::from(a < b),
        }
    }
}

impl Un {
    /// The result, of an operand that has zeros above `w`.
    #[must_use]
    pub fn eval(self, w: Width, a: u64) -> u64 {
        match self {
            Self::Not => !a & w.mask(),
            Self::ByteSwap => a.swap_bytes() >> (64 - w.bits()),
            Self::CountOnes => u64::from(a.count_ones()),
            Self::LeadingZeros => u64::from(a.leading_zeros() - (64 - w.bits())),
            Self::TrailingZeros => u64::from(a.trailing_zeros().min(w.bits())),
        }
    }
}

/// The narrowest width that is known to hold a value of the operations of a step.
#[must_use]
pub fn width_of(ops: &[Op], v: Val) -> Width {
    let of = |v| width_of(ops, v);
    match ops[v.index()] {
        Op::Imm(value) => narrowest(value),
        Op::Near(w, _)
        | Op::Get(w, _)
        | Op::Load(w, _)
        | Op::Open(w, _)
        | Op::Update(w, ..)
        | Op::CompareExchange(w, ..)
        | Op::Truncate(w, _)
        | Op::SignExtend(_, w, _)
        | Op::Address { w, .. } => w,
        Op::Bin(Bin::Equal | Bin::Below, ..) => Width::W8,
        Op::Bin(_, w, ..) | Op::Un(Un::Not | Un::ByteSwap, w, _) => w,
        Op::Un(..) | Op::Flag(_) | Op::Condition(_) => Width::W8,
        Op::Select(_, a, b) => of(a).max(of(b)),
        Op::Flags | Op::X87(Part::Status | Part::Control) => Width::W16,
        _ => Width::W64,
    }
}

fn narrowest(value: u64) -> Width {
    match value {
        0..=0xff => Width::W8,
        0x100..=0xffff => Width::W16,
        0x1_0000..=0xffff_ffff => Width::W32,
        _ => Width::W64,
    }
}

/// Bits of flags that condition `cc` looks at.
#[must_use]
pub fn flags_of_condition(cc: u8) -> u64 {
    use trine_x86::rflags::{CF, OF, PF, SF, ZF};
    [OF, CF, ZF, CF | ZF, SF, PF, SF | OF, ZF | SF | OF][usize::from(cc >> 1 & 7)]
}
