//! The child: nothing but a signal handler.
//!
//! It runs in a fork of a process with other threads, and while FS, GS and the flags are a case's.
//! So it allocates nothing, takes no lock, uses no thread-local and makes its system calls itself.

use std::{
    arch::{asm, global_asm},
    cell::UnsafeCell,
    ffi::{c_int, c_void},
    ptr::null_mut,
    sync::atomic::{AtomicPtr, AtomicU32, Ordering},
};

use crate::case::{Case, Change, FX_BYTES, LDT, Outcome, Page, State, WINDOW, YMM_BYTES, page};

/// Cases that go to the child at once.
pub(crate) const BATCH: usize = 256;

/// What parent and child share.
#[repr(C)]
pub(crate) struct Board {
    /// The number of the last batch that the parent has posted; a futex.
    pub posted: AtomicU32,
    /// The number of the last batch that the child has finished; a futex.
    pub finished: AtomicU32,
    /// Cases of the batch.
    pub count: AtomicU32,
    /// The case that is being run. The parent sets where the batch begins.
    pub at: AtomicU32,
    /// Whether there is a local descriptor table.
    pub ldt: AtomicU32,
    /// The system call that failed at the start.
    pub failed: AtomicU32,
    /// Written by the parent while the child waits.
    pub cases: UnsafeCell<[Case; BATCH]>,
    /// Written by the child before it moves `at` on.
    pub outcomes: UnsafeCell<[Outcome; BATCH]>,
}

/// What only the child has. The parent makes it, and the child's copy is its own.
pub(crate) struct Child {
    pub board: *mut Board,
    /// The window once more, all of it writable.
    pub alias: *mut u8,
    /// What the window held when the case began.
    pub mirror: *mut u8,
    pub window_file: c_int,
    pub stack: *mut u8,
    pub running: bool,
    /// Where the upper halves of the YMM registers are in an XSAVE area, if the host has them.
    pub ymm_at: Option<usize>,
}

/// Bytes of the signal stack: the frame with its XSAVE area (AMX has 8 KiB) and the handler's own.
pub(crate) const STACK_BYTES: usize = 0x1_0000;

const PAGE_BYTES: usize = 0x1000;
const SIGNALS: [c_int; 5] =
    [libc::SIGSEGV, libc::SIGILL, libc::SIGFPE, libc::SIGBUS, libc::SIGTRAP];
/// NT and ID, which sigreturn does not restore.
const KEPT_FLAGS: u64 = 1 << 14 | 1 << 21;

/// Set in the child only.
static CHILD: AtomicPtr<Child> = AtomicPtr::new(null_mut());

/// What the entry leaves on the stack, and takes from there to start the next case.
#[repr(C)]
struct Segments {
    ds: u64,
    es: u64,
    fs: u64,
    gs: u64,
    fs_base: u64,
    gs_base: u64,
    /// Flags to leave with: sigreturn keeps these of them that a user cannot set otherwise.
    flags: u64,
}

// The entry from the kernel, and the way back. The case's AC flag still holds here, its data
// segments and FS and GS too. RDI, RSI and RDX are the handler's arguments.
global_asm!(
    ".globl trine_native_signal",
    "trine_native_signal:",
    "push 0x202",
    "popfq",
    "sub rsp, 56",
    "mov eax, ds",
    "mov [rsp], rax",
    "mov eax, es",
    "mov [rsp + 8], rax",
    "mov eax, fs",
    "mov [rsp + 16], rax",
    "mov eax, gs",
    "mov [rsp + 24], rax",
    "rdfsbase rax",
    "mov [rsp + 32], rax",
    "rdgsbase rax",
    "mov [rsp + 40], rax",
    "mov eax, 0x2b",
    "mov ds, eax",
    "mov es, eax",
    "mov rcx, rsp",
    "sub rsp, 16",
    "call {handler}",
    "add rsp, 16",
    "mov rax, [rsp + 16]",
    "mov fs, eax",
    "test eax, eax",
    "jnz 2f",
    "mov rax, [rsp + 32]",
    "wrfsbase rax",
    "2:",
    "mov rax, [rsp + 24]",
    "mov gs, eax",
    "test eax, eax",
    "jnz 2f",
    "mov rax, [rsp + 40]",
    "wrgsbase rax",
    "2:",
    "mov rax, [rsp]",
    "mov ds, eax",
    "mov rax, [rsp + 8]",
    "mov es, eax",
    "add rsp, 48",
    "popfq",
    "ret",
    handler = sym on_signal,
);

unsafe extern "C" {
    fn trine_native_signal(signal: c_int, what: *mut libc::siginfo_t, context: *mut c_void);
}

/// A system call without libc, whose `errno` is a thread-local.
///
/// # Safety
/// As the call itself.
unsafe fn system_call(number: i64, a: [u64; 6]) -> i64 {
    let result;
    // SAFETY: the kernel's convention; the caller answers for the call.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack)
        );
    }
    result
}

/// What the child does from the fork on.
///
/// # Safety
/// Only in a child that has been forked for it; `child` is complete.
pub(crate) unsafe fn start(child: *mut Child) -> ! {
    // SAFETY: the caller's promise; libc's wrappers used here are async-signal-safe, and FS is
    // still this thread's.
    unsafe {
        let board = (*child).board;
        match set_up(&*child) {
            Ok(ldt) => (*board).ldt.store(ldt.into(), Ordering::SeqCst),
            Err(call) => {
                (*board).failed.store(call, Ordering::SeqCst);
                libc::_exit(1);
            }
        }
        CHILD.store(child, Ordering::SeqCst);
        asm!("ud2", options(noreturn));
    }
}

/// The memory, the signals, the descriptors; the error is the number of what failed, for the
/// parent to name.
unsafe fn set_up(child: &Child) -> Result<bool, u32> {
    // SAFETY: plain system calls on memory that the parent has made for them.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        for n in 0..16 {
            let at = WINDOW as usize + n * PAGE_BYTES;
            let protection = match page(at as u64) {
                Page::Code => libc::PROT_READ | libc::PROT_EXEC,
                Page::Data => libc::PROT_READ | libc::PROT_WRITE,
                Page::ReadOnly => libc::PROT_READ,
                Page::Absent => continue,
            };
            let flags = libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE | libc::MAP_POPULATE;
            let offset = (n * PAGE_BYTES) as i64;
            let got = libc::mmap(
                at as *mut c_void,
                PAGE_BYTES,
                protection,
                flags,
                child.window_file,
                offset,
            );
            if got as usize != at {
                return Err(1);
            }
        }
        let stack = libc::stack_t { ss_sp: child.stack.cast(), ss_flags: 0, ss_size: STACK_BYTES };
        if libc::sigaltstack(&raw const stack, null_mut()) != 0 {
            return Err(2);
        }
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = trine_native_signal as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigfillset(&raw mut action.sa_mask);
        for signal in SIGNALS {
            if libc::sigaction(signal, &raw const action, null_mut()) != 0 {
                return Err(3);
            }
        }
        let mut mask = action.sa_mask;
        for signal in SIGNALS {
            libc::sigdelset(&raw mut mask, signal);
        }
        libc::sigprocmask(libc::SIG_SETMASK, &raw const mask, null_mut());
        Ok((0..LDT.len()).all(|n| set_descriptor(n)))
    }
}

/// `modify_ldt(2)` with entry `n` of the table.
unsafe fn set_descriptor(n: usize) -> bool {
    let d = LDT[n];
    let bit = |n: u32| (d >> n & 1) as u32;
    let limit = (d & 0xffff | d >> 32 & 0xf_0000) as u32;
    let base = (d >> 16 & 0xff_ffff | d >> 32 & 0xff00_0000) as u32;
    // seg_32bit, contents, read_exec_only, limit_in_pages, seg_not_present, useable.
    let contents = bit(43) << 1 | bit(42);
    let flags = bit(54)
        | contents << 1
        | (1 - bit(41)) << 3
        | bit(55) << 4
        | (1 - bit(47)) << 5
        | bit(52) << 6;
    let entry = [n as u32, base, limit, flags];
    // SAFETY: it changes this process's own table only.
    unsafe { libc::syscall(libc::SYS_modify_ldt, 0x11, &raw const entry, size_of_val(&entry)) == 0 }
}

/// Takes a case's outcome from the signal's frame and puts the next case there.
unsafe extern "C" fn on_signal(
    _: c_int,
    _: *mut libc::siginfo_t,
    context: *mut c_void,
    segments: *mut Segments,
) {
    // SAFETY: the kernel and the entry have made these for us; the child has one thread.
    let (child, context, segments) = unsafe {
        (
            &mut *CHILD.load(Ordering::SeqCst),
            &mut *context.cast::<libc::ucontext_t>(),
            &mut *segments,
        )
    };
    // SAFETY: the parent touches cases and outcomes only between batches.
    unsafe {
        let board = child.board;
        let mut at = (*board).at.load(Ordering::SeqCst);
        if child.running {
            harvest(child, at as usize, context, segments);
            at += 1;
            (*board).at.store(at, Ordering::SeqCst);
        }
        if !child.running || at >= (*board).count.load(Ordering::SeqCst) {
            next_batch(&*board);
            at = (*board).at.load(Ordering::SeqCst);
        }
        child.running = true;
        set_stage(child, at as usize, context, segments);
    }
}

/// Says that this batch is done and waits for another.
fn next_batch(board: &Board) {
    let last = board.posted.load(Ordering::SeqCst);
    board.finished.store(last, Ordering::SeqCst);
    wake(&board.finished);
    while board.posted.load(Ordering::SeqCst) == last {
        wait(&board.posted, last, 10_000);
    }
}

fn wake(word: &AtomicU32) {
    // SAFETY: FUTEX_WAKE touches nothing.
    unsafe {
        system_call(libc::SYS_futex, [word.as_ptr() as u64, libc::FUTEX_WAKE as u64, 1, 0, 0, 0]);
    }
}

/// Waits until `word` is woken, is not `value` or the time is over.
fn wait(word: &AtomicU32, value: u32, milliseconds: u64) {
    let time = [milliseconds / 1000, milliseconds % 1000 * 1_000_000];
    // SAFETY: FUTEX_WAIT reads the word and the time.
    unsafe {
        let arguments = [
            word.as_ptr() as u64,
            libc::FUTEX_WAIT as u64,
            value.into(),
            time.as_ptr() as u64,
            0,
            0,
        ];
        system_call(libc::SYS_futex, arguments);
    }
}

/// Where the general registers lie in `gregs`, in their encoding's order.
const PLACES: [i32; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];
/// XSTATE_BV, in quadwords from the start of the XSAVE area.
const XSTATE_BV: usize = 64;
/// Its bits for x87 and SSE, and for the upper halves of the YMM registers.
const X87_AND_SSE: u64 = 3;
const AVX: u64 = 4;

unsafe fn harvest(child: &mut Child, at: usize, context: &libc::ucontext_t, segments: &Segments) {
    // SAFETY: `at` is below BATCH, as the parent posted it; the frame's area has 512 bytes or more.
    unsafe {
        let board = child.board;
        let case = &(&*(*board).cases.get())[at];
        let out = &mut (&mut *(*board).outcomes.get())[at];
        let gregs = &context.uc_mcontext.gregs;
        let greg = |n: i32| gregs[n as usize] as u64;
        let after: &mut State = &mut out.after;
        for (register, place) in after.gpr.iter_mut().zip(PLACES) {
            *register = greg(place);
        }
        after.rip = greg(libc::REG_RIP);
        after.rflags = greg(libc::REG_EFL);
        let packed = greg(libc::REG_CSGSFS);
        let (cs, ss) = (packed as u16, (packed >> 48) as u16);
        let [ds, es] = [segments.ds as u16, segments.es as u16];
        after.selectors = [es, cs, ss, ds, segments.fs as u16, segments.gs as u16];
        after.bases = [segments.fs_base, segments.gs_base];
        let area = context.uc_mcontext.fpregs.cast::<u8>();
        std::ptr::copy_nonoverlapping(area, after.fx.as_mut_ptr(), FX_BYTES);
        after.ymm = [0; YMM_BYTES];
        if let Some(at) = child.ymm_at
            && *area.cast::<u64>().add(XSTATE_BV) & AVX != 0
        {
            std::ptr::copy_nonoverlapping(area.add(at), after.ymm.as_mut_ptr(), YMM_BYTES);
        }
        out.vector = greg(libc::REG_TRAPNO) as u32;
        out.error = greg(libc::REG_ERR) as u32;
        out.cr2 = greg(libc::REG_CR2);
        sweep(child, case, out);
    }
}

fn background(at: usize) -> u8 {
    if page((at & !(PAGE_BYTES - 1)) as u64 + WINDOW) == Page::Code { 0xcc } else { 0 }
}

/// Collects what the case changed, and makes the window what it was.
unsafe fn sweep(child: &Child, case: &Case, out: &mut Outcome) {
    // SAFETY: both copies of the window have its size, and nobody else touches them now.
    unsafe {
        out.clear_lines();
        for n in (0..16).filter(|n| page(WINDOW + (n << 12)) == Page::Data) {
            let start = n as usize * PAGE_BYTES;
            let line = |copy: *mut u8, at: usize| &mut *copy.add(at).cast::<[u8; 64]>();
            let whole = |copy: *mut u8| &*copy.add(start).cast::<[u8; PAGE_BYTES]>();
            if whole(child.alias) == whole(child.mirror) {
                continue;
            }
            for at in (start..start + PAGE_BYTES).step_by(64) {
                let now = line(child.alias, at);
                if now == line(child.mirror, at) {
                    continue;
                }
                out.push_line(Change { at: WINDOW + at as u64, bytes: *now });
                now.fill(background(at));
            }
        }
        for (at, bytes) in case.patches() {
            for n in 0..bytes.len() {
                let at = (at - WINDOW) as usize + n;
                *child.alias.add(at) = background(at);
                *child.mirror.add(at) = background(at);
            }
        }
    }
}

unsafe fn set_stage(
    child: &mut Child,
    at: usize,
    context: &mut libc::ucontext_t,
    segments: &mut Segments,
) {
    // SAFETY: as for `harvest`; `Case::patch` has checked where patches lie.
    unsafe {
        let case = &(&*(*child.board).cases.get())[at];
        for (at, bytes) in case.patches() {
            let at = (at - WINDOW) as usize;
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), child.alias.add(at), bytes.len());
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), child.mirror.add(at), bytes.len());
        }
        let before = &case.before;
        let gregs = &mut context.uc_mcontext.gregs;
        for (register, place) in before.gpr.iter().zip(PLACES) {
            gregs[place as usize] = *register as i64;
        }
        gregs[libc::REG_RIP as usize] = before.rip as i64;
        gregs[libc::REG_EFL as usize] = before.rflags as i64;
        let [es, cs, ss, ds, fs, gs] = before.selectors.map(u64::from);
        gregs[libc::REG_CSGSFS as usize] = (cs | ss << 48) as i64;
        *segments = Segments {
            ds,
            es,
            fs,
            gs,
            fs_base: before.bases[0],
            gs_base: before.bases[1],
            flags: 0x202 | before.rflags & KEPT_FLAGS,
        };
        let area = context.uc_mcontext.fpregs.cast::<u8>();
        std::ptr::copy_nonoverlapping(before.fx.as_ptr(), area, FX_BYTES);
        // They come from the image; all that a host has beyond them is as after reset.
        let mut components = X87_AND_SSE;
        if let Some(at) = child.ymm_at
            && before.ymm != [0; YMM_BYTES]
        {
            std::ptr::copy_nonoverlapping(before.ymm.as_ptr(), area.add(at), YMM_BYTES);
            components |= AVX;
        }
        *area.cast::<u64>().add(XSTATE_BV) = components;
    }
}
