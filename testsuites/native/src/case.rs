//! What goes to the CPU and what comes back.
//!
//! All of it lies in memory that is shared with the child, so these are plain words and bytes.

/// The first address of the memory that cases use.
pub const WINDOW: u64 = 0x1_0000;
/// Its bytes.
pub const WINDOW_BYTES: usize = 0x1_0000;
/// Bytes of the legacy region of an XSAVE area that the CPU defines: x87, MXCSR and XMM.
pub const FX_BYTES: usize = 416;
/// Bytes of the upper halves of the YMM registers.
pub const YMM_BYTES: usize = 256;
/// Patches of a case.
pub const PATCHES: usize = 8;
/// Bytes of all patches of a case.
pub const PATCH_BYTES: usize = 1536;
/// Lines of 64 bytes that a case may change.
pub const CHANGED: usize = 64;

/// What a page of the window is for the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Page {
    /// Read and execute; filled with INT3.
    Code,
    /// Read and write.
    Data,
    /// Read only.
    ReadOnly,
    /// Not present.
    Absent,
}

/// What the page of the window that holds `at` is.
#[must_use]
pub fn page(at: u64) -> Page {
    use Page::{Absent as A, Code as C, Data as D, ReadOnly as R};
    const PAGES: [Page; 16] = [C, C, A, D, D, A, R, D, D, R, A, A, A, A, A, D];
    at.checked_sub(WINDOW)
        .and_then(|offset| PAGES.get((offset >> 12) as usize))
        .copied()
        .unwrap_or(Page::Absent)
}

/// The local descriptor table of every case, where the kernel gives one: see
/// [`super::Oracle::has_ldt`].
///
/// Data of 20 KiB from the window on; read-only data; data that expands down; 16-bit code and data
/// of the whole window; 16-bit data that expands down; 32-bit code that cannot be read; data that
/// is not present; 32-bit code.
pub const LDT: [u64; 9] = [
    0x0040_f301_0000_4fff,
    0x0040_f101_3000_0fff,
    0x0040_f701_0000_2fff,
    0x0000_fb01_0000_ffff,
    0x0000_f301_0000_ffff,
    0x0000_f701_0000_2fff,
    0x0040_f901_0000_ffff,
    0x0040_7301_0000_ffff,
    0x0040_fb01_0000_ffff,
];

/// A user's registers.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct State {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub gpr: [u64; 16],
    /// RIP.
    pub rip: u64,
    /// RFLAGS; IF is always set.
    pub rflags: u64,
    /// Selectors of ES, CS, SS, DS, FS, GS.
    pub selectors: [u16; 6],
    /// Bases of FS and GS. They are set if the selector is null.
    pub bases: [u64; 2],
    /// FXSAVE64's image.
    pub fx: [u8; FX_BYTES],
    /// The upper halves of YMM0 to YMM15; zero where the host has none.
    pub ymm: [u8; YMM_BYTES],
}

impl Default for State {
    fn default() -> Self {
        Self {
            gpr: [0; 16],
            rip: 0,
            rflags: 0x202,
            selectors: [0x2b, 0x33, 0x2b, 0x2b, 0, 0],
            bases: [0; 2],
            fx: [0; FX_BYTES],
            ymm: [0; YMM_BYTES],
        }
    }
}

/// Where bytes of a case go.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Patch {
    /// The first address.
    pub at: u32,
    /// How many bytes.
    pub len: u32,
}

/// A state and memory from which the CPU is to start.
#[repr(C)]
#[derive(Clone)]
pub struct Case {
    /// The registers.
    pub before: State,
    patches: [Patch; PATCHES],
    count: u32,
    bytes: [u8; PATCH_BYTES],
}

/// A case has more memory than there is room for, or outside of the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooMuch;

impl Default for Case {
    fn default() -> Self {
        Self::new(State::default())
    }
}

impl Case {
    /// A case whose memory is all background: INT3 in [`Page::Code`], 0 elsewhere.
    #[must_use]
    pub fn new(before: State) -> Self {
        Self { before, patches: [Patch::default(); PATCHES], count: 0, bytes: [0; PATCH_BYTES] }
    }

    /// Makes it a copy of `from`, without what `from` does not use.
    #[cfg_attr(not(all(target_os = "linux", target_arch = "x86_64")), expect(dead_code))]
    pub(crate) fn copy_from(&mut self, from: &Self) {
        let used = from.used();
        (self.before, self.patches, self.count) = (from.before, from.patches, from.count);
        self.bytes[..used].copy_from_slice(&from.bytes[..used]);
    }

    /// Bytes of all patches.
    fn used(&self) -> usize {
        self.patches.iter().take(self.count as usize).map(|p| p.len as usize).sum()
    }

    /// Sets memory. Later patches lie on earlier ones.
    ///
    /// # Errors
    /// If there is no room for it, or it is not in pages of the window that are present.
    pub fn patch(&mut self, at: u64, data: &[u8]) -> Result<(), TooMuch> {
        let used = self.used();
        let slot = self.patches.get_mut(self.count as usize).ok_or(TooMuch)?;
        let room = self.bytes.get_mut(used..used + data.len()).ok_or(TooMuch)?;
        let last = at.checked_add(data.len().max(1) as u64 - 1).ok_or(TooMuch)?;
        if page(at) == Page::Absent || page(last) == Page::Absent {
            return Err(TooMuch);
        }
        room.copy_from_slice(data);
        *slot = Patch { at: at as u32, len: data.len() as u32 };
        self.count += 1;
        Ok(())
    }

    /// What memory is set to, in order.
    pub fn patches(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut start = 0;
        self.patches.iter().take(self.count as usize).map(move |p| {
            let bytes = self.bytes.get(start..start + p.len as usize).unwrap_or_default();
            start += p.len as usize;
            (u64::from(p.at), bytes)
        })
    }

    /// Sets no memory any more.
    pub fn clear(&mut self) {
        self.count = 0;
    }
}

/// 64 bytes of memory that the case changed.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// The first one's address, a multiple of 64.
    pub at: u64,
    /// What they are now.
    pub bytes: [u8; 64],
}

/// What became of a case: the registers and memory when the first exception came.
#[repr(C)]
#[derive(Clone)]
pub struct Outcome {
    /// The registers.
    pub after: State,
    /// The exception's vector; [`Outcome::NONE`] if the case brought none in time, or killed its
    /// process: then nothing else here means anything.
    pub vector: u32,
    /// Its error code.
    pub error: u32,
    /// CR2, if the exception is a page fault.
    pub cr2: u64,
    /// How many lines have changed, which may be more than were kept.
    pub changed: u32,
    pub(crate) lines: [Change; CHANGED],
}

impl Outcome {
    /// No exception came.
    pub const NONE: u32 = u32::MAX;

    /// The lines that changed, by address.
    #[must_use]
    pub fn lines(&self) -> &[Change] {
        &self.lines[..(self.changed as usize).min(CHANGED)]
    }

    /// Makes it a copy of `from`.
    #[cfg_attr(not(all(target_os = "linux", target_arch = "x86_64")), expect(dead_code))]
    pub(crate) fn copy_from(&mut self, from: &Self) {
        (self.after, self.vector, self.error) = (from.after, from.vector, from.error);
        (self.cr2, self.changed) = (from.cr2, from.changed);
        let kept = from.lines().len();
        self.lines[..kept].copy_from_slice(from.lines());
    }

    /// No line has changed.
    pub fn clear_lines(&mut self) {
        self.changed = 0;
    }

    /// One more line has changed; lines come by address.
    pub fn push_line(&mut self, line: Change) {
        if let Some(place) = self.lines.get_mut(self.changed as usize) {
            *place = line;
        }
        self.changed += 1;
    }
}

impl Default for Outcome {
    fn default() -> Self {
        Self {
            after: State::default(),
            vector: Self::NONE,
            error: 0,
            cr2: 0,
            changed: 0,
            lines: [Change { at: 0, bytes: [0; 64] }; CHANGED],
        }
    }
}
