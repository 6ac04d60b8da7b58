//! Events at which guest code leaves the fast path for the machine, counted by the instruction that
//! caused them: what a hypervisor would see as exits.
//!
//! Nobody counts unless asked to ([`crate::Core::tally`]). Reasons are counted exactly; of the
//! instructions the hottest are kept, in a table of bounded size.

use std::collections::HashMap;

use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
use serde::{Deserialize, Serialize};

use crate::{Core, Insn, Width, insn::slot, tlb::Class, vector};

/// Why guest code left the fast path: the names that statistics have for it in the software engines.
pub mod event {
    /// IN and INS.
    pub const IN: &str = "port in";
    /// OUT and OUTS.
    pub const OUT: &str = "port out";
    /// A load from an address that is not RAM.
    pub const MMIO_READ: &str = "mmio read";
    /// A store to an address that is not RAM.
    pub const MMIO_WRITE: &str = "mmio write";
    /// HLT and MWAIT.
    pub const HLT: &str = "hlt";
    /// CPUID.
    pub const CPUID: &str = "cpuid";
    /// RDTSC and RDTSCP.
    pub const RDTSC: &str = "rdtsc";
    /// RDMSR.
    pub const RDMSR: &str = "rdmsr";
    /// WRMSR.
    pub const WRMSR: &str = "wrmsr";
    /// MOV from a control register, SMSW.
    pub const CR_READ: &str = "cr read";
    /// MOV to a control register, LMSW, CLTS, XSETBV.
    pub const CR_WRITE: &str = "cr write";
    /// MOV from and to a debug register.
    pub const DR: &str = "debug register";
    /// INVLPG and INVPCID.
    pub const INVLPG: &str = "invlpg";
    /// WBINVD and INVD.
    pub const WBINVD: &str = "wbinvd";
    /// LGDT, LIDT, LLDT and LTR, and SGDT, SIDT, SLDT and STR.
    pub const TABLE: &str = "descriptor table";
    /// CLI, STI, POPF and PUSHF: they read or write the interrupt flag.
    pub const FLAGS: &str = "interrupt flag";
    /// VMCALL and VMMCALL.
    pub const HYPERCALL: &str = "hypercall";
    /// INT n, INT3, INTO and INT1.
    pub const SOFTWARE_INTERRUPT: &str = "int n";
    /// A page fault was delivered.
    pub const PAGE_FAULT: &str = "page fault";
    /// Any other exception was delivered.
    pub const EXCEPTION: &str = "exception";
    /// A maskable interrupt or an NMI was delivered; the instruction is the one before which it came.
    pub const INTERRUPT: &str = "interrupt";
}

/// How often something happened for one reason.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct EventCount {
    /// The reason: one of [`event`] in the software engines, the exit's name in KVM.
    pub reason: String,
    /// How often.
    pub count: u64,
    /// The instructions that caused most of them, the hottest first, at most [`Tally::TOP`].
    pub instructions: Vec<Cause>,
}

/// An instruction that caused events.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cause {
    /// Its RIP.
    pub rip: u64,
    /// As an assembler would write it; empty where its bytes could not be read.
    pub text: String,
    /// How many events it caused. Where more places caused events than the table holds, at least so
    /// many.
    pub count: u64,
}

impl EventCount {
    /// The sum of two lists, the most frequent reason first.
    #[must_use]
    pub fn merge(mut one: Vec<Self>, other: Vec<Self>) -> Vec<Self> {
        for more in other {
            let Some(sum) = one.iter_mut().find(|sum| sum.reason == more.reason) else {
                one.push(more);
                continue;
            };
            sum.count += more.count;
            for cause in more.instructions {
                match sum.instructions.iter_mut().find(|c| c.rip == cause.rip) {
                    Some(same) => {
                        same.count += cause.count;
                        if same.text.is_empty() {
                            same.text = cause.text;
                        }
                    }
                    None => sum.instructions.push(cause),
                }
            }
            sum.instructions.sort_by_key(|cause| (std::cmp::Reverse(cause.count), cause.rip));
            sum.instructions.truncate(Tally::TOP);
        }
        one.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.reason.cmp(&b.reason)));
        one
    }
}

/// An instruction and a reason.
struct Place {
    reason: u8,
    rip: u64,
    count: u64,
    text: String,
}

/// The counts of one vCPU. Any engine can use it.
#[derive(Default)]
pub struct Tally {
    /// Exact counts, by the reason's number.
    reasons: Vec<(&'static str, u64)>,
    places: Vec<Place>,
    /// Where each reason and RIP is in `places`, ...
    numbers: HashMap<(u8, u64), u32>,
    /// ... and where those are that came up lately, by a hash: mostly it is one of them.
    recent: Vec<u32>,
    /// RIP by the block's and the number in it, for instructions that do not know their own.
    rips: HashMap<(u64, u8), u64>,
    /// The start of the cold instruction that translated code is calling.
    pub at: Option<u64>,
    /// Nanoseconds spent on reading, decoding and translating guest code.
    pub making_ns: u64,
    clock: Option<fn() -> u64>,
}

impl Tally {
    /// Instructions listed for each reason.
    pub const TOP: usize = 8;
    /// Places that are kept, for all reasons together.
    const PLACES: usize = 4096;
    const RECENT_BITS: u32 = 8;

    /// Counts nothing yet. `clock` is the host's, in nanoseconds.
    #[must_use]
    pub fn new(clock: fn() -> u64) -> Self {
        Self { clock: Some(clock), ..Self::default() }
    }

    /// Something happened at RIP; `text` is asked for the instruction when it is new.
    pub fn note(&mut self, reason: &'static str, rip: u64, text: impl FnOnce() -> String) {
        let hash = (rip ^ (reason.as_ptr() as u64) << 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let recent = (hash >> (64 - Self::RECENT_BITS)) as usize;
        if let Some(number) = self.recent.get(recent)
            && let Some(place) = self.places.get_mut(*number as usize)
            && let Some((name, count)) = self.reasons.get_mut(usize::from(place.reason))
            && place.rip == rip
            && std::ptr::eq(*name, reason)
            && !place.text.is_empty()
        {
            *count += 1;
            place.count += 1;
            return;
        }
        let number = self.number_of(reason, rip);
        self.recent.resize(1 << Self::RECENT_BITS, 0);
        self.recent[recent] = number;
        let place = &mut self.places[number as usize];
        self.reasons[usize::from(place.reason)].1 += 1;
        place.count += 1;
        // A text that could not be had may be had later; but do not ask for ever.
        if place.text.is_empty() && place.count <= 4 {
            place.text = text();
        }
    }

    /// The number of a place, which may be new.
    fn number_of(&mut self, reason: &'static str, rip: u64) -> u32 {
        let known = self.reasons.iter().position(|(name, _)| *name == reason);
        let reason = known.unwrap_or_else(|| {
            self.reasons.push((reason, 0));
            self.reasons.len() - 1
        });
        let reason = reason as u8;
        if let Some(number) = self.numbers.get(&(reason, rip)) {
            return *number;
        }
        if self.places.len() >= Self::PLACES {
            self.forget_cold_places();
        }
        let number = self.places.len() as u32;
        self.places.push(Place { reason, rip, count: 0, text: String::new() });
        self.numbers.insert((reason, rip), number);
        number
    }

    /// Makes room: the less hot half goes.
    fn forget_cold_places(&mut self) {
        let half = Self::PLACES / 2;
        self.places.select_nth_unstable_by_key(half, |place| std::cmp::Reverse(place.count));
        self.places.truncate(half);
        let places = (0_u32..).zip(&self.places);
        self.numbers = places.map(|(n, place)| ((place.reason, place.rip), n)).collect();
    }

    /// The reasons, the most frequent first.
    #[must_use]
    pub fn counts(&self) -> Vec<EventCount> {
        let of = |(number, (reason, count)): (usize, &(&'static str, u64))| {
            let here = self.places.iter().filter(|place| usize::from(place.reason) == number);
            let mut instructions: Vec<Cause> =
                here.map(|p| Cause { rip: p.rip, text: p.text.clone(), count: p.count }).collect();
            instructions.sort_by_key(|cause| (std::cmp::Reverse(cause.count), cause.rip));
            instructions.truncate(Self::TOP);
            EventCount { reason: (*reason).into(), count: *count, instructions }
        };
        EventCount::merge(Vec::new(), self.reasons.iter().enumerate().map(of).collect())
    }
}

/// The instruction in `bytes` as an assembler would write it; `bits` is 16, 32 or 64. Empty if there
/// is none.
#[must_use]
pub fn disassemble(bytes: &[u8], bits: u32, rip: u64) -> String {
    let insn = Decoder::with_ip(bits, bytes, rip, DecoderOptions::NONE).decode();
    let mut text = String::new();
    if !insn.is_invalid() {
        let mut formatter = IntelFormatter::new();
        formatter.options_mut().set_hex_prefix("0x");
        formatter.options_mut().set_hex_suffix("");
        formatter.options_mut().set_space_after_operand_separator(true);
        formatter.format(&insn, &mut text);
    }
    text
}

impl Core {
    /// Counts a cold instruction, which is about to run; RIP is behind it.
    #[inline(always)]
    pub(crate) fn count_cold(&mut self, reason: &'static str, i: &Insn) {
        if self.tally.is_some() {
            let rip = self.rip.wrapping_sub(u64::from(i.len)) & self.ip_mask();
            self.count_at(reason, rip);
        }
    }

    /// Counts an event before the instruction at RIP, or in one that left no trace.
    pub(crate) fn count_here(&mut self, reason: &'static str) {
        if self.tally.is_some() {
            self.count_at(reason, self.rip);
        }
    }

    /// Counts the delivery of an exception.
    pub(crate) fn count_exception(&mut self, vector: u8) {
        let is_page_fault = vector == vector::PF;
        self.count_here(if is_page_fault { event::PAGE_FAULT } else { event::EXCEPTION });
    }

    /// Counts an access to what is not RAM, in the middle of an instruction.
    pub(crate) fn count_access(&mut self, reason: &'static str) {
        if let Some(tally) = &self.tally {
            let rip = tally.at.unwrap_or_else(|| self.rip_inside());
            self.count_at(reason, rip);
        }
    }

    #[cold]
    fn count_at(&mut self, reason: &'static str, rip: u64) {
        let Some(mut tally) = self.tally.take() else { return };
        tally.note(reason, rip, || self.text_at(rip));
        self.tally = Some(tally);
    }

    /// RIP of the instruction that is being executed: the block it is in is known, and its number
    /// there.
    fn rip_inside(&mut self) -> u64 {
        let block = self.regs[usize::from(slot::BLOCK_IP)];
        let key = (block, self.number);
        if let Some(rip) = self.tally.as_ref().and_then(|tally| tally.rips.get(&key)) {
            return *rip;
        }
        let mut rip = block;
        for _ in 0..self.number {
            let (bytes, len) = self.code_at(rip);
            let bits = self.code_bits();
            let options = DecoderOptions::NONE;
            let insn = Decoder::with_ip(bits, &bytes[..len], rip, options).decode();
            rip = insn.next_ip() & self.ip_mask();
        }
        if let Some(tally) = &mut self.tally {
            if tally.rips.len() >= Tally::PLACES {
                tally.rips.clear();
            }
            tally.rips.insert(key, rip);
        }
        rip
    }

    fn text_at(&self, rip: u64) -> String {
        let (bytes, len) = self.code_at(rip);
        disassemble(&bytes[..len], self.code_bits(), rip)
    }

    fn code_bits(&self) -> u32 {
        match self.mode.code() {
            Width::W64 => 64,
            Width::W32 => 32,
            _ => 16,
        }
    }

    /// Up to 15 bytes at RIP, as far as the TLB knows where they are; nothing changes.
    fn code_at(&self, rip: u64) -> ([u8; 15], usize) {
        let (mut bytes, mut len) = ([0; 15], 0);
        let class = if self.cpl == 3 { Class::User } else { Class::Supervisor };
        while len < bytes.len() {
            let lin = self.code_base.wrapping_add(rip).wrapping_add(len as u64);
            let lin = if self.mode.is_64() { lin } else { lin & 0xffff_ffff };
            let Some(offset) = self.tlb.fetches(class, lin) else { break };
            let here = (0x1000 - (lin & 0xfff) as usize).min(bytes.len() - len);
            self.ram.load_bytes(offset, &mut bytes[len..len + here]);
            len += here;
        }
        (bytes, len)
    }

    /// Work begins that makes something of guest code: when, if anybody counts.
    #[must_use]
    pub fn making_begins(&self) -> Option<u64> {
        self.tally.as_ref()?.clock.map(|clock| clock())
    }

    /// The work that began then has ended.
    pub fn making_ends(&mut self, began: Option<u64>) {
        if let (Some(began), Some(tally)) = (began, &mut self.tally)
            && let Some(clock) = tally.clock
        {
            tally.making_ns += clock().saturating_sub(began);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_exact_and_places_are_the_hottest() {
        let mut tally = Tally::default();
        for rip in 0..20_000_u64 {
            tally.note(event::OUT, rip, || "out dx, al".into());
            tally.note(event::CPUID, 7, || "cpuid".into());
        }
        let counts = tally.counts();
        assert_eq!((counts[0].count, counts[1].count), (20_000, 20_000));
        let cpuid = counts.iter().find(|c| c.reason == event::CPUID).expect("it was counted");
        let cause = Cause { rip: 7, text: "cpuid".into(), count: 20_000 };
        assert_eq!(cpuid.instructions, [cause]);
        assert!(tally.places.len() <= Tally::PLACES);
        assert!(counts.iter().all(|c| c.instructions.len() <= Tally::TOP));
    }

    #[test]
    fn lists_are_added_by_reason_and_by_place() {
        let cause = |rip, count| Cause { rip, text: "hlt".into(), count };
        let list = |causes: Vec<Cause>| {
            let count = causes.iter().map(|c| c.count).sum();
            vec![EventCount { reason: event::HLT.into(), count, instructions: causes }]
        };
        let sum = EventCount::merge(list(vec![cause(1, 5)]), list(vec![cause(2, 7), cause(1, 3)]));
        assert_eq!(sum, list(vec![cause(1, 8), cause(2, 7)]));
    }

    #[test]
    fn instructions_are_written_as_an_assembler_would() {
        assert_eq!(disassemble(&[0x0f, 0x01, 0x38], 64, 0), "invlpg [rax]");
        assert_eq!(disassemble(&[0x66, 0xe5, 0x61], 16, 0), "in eax, 0x61");
        assert_eq!(disassemble(&[], 32, 0), "");
    }
}
