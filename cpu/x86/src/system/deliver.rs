//! Placeholder until event delivery lands.
use crate::{Core, TripleFault};

#[expect(missing_docs, reason = "placeholder")]
impl Core {
    pub fn deliver_raised(&mut self) -> Result<(), TripleFault> {
        let e = self.raised.take();
        Err(TripleFault { chain: e.into_iter().collect(), rip: self.rip, ..Default::default() })
    }
    pub fn deliver_interrupt(&mut self, _vector: u8) -> Result<(), TripleFault> {
        Err(TripleFault::default())
    }
    pub fn deliver_nmi(&mut self) -> Result<(), TripleFault> {
        Err(TripleFault::default())
    }
    pub fn trap_debug(&mut self, _bits: u64) -> Result<(), TripleFault> {
        Err(TripleFault::default())
    }
    pub fn init(&mut self) {}
    pub fn startup(&mut self, _vector: u8) {}
}
