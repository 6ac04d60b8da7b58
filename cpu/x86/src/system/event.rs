//! Delivery of exceptions, interrupts and NMIs, up to double and triple fault.
//!
//! Source: SDM vol. 3A, chapter 7; table 7-5 for the double fault; vol. 3B, section 18.3 for #DB.

use crate::{
    Core, Exception, Raised, TripleFault, debugctl, dr7, rflags,
    state::{Activity, Shadow},
    system::descriptor::EXT,
    tally::event,
    vector,
};

/// What an event is to the gate that it goes through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cause {
    /// An exception that the faulting instruction is to be restarted after.
    Fault,
    /// An exception reported between instructions, or an abort.
    Trap,
    /// A hardware interrupt or an NMI.
    External,
    /// INT n, INT3, INTO: the gate's DPL counts.
    Software,
    /// INT1: like [`Cause::Software`], but it passes for an exception.
    Icebp,
}

/// An event on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub vector: u8,
    pub code: Option<u32>,
    pub cause: Cause,
}

impl Event {
    /// Whether it is the doing of an INT instruction.
    pub fn is_instruction(&self) -> bool {
        matches!(self.cause, Cause::Software | Cause::Icebp)
    }

    /// The EXT bit of the error code of what goes wrong in its delivery.
    pub fn ext(&self) -> u32 {
        if self.cause == Cause::Software { 0 } else { EXT }
    }
}

/// How exceptions add up (SDM vol. 3A, table 7-4).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Severity {
    Benign,
    Contributory,
    PageFault,
    DoubleFault,
}

fn severity(event: &Event) -> Severity {
    if !matches!(event.cause, Cause::Fault | Cause::Trap) {
        return Severity::Benign;
    }
    match event.vector {
        vector::DE | vector::TS..=vector::GP | vector::CP => Severity::Contributory,
        vector::PF => Severity::PageFault,
        vector::DF => Severity::DoubleFault,
        _ => Severity::Benign,
    }
}

impl Core {
    /// Delivers the exception in [`Core::raised`]. RIP is the start of the instruction that raised
    /// it.
    ///
    /// # Errors
    /// If it ends in a triple fault: the CPU is then in shutdown.
    pub fn deliver_raised(&mut self) -> Result<(), TripleFault> {
        let Some(exception) = self.raised.take() else { return Ok(()) };
        self.deliver_exception(exception, Vec::new())
    }

    /// Delivers a maskable interrupt.
    ///
    /// # Errors
    /// As [`Core::deliver_raised`].
    pub fn deliver_interrupt(&mut self, vector: u8) -> Result<(), TripleFault> {
        self.counters.interrupts += 1;
        self.count_here(event::INTERRUPT);
        self.deliver_first(Event { vector, code: None, cause: Cause::External })
    }

    /// Delivers a non-maskable interrupt; further ones wait for IRET.
    ///
    /// # Errors
    /// As [`Core::deliver_raised`].
    pub fn deliver_nmi(&mut self) -> Result<(), TripleFault> {
        self.events.nmi_blocked = true;
        self.count_here(event::INTERRUPT);
        self.deliver_first(Event { vector: vector::NMI, code: None, cause: Cause::External })
    }

    /// Delivers a #DB trap at an instruction boundary; `bits` are those of DR6.
    ///
    /// # Errors
    /// As [`Core::deliver_raised`].
    pub fn trap_debug(&mut self, bits: u64) -> Result<(), TripleFault> {
        self.counters.exceptions += 1;
        self.count_exception(vector::DB);
        self.note_debug(bits);
        let event = Event { vector: vector::DB, code: None, cause: Cause::Trap };
        let chain = vec![Exception { vector: vector::DB, code: None, payload: bits }];
        match self.deliver(&event) {
            Ok(()) => self.delivered(),
            Err(raised) => self.deliver_next(event, raised, chain),
        }
    }

    fn deliver_first(&mut self, event: Event) -> Result<(), TripleFault> {
        match self.deliver(&event) {
            Ok(()) => self.delivered(),
            Err(raised) => {
                let first = Exception { vector: event.vector, code: None, payload: 0 };
                self.deliver_next(event, raised, vec![first])
            }
        }
    }

    /// Delivers `exception`, and what its delivery raises, until one gets through.
    fn deliver_exception(
        &mut self,
        exception: Exception,
        mut chain: Vec<Exception>,
    ) -> Result<(), TripleFault> {
        self.counters.exceptions += 1;
        self.count_exception(exception.vector);
        chain.push(exception);
        let event = self.announce(&exception);
        match self.deliver(&event) {
            Ok(()) => self.delivered(),
            Err(raised) => self.deliver_next(event, raised, chain),
        }
    }

    /// `event` could not be delivered. What was raised takes its place, or the two become a double
    /// fault, or it is over.
    fn deliver_next(
        &mut self,
        event: Event,
        _: Raised,
        mut chain: Vec<Exception>,
    ) -> Result<(), TripleFault> {
        use Severity::{Benign, Contributory, DoubleFault, PageFault};
        let mut first = event;
        loop {
            let Some(second) = self.raised.take() else { return self.delivered() };
            let second_event = Event { vector: second.vector, code: None, cause: Cause::Fault };
            let next = match (severity(&first), severity(&second_event)) {
                (DoubleFault, Contributory | PageFault | DoubleFault) => {
                    chain.push(second);
                    return Err(self.shut_down(chain));
                }
                (Contributory, Contributory) | (PageFault, Contributory | PageFault) => {
                    chain.push(second);
                    Exception { vector: vector::DF, code: Some(0), payload: 0 }
                }
                (Benign | Contributory | PageFault | DoubleFault, _) => second,
            };
            // A serial chain ends too: benign exceptions cannot follow each other for ever unless
            // each delivery raises another one, and hardware would then hang.
            if chain.len() > 64 {
                return Err(self.shut_down(chain));
            }
            self.counters.exceptions += 1;
            self.count_exception(next.vector);
            chain.push(next);
            first = self.announce(&next);
            match self.deliver(&first) {
                Ok(()) => return self.delivered(),
                Err(_) => continue,
            }
        }
    }

    /// What an exception changes before its handler is looked for: CR2, DR6 and DR7.
    fn announce(&mut self, exception: &Exception) -> Event {
        let cause = match exception.vector {
            // An instruction breakpoint is a fault, but its handler sets RF by itself.
            vector::DB if exception.payload & 0xf != 0 => Cause::Trap,
            vector::BP | vector::OF | vector::DF | vector::MC => Cause::Trap,
            _ => Cause::Fault,
        };
        match exception.vector {
            vector::PF => self.control.cr2 = exception.payload,
            vector::DB => self.note_debug(exception.payload),
            _ => {}
        }
        Event { vector: exception.vector, code: exception.code, cause }
    }

    /// Records a debug exception in DR6 and ends what it ends.
    pub(crate) fn note_debug(&mut self, bits: u64) {
        self.debug.dr6 = self.debug.dr6 & !0xf | bits & 0xe00f;
        self.debug.dr7 &= !dr7::GD;
        self.msrs.debugctl &= !(debugctl::LBR | debugctl::BTF);
    }

    fn delivered(&mut self) -> Result<(), TripleFault> {
        self.events.activity = Activity::Running;
        self.events.shadow = Shadow::None;
        self.raised = None;
        Ok(())
    }

    fn shut_down(&mut self, chain: Vec<Exception>) -> TripleFault {
        self.events.activity = Activity::Shutdown;
        self.events.shadow = Shadow::None;
        self.raised = None;
        TripleFault {
            chain,
            cs: self.segments.seg[crate::Seg::Cs as usize].selector,
            rip: self.rip,
            rsp: self.regs[4],
            cr2: self.control.cr2,
        }
    }

    /// Sends one event through the interrupt table. On an error nothing has changed but memory
    /// below a stack pointer.
    ///
    /// # Errors
    /// What the delivery raises.
    pub(crate) fn deliver(&mut self, event: &Event) -> Result<(), Raised> {
        if self.protected_enabled() {
            self.deliver_through_gate(event)
        } else {
            self.deliver_real(event.vector)
        }
    }

    /// The flags that an event pushes (SDM vol. 3B, section 18.3.1.1).
    pub(crate) fn pushed_flags(&self, event: &Event) -> u64 {
        let flags = self.rflags();
        match event.cause {
            Cause::Fault => flags | rflags::RF,
            // Between the iterations of a string instruction it is set.
            Cause::External => flags,
            Cause::Trap if event.vector == vector::DB => flags,
            Cause::Trap | Cause::Software | Cause::Icebp => flags & !rflags::RF,
        }
    }
}
