//! Page tables: from linear to guest physical addresses.
//!
//! Source: SDM vol. 3A, chapter 5.

use trine_guest::{Gpa, Spot};

use crate::{
    Core, Exception, Raised, cr0, cr4, efer, rflags,
    state::Control,
    tlb::{Class, Rights},
    vector,
};

/// The form of the page tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Paging {
    /// Linear addresses are physical.
    Off,
    /// Two levels of 32-bit entries.
    Bits32,
    /// Three levels of 64-bit entries, the first in registers.
    Pae,
    /// Four levels.
    Level4,
    /// Five levels.
    Level5,
}

impl Paging {
    pub(crate) fn of(c: &Control) -> Self {
        if c.cr0 & cr0::PG == 0 {
            Self::Off
        } else if c.efer & efer::LMA != 0 {
            if c.cr4 & cr4::LA57 != 0 { Self::Level5 } else { Self::Level4 }
        } else if c.cr4 & cr4::PAE != 0 {
            Self::Pae
        } else {
            Self::Bits32
        }
    }
}

/// What an access wants of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Intent {
    /// To read.
    Read,
    /// To write.
    Write,
    /// To fetch instructions.
    Fetch,
}

const P: u64 = 1 << 0;
const RW: u64 = 1 << 1;
const US: u64 = 1 << 2;
const A: u64 = 1 << 5;
const D: u64 = 1 << 6;
const PS: u64 = 1 << 7;
const G: u64 = 1 << 8;
const XD: u64 = 1 << 63;

/// Bits of a page fault's error code.
const PF_PRESENT: u32 = 1;
const PF_WRITE: u32 = 2;
const PF_USER: u32 = 4;
const PF_RESERVED: u32 = 8;
const PF_FETCH: u32 = 16;
const PF_KEY: u32 = 32;

/// A finished walk: where the page is and what all levels together allow.
struct Leaf {
    gpa: u64,
    shift: u8,
    writable: bool,
    user: bool,
    executable: bool,
    global: bool,
    dirty: bool,
    key: u8,
}

/// Why a walk ended early: bits of the error code.
struct Refused(u32);

/// One entry on the way, for the accessed and dirty bits.
#[derive(Clone, Copy)]
struct Entry {
    at: Gpa,
    value: u64,
    wide: bool,
}

impl Core {
    /// Where linear address `lin` lies in physical space, if class `class` may access it with
    /// `intent`. Fills the TLB on the way.
    ///
    /// # Errors
    /// #PF, with accessed and dirty bits as the CPU leaves them.
    pub fn translate(&mut self, class: Class, lin: u64, intent: Intent) -> Result<Gpa, Raised> {
        let entry = self.tlb.entry(class, lin);
        let hit = match intent {
            Intent::Read => (entry.read == lin & !0xfff).then(|| entry.offset(lin)),
            Intent::Write => entry.may_write(lin).then(|| entry.offset(lin)),
            Intent::Fetch => self.tlb.fetches(class, lin),
        };
        if let Some(offset) = hit
            && let Some(gpa) = self.ram.gpa_of(offset)
        {
            if intent == Intent::Write && self.ram.is_quiet(offset, 1) {
                self.tlb.set_quiet(class, lin);
            }
            return Ok(gpa);
        }
        self.counters.tlb_misses += 1;
        if self.paging == Paging::Off {
            let gpa = Gpa(lin & self.a20_mask);
            let rights = Rights {
                read: true,
                write: true,
                quiet: true,
                fetch: true,
                global: false,
                shift: 12,
            };
            self.fill(class, lin, gpa, rights);
            return Ok(gpa);
        }
        loop {
            match self.try_walk(class, lin, intent) {
                Ok(Some(gpa)) => return Ok(gpa),
                // Another CPU changed an entry between our reading and our marking it.
                Ok(None) => {}
                Err(Refused(bits)) => return Err(self.page_fault(class, lin, intent, bits)),
            }
        }
    }

    fn page_fault(&mut self, class: Class, lin: u64, intent: Intent, bits: u32) -> Raised {
        let mut code = bits;
        if intent == Intent::Write {
            code |= PF_WRITE;
        }
        if class == Class::User {
            code |= PF_USER;
        }
        let nx = self.control.efer & efer::NXE != 0 && self.paging != Paging::Bits32;
        if intent == Intent::Fetch && (nx || self.control.cr4 & cr4::SMEP != 0) {
            code |= PF_FETCH;
        }
        self.raise(Exception { vector: vector::PF, code: Some(code), payload: lin })
    }

    /// Where linear address `lin` lies in physical space, for who only looks: whatever the page
    /// allows, without a trace in the tables or the TLB. `None` where no page is.
    #[must_use]
    pub fn peek(&self, lin: u64) -> Option<Gpa> {
        if self.paging == Paging::Off {
            return Some(Gpa(lin & self.a20_mask));
        }
        let leaf = self.walk(lin, &mut [None; 5]).ok()?;
        Some(self.within(&leaf, lin))
    }

    /// The offset in RAM of `lin`, which this CPU has just read but which is not in the TLB any more;
    /// `None` if it is no RAM or a breakpoint watches its page.
    pub(crate) fn evicted(&self, lin: u64) -> Option<u64> {
        if self.page_is_watched(lin) {
            return None;
        }
        self.ram.spot(self.peek(lin)?).map(|spot| spot.offset)
    }

    fn walk(&self, lin: u64, path: &mut [Option<Entry>; 5]) -> Result<Leaf, Refused> {
        match self.paging {
            Paging::Bits32 => self.walk_32(lin, path),
            Paging::Pae => self.walk_pae(lin, path),
            Paging::Level4 | Paging::Off => self.walk_tables(lin, self.control.cr3, 4, path),
            Paging::Level5 => self.walk_tables(lin, self.control.cr3, 5, path),
        }
    }

    fn within(&self, leaf: &Leaf, lin: u64) -> Gpa {
        let within = (1_u64 << leaf.shift) - 1;
        Gpa((leaf.gpa | lin & within) & self.a20_mask)
    }

    /// One attempt. `None`: start over.
    fn try_walk(&mut self, class: Class, lin: u64, intent: Intent) -> Result<Option<Gpa>, Refused> {
        let mut path = [None; 5];
        let leaf = self.walk(lin, &mut path)?;
        let mut rights = self.rights(class, &leaf);
        let allowed = match intent {
            Intent::Read => rights.read,
            Intent::Write => rights.write,
            Intent::Fetch => rights.fetch,
        };
        if !allowed {
            let key = intent != Intent::Fetch && self.key_refuses(class, &leaf, intent);
            return Err(Refused(PF_PRESENT | if key { PF_KEY } else { 0 }));
        }
        if !self.mark(&path, intent == Intent::Write) {
            return Ok(None);
        }
        rights.write &= leaf.dirty || intent == Intent::Write;
        let gpa = self.within(&leaf, lin);
        self.fill(class, lin, gpa, rights);
        Ok(Some(gpa))
    }

    fn fill(&mut self, class: Class, lin: u64, gpa: Gpa, rights: Rights) {
        let Some(Spot { offset, writable, .. }) = self.ram.spot(gpa.page()) else { return };
        let watched = self.page_is_watched(lin);
        let rights = Rights {
            read: rights.read && !watched,
            write: rights.write && writable && !watched,
            quiet: !self.quiet_writes || self.ram.is_quiet(offset, 1),
            ..rights
        };
        self.tlb.fill(class, lin, offset, rights);
    }

    /// Whether a data breakpoint lies in (or reaches into) the page of `lin`.
    fn page_is_watched(&self, lin: u64) -> bool {
        let dr7 = self.debug.dr7;
        (0..4).any(|n| {
            let enabled = dr7 >> (2 * n) & 3 != 0;
            let data = dr7 >> (16 + 4 * n) & 1 != 0;
            let at = self.debug.address[n as usize];
            enabled && data && (at & !0xfff == lin & !0xfff || (at | 7) & !0xfff == lin & !0xfff)
        })
    }

    /// What `class` may do with the page (SDM vol. 3A, section 5.6).
    fn rights(&self, class: Class, leaf: &Leaf) -> Rights {
        let c = &self.control;
        let has = |bit| c.cr4 & bit != 0;
        let (read, write, fetch) = if class == Class::User {
            (leaf.user, leaf.user && leaf.writable, leaf.user && leaf.executable)
        } else {
            let smap = leaf.user && has(cr4::SMAP) && class == Class::Supervisor;
            let wp = c.cr0 & cr0::WP != 0;
            (
                !smap,
                !smap && (leaf.writable || !wp),
                leaf.executable && !(leaf.user && has(cr4::SMEP)),
            )
        };
        Rights {
            read: read && !self.key_refuses(class, leaf, Intent::Read),
            write: write && !self.key_refuses(class, leaf, Intent::Write),
            quiet: true,
            fetch,
            global: leaf.global && has(cr4::PGE),
            shift: leaf.shift,
        }
    }

    /// Protection keys (SDM vol. 3A, section 5.6.2): PKRU's for user pages, IA32_PKRS's for the
    /// supervisor's own accesses to its pages.
    fn key_refuses(&self, class: Class, leaf: &Leaf, intent: Intent) -> bool {
        let long = matches!(self.paging, Paging::Level4 | Paging::Level5);
        let (enable, rights) =
            if leaf.user { (cr4::PKE, self.control.pkru) } else { (cr4::PKS, self.msrs.pkrs) };
        let beyond = !leaf.user && class == Class::User;
        if !long || beyond || self.control.cr4 & enable == 0 {
            return false;
        }
        let bits = rights >> (2 * u32::from(leaf.key)) & 3;
        let (no_access, no_write) = (bits & 1 != 0, bits & 2 != 0);
        let user = class == Class::User;
        no_access
            || (intent == Intent::Write && no_write && (user || self.control.cr0 & cr0::WP != 0))
    }

    /// Sets the accessed bits on the path and the dirty bit of its last entry. False if an entry
    /// is no longer what the walk read.
    fn mark(&self, path: &[Option<Entry>; 5], write: bool) -> bool {
        let last = path.iter().rposition(Option::is_some);
        path.iter().enumerate().all(|(n, entry)| {
            let Some(entry) = entry else { return true };
            let bits = A | if write && Some(n) == last { D } else { 0 };
            entry.value & bits == bits || self.set_bits_if(entry, bits)
        })
    }

    fn set_bits_if(&self, entry: &Entry, bits: u64) -> bool {
        // An entry in ROM or a hole cannot be marked; the walk goes on without.
        let Some(spot) = self.ram.spot(entry.at).filter(|s| s.writable) else { return true };
        let set = |old: u64| if old == entry.value { old | bits } else { old };
        let old = if entry.wide {
            self.ram.update::<u64>(spot.offset, set).0
        } else {
            u64::from(self.ram.update::<u32>(spot.offset, |v| set(u64::from(v)) as u32).0)
        };
        old == entry.value
    }

    fn entry(&self, at: u64, wide: bool) -> Entry {
        let at = Gpa(at & self.a20_mask);
        let mut bytes = [0xff; 8];
        let size = if wide { 8 } else { 4 };
        match self.ram.spot(at) {
            Some(spot) if wide => bytes = self.ram.load::<u64>(spot.offset).to_le_bytes(),
            Some(spot) => {
                bytes[..4].copy_from_slice(&self.ram.load::<u32>(spot.offset).to_le_bytes());
            }
            None if self.skips_far_tables => bytes = [0; 8],
            None => self.bus.mmio_read(self.access(), at, &mut bytes[..size]),
        }
        let value = u64::from_le_bytes(bytes);
        Entry { at, value: if wide { value } else { value & 0xffff_ffff }, wide }
    }

    /// Reserved bits of an entry that points to a table or a page: above the physical width, and
    /// XD without EFER.NXE.
    fn reserved(&self) -> u64 {
        // Above bit 51, PAE paging has nothing but XD; long mode has bits for software there.
        let top = if self.paging == Paging::Pae { 63 } else { 52 };
        let high = (1_u64 << top) - (1_u64 << self.model.physical_bits());
        high | if self.control.efer & efer::NXE == 0 { XD } else { 0 }
    }

    fn walk_32(&self, lin: u64, path: &mut [Option<Entry>; 5]) -> Result<Leaf, Refused> {
        let lin = lin & 0xffff_ffff;
        let dir = self.entry((self.control.cr3 & 0xffff_f000) | (lin >> 22 << 2), false);
        path[0] = Some(dir);
        if dir.value & P == 0 {
            return Err(Refused(0));
        }
        let pse = self.control.cr4 & cr4::PSE != 0;
        if pse && dir.value & PS != 0 {
            // PSE-36: bits 20:13 are physical bits 39:32.
            let width = self.model.physical_bits().min(40);
            let high = (dir.value >> 13 & 0xff) << 32;
            if dir.value & 1 << 21 != 0 || high >> width != 0 {
                return Err(Refused(PF_PRESENT | PF_RESERVED));
            }
            return Ok(leaf(dir.value, high | dir.value & 0xffc0_0000, 22, dir.value, 0));
        }
        let page = self.entry((dir.value & 0xffff_f000) | (lin >> 12 & 0x3ff) << 2, false);
        path[1] = Some(page);
        if page.value & P == 0 {
            return Err(Refused(0));
        }
        Ok(leaf(page.value, page.value & 0xffff_f000, 12, dir.value & page.value, 0))
    }

    fn walk_pae(&self, lin: u64, path: &mut [Option<Entry>; 5]) -> Result<Leaf, Refused> {
        let lin = lin & 0xffff_ffff;
        let root = self.control.pdpte[(lin >> 30) as usize & 3];
        if root & P == 0 {
            return Err(Refused(0));
        }
        self.walk_tables(lin, root, 2, path)
    }

    /// The levels of 64-bit entries from `level` down to 1; `root` is CR3 or a PDPTE.
    fn walk_tables(
        &self,
        lin: u64,
        root: u64,
        level: u32,
        path: &mut [Option<Entry>; 5],
    ) -> Result<Leaf, Refused> {
        let (mut table, mut allow, mut deny) = (root & ADDRESS, RW | US, 0);
        for (n, level) in (1..=level).rev().enumerate() {
            let shift = 3 + 9 * level;
            let entry = self.entry(table | (lin >> shift & 0x1ff) << 3, true);
            path[n] = Some(entry);
            let value = entry.value;
            if value & P == 0 {
                return Err(Refused(0));
            }
            let large = level > 1 && value & PS != 0;
            let no_large = level > 3 || level == 3 && !self.model.has(crate::Feature::Pdpe1gb);
            let mut reserved = self.reserved();
            if large {
                // PAT is at bit 12; between it and the page's address all is reserved.
                reserved |= if no_large { PS } else { (1 << shift) - (1 << 13) };
            }
            if value & reserved != 0 {
                return Err(Refused(PF_PRESENT | PF_RESERVED));
            }
            (allow, deny) = (allow & value, deny | value);
            if large || level == 1 {
                let gpa = value & ADDRESS >> shift << shift;
                return Ok(leaf(value, gpa, shift as u8, allow, deny));
            }
            table = value & ADDRESS;
        }
        Err(Refused(0))
    }

    /// Loads the PDPTEs of PAE paging as MOV to CR3 does.
    ///
    /// # Errors
    /// #GP(0) if a present one has reserved bits set; none is then changed.
    pub fn load_pdptes(&mut self, cr3: u64) -> Result<(), Raised> {
        let mut loaded = [0; 4];
        let high = u64::MAX << self.model.physical_bits();
        for (n, pdpte) in loaded.iter_mut().enumerate() {
            *pdpte = self.entry((cr3 & 0xffff_ffe0) + 8 * n as u64, true).value;
            if *pdpte & P != 0 && *pdpte & (high | 0x1e6) != 0 {
                return Err(self.gp(0));
            }
        }
        self.control.pdpte = loaded;
        Ok(())
    }

    /// Forgets the translations of one page, in every class.
    pub fn flush_page(&mut self, lin: u64) {
        self.tlb.flush_page(lin);
        self.renew_context();
        self.leave_block = true;
    }

    /// Forgets the translations that are not global.
    pub fn flush_tlb_local(&mut self) {
        self.counters.tlb_flushes += 1;
        self.tlb.flush_local();
        self.renew_context();
        self.leave_block = true;
    }

    /// The class of supervisor accesses now, as an explicit access at CPL below 3 has it.
    #[must_use]
    pub fn supervisor_class(&self) -> Class {
        let ac = self.control.cr4 & cr4::SMAP != 0 && self.system_flags & rflags::AC != 0;
        if ac { Class::SupervisorAc } else { Class::Supervisor }
    }
}

/// Physical address bits of an entry.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// `allow` is the AND of all entries (writable, user), `deny` the OR (execute disable).
fn leaf(entry: u64, gpa: u64, shift: u8, allow: u64, deny: u64) -> Leaf {
    Leaf {
        gpa,
        shift,
        writable: allow & RW != 0,
        user: allow & US != 0,
        executable: deny & XD == 0,
        global: entry & G != 0,
        dirty: entry & D != 0,
        key: (entry >> 59 & 15) as u8,
    }
}
