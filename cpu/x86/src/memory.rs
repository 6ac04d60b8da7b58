//! Data accesses: through the software TLB, else by a walk, to RAM or to the bus.
//!
//! The inlined parts are what a hit costs: one comparison, one addition, the access. Everything
//! else, page crossings and MMIO included, is out of line.

use trine_guest::Gpa;

use crate::{
    Core, Raised, Seg, Width,
    paging::Intent,
    segment::is_canonical,
    tally::event,
    tlb::{Class, Entry},
};

/// A place in memory that was proved writable.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// At this offset in RAM, within a page.
    Ram(u64),
    /// In guest physical space: not plain RAM, or (if `rest` is not `None`) across two pages, of
    /// which the second starts at `rest` and gets all but the first `first` bytes.
    Physical {
        /// The first byte.
        at: Gpa,
        /// Bytes in the first page.
        first: u8,
        /// The second page.
        rest: Gpa,
    },
}

impl Core {
    /// The offset in RAM of `size` bytes at `lin`, if the TLB lets `class` read them there.
    #[inline(always)]
    #[must_use]
    pub fn readable(&self, class: Class, lin: u64, size: u64) -> Option<u64> {
        let Entry { read, addend, .. } = *self.tlb.entry(class, lin);
        let hits = lin.wrapping_add(size - 1) & !0xfff == read;
        hits.then_some(lin.wrapping_add(addend))
    }

    /// The offset in RAM of `size` bytes at `lin`, if the TLB lets `class` write them there.
    #[inline(always)]
    #[must_use]
    pub fn writable(&self, class: Class, lin: u64, size: u64) -> Option<u64> {
        let Entry { write, addend, .. } = *self.tlb.entry(class, lin);
        let hits = lin.wrapping_add(size - 1) & !0xfff == write;
        hits.then_some(lin.wrapping_add(addend))
    }

    /// The word at an offset in RAM.
    #[inline(always)]
    #[must_use]
    pub fn load_ram(&self, w: Width, offset: u64) -> u64 {
        match w {
            Width::W8 => u64::from(self.ram.load::<u8>(offset)),
            Width::W16 => u64::from(self.ram.load::<u16>(offset)),
            Width::W32 => u64::from(self.ram.load::<u32>(offset)),
            Width::W64 => self.ram.load::<u64>(offset),
        }
    }

    /// The same where it can be had without a call: `None` for the last words of RAM.
    #[inline(always)]
    #[must_use]
    pub fn load_quick(&self, w: Width, offset: u64) -> Option<u64> {
        match w {
            Width::W8 => self.ram.load_quick::<u8>(offset).map(u64::from),
            Width::W16 => self.ram.load_quick::<u16>(offset).map(u64::from),
            Width::W32 => self.ram.load_quick::<u32>(offset).map(u64::from),
            Width::W64 => self.ram.load_quick::<u64>(offset),
        }
    }

    /// Whether a store within the page of an offset in RAM has nothing to do but store.
    #[inline(always)]
    #[must_use]
    pub fn is_quiet(&self, offset: u64) -> bool {
        self.ram.page_is_quiet(offset)
    }

    /// Stores a word, within its page, at an offset in RAM for which [`Core::is_quiet`] was just true.
    #[inline(always)]
    pub fn store_quiet(&self, w: Width, offset: u64, value: u64) {
        match w {
            Width::W8 => self.ram.store_quiet(offset, value as u8),
            Width::W16 => self.ram.store_quiet(offset, value as u16),
            Width::W32 => self.ram.store_quiet(offset, value as u32),
            Width::W64 => self.ram.store_quiet(offset, value),
        }
    }

    /// Loads a word from linear address `lin`, which segmentation has allowed (in 64-bit mode it
    /// may be anything: `seg` says which exception a non-canonical one raises).
    ///
    /// # Errors
    /// #PF; #GP or #SS.
    #[inline(always)]
    pub fn load_linear(
        &mut self,
        w: Width,
        class: Class,
        seg: Seg,
        lin: u64,
    ) -> Result<u64, Raised> {
        match self.readable(class, lin, w.bytes()) {
            Some(offset) => Ok(self.load_ram(w, offset)),
            None => self.load_linear_slow(w, class, seg, lin),
        }
    }

    /// Stores a word to linear address `lin`.
    ///
    /// # Errors
    /// As [`Core::load_linear`]; then nothing is stored.
    #[inline(always)]
    pub fn store_linear(
        &mut self,
        w: Width,
        class: Class,
        seg: Seg,
        lin: u64,
        value: u64,
    ) -> Result<(), Raised> {
        if let Some(offset) = self.writable(class, lin, w.bytes()) {
            self.commit(w, Place::Ram(offset), value);
            return Ok(());
        }
        self.store_linear_slow(w, class, seg, lin, value)
    }

    /// Loads a word and proves that it may be stored to.
    ///
    /// # Errors
    /// As a store's.
    #[inline(always)]
    pub fn load_linear_for_write(
        &mut self,
        w: Width,
        class: Class,
        seg: Seg,
        lin: u64,
    ) -> Result<(Place, u64), Raised> {
        if let Some(offset) = self.writable(class, lin, w.bytes()) {
            return Ok((Place::Ram(offset), self.load_ram(w, offset)));
        }
        self.load_for_write_slow(w, class, seg, lin)
    }

    #[cold]
    #[inline(never)]
    fn load_for_write_slow(
        &mut self,
        w: Width,
        class: Class,
        seg: Seg,
        lin: u64,
    ) -> Result<(Place, u64), Raised> {
        let place = self.place(class, seg, lin, w.bytes())?;
        // It will be written, too, and `commit` no longer knows the address.
        self.watch(lin, w.bytes(), true);
        Ok((place, self.load_place(w, place)))
    }

    /// Proves that a word may be replaced by [`Core::update_place`], without reading it: a device
    /// must see one read only.
    ///
    /// # Errors
    /// As a store's.
    pub fn place_for_update(
        &mut self,
        w: Width,
        class: Class,
        seg: Seg,
        lin: u64,
    ) -> Result<Place, Raised> {
        if let Some(offset) = self.writable(class, lin, w.bytes()) {
            return Ok(Place::Ram(offset));
        }
        let place = self.place(class, seg, lin, w.bytes())?;
        self.watch(lin, w.bytes(), true);
        Ok(place)
    }

    /// Stores to a place that was proved writable.
    #[inline(always)]
    pub fn commit(&mut self, w: Width, place: Place, value: u64) {
        let Place::Ram(offset) = place else { return self.commit_slow(w, place, value) };
        let code = match w {
            Width::W8 => self.ram.store(offset, value as u8),
            Width::W16 => self.ram.store(offset, value as u16),
            Width::W32 => self.ram.store(offset, value as u32),
            Width::W64 => self.ram.store(offset, value),
        };
        if code {
            self.leave_block = true;
        }
    }

    #[cold]
    #[inline(never)]
    fn load_linear_slow(
        &mut self,
        w: Width,
        class: Class,
        seg: Seg,
        lin: u64,
    ) -> Result<u64, Raised> {
        let mut bytes = [0; 8];
        self.load_linear_bytes(class, seg, lin, &mut bytes[..w.bytes() as usize])?;
        Ok(u64::from_le_bytes(bytes))
    }

    #[cold]
    #[inline(never)]
    fn store_linear_slow(
        &mut self,
        w: Width,
        class: Class,
        seg: Seg,
        lin: u64,
        value: u64,
    ) -> Result<(), Raised> {
        let place = self.place(class, seg, lin, w.bytes())?;
        self.watch(lin, w.bytes(), true);
        self.commit(w, place, value);
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn commit_slow(&mut self, w: Width, place: Place, value: u64) {
        let bytes = value.to_le_bytes();
        self.store_place(place, &bytes[..w.bytes() as usize]);
    }

    fn load_place(&mut self, w: Width, place: Place) -> u64 {
        let mut bytes = [0; 8];
        let data = &mut bytes[..w.bytes() as usize];
        match place {
            Place::Ram(offset) => self.ram.load_bytes(offset, data),
            Place::Physical { at, first, rest } => {
                let (head, tail) = data.split_at_mut(usize::from(first));
                self.load_physical(at, head);
                self.load_physical(rest, tail);
            }
        }
        u64::from_le_bytes(bytes)
    }

    /// Stores bytes to a place that was proved writable for as many.
    pub fn store_place(&mut self, place: Place, data: &[u8]) {
        match place {
            Place::Ram(offset) => {
                if self.ram.store_bytes(offset, data) {
                    self.leave_block = true;
                }
            }
            Place::Physical { at, first, rest } => {
                let (head, tail) = data.split_at(usize::from(first).min(data.len()));
                self.store_physical(at, head);
                self.store_physical(rest, tail);
            }
        }
    }

    /// Proves that `size` bytes (at most 64) at `lin` may be stored to, and finds them.
    ///
    /// # Errors
    /// #PF; #GP or #SS.
    pub fn place(&mut self, class: Class, seg: Seg, lin: u64, size: u64) -> Result<Place, Raised> {
        let (lin, next) = self.span(seg, lin, size)?;
        let at = self.translate(class, lin, Intent::Write)?;
        let Some((first, next)) = next else {
            return Ok(match self.ram.spot(at) {
                Some(spot) if spot.writable => Place::Ram(spot.offset),
                _ => Place::Physical { at, first: size as u8, rest: Gpa(0) },
            });
        };
        let rest = self.translate(class, next, Intent::Write)?;
        Ok(Place::Physical { at, first, rest })
    }

    /// The canonical check, and where the second page starts if `size` bytes at `lin` reach it.
    fn span(&mut self, seg: Seg, lin: u64, size: u64) -> Result<(u64, Option<(u8, u64)>), Raised> {
        let long = self.long_mode();
        let lin = if long { lin } else { lin & 0xffff_ffff };
        let last = lin.wrapping_add(size.wrapping_sub(1));
        if long {
            let bits = self.linear_bits();
            if !is_canonical(lin, bits) || !is_canonical(last, bits) {
                return Err(self.segment_fault(seg));
            }
        }
        if size == 0 || lin & !0xfff == last & !0xfff {
            return Ok((lin, None));
        }
        // Data of compatibility mode wraps at 4 GiB, too.
        let wraps = !long || !self.mode.is_64() && lin >> 32 == 0;
        let next = if wraps { last & 0xffff_f000 } else { last & !0xfff };
        Ok((lin, Some((((lin | 0xfff) - lin + 1) as u8, next))))
    }

    /// Loads bytes (at most 64) from linear memory.
    ///
    /// # Errors
    /// #PF; #GP or #SS. `data` is then undefined.
    pub fn load_linear_bytes(
        &mut self,
        class: Class,
        seg: Seg,
        lin: u64,
        data: &mut [u8],
    ) -> Result<(), Raised> {
        let (lin, next) = self.span(seg, lin, data.len() as u64)?;
        let at = self.translate(class, lin, Intent::Read)?;
        match next {
            None => self.load_physical(at, data),
            Some((first, next)) => {
                let rest = self.translate(class, next, Intent::Read)?;
                let (head, tail) = data.split_at_mut(usize::from(first));
                self.load_physical(at, head);
                self.load_physical(rest, tail);
            }
        }
        self.watch(lin, data.len() as u64, false);
        Ok(())
    }

    /// Stores bytes (at most 64) to linear memory, all or nothing.
    ///
    /// # Errors
    /// #PF; #GP or #SS.
    pub fn store_linear_bytes(
        &mut self,
        class: Class,
        seg: Seg,
        lin: u64,
        data: &[u8],
    ) -> Result<(), Raised> {
        let place = self.place(class, seg, lin, data.len() as u64)?;
        self.watch(lin, data.len() as u64, true);
        self.store_place(place, data);
        Ok(())
    }

    /// Loads bytes within a page of physical space.
    fn load_physical(&mut self, at: Gpa, data: &mut [u8]) {
        if data.is_empty() {
            return;
        }
        match self.ram.spot(at) {
            // One access where the bus makes one: other CPUs may be looking.
            Some(spot) => match data {
                [byte] => *byte = self.ram.load(spot.offset),
                [_, _] => data.copy_from_slice(&self.ram.load::<u16>(spot.offset).to_le_bytes()),
                [_, _, _, _] => {
                    data.copy_from_slice(&self.ram.load::<u32>(spot.offset).to_le_bytes());
                }
                _ => self.ram.load_bytes(spot.offset, data),
            },
            None => {
                self.counters.mmio += 1;
                self.count_access(event::MMIO_READ);
                data.fill(0xff);
                self.bus.mmio_read(self.access(), at, data);
                self.follow_map();
            }
        }
    }

    /// Stores bytes within a page of physical space.
    fn store_physical(&mut self, at: Gpa, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let code = match self.ram.spot(at) {
            Some(spot) if spot.writable => match *data {
                [byte] => self.ram.store(spot.offset, byte),
                [a, b] => self.ram.store(spot.offset, u16::from_le_bytes([a, b])),
                [a, b, c, d] => self.ram.store(spot.offset, u32::from_le_bytes([a, b, c, d])),
                _ => self.ram.store_bytes(spot.offset, data),
            },
            _ => {
                self.counters.mmio += 1;
                self.count_access(event::MMIO_WRITE);
                self.bus.mmio_write(self.access(), at, data);
                self.follow_map();
                false
            }
        };
        self.leave_block |= code;
    }

    /// Replaces the word at a writable place by `f` of it in one atomic step; returns the old one.
    ///
    /// Across pages or at a device the step is not atomic for other CPUs: the bus lock that real
    /// hardware takes there is not modelled.
    pub fn update_place(&mut self, w: Width, place: Place, f: impl Fn(u64) -> u64) -> u64 {
        let Place::Ram(at) = place else {
            let old = self.load_place(w, place);
            self.commit_slow(w, place, f(old));
            return old;
        };
        let (old, code) = match w {
            Width::W8 => widen(self.ram.update(at, |v: u8| f(v.into()) as u8)),
            Width::W16 => widen(self.ram.update(at, |v: u16| f(v.into()) as u16)),
            Width::W32 => widen(self.ram.update(at, |v: u32| f(v.into()) as u32)),
            Width::W64 => self.ram.update(at, f),
        };
        self.leave_block |= code;
        old
    }

    /// Data breakpoints (SDM vol. 3B, section 18.2.5): those that `size` bytes at `lin` touch are
    /// remembered for the trap after this instruction.
    pub(crate) fn watch(&mut self, lin: u64, size: u64, write: bool) {
        if self.debug.dr7 & crate::dr7::ENABLES != 0 {
            let wanted = |kind| kind == 3 || kind == 1 && write;
            self.note_breakpoints(lin, size, wanted);
        }
    }

    /// The same for ports, with CR4.DE.
    pub(crate) fn watch_port(&mut self, port: u16, size: u64) {
        if self.debug.dr7 & crate::dr7::ENABLES != 0 && self.control.cr4 & crate::cr4::DE != 0 {
            self.note_breakpoints(u64::from(port), size, |kind| kind == 2);
        }
    }

    /// Remembers the enabled breakpoints of a wanted kind (R/W in DR7) among `size` bytes.
    fn note_breakpoints(&mut self, lin: u64, size: u64, wanted: impl Fn(u64) -> bool) {
        let dr7 = self.debug.dr7;
        let mut hit = 0;
        for n in 0..4 {
            let wanted = wanted(dr7 >> (16 + 4 * n) & 3);
            let len = [1, 2, 8, 4][(dr7 >> (18 + 4 * n) & 3) as usize];
            let at = self.debug.address[n as usize] & !(len - 1);
            // Distances, so that the top of the address space is nothing special.
            let touches = lin.wrapping_sub(at) < len || at.wrapping_sub(lin) < size;
            if wanted && touches && dr7 >> (2 * n) & 3 != 0 {
                hit |= 1 << n;
            }
        }
        if hit != 0 {
            self.events.pending_debug |= hit;
            self.leave_block = true;
        }
    }

    // For cold instructions: through a segment, at the current privilege.

    /// Loads a word from `seg:offset`.
    ///
    /// # Errors
    /// Those of segmentation and paging.
    pub fn load(&mut self, w: Width, seg: Seg, offset: u64) -> Result<u64, Raised> {
        let lin = self.linear(seg, offset, w.bytes(), false)?;
        self.load_linear(w, self.class, seg, lin)
    }

    /// Stores a word to `seg:offset`.
    ///
    /// # Errors
    /// Those of segmentation and paging; then nothing is stored.
    pub fn store(&mut self, w: Width, seg: Seg, offset: u64, value: u64) -> Result<(), Raised> {
        let lin = self.linear(seg, offset, w.bytes(), true)?;
        self.store_linear(w, self.class, seg, lin, value)
    }

    /// Loads `N` bytes (at most 64) from `seg:offset`.
    ///
    /// # Errors
    /// Those of segmentation and paging.
    pub fn load_array<const N: usize>(&mut self, seg: Seg, offset: u64) -> Result<[u8; N], Raised> {
        let mut data = [0; N];
        let lin = self.linear(seg, offset, N as u64, false)?;
        match self.readable(self.class, lin, N as u64) {
            Some(offset) => self.ram.load_bytes(offset, &mut data),
            None => self.load_linear_bytes(self.class, seg, lin, &mut data)?,
        }
        Ok(data)
    }

    /// Stores `N` bytes (at most 64) to `seg:offset`, all or nothing.
    ///
    /// # Errors
    /// Those of segmentation and paging.
    pub fn store_array<const N: usize>(
        &mut self,
        seg: Seg,
        offset: u64,
        data: [u8; N],
    ) -> Result<(), Raised> {
        let lin = self.linear(seg, offset, N as u64, true)?;
        if let Some(offset) = self.writable(self.class, lin, N as u64) {
            self.leave_block |= self.ram.store_bytes(offset, &data);
            return Ok(());
        }
        self.store_linear_bytes(self.class, seg, lin, &data)
    }

    // Implicit supervisor accesses: descriptor tables, TSS, gates.

    /// Loads a word from linear memory as the CPU itself does, at whatever CPL.
    ///
    /// # Errors
    /// #PF with a supervisor error code; #GP(0) if the address is not canonical.
    pub fn system_load(&mut self, w: Width, lin: u64) -> Result<u64, Raised> {
        let lin = if self.long_mode() { lin } else { lin & 0xffff_ffff };
        if self.long_mode() && !is_canonical(lin, self.linear_bits()) {
            return Err(self.gp(0));
        }
        self.load_linear(w, Class::Supervisor, Seg::Ds, lin)
    }

    /// Stores a word to linear memory as the CPU itself does, at whatever CPL.
    ///
    /// # Errors
    /// As [`Core::system_load`].
    pub fn system_store(&mut self, w: Width, lin: u64, value: u64) -> Result<(), Raised> {
        let lin = if self.long_mode() { lin } else { lin & 0xffff_ffff };
        if self.long_mode() && !is_canonical(lin, self.linear_bits()) {
            return Err(self.gp(0));
        }
        self.store_linear(w, Class::Supervisor, Seg::Ds, lin, value)
    }
}

fn widen<T: Into<u64>>((old, code): (T, bool)) -> (u64, bool) {
    (old.into(), code)
}
