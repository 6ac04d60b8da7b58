//! Files that a kernel finds in memory beside itself: an initrd, or modules with a line each.

use trine_guest::Gpa;

use crate::{
    boot::BootError,
    description::{Description, GIB4, MIB},
    record::Record,
};

/// A file for a kernel, and what the kernel is told of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Module {
    /// The file.
    pub bytes: Vec<u8>,
    /// Its command line, for boot protocols that have one.
    pub line: String,
}

impl From<Vec<u8>> for Module {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, line: String::new() }
    }
}

/// Modules in their places, from the top of memory down, in the order of the command line.
pub(crate) struct Placed<'a>(Vec<(Gpa, &'a Module)>);

impl<'a> Placed<'a> {
    /// Finds room for all of them: for each as for [`module_at`].
    pub(crate) fn find(
        modules: &'a [Module],
        kernel: (u64, u64),
        machine: &Description,
    ) -> Result<Self, BootError> {
        let mut max = GIB4 - 1;
        let mut placed = Vec::new();
        for module in modules {
            let at = module_at(module.bytes.len(), max, kernel, machine)?;
            // Once one lies below the kernel, so do all behind it.
            max = at.0.saturating_sub(1);
            placed.push((at, module));
        }
        Ok(Self(placed))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Where each is, where it ends, and its line.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u64, u64, &'a str)> {
        let row = |(at, module): &(Gpa, &'a Module)| {
            (at.0, at.0 + module.bytes.len() as u64, &*module.line)
        };
        self.0.iter().map(row)
    }

    /// What to place where.
    pub(crate) fn segments(&self) -> impl Iterator<Item = (Gpa, Vec<u8>)> {
        self.0.iter().map(|(at, module)| (*at, module.bytes.clone()))
    }
}

/// All modules as one initrd: archives may follow each other, each on a multiple of 4 bytes
/// (Linux, Documentation/driver-api/early-userspace/buffer-format.rst).
pub(crate) fn initrd(modules: &[Module]) -> Result<Vec<u8>, BootError> {
    if modules.iter().any(|module| !module.line.is_empty()) {
        return Err(BootError::ModuleLine);
    }
    let mut initrd = Record::new();
    for module in modules {
        initrd.push(&vec![0; initrd.len().next_multiple_of(4) - initrd.len()]);
        initrd.push(&module.bytes);
    }
    Ok(initrd.into_bytes())
}

/// Where a module of `len` bytes goes: on a page, as high as possible in low RAM up to and including
/// `max`, clear of the memory that the kernel needs until it knows better, from `kernel.0` to
/// `kernel.1`. Where there is no room above the kernel, the room below it will do.
pub(crate) fn module_at(
    len: usize,
    max: u64,
    kernel: (u64, u64),
    machine: &Description,
) -> Result<Gpa, BootError> {
    const PAGE: u64 = 0x1000;
    let len = len as u64;
    let top = machine.low_ram.min(GIB4).min(max.saturating_add(1));
    let page_up = |at: u64| at.saturating_add(PAGE - 1) & !(PAGE - 1);
    let rooms = [(page_up(kernel.1), top), (MIB, kernel.0.min(top))];
    rooms
        .iter()
        .filter_map(|&(from, to)| {
            let at = to.checked_sub(len)? & !(PAGE - 1);
            (at >= from).then_some(Gpa(at))
        })
        .next()
        .ok_or_else(|| {
            let room = rooms.iter().map(|&(from, to)| to.saturating_sub(from)).max();
            BootError::InitrdTooLarge { len, room: room.unwrap_or(0) }
        })
}
