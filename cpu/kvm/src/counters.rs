//! What KVM counts itself: of a vCPU whose local APIC is in the kernel, nobody else sees when it
//! halts, and when it takes an interrupt.
//!
//! Source: Linux, Documentation/virt/kvm/api.rst, KVM_GET_STATS_FD (Linux 5.14).

use std::{fs::File, io, os::unix::fs::FileExt};

use trine_engine::Stats;

/// The header: flags, the size of a name, how many descriptors; then where the vCPU's name, the
/// descriptors and the data are, in 32 bits each.
const HEADER: usize = 24;
/// A descriptor without its name: flags, exponent and size (16 bits each), where the data is, size of
/// a bucket.
const DESCRIPTOR: usize = 16;
/// Names are shorter, and descriptors fewer.
const NAME_MAX: usize = 256;
const DESCRIPTORS_MAX: usize = 1024;

/// The counters of a vCPU.
pub(crate) struct Counters {
    file: File,
    interrupts: Place,
    halts: Place,
    /// Halted: asleep, or waiting actively in vain or not.
    asleep_ns: [Place; 3],
}

/// Where a counter is in the file, if there is one.
type Place = Option<u64>;

impl Counters {
    /// Those that `file` has, which is of KVM_GET_STATS_FD.
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, 0)?;
        let [_, name_size, count, _, descriptors, data] =
            std::array::from_fn(|n| word(&header, n * 4) as usize);
        if name_size > NAME_MAX || count > DESCRIPTORS_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let size = DESCRIPTOR + name_size;
        let mut bytes = vec![0; count * size];
        file.read_exact_at(&mut bytes, descriptors as u64)?;
        let place = |name: &str| {
            let is_it = |descriptor: &&[u8]| {
                let rest = descriptor[DESCRIPTOR..].strip_prefix(name.as_bytes());
                rest.is_some_and(|rest| rest.first().is_none_or(|byte| *byte == 0))
            };
            let found = bytes.chunks_exact(size).find(is_it)?;
            Some(data as u64 + u64::from(word(found, 8)))
        };
        let asleep = ["halt_wait_ns", "halt_poll_success_ns", "halt_poll_fail_ns"];
        Ok(Self {
            interrupts: place("irq_injections"),
            halts: place("halt_exits"),
            asleep_ns: asleep.map(place),
            file,
        })
    }

    /// What they show now. What cannot be read is 0.
    pub(crate) fn stats(&self) -> Stats {
        let value = |place: Place| {
            let mut bytes = [0; 8];
            let read = place.map(|at| self.file.read_exact_at(&mut bytes, at));
            if matches!(read, Some(Ok(()))) { u64::from_le_bytes(bytes) } else { 0 }
        };
        Stats {
            interrupts: value(self.interrupts),
            halts: value(self.halts),
            asleep_ns: self.asleep_ns.map(value).iter().sum(),
            ..Stats::default()
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word))
}
