//! A bus and the functions on it as one chip, for tests that treat chips alike.

use std::cell::RefCell;

use trine_guest::VmTime;

use crate::{Cx, Device, LoadError, Mmio, PciBus, PciFunction, Ports, Saved, Slot, Timed};

/// All of a bus. Its ports are those of [`PciBus`]. Its window has the regions of the BARs, wherever
/// the guest has mapped them: bits 31 to 24 of an offset are device and function, bits 23 to 20 the
/// BAR, the rest is the offset in the region.
pub(crate) struct Seated {
    /// To ask for a clockwork takes a function that can be changed.
    bus: RefCell<PciBus>,
}

impl Seated {
    /// Function 0 of devices 0, 1 and so on.
    pub(crate) fn new(functions: Vec<Box<dyn PciFunction>>) -> Self {
        let mut all = Self { bus: RefCell::default() };
        for (device, function) in functions.into_iter().enumerate() {
            all.add(Slot::new(device as u8, 0).expect("there is room"), function);
        }
        all
    }

    pub(crate) fn add(&mut self, slot: Slot, function: Box<dyn PciFunction>) {
        self.bus().add(slot, function);
    }

    /// Where BAR `bar` of function 0 of `device` lies in the window.
    pub(crate) fn region(device: u8, bar: u8) -> u64 {
        u64::from(device) << 27 | u64::from(bar) << 20
    }

    pub(crate) fn bus(&mut self) -> &mut PciBus {
        self.bus.get_mut()
    }

    fn functions(&mut self) -> impl Iterator<Item = &mut Box<dyn PciFunction>> {
        self.bus().functions.values_mut()
    }

    /// The function's slot, its BAR and the offset there that `offset` in the window means.
    fn target(&mut self, offset: u64) -> Option<((Slot, u8), u64)> {
        let slot = Slot::of_devfn((offset >> 24) as u8);
        let bar = (offset >> 20 & 15) as u8;
        self.bus().function(slot)?.config().bar(usize::from(bar))?;
        Some(((slot, bar), offset & 0xf_ffff))
    }
}

impl Device for Seated {
    fn name(&self) -> &'static str {
        "seated"
    }

    fn reset(&mut self, cx: &mut Cx<'_>) {
        self.bus().reset(cx);
        self.functions().for_each(|f| f.reset(cx));
    }

    fn save(&self) -> Saved {
        let bus = self.bus.borrow();
        let functions = bus.functions.values().map(|f| f.save());
        let all: Vec<Saved> = std::iter::once(bus.save()).chain(functions).collect();
        Saved::pack(self.name(), &all)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        let all: Vec<Saved> = saved.unpack(self.name())?;
        let [bus, functions @ ..] = &all[..] else {
            return Err(LoadError::Damaged { device: self.name(), reason: "no bus".into() });
        };
        if functions.len() != self.functions().count() {
            return Err(LoadError::Damaged { device: self.name(), reason: "another bus".into() });
        }
        let before: Vec<Saved> = self.functions().map(|f| f.save()).collect();
        let loaded = self.functions().zip(functions).try_for_each(|(f, saved)| f.load(saved));
        if let Err(e) = loaded.and_then(|()| self.bus().load(bus)) {
            self.functions().zip(&before).try_for_each(|(f, saved)| f.load(saved))?;
            return Err(e);
        }
        Ok(())
    }

    fn as_ports(&mut self) -> Option<&mut dyn Ports> {
        Some(self.bus())
    }

    fn as_mmio(&mut self) -> Option<&mut dyn Mmio> {
        Some(self)
    }

    fn as_timed(&mut self) -> Option<&mut dyn Timed> {
        Some(self)
    }
}

impl Mmio for Seated {
    fn mmio_read(&mut self, cx: &mut Cx<'_>, offset: u64, data: &mut [u8]) {
        if let Some((region, offset)) = self.target(offset) {
            self.bus().region_read(cx, region, offset, data);
        }
    }

    fn mmio_write(&mut self, cx: &mut Cx<'_>, offset: u64, data: &[u8]) {
        if let Some((region, offset)) = self.target(offset) {
            self.bus().region_write(cx, region, offset, data);
        }
    }
}

impl Timed for Seated {
    fn next_event(&self) -> Option<VmTime> {
        let mut bus = self.bus.borrow_mut();
        bus.functions.values_mut().filter_map(|f| f.as_timed()?.next_event()).min()
    }

    fn advance(&mut self, cx: &mut Cx<'_>) {
        self.functions().filter_map(|f| f.as_timed()).for_each(|timed| timed.advance(cx));
    }
}
