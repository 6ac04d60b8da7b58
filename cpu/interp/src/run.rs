//! The run loop: what happens between blocks.

use std::sync::Arc;

use trine_engine::{
    Budget, Bus, CpuModel, CpuState, EngineError, EventCount, Exit, Kicker, Stats, Tally,
    TripleFault, Vcpu,
};
use trine_guest::{Gpa, Marked, Ram, VmTime};
use trine_x86::{
    Activity, BLOCK_BYTES, BLOCK_INSNS, Class, Core, Decoded, Decoder, Intent, Raised, Seg, Shadow,
    debugctl, dr6, dr7, is_canonical, rflags, slot, vector,
};

use crate::{
    block::{self, Block, Cache, Flow, Picked, Record, Span, code_address},
    exec::Exec,
    tier::{Above, Tier},
};

/// Instructions between two looks at the clock under [`Budget::Until`].
const TIME_SLICE: u64 = 20_000;

/// Instructions after which to look at least whether the vCPU was kicked.
const CHAIN: u64 = 1000;

/// A vCPU that interprets, except where its tier has something better.
pub struct InterpVcpu<T> {
    exec: Exec,
    tier: T,
    cache: Cache,
    decoder: Decoder,
    kicker: Kicker,
    /// The INTR pin when it was last sampled.
    interrupt: bool,
    /// The instruction that is executed once and then forgotten.
    scratch: Vec<Record>,
    /// The beginning of a block, when there is no room for the whole.
    part: Vec<Record>,
    /// What was picked for the block that is being decoded.
    picked: Vec<Picked>,
    blocks_entered: u64,
    blocks_made: u64,
    blocks_stale: u64,
    halts: u64,
}

/// Where the instruction at RIP lies.
enum Fetched {
    /// In a block of the cache.
    Block(u32),
    /// In `scratch`.
    Scratch,
}

impl<T: Tier> InterpVcpu<T> {
    /// vCPU `id` in the reset state; `tier` makes what stands above the interpreter.
    pub fn new(
        id: u32,
        model: &CpuModel,
        ram: Arc<Ram>,
        bus: Arc<dyn Bus>,
        tier: impl FnOnce(&mut Core, &Kicker) -> T,
    ) -> Self {
        let mut core = Core::new(id, model, ram, bus);
        let kicker = Kicker::default();
        Self {
            tier: tier(&mut core, &kicker),
            exec: Exec { core },
            cache: Cache::new(),
            decoder: Decoder::new(model),
            kicker,
            interrupt: false,
            scratch: Vec::new(),
            part: Vec::new(),
            picked: Vec::new(),
            blocks_entered: 0,
            blocks_made: 0,
            blocks_stale: 0,
            halts: 0,
        }
    }

    /// The CPU, between runs: for an engine that has this one do what it cannot.
    pub fn core_mut(&mut self) -> &mut Core {
        &mut self.exec.core
    }

    /// Runs until `end` instructions are retired in total.
    fn run_to(&mut self, end: u64) -> Result<Exit, TripleFault> {
        self.sample_pins();
        self.exec.core.count_stolen();
        loop {
            // A task switch that faulted in the new task, whose instruction has begun nowhere: it is
            // no part of a state, so no exit leaves it behind.
            self.exec.core.deliver_raised()?;
            if self.kicker.is_raised() {
                if self.kicker.take() {
                    return Ok(Exit::Kicked);
                }
                self.sample_pins();
            } else if self.interrupt {
                // A level that falls calls nobody; the guest may have raised its task priority.
                self.sample_pins();
            }
            // An idle CPU may be woken, and says so rather than that its budget is used up.
            if self.exec.core.retired >= end && self.exec.core.is_running() {
                return Ok(Exit::Budget);
            }
            self.take_events()?;
            if !self.exec.core.is_running() {
                self.halts += 1;
                return Ok(Exit::Halted);
            }
            if self.exec.core.retired >= end {
                return Ok(Exit::Budget);
            }
            if self.debug_trap_is_due() {
                // The delivery itself touched a data breakpoint. It counts as an instruction: with
                // such a breakpoint on the stack of #DB, nothing else would ever end a budget.
                self.exec.core.retired += 1;
                continue;
            }
            if self.is_special() {
                self.step()?;
            } else {
                self.run_blocks(end)?;
            }
        }
    }

    /// Runs blocks until something has to be looked at.
    fn run_blocks(&mut self, end: u64) -> Result<(), TripleFault> {
        while !self.kicker.is_raised() && self.exec.core.retired < end {
            let (mut limit, mut cold) = (end, true);
            match self.tier.run(&mut self.exec.core, end) {
                Above::Cold => {}
                Above::Ran => continue,
                Above::Ended => return Ok(()),
                Above::Faulted => return self.deliver_fault(),
                Above::Once => (limit, cold) = (self.exec.core.retired + 1, false),
            }
            let flow = match self.fetch() {
                Err(Raised { .. }) => Flow::Faulted,
                Ok(fetched) => {
                    if cold && self.warms(&fetched) {
                        continue;
                    }
                    self.execute(&fetched, limit)
                }
            };
            match flow {
                Flow::Branched => {}
                Flow::Ended => return Ok(()),
                Flow::Faulted => return self.deliver_fault(),
            }
        }
        Ok(())
    }

    /// Whether the tier now has something for the block that was fetched.
    #[inline(always)]
    fn warms(&mut self, fetched: &Fetched) -> bool {
        let heat = self.tier.heat();
        let Fetched::Block(id) = fetched else { return false };
        if heat == 0 {
            return false;
        }
        let Some(block) = self.cache.blocks.get_mut(*id as usize) else { return false };
        block.heat = block.heat.wrapping_add(1);
        if !block.heat.is_multiple_of(heat) {
            return false;
        }
        let offset = block.freshness.span.offset;
        let start = self.exec.core.making_begins();
        let has_code = self.tier.translate(&mut self.exec.core, &self.decoder, offset);
        self.exec.core.making_ends(start);
        has_code
    }

    /// Delivers the fault of an instruction. It counts as one: otherwise a handler that faults at
    /// its first instruction would stop time, where time is counted, and never use up a budget.
    fn deliver_fault(&mut self) -> Result<(), TripleFault> {
        self.exec.core.retired += 1;
        self.exec.core.deliver_raised()
    }

    /// Executes what was fetched, and blocks that follow it, until `end` instructions are retired at
    /// most; RIP is right afterwards.
    #[inline(always)]
    fn execute(&mut self, fetched: &Fetched, end: u64) -> Flow {
        let mut records = match fetched {
            Fetched::Block(id) => match self.cache.blocks.get(*id as usize) {
                Some(block) => &block.records[..],
                None => return Flow::Ended,
            },
            Fetched::Scratch => &self.scratch[..],
        };
        let x = &mut self.exec;
        x.core.leave_block = false;
        let room = end - x.core.retired;
        // A tier wants to be asked at each block.
        let chains_until = match self.tier.heat() {
            0 => x.core.retired + room.min(CHAIN),
            _ => 0,
        };
        if let Some(part) = records.get(..room as usize).filter(|part| part.len() < records.len()) {
            // Whoever looks at what a part of a block has done sees its flags.
            self.part.clear();
            self.part.extend(part.iter().map(Record::with_flags));
            records = &self.part;
        }
        let (mut blocks, mut last) = (0, None);
        let flow = loop {
            let Some(first) = records.first() else { break Flow::Ended };
            x.core.regs[usize::from(slot::BLOCK_IP)] = x.core.rip;
            let flow = (first.run)(x, records);
            x.core.number = 0;
            blocks += 1;
            if flow != Flow::Branched {
                break flow;
            }
            let Some(next) = self.cache.next(&x.core, last) else { break flow };
            if x.core.retired + next.records.len() as u64 > chains_until {
                break flow;
            }
            (records, last) = (&next.records, Some(next));
        };
        self.blocks_entered += blocks;
        flow
    }

    /// Whether the next instruction has to be executed alone.
    fn is_special(&self) -> bool {
        let core = &self.exec.core;
        core.system_flags & (rflags::TF | rflags::RF) != 0
            || core.events.shadow != Shadow::None
            || core.debug.dr7 & dr7::ENABLES != 0
    }

    /// One instruction, with all that may come before and after it.
    fn step(&mut self) -> Result<(), TripleFault> {
        let core = &mut self.exec.core;
        let (flags, shadow) = (core.system_flags, core.events.shadow);
        let pending = core.events.pending_debug;
        if flags & rflags::RF == 0 && shadow != Shadow::MovSs {
            let hit = instruction_breakpoints(core);
            if hit != 0 {
                core.raise(trine_x86::Exception { vector: vector::DB, code: None, payload: hit });
                return self.deliver_fault();
            }
        }
        let flow = match self.fetch() {
            Err(Raised { .. }) => Flow::Faulted,
            Ok(fetched) => {
                let core = &mut self.exec.core;
                core.events.shadow = Shadow::None;
                core.system_flags &= !rflags::RF;
                core.entered_handler = false;
                let end = core.retired + 1;
                let branches_only = core.msrs.debugctl & debugctl::BTF != 0;
                let behind = core.rip.wrapping_add(self.first_len(&fetched));
                let flow = self.execute(&fetched, end);
                let core = &mut self.exec.core;
                // MOV SS lets no single-step trap follow it (SDM vol. 3B, section 18.3.1.4).
                let traps = flags & rflags::TF != 0
                    && !core.entered_handler
                    && core.events.shadow != Shadow::MovSs
                    && !(branches_only && core.rip == behind);
                if flow != Flow::Faulted && traps {
                    core.events.pending_debug |= dr6::BS;
                }
                flow
            }
        };
        if flow == Flow::Faulted {
            let core = &mut self.exec.core;
            core.system_flags |= flags & rflags::RF;
            // It will touch its data again.
            core.events.pending_debug = pending;
            return self.deliver_fault();
        }
        Ok(())
    }

    /// Bytes of the first instruction of what was fetched.
    fn first_len(&self, fetched: &Fetched) -> u64 {
        let records = match fetched {
            Fetched::Block(id) => self.cache.blocks.get(*id as usize).map(|b| &b.records[..]),
            Fetched::Scratch => Some(&self.scratch[..]),
        };
        records.and_then(|r| r.first()).map_or(0, |record| u64::from(record.insn.len))
    }

    fn debug_trap_is_due(&self) -> bool {
        let events = &self.exec.core.events;
        events.pending_debug != 0 && events.shadow != Shadow::MovSs
    }

    /// Debug traps, NMIs and interrupts that are due at this boundary.
    fn take_events(&mut self) -> Result<(), TripleFault> {
        if self.debug_trap_is_due() {
            let core = &mut self.exec.core;
            let bits = std::mem::take(&mut core.events.pending_debug);
            core.trap_debug(bits)?;
        }
        let core = &mut self.exec.core;
        let asleep = matches!(core.events.activity, Activity::WaitForStartup | Activity::Shutdown);
        if asleep {
            return Ok(());
        }
        // After STI too: the manual leaves it to the CPU (SDM vol. 3A, section 7.8.3; vol. 2, STI).
        let nmi = core.events.nmi_pending && !core.events.nmi_blocked;
        if nmi && core.events.shadow == Shadow::None {
            core.events.nmi_pending = false;
            return core.deliver_nmi();
        }
        let enabled = core.system_flags & rflags::IF != 0 && core.events.shadow == Shadow::None;
        if self.interrupt && enabled {
            let by = core.access();
            let delivered = match core.bus.acknowledge_interrupt(by) {
                Some(vector) => core.deliver_interrupt(vector),
                None => Ok(()),
            };
            // A guest that is never idle hears of stolen time at its ticks, where it asks.
            core.count_stolen();
            // The whole of the pins: a look at them takes their edges.
            self.sample_pins();
            return delivered;
        }
        Ok(())
    }

    /// Looks at the pins, and does at once what the edges on them ask for.
    fn sample_pins(&mut self) {
        let core = &mut self.exec.core;
        let pins = core.bus.pins(core.access());
        // Behind the pins: who remaps memory and then calls has this CPU see both.
        core.follow_map();
        core.set_a20_masked(pins.a20_masked);
        core.hear_of_tscs(pins.tscs_differ, pins.tscs_changed);
        if pins.init {
            core.init();
        }
        if let (Some(vector), Activity::WaitForStartup) = (pins.startup, core.events.activity) {
            core.startup(vector);
        }
        core.events.nmi_pending |= pins.nmi;
        self.interrupt = pins.interrupt;
    }

    /// Finds or decodes the block at RIP.
    #[inline(always)]
    fn fetch(&mut self) -> Result<Fetched, Raised> {
        match self.cache.recent_id(&self.exec.core) {
            Some(id) => Ok(Fetched::Block(id)),
            None => self.fetch_slow(),
        }
    }

    #[cold]
    #[inline(never)]
    fn fetch_slow(&mut self) -> Result<Fetched, Raised> {
        let core = &mut self.exec.core;
        if let Some(id) = self.cache.recent_if_fresh(core) {
            return Ok(Fetched::Block(id));
        }
        let lin = code_address(core);
        let class = if core.cpl == 3 { Class::User } else { Class::Supervisor };
        let window = code_window(core, lin)?;
        let at = core.translate(class, lin, Intent::Fetch)?;
        let Some(spot) = core.ram.spot(at) else {
            return self.fetch_from_bus(class, lin, window);
        };
        let mode = core.mode;
        if let Some(id) = self.cache.find(spot.offset, mode) {
            let block = &mut self.cache.blocks[id as usize];
            let rest = match block.freshness.span.rest {
                None => None,
                Some(_) => second_page(core, class, lin, block.len()).unwrap_or_else(|_| {
                    // If the instruction still reaches there, decoding it will say so again.
                    core.raised = None;
                    None
                }),
            };
            if rest == block.freshness.span.rest && block.len() as u64 <= window {
                if block.is_fresh(&core.ram) {
                    self.cache.remember(core, id);
                    return Ok(Fetched::Block(id));
                }
                self.blocks_stale += 1;
            }
        }
        let start = self.exec.core.making_begins();
        let decoded = self.decode(class, lin, spot.offset, window);
        self.exec.core.making_ends(start);
        decoded
    }

    /// Decodes a block at `offset` in RAM and keeps it.
    fn decode(
        &mut self,
        class: Class,
        lin: u64,
        offset: u64,
        window: u64,
    ) -> Result<Fetched, Raised> {
        let in_page = (0x1000 - (lin & 0xfff)).min(window).min(BLOCK_BYTES as u64) as usize;
        let span = Span { offset, rest: None };
        if let Some(block) = self.decode_span(span, in_page, BLOCK_INSNS)? {
            return Ok(self.keep(block));
        }
        // The first instruction reaches into the next page, or beyond the segment's limit.
        let core = &mut self.exec.core;
        let limit = window.min(15) as usize;
        if in_page >= limit {
            return Err(core.gp(0));
        }
        let Some(rest) = second_page(core, class, lin, in_page + 1)? else {
            return self.fetch_from_bus(class, lin, window);
        };
        match self.decode_span(Span { offset, rest: Some(rest) }, limit, 1)? {
            Some(block) => Ok(self.keep(block)),
            None => Err(self.exec.core.gp(0)),
        }
    }

    /// A block of at most so many instructions of what lies in `len` bytes at `span`; `None` if the
    /// first instruction is incomplete there.
    ///
    /// Only what was decoded is marked as code, so bytes are read to see how much that is, and again
    /// once it is marked: a store in between has not been counted.
    fn decode_span(
        &mut self,
        span: Span,
        len: usize,
        most: usize,
    ) -> Result<Option<Block>, Raised> {
        let mut bytes = [0; BLOCK_BYTES + 16];
        loop {
            let versions = block::versions(&self.exec.core.ram, span);
            block::read(&self.exec.core.ram, span, &mut bytes[..len]);
            let (records, used) = self.decode_records(&bytes[..len], most)?;
            if records.is_empty() {
                return Ok(None);
            }
            let used = &bytes[..used];
            // At some time all granules are marked, and nothing is new.
            if !self.mark_code(span, used.len()) || block::holds(&self.exec.core.ram, span, used) {
                return Ok(Some(Block::new(records, span, versions, used)));
            }
        }
    }

    /// Marks `len` bytes at `span` as code; returns whether something is new.
    fn mark_code(&mut self, span: Span, len: usize) -> bool {
        let first = span.first(len);
        let mut is_new = false;
        for (offset, len) in [(span.offset, first), (span.rest.unwrap_or(0), len - first)] {
            if len != 0 {
                let marked = self.exec.core.mark_code(offset, len as u64);
                if marked != Marked::Already {
                    self.tier.code_is_marked(&mut self.exec.core, offset, marked);
                    is_new = true;
                }
            }
        }
        is_new
    }

    fn keep(&mut self, block: Block) -> Fetched {
        self.blocks_made += 1;
        let id = self.cache.keep(block, self.exec.core.mode);
        self.cache.remember(&self.exec.core, id);
        Fetched::Block(id)
    }

    /// Decodes what `bytes` hold, up to the end of a block; returns the records and how many bytes
    /// they take. None, if the first instruction is incomplete.
    fn decode_records(
        &mut self,
        bytes: &[u8],
        most: usize,
    ) -> Result<(Vec<Record>, usize), Raised> {
        let core = &mut self.exec.core;
        let (mut records, mut len) = (Vec::with_capacity(8), 0);
        self.picked.clear();
        while records.len() < most && len < bytes.len() {
            let mut insn = match self.decoder.decode(&bytes[len..], core.mode, core.rip, len) {
                Decoded::Insn(insn) => insn,
                Decoded::Incomplete => break,
                // Faults belong to the instruction; those before it come first.
                _ if !records.is_empty() => break,
                Decoded::Invalid => return Err(core.ud()),
                Decoded::TooLong => return Err(core.gp(0)),
            };
            insn.number = records.len() as u8;
            len += usize::from(insn.len);
            let picked = Picked::of(&insn);
            let (run, ends) = (picked.run, picked.ends);
            records.push(Record { insn, run });
            self.picked.push(picked);
            if ends {
                break;
            }
        }
        block::mute(&mut records, &self.picked);
        Ok((records, len))
    }

    /// Decodes one instruction from memory that is not RAM (or only partly), byte by byte.
    #[cold]
    fn fetch_from_bus(&mut self, class: Class, lin: u64, window: u64) -> Result<Fetched, Raised> {
        let (mut bytes, mut len) = ([0; 15], 0);
        loop {
            let core = &mut self.exec.core;
            if len as u64 >= window {
                return Err(core.gp(0));
            }
            let mask = if core.mode.is_64() { u64::MAX } else { 0xffff_ffff };
            let next = lin.wrapping_add(len as u64) & mask;
            let at = core.translate(class, next, Intent::Fetch)?;
            match core.ram.spot(at) {
                Some(spot) => bytes[len] = core.ram.load(spot.offset),
                None => {
                    bytes[len] = 0xff;
                    core.bus.mmio_read(core.access(), at, &mut bytes[len..=len]);
                }
            }
            len += 1;
            let (records, _) = self.decode_records(&bytes[..len], 1)?;
            if !records.is_empty() {
                self.scratch = records;
                return Ok(Fetched::Scratch);
            }
        }
    }
}

/// How many bytes may be fetched from RIP on before CS or the address space ends, at least 1.
fn code_window(core: &mut Core, lin: u64) -> Result<u64, Raised> {
    if core.mode.is_64() {
        let bits = core.linear_bits();
        if !is_canonical(lin, bits) {
            return Err(core.gp(0));
        }
        let end = 1_u64 << (bits - 1);
        return Ok(if lin < end { end - lin } else { u64::MAX });
    }
    let limit = u64::from(core.segments.seg[Seg::Cs as usize].limit);
    match (limit + 1).checked_sub(core.rip) {
        None | Some(0) => Err(core.gp(0)),
        Some(left) => Ok(left),
    }
}

/// Offset in RAM of the page behind that of `lin`, if `len` bytes reach it; `None` if it is not RAM.
fn second_page(core: &mut Core, class: Class, lin: u64, len: usize) -> Result<Option<u64>, Raised> {
    let mut next = lin.wrapping_add(len as u64 - 1) & !0xfff;
    if !core.mode.is_64() {
        next &= 0xffff_ffff;
    }
    let at = core.translate(class, next, Intent::Fetch)?;
    Ok(core.ram.spot(at).map(|spot| spot.offset))
}

/// Bits of DR6 for the instruction breakpoints at RIP (SDM vol. 3B, section 18.3.1.1).
fn instruction_breakpoints(core: &Core) -> u64 {
    let dr7 = core.debug.dr7;
    let lin = code_address(core);
    (0..4)
        .filter(|n| {
            let enabled = dr7 >> (2 * n) & 3 != 0;
            let execute = dr7 >> (16 + 4 * n) & 15 == 0;
            enabled && execute && core.debug.address[*n as usize] == lin
        })
        .fold(0, |hit, n| hit | 1 << n)
}

impl<T: Tier> Vcpu for InterpVcpu<T> {
    fn run(&mut self, budget: Budget) -> Result<Exit, EngineError> {
        self.tier.begin(&mut self.exec.core);
        let start = self.exec.core.retired;
        let exit = match budget {
            Budget::Instructions(n) => self.run_to(start.saturating_add(n.get())),
            Budget::Unlimited => self.run_to(u64::MAX),
            Budget::Until(time) => self.run_until(time),
        };
        Ok(exit.unwrap_or_else(|fault| Exit::TripleFault(Box::new(fault))))
    }

    fn state(&mut self) -> Result<CpuState, EngineError> {
        Ok(self.exec.core.state())
    }

    fn set_state(&mut self, state: &CpuState) -> Result<(), EngineError> {
        self.exec.core.set_state(state);
        Ok(())
    }

    fn kicker(&self) -> Kicker {
        self.kicker.clone()
    }

    fn ram_changed(&mut self, _at: Gpa, _len: u64) {
        // Page versions tell of contents, and an epoch of the map: this is for who trusts nothing.
        self.exec.core.flush_tlb();
        self.cache.clear();
        self.tier.clear(&mut self.exec.core);
    }

    fn retired(&self) -> u64 {
        self.exec.core.retired
    }

    fn stats(&self) -> Stats {
        let c = &self.exec.core.counters;
        let stats = Stats {
            instructions: self.exec.core.retired,
            blocks_entered: self.blocks_entered,
            blocks_made: self.blocks_made,
            blocks_stale: self.blocks_stale,
            tlb_misses: c.tlb_misses,
            tlb_flushes: c.tlb_flushes,
            exceptions: c.exceptions,
            interrupts: c.interrupts,
            mmio: c.mmio,
            port_io: c.port_io,
            halts: self.halts,
            making_ns: self.exec.core.tally.as_ref().map_or(0, |tally| tally.making_ns),
            ..Stats::default()
        };
        self.tier.stats(stats)
    }

    fn count_events(&mut self, clock: fn() -> u64) {
        self.exec.core.tally = Some(Box::new(Tally::new(clock)));
    }

    fn events(&self) -> Vec<EventCount> {
        self.exec.core.tally.as_ref().map_or_else(Vec::new, |tally| tally.counts())
    }
}

impl<T: Tier> InterpVcpu<T> {
    fn run_until(&mut self, time: VmTime) -> Result<Exit, TripleFault> {
        loop {
            let core = &self.exec.core;
            if core.now() >= time {
                return Ok(Exit::Budget);
            }
            let end = core.retired.saturating_add(TIME_SLICE);
            let exit = self.run_to(end)?;
            if exit != Exit::Budget {
                return Ok(exit);
            }
        }
    }
}
