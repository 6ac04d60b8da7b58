//! Single accesses to memory that other threads access too.
//!
//! Rust's atomics want alignment and say nothing of mixed sizes; the guest has neither scruple. An
//! aligned word is read and written with one atomic access (acquire and release, which is what x86
//! promises its programs; on x86 and with LDAPR on Arm it costs nothing). An unaligned word is one
//! volatile access where the host's plain instructions allow it, with a barrier where those are
//! not in order. A locked update is also a full barrier for all that is around it.
//!
//! Sources: SDM vol. 3A, section 9.2 (memory ordering); Arm ARM, section B2.3.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence},
};

/// A word of guest memory: u8, u16, u32, u64 or (two loads and stores, one update) u128.
pub trait Word: Copy + PartialEq + sealed::Sealed {
    /// Reads the word at `at`, little endian.
    ///
    /// # Safety
    /// `at` and the bytes after it lie in a mapping that only this module's functions access.
    unsafe fn load(at: *const u8) -> Self;
    /// Writes the word at `at`, little endian.
    ///
    /// # Safety
    /// As [`Word::load`].
    unsafe fn store(at: *mut u8, value: Self);
    /// Replaces the word at `at` by `f` of it in one step, and returns the old one.
    ///
    /// # Safety
    /// As [`Word::load`].
    unsafe fn update(at: *mut u8, split: &Mutex<()>, f: impl FnMut(Self) -> Self) -> Self;
}

/// Of `bytes`, the words that the host's string instructions move: all of them, where they are so
/// many that it is quicker than a loop.
#[cfg(target_arch = "x86_64")]
fn at_once(bytes: usize) -> usize {
    const MANY: usize = 16;
    let words = bytes / 8;
    if words < MANY { 0 } else { words }
}

/// Copies words, upwards, with the host's string instruction (SDM vol. 1, section 7.3.9.3).
///
/// # Safety
/// Both ranges may be accessed, and may change meanwhile. If one is Rust's own, they do not overlap.
#[cfg(target_arch = "x86_64")]
unsafe fn copy_words(from: *const u8, to: *mut u8, words: usize) {
    // SAFETY: by contract. The direction flag is clear in Rust code.
    unsafe {
        std::arch::asm!(
            "rep movsq",
            inout("rcx") words => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags),
        );
    }
}

/// Fills `data` from `at` on, eight bytes at a time.
///
/// # Safety
/// As [`Word::load`], of all bytes.
pub unsafe fn load_all(mut at: *const u8, data: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    let data = {
        let words = at_once(data.len());
        // SAFETY: by contract; `data` is not in the mapping.
        unsafe {
            copy_words(at, data.as_mut_ptr(), words);
            at = at.add(words * 8);
        }
        &mut data[words * 8..]
    };
    let mut words = data.chunks_exact_mut(8);
    // SAFETY: by contract.
    unsafe {
        for word in &mut words {
            word.copy_from_slice(&u64::load(at).to_le_bytes());
            at = at.add(8);
        }
        for byte in words.into_remainder() {
            *byte = u8::load(at);
            at = at.add(1);
        }
    }
}

/// Stores `data` from `at` on, eight bytes at a time.
///
/// # Safety
/// As [`Word::store`], of all bytes.
pub unsafe fn store_all(mut at: *mut u8, data: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    let data = {
        let words = at_once(data.len());
        // SAFETY: by contract; `data` is not in the mapping.
        unsafe {
            copy_words(data.as_ptr(), at, words);
            at = at.add(words * 8);
        }
        &data[words * 8..]
    };
    let words = data.chunks_exact(8);
    let rest = words.remainder();
    // SAFETY: by contract.
    unsafe {
        for word in words {
            u64::store(at, word.try_into().map_or(0, u64::from_le_bytes));
            at = at.add(8);
        }
        for byte in rest {
            u8::store(at, *byte);
            at = at.add(1);
        }
    }
}

/// Copies `len` bytes as if byte by byte, upwards: what lies a little below `to` is repeated.
///
/// # Safety
/// As [`Word::load`] and [`Word::store`], of all bytes.
pub unsafe fn copy(mut from: *const u8, mut to: *mut u8, mut len: usize) {
    let distance = (to as usize).wrapping_sub(from as usize);
    // SAFETY: by contract.
    unsafe {
        if distance == 0 || distance >= 8 {
            #[cfg(target_arch = "x86_64")]
            {
                let words = at_once(len);
                copy_words(from, to, words);
                (from, to, len) = (from.add(words * 8), to.add(words * 8), len - words * 8);
            }
            while len >= 8 {
                u64::store(to, u64::load(from));
                (from, to, len) = (from.add(8), to.add(8), len - 8);
            }
        }
        for n in 0..len {
            u8::store(to.add(n), u8::load(from.add(n)));
        }
    }
}

/// Stores `pattern` from its lowest byte on, over and over, into `len` bytes.
///
/// # Safety
/// As [`Word::store`], of all bytes.
pub unsafe fn fill(mut to: *mut u8, mut len: usize, pattern: u64) {
    // SAFETY: by contract. The direction flag is clear in Rust code.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        {
            let words = at_once(len);
            std::arch::asm!(
                "rep stosq",
                inout("rcx") words => _,
                inout("rdi") to => to,
                in("rax") pattern,
                options(nostack, preserves_flags),
            );
            len -= words * 8;
        }
        while len >= 8 {
            u64::store(to, pattern);
            (to, len) = (to.add(8), len - 8);
        }
        for (n, byte) in pattern.to_le_bytes()[..len].iter().enumerate() {
            u8::store(to.add(n), *byte);
        }
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for u16 {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
    impl Sealed for u128 {}
}

/// Whether the host's plain loads and stores, aligned or not, are atomic and ordered as x86's are.
const PLAIN: bool = cfg!(target_arch = "x86_64");

#[repr(C, packed)]
#[derive(Clone, Copy)]
struct Unaligned<T: Copy>(T);

/// One plain store of the host to a place of any alignment; `$operand` is it in assembly.
///
/// A volatile write of a type without alignment would take a way through the stack first.
macro_rules! store_plain {
    ($at:expr, $value:expr, $class:ident, $operand:literal, $t:ty) => {{
        #[cfg(target_arch = "x86_64")]
        std::arch::asm!(
            $operand,
            at = in(reg) $at,
            value = in($class) $value,
            options(nostack, preserves_flags),
        );
        #[cfg(not(target_arch = "x86_64"))]
        $at.cast::<Unaligned<$t>>().write_volatile(Unaligned($value));
    }};
}

macro_rules! word {
    ($t:ty, $atomic:ty, $class:ident, $operand:literal) => {
        impl Word for $t {
            #[inline(always)]
            unsafe fn load(at: *const u8) -> Self {
                if PLAIN || !at.cast::<$atomic>().is_aligned() {
                    // SAFETY: in bounds by contract; the type has alignment 1.
                    let word = unsafe { at.cast::<Unaligned<$t>>().read_volatile() }.0;
                    if !PLAIN {
                        fence(Ordering::Acquire);
                    }
                    return <$t>::from_le(word);
                }
                // SAFETY: in bounds by contract, aligned, and atomics may share memory.
                <$t>::from_le(unsafe { &*at.cast::<$atomic>() }.load(Ordering::Acquire))
            }

            #[inline(always)]
            unsafe fn store(at: *mut u8, value: Self) {
                let value = value.to_le();
                if PLAIN || !at.cast::<$atomic>().is_aligned() {
                    if !PLAIN {
                        fence(Ordering::Release);
                    }
                    // SAFETY: in bounds by contract; any alignment will do.
                    unsafe { store_plain!(at, value, $class, $operand, $t) };
                    return;
                }
                // SAFETY: in bounds by contract, aligned, and atomics may share memory.
                unsafe { &*at.cast::<$atomic>() }.store(value, Ordering::Release);
            }

            unsafe fn update(
                at: *mut u8,
                split: &Mutex<()>,
                mut f: impl FnMut(Self) -> Self,
            ) -> Self {
                const SIZE: usize = size_of::<$t>();
                let inside = at as usize % 8;
                if inside + SIZE <= 8 {
                    // Within an aligned quadword: swap that (the mapping is whole pages).
                    let (shift, mut was) = (inside as u32 * 8, 0);
                    let mask = u64::from(<$t>::MAX) << shift;
                    // SAFETY: the quadword lies in the same page as its part does.
                    let quadword = unsafe { &*at.sub(inside).cast::<AtomicU64>() };
                    update_quadword(quadword, &mut |all| {
                        was = (all >> shift) as $t;
                        (all & !mask) | (u64::from(f(was)) << shift)
                    });
                    return was;
                }
                locked(split, || {
                    // SAFETY: by contract.
                    let old = unsafe { Self::load(at) };
                    // SAFETY: by contract.
                    unsafe { Self::store(at, f(old)) };
                    old
                })
            }
        }
    };
}

word!(u8, AtomicU8, reg_byte, "mov byte ptr [{at}], {value}");
word!(u16, AtomicU16, reg, "mov word ptr [{at}], {value:x}");
word!(u32, AtomicU32, reg, "mov dword ptr [{at}], {value:e}");
word!(u64, AtomicU64, reg, "mov qword ptr [{at}], {value:r}");

/// After a locked update: LOCK orders all loads and stores before it against all after it. On x86
/// the host's own LOCK has done so; elsewhere a swap that acquires and releases is less than that.
#[inline(always)]
fn full_barrier() {
    if !PLAIN {
        fence(Ordering::SeqCst);
    }
}

/// Compare-and-swap until nobody came between.
fn update_quadword(quadword: &AtomicU64, f: &mut dyn FnMut(u64) -> u64) {
    let mut old = quadword.load(Ordering::SeqCst);
    loop {
        let new = f(u64::from_le(old)).to_le();
        match quadword.compare_exchange_weak(old, new, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => return full_barrier(),
            Err(now) => old = now,
        }
    }
}

/// Lock for [`Word::update`] of a word that straddles what the host can swap at once.
fn locked<R>(lock: &Mutex<()>, f: impl FnOnce() -> R) -> R {
    let _held = lock.lock().unwrap_or_else(PoisonError::into_inner);
    let result = f();
    full_barrier();
    result
}

impl Word for u128 {
    unsafe fn load(at: *const u8) -> Self {
        // SAFETY: by contract; x86 promises no atomicity for 16 bytes either.
        let (low, high) = unsafe { (u64::load(at), u64::load(at.add(8))) };
        Self::from(high) << 64 | Self::from(low)
    }

    unsafe fn store(at: *mut u8, value: Self) {
        // SAFETY: by contract.
        unsafe {
            u64::store(at, value as u64);
            u64::store(at.add(8), (value >> 64) as u64);
        }
    }

    unsafe fn update(at: *mut u8, split: &Mutex<()>, mut f: impl FnMut(Self) -> Self) -> Self {
        if (at as usize).is_multiple_of(16) && swap128::AVAILABLE {
            // SAFETY: by contract; a torn first guess only costs another turn.
            let mut old = unsafe { Self::load(at) };
            loop {
                // SAFETY: in bounds by contract, aligned to 16.
                let now = unsafe { swap128::compare_exchange(at, old, f(old)) };
                if now == old {
                    full_barrier();
                    return old;
                }
                old = now;
            }
        }
        locked(split, || {
            // SAFETY: by contract.
            let old = unsafe { Self::load(at) };
            // SAFETY: by contract.
            unsafe { Self::store(at, f(old)) };
            old
        })
    }
}

#[cfg(target_arch = "x86_64")]
mod swap128 {
    pub(super) const AVAILABLE: bool = true;

    /// LOCK CMPXCHG16B; returns what was there. `at` is aligned to 16.
    ///
    /// Every x86-64 processor made since 2006 has it.
    pub(super) unsafe fn compare_exchange(at: *mut u8, old: u128, new: u128) -> u128 {
        let (mut low, mut high) = (old as u64, (old >> 64) as u64);
        // SAFETY: writes 16 aligned bytes, which the caller has bounded; RBX is restored.
        unsafe {
            std::arch::asm!(
                "xchg {new_low}, rbx",
                "lock cmpxchg16b [{at}]",
                "mov rbx, {new_low}",
                at = in(reg) at,
                new_low = inout(reg) new as u64 => _,
                in("rcx") (new >> 64) as u64,
                inout("rax") low,
                inout("rdx") high,
                options(nostack),
            );
        }
        u128::from(high) << 64 | u128::from(low)
    }
}

#[cfg(target_arch = "aarch64")]
mod swap128 {
    pub(super) const AVAILABLE: bool = true;

    /// LDAXP and STLXP; returns what was there. `at` is aligned to 16.
    pub(super) unsafe fn compare_exchange(at: *mut u8, old: u128, new: u128) -> u128 {
        let (low, high): (u64, u64);
        // SAFETY: writes 16 aligned bytes, which the caller has bounded.
        unsafe {
            std::arch::asm!(
                "2:",
                "ldaxp {low}, {high}, [{at}]",
                "cmp {low}, {old_low}",
                "ccmp {high}, {old_high}, #0, eq",
                "csel {put_low}, {new_low}, {low}, eq",
                "csel {put_high}, {new_high}, {high}, eq",
                "stlxp {failed:w}, {put_low}, {put_high}, [{at}]",
                "cbnz {failed:w}, 2b",
                at = in(reg) at,
                low = out(reg) low,
                high = out(reg) high,
                put_low = out(reg) _,
                put_high = out(reg) _,
                failed = out(reg) _,
                old_low = in(reg) old as u64,
                old_high = in(reg) (old >> 64) as u64,
                new_low = in(reg) new as u64,
                new_high = in(reg) (new >> 64) as u64,
                options(nostack),
            );
        }
        u128::from(high) << 64 | u128::from(low)
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod swap128 {
    pub(super) const AVAILABLE: bool = false;

    pub(super) unsafe fn compare_exchange(_at: *mut u8, _old: u128, _new: u128) -> u128 {
        unreachable!("not available")
    }
}
