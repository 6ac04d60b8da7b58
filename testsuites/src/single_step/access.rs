//! Where an instruction reaches beyond the end of its segment, FFFFh: the old CPUs go on at 0 (the
//! 8086) or raise #GP (the 80286), a modern one raises #SS for the stack segment and #GP for others.
//!
//! Source: SDM vol. 3B, section 23.35 (segment wraparound); vol. 2, the instructions' pages.

use iced_x86::{InstructionInfoFactory, Register, UsedMemory};

use super::case::{AX, BP, BX, CX, Case, DI, DX, SI, SP};

/// #SS.
pub const SS_FAULT: u8 = 12;
/// #GP.
pub const GP_FAULT: u8 = 13;

/// Bytes in memory that an instruction touches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// Through which segment register.
    pub segment: Register,
    /// The offset of the first byte.
    pub offset: u16,
    /// How many bytes, 1 to 4.
    pub size: u16,
}

impl Access {
    /// The fault that it raises on a modern CPU.
    pub fn fault(&self) -> Option<u8> {
        let beyond = u32::from(self.offset) + u32::from(self.size) > 0x1_0000;
        beyond.then_some(if self.segment == Register::SS { SS_FAULT } else { GP_FAULT })
    }
}

/// The value of a 16- or 8-bit register before the test.
pub fn register(case: &Case<'_>, register: Register) -> u16 {
    let places = [AX, CX, DX, BX, SP, BP, SI, DI];
    let Some(place) = places.get(register.full_register32().number()) else { return 0 };
    let value = case.regs[*place];
    match register {
        Register::None => 0,
        Register::AH | Register::CH | Register::DH | Register::BH => value >> 8,
        _ if register.size() == 1 => value & 0xff,
        _ => value,
    }
}

fn access(case: &Case<'_>, memory: &UsedMemory) -> Access {
    let index = register(case, memory.index()).wrapping_mul(memory.scale() as u16);
    let sum = register(case, memory.base()).wrapping_add(index);
    let offset = sum.wrapping_add(memory.displacement() as u16);
    Access { segment: memory.segment(), offset, size: memory.memory_size().size() as u16 }
}

/// What an instruction touches if it is no string instruction.
pub fn accesses(case: &Case<'_>) -> Vec<Access> {
    let mut info = InstructionInfoFactory::new();
    let used = info.info(&case.insn).used_memory();
    used.iter().map(|memory| access(case, memory)).collect()
}

/// The first fault of an instruction that is no string instruction.
pub fn first_fault(case: &Case<'_>) -> Option<u8> {
    accesses(case).iter().find_map(Access::fault)
}

/// The value of the operand that a `ModR/M` byte names, before the test: 8 or 16 bits by the
/// opcode's lowest bit.
pub fn operand(case: &Case<'_>) -> u16 {
    let wide = case.opcode & 1 != 0;
    match accesses(case).first() {
        None => register(case, case.insn.op0_register()),
        Some(a) => {
            let segment = case.segment(a.segment);
            let byte = |n: u16| case.byte(case.address(segment, a.offset.wrapping_add(n)));
            u16::from_le_bytes([byte(0), if wide { byte(1) } else { 0 }])
        }
    }
}
