//! The parent's side: starts children, gives them cases, outlives them.

use std::{
    ffi::{c_int, c_void},
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr::null_mut,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use crate::{
    Case, OracleError, Outcome, WINDOW_BYTES,
    case::{Page, WINDOW, page},
    child::{self, BATCH, Board, Child, STACK_BYTES},
};

/// A case that takes more of a CPU never ends.
const PATIENCE: Duration = Duration::from_millis(50);
/// One in which the child sleeps so long neither.
const ASLEEP: Duration = Duration::from_secs(4);
/// A child that has not started by then never will.
const START: Duration = Duration::from_secs(10);
/// AT_HWCAP2's bit: user code may use RDFSBASE and its like.
const HWCAP2_FSGSBASE: u64 = 1 << 1;

/// The host's CPU, for one thread's questions.
#[derive(Debug)]
pub struct Oracle {
    board: Mapping,
    /// Of the child; the parent makes them, and fills them while there is no child.
    alias: Mapping,
    mirror: Mapping,
    stack: Mapping,
    window_file: OwnedFd,
    process: c_int,
    restarts: u64,
}

/// Memory of our own.
#[derive(Debug)]
struct Mapping {
    at: *mut u8,
    len: usize,
}

// SAFETY: the mapping is owned, and whoever has `&mut Oracle` is alone with it and the child.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(len: usize, flags: c_int, file: c_int) -> Result<Self, OracleError> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses a free place.
        let at = unsafe { libc::mmap(null_mut(), len, access, flags, file, 0) };
        if at == libc::MAP_FAILED {
            return Err(failed("mmap"));
        }
        Ok(Self { at: at.cast(), len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it is ours and nobody refers to it any more.
        unsafe { libc::munmap(self.at.cast(), self.len) };
    }
}

fn failed(call: &'static str) -> OracleError {
    OracleError::Call { call, source: io::Error::last_os_error() }
}

impl Oracle {
    /// Starts a child.
    ///
    /// # Errors
    /// If the host's CPU or kernel lacks what it takes, or a system call fails.
    pub fn new() -> Result<Self, OracleError> {
        // SAFETY: reads the auxiliary vector.
        if unsafe { libc::getauxval(libc::AT_HWCAP2) } & HWCAP2_FSGSBASE == 0 {
            return Err(OracleError::Lacks("the kernel offers no FSGSBASE (Linux 5.9 does)"));
        }
        if cpuid(1, 0).ecx >> 27 & 1 == 0 {
            return Err(OracleError::Lacks("the CPU has no XSAVE, or the kernel does not use it"));
        }
        // SAFETY: a new file without a name.
        let window_file =
            unsafe { libc::memfd_create(c"trine-window".as_ptr(), libc::MFD_CLOEXEC) };
        if window_file < 0 {
            return Err(failed("memfd_create"));
        }
        // SAFETY: it is ours, and nobody else's.
        let window_file = unsafe { OwnedFd::from_raw_fd(window_file) };
        // SAFETY: as above.
        if unsafe { libc::ftruncate(window_file.as_raw_fd(), WINDOW_BYTES as i64) } != 0 {
            return Err(failed("ftruncate"));
        }
        let (shared, private) =
            (libc::MAP_SHARED | libc::MAP_ANONYMOUS, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let mut oracle = Self {
            board: Mapping::new(size_of::<Board>(), shared, -1)?,
            alias: Mapping::new(WINDOW_BYTES, libc::MAP_SHARED, window_file.as_raw_fd())?,
            mirror: Mapping::new(WINDOW_BYTES, private, -1)?,
            stack: Mapping::new(STACK_BYTES, private, -1)?,
            window_file,
            process: 0,
            restarts: 0,
        };
        oracle.start()?;
        Ok(oracle)
    }

    fn board(&self) -> &Board {
        // SAFETY: the mapping is a board; all zero is one.
        unsafe { &*self.board.at.cast::<Board>() }
    }

    /// Whether cases have the local descriptor table [`crate::LDT`].
    #[must_use]
    pub fn has_ldt(&self) -> bool {
        self.board().ldt.load(Ordering::SeqCst) != 0
    }

    /// Whether cases have upper halves of YMM registers.
    #[must_use]
    pub fn has_ymm(&self) -> bool {
        // XCR0 included.
        std::arch::is_x86_feature_detected!("avx")
    }

    /// How many children were lost and replaced.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Runs `cases`, the outcome of each going to the same place in `outcomes`.
    ///
    /// # Errors
    /// If a child cannot be replaced.
    ///
    /// # Panics
    /// If there are fewer outcomes than cases.
    pub fn run<'a>(
        &mut self,
        cases: impl IntoIterator<Item = &'a Case>,
        outcomes: &mut [Outcome],
    ) -> Result<(), OracleError> {
        let (mut cases, mut done) = (cases.into_iter().peekable(), 0);
        while cases.peek().is_some() {
            // SAFETY: the child waits for the next batch and touches nothing.
            let count = unsafe {
                let places = (*self.board().cases.get()).iter_mut();
                places.zip(cases.by_ref().take(BATCH)).map(|(to, from)| to.copy_from(from)).count()
            };
            assert!(outcomes.len() >= done + count, "a place for each outcome");
            self.run_batch(&mut outcomes[done..done + count])?;
            done += count;
        }
        Ok(())
    }

    /// Runs the first cases of the board, as many as there are outcomes.
    fn run_batch(&mut self, outcomes: &mut [Outcome]) -> Result<(), OracleError> {
        let (mut from, mut lost) = (0, None);
        while from < outcomes.len() {
            let done = self.post(from, outcomes.len())?;
            for (n, outcome) in outcomes.iter_mut().enumerate().take(done).skip(from) {
                // SAFETY: the child has gone on to later cases, or to wait, or is no more.
                outcome.copy_from(unsafe { &(&*self.board().outcomes.get())[n] });
            }
            if done == outcomes.len() {
                break;
            }
            // This case is lost, and the child with it; but a child also dies with the thread that
            // made it, and then another one tries again.
            let innocent = self.is_dead() && lost.replace(done) != Some(done);
            self.restarts += 1;
            self.start()?;
            from = done;
            if !innocent {
                outcomes[done].vector = Outcome::NONE;
                from += 1;
            }
        }
        Ok(())
    }

    /// Has the cases `from..to` run; returns where the child came to.
    fn post(&mut self, from: usize, to: usize) -> Result<usize, OracleError> {
        let board = self.board();
        board.at.store(from as u32, Ordering::SeqCst);
        board.count.store(to as u32, Ordering::SeqCst);
        let number = board.posted.load(Ordering::SeqCst).wrapping_add(1);
        board.posted.store(number, Ordering::SeqCst);
        futex(&board.posted, libc::FUTEX_WAKE, 1, None);
        let (mut seen, mut since) = (from, (self.cpu_time(), Instant::now()));
        loop {
            let finished = board.finished.load(Ordering::SeqCst);
            if finished == number {
                return Ok(to);
            }
            futex(&board.finished, libc::FUTEX_WAIT, finished, Some(Duration::from_millis(10)));
            if board.finished.load(Ordering::SeqCst) == number {
                return Ok(to);
            }
            let at = board.at.load(Ordering::SeqCst) as usize;
            if at != seen {
                (seen, since) = (at, (self.cpu_time(), Instant::now()));
            }
            let used = self.cpu_time().saturating_sub(since.0);
            if self.is_dead() || used > PATIENCE || since.1.elapsed() > ASLEEP {
                let at = board.at.load(Ordering::SeqCst) as usize;
                return Ok(at.min(to - 1));
            }
        }
    }

    /// What the child has used of a CPU: other than time, it does not pass while others run.
    fn cpu_time(&self) -> Duration {
        let mut clock = 0;
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: both write where they are told to.
        let found = unsafe {
            libc::clock_getcpuclockid(self.process, &raw mut clock) == 0
                && libc::clock_gettime(clock, &raw mut time) == 0
        };
        if found { Duration::new(time.tv_sec as u64, time.tv_nsec as u32) } else { Duration::ZERO }
    }

    /// Whether the child has ended.
    fn is_dead(&self) -> bool {
        let mut status = 0;
        // SAFETY: our own child.
        unsafe { libc::waitpid(self.process, &raw mut status, libc::WNOHANG) != 0 }
    }

    /// Ends the child, if there is one, and starts another.
    fn start(&mut self) -> Result<(), OracleError> {
        self.stop();
        // SAFETY: both copies of the window are ours now.
        unsafe {
            for at in 0..WINDOW_BYTES {
                let code = page(WINDOW + at as u64) == Page::Code;
                let byte = if code { 0xcc } else { 0 };
                *self.alias.at.add(at) = byte;
                *self.mirror.at.add(at) = byte;
            }
        }
        let mut child = Child {
            board: self.board.at.cast(),
            alias: self.alias.at,
            mirror: self.mirror.at,
            window_file: self.window_file.as_raw_fd(),
            stack: self.stack.at,
            running: false,
            ymm_at: self.has_ymm().then(|| cpuid(0xd, 2).ebx as usize),
        };
        let board = self.board();
        let number = board.posted.load(Ordering::SeqCst);
        board.finished.store(number.wrapping_sub(1), Ordering::SeqCst);
        board.failed.store(0, Ordering::SeqCst);
        // SAFETY: the child does only what is safe there (see its module).
        match unsafe { libc::fork() } {
            -1 => return Err(failed("fork")),
            // SAFETY: this is that child.
            0 => unsafe { child::start(&raw mut child) },
            process => self.process = process,
        }
        let begun = Instant::now();
        while self.board().finished.load(Ordering::SeqCst) != number {
            if self.is_dead() {
                self.process = 0;
                return Err(OracleError::Died(match self.board().failed.load(Ordering::SeqCst) {
                    1 => format!("no memory at {WINDOW:#x}; see vm.mmap_min_addr"),
                    2 => "sigaltstack failed".into(),
                    3 => "sigaction failed".into(),
                    _ => "killed".into(),
                }));
            }
            if begun.elapsed() > START {
                self.stop();
                return Err(OracleError::Died("it does not answer".into()));
            }
            let now = self.board().finished.load(Ordering::SeqCst);
            if now != number {
                let wait = Some(Duration::from_millis(20));
                futex(&self.board().finished, libc::FUTEX_WAIT, now, wait);
            }
        }
        Ok(())
    }

    fn stop(&mut self) {
        if self.process > 0 {
            // SAFETY: our own child. If it has been waited for already, both calls fail.
            unsafe {
                let mut status = 0;
                if libc::waitpid(self.process, &raw mut status, libc::WNOHANG) == 0 {
                    libc::kill(self.process, libc::SIGKILL);
                    libc::waitpid(self.process, &raw mut status, 0);
                }
            }
            self.process = 0;
        }
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.stop();
    }
}

fn futex(word: &std::sync::atomic::AtomicU32, what: c_int, value: u32, time: Option<Duration>) {
    let time = time.map(|t| libc::timespec {
        tv_sec: t.as_secs() as i64,
        tv_nsec: i64::from(t.subsec_nanos()),
    });
    let time = time.as_ref().map_or(null_mut(), |t| (&raw const *t).cast::<c_void>().cast_mut());
    // SAFETY: the word lives as long as the board; the kernel only reads it and the time.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), what, value, time) };
}

/// What CPUID says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "the manual's own names")]
pub struct Cpuid {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
}

/// What CPUID says of a leaf; zero beyond the last leaf.
#[must_use]
pub fn cpuid(leaf: u32, subleaf: u32) -> Cpuid {
    let last = std::arch::x86_64::__cpuid(leaf & 0x8000_0000).eax;
    if leaf > last {
        return Cpuid::default();
    }
    let r = std::arch::x86_64::__cpuid_count(leaf, subleaf);
    Cpuid { eax: r.eax, ebx: r.ebx, ecx: r.ecx, edx: r.edx }
}
