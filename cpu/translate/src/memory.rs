//! Memory for code: never writable and executable at one address.
//!
//! Where the host can map a file twice, code is written through one mapping and executed through
//! another ([`Way::Twice`]). Elsewhere, and where an emulated host does not notice code that was
//! written through another mapping (qemu-user before version 10), the pages change their protection
//! ([`Way::Switch`]); then nobody may execute while somebody writes. A part at the end holds data
//! cells that code reads; it is never executable where it is written.
//!
//! On macOS the same is asked of `MAP_JIT` and `pthread_jit_write_protect_np`, which is a third way
//! yet to be added here, and nowhere else.

use std::{
    fs::File,
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use memmap2::{Mmap, MmapOptions, MmapRaw};

/// How writing and executing are kept apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Two mappings of the same memory.
    Twice,
    /// One mapping, whose protection changes.
    Switch,
    /// One mapping, whose code is data: nobody executes it.
    Data,
}

impl Way {
    /// The way that works on this host, best first. Code that was executed is written anew through
    /// another mapping; where the old is executed again, protection has to change.
    #[cfg(target_arch = "aarch64")]
    #[must_use]
    pub fn of_host() -> Self {
        static WAY: std::sync::OnceLock<Way> = std::sync::OnceLock::new();
        *WAY.get_or_init(Self::tried)
    }

    /// The same, found out.
    #[cfg(target_arch = "aarch64")]
    fn tried() -> Self {
        /// MOV W0, #n; RET.
        fn returns(n: u32) -> [u8; 8] {
            let words = [0x5280_0000 | n << 5, 0xd65f_03c0];
            let [a, b] = words.map(u32::to_le_bytes);
            [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]]
        }
        const LEN: usize = 1 << 16;
        let Ok(mut memory) = CodeMemory::new(Self::Twice, LEN, LEN / 8) else {
            return Self::Switch;
        };
        // SAFETY: what lies there keeps the C calling convention.
        let code = unsafe { std::mem::transmute::<usize, extern "C" fn() -> u32>(memory.base()) };
        let sees = |n| memory.write(0, &returns(n)).is_ok() && code() == n;
        if [1, 2].into_iter().all(sees) { Self::Twice } else { Self::Switch }
    }

    /// x86 hosts see what is written anywhere.
    #[cfg(not(target_arch = "aarch64"))]
    #[must_use]
    pub fn of_host() -> Self {
        Self::Twice
    }
}

/// Memory for code and, behind it, cells of 8 bytes.
pub struct CodeMemory {
    /// Where it is written.
    writable: MmapRaw,
    /// Where it is executed, if that is elsewhere.
    executable: Option<Mmap>,
    way: Way,
    code: usize,
}

impl CodeMemory {
    /// `code` bytes of code and `cells` cells; both multiples of the page size.
    ///
    /// # Errors
    /// If the host gives no such memory.
    pub fn new(way: Way, code: usize, cells: usize) -> io::Result<Self> {
        let len = code + cells * 8;
        if way != Way::Twice {
            let writable = MmapRaw::from(MmapOptions::new().len(len).map_anon()?);
            return Ok(Self { writable, executable: None, way, code });
        }
        let file = file(len)?;
        let writable = MmapOptions::new().len(len).map_raw(&file)?;
        // SAFETY: the file has no name, and nobody else maps it.
        let executable = unsafe { MmapOptions::new().len(len).map_exec(&file)? };
        Ok(Self { writable, executable: Some(executable), way, code })
    }

    /// Address at which code is executed, and cells are read by it.
    #[must_use]
    pub fn base(&self) -> usize {
        self.executable.as_ref().map_or(self.writable.as_ptr() as usize, |m| m.as_ptr() as usize)
    }

    /// Bytes for code.
    #[must_use]
    pub fn code_len(&self) -> usize {
        self.code
    }

    /// How many cells there are.
    #[must_use]
    pub fn cells(&self) -> usize {
        (self.writable.len() - self.code) / 8
    }

    /// Address of cell 0 as code reads it.
    #[must_use]
    pub fn cell_base(&self) -> usize {
        self.base() + self.code
    }

    /// Puts code at `at`.
    ///
    /// # Panics
    /// If it does not lie in the part for code.
    pub fn write(&mut self, at: usize, bytes: &[u8]) -> io::Result<()> {
        assert!(at <= self.code && bytes.len() <= self.code - at, "code beyond its memory");
        self.protect(at, bytes.len(), false)?;
        // SAFETY: in bounds, as was just checked; nobody executes these bytes yet, and with one
        // mapping nobody executes at all.
        unsafe {
            let to = self.writable.as_mut_ptr().add(at);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
        self.protect(at, bytes.len(), true)?;
        self.synchronise(at, bytes.len());
        Ok(())
    }

    /// Sets a cell, which code may be reading.
    ///
    /// # Panics
    /// If there is no such cell.
    pub fn set_cell(&self, n: usize, value: u64) {
        assert!(n < self.cells(), "a cell beyond the last");
        // SAFETY: in bounds and aligned: the part for code is whole pages. Atomics may share memory.
        let cell = unsafe { &*self.writable.as_ptr().add(self.code + 8 * n).cast::<AtomicU64>() };
        cell.store(value, Ordering::Release);
    }

    /// With one mapping: makes the pages of so many bytes executable or writable.
    fn protect(&self, at: usize, len: usize, executable: bool) -> io::Result<()> {
        if self.way != Way::Switch {
            return Ok(());
        }
        use rustix::mm::{MprotectFlags, mprotect};
        let flags = match executable {
            true => MprotectFlags::READ | MprotectFlags::EXEC,
            false => MprotectFlags::READ | MprotectFlags::WRITE,
        };
        let page = rustix::param::page_size();
        let start = at & !(page - 1);
        let len = (at + len).next_multiple_of(page).min(self.code) - start;
        // SAFETY: our own mapping, of which no references are kept.
        unsafe { mprotect(self.writable.as_mut_ptr().add(start).cast(), len, flags)? };
        Ok(())
    }

    /// Lets the host's instruction fetch see what was written.
    #[cfg(target_arch = "aarch64")]
    fn synchronise(&self, at: usize, len: usize) {
        let start = self.base() + at;
        // 16 bytes is the least line of any CPU; more often than needed does no harm.
        for line in (start & !15..start + len).step_by(16) {
            // SAFETY: maintenance by address of lines that are mapped.
            unsafe { std::arch::asm!("dc cvau, {0}", in(reg) line) };
        }
        // SAFETY: barriers.
        unsafe { std::arch::asm!("dsb ish") };
        for line in (start & !15..start + len).step_by(16) {
            // SAFETY: as above.
            unsafe { std::arch::asm!("ic ivau, {0}", in(reg) line) };
        }
        // SAFETY: barriers.
        unsafe { std::arch::asm!("dsb ish", "isb") };
    }

    /// x86 hosts see it by themselves.
    #[cfg(not(target_arch = "aarch64"))]
    fn synchronise(&self, _at: usize, _len: usize) {}
}

#[cfg(target_os = "linux")]
fn file(len: usize) -> io::Result<File> {
    use rustix::fs::{MemfdFlags, memfd_create};
    let file = File::from(memfd_create("translated-code", MemfdFlags::CLOEXEC)?);
    file.set_len(len as u64)?;
    Ok(file)
}

#[cfg(not(target_os = "linux"))]
fn file(_len: usize) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}
