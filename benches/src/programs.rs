//! What is run: the guest's programs, the boots of kernels, and Linux at its network and disk, in
//! the groups over which means are taken.

use std::fmt;

/// A kind of work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// Integer code in one privilege level.
    Integer,
    /// Floating point and SIMD.
    Float,
    /// Code that is written at run time, and what needs privilege.
    System,
    /// A Debian kernel up to its initramfs.
    Boot,
    /// Linux that gets, sends, reads and writes.
    Traffic,
}

impl Group {
    /// All, in the order of the table.
    pub const ALL: [Self; 5] =
        [Self::Integer, Self::Float, Self::System, Self::Boot, Self::Traffic];
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Integer => "integer",
            Self::Float => "float",
            Self::System => "system",
            Self::Boot => "boot",
            Self::Traffic => "traffic",
        })
    }
}

/// What does the work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// A program of `guest/` that needs no privilege, so that it runs natively, too.
    Unprivileged,
    /// A program of `guest/` that needs it.
    Privileged,
    /// The kernel at this place below the guests' folder.
    Boot(&'static str),
    /// Linux with a network card of this model, and a virtio disk.
    Traffic(&'static str),
}

/// One thing that is measured.
pub struct Program {
    /// Its name, as the guest has it.
    pub name: &'static str,
    /// What kind of work it is.
    pub group: Group,
    /// What does it.
    pub work: Work,
}

const fn native(name: &'static str, group: Group) -> Program {
    Program { name, group, work: Work::Unprivileged }
}

const fn privileged(name: &'static str) -> Program {
    Program { name, group: Group::System, work: Work::Privileged }
}

const fn boot(name: &'static str, kernel: &'static str) -> Program {
    Program { name, group: Group::Boot, work: Work::Boot(kernel) }
}

const fn traffic(name: &'static str, card: &'static str) -> Program {
    Program { name, group: Group::Traffic, work: Work::Traffic(card) }
}

/// All, in the guest's order.
pub const PROGRAMS: [Program; 30] = [
    native("mix", Group::Integer),
    native("memcpy", Group::Integer),
    native("crc", Group::Integer),
    native("sieve", Group::Integer),
    native("fib", Group::Integer),
    native("chase", Group::Integer),
    native("dispatch", Group::Integer),
    native("rep", Group::Integer),
    native("string", Group::Integer),
    native("core", Group::Integer),
    native("records", Group::Integer),
    native("sse2", Group::Float),
    native("x87", Group::Float),
    native("packed", Group::Float),
    native("simd", Group::Float),
    native("patch", Group::System),
    native("beside", Group::System),
    native("generate", Group::System),
    privileged("syscall"),
    privileged("fault"),
    privileged("switch"),
    boot("cloud", "cloud/vmlinuz"),
    boot("generic", "amd64/vmlinuz"),
    traffic("virtio-get", "virtio"),
    traffic("virtio-serve", "virtio"),
    traffic("disk-read", "virtio"),
    traffic("disk-write", "virtio"),
    traffic("disk-sync", "virtio"),
    traffic("e1000-get", "e1000"),
    traffic("e1000-serve", "e1000"),
];

/// The programs that a list of names of programs and groups chooses; all if there is no list.
///
/// # Errors
/// A name that neither has.
pub fn choose(names: Option<&str>) -> Result<Vec<&'static Program>, String> {
    let Some(names) = names else { return Ok(PROGRAMS.iter().collect()) };
    let is_named =
        |program: &Program, name: &str| program.name == name || program.group.to_string() == name;
    for name in names.split(',') {
        if !PROGRAMS.iter().any(|program| is_named(program, name)) {
            return Err(format!("there is no program or group '{name}'"));
        }
    }
    Ok(PROGRAMS.iter().filter(|p| names.split(',').any(|name| is_named(p, name))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image;

    fn is_of_guest(program: &Program) -> bool {
        matches!(program.work, Work::Unprivileged | Work::Privileged)
    }

    /// Names in the tables of the guest, which are rows of 32 bytes.
    fn guest_has(name: &str) -> bool {
        let row = [name.as_bytes(), &[0; 16]].concat();
        image::GUEST.windows(16).any(|bytes| bytes == &row[..16])
    }

    #[test]
    fn the_guest_has_every_program() {
        for program in PROGRAMS.iter().filter(|p| is_of_guest(p)) {
            assert!(guest_has(program.name), "{}", program.name);
        }
        assert!(!guest_has("cloud"));
    }

    #[test]
    fn programs_are_chosen_by_name_and_by_group() {
        let names = |list| choose(list).unwrap().iter().map(|p| p.name).collect::<Vec<_>>();
        assert_eq!(names(Some("fib,boot")), ["fib", "cloud", "generic"]);
        assert_eq!(names(None).len(), PROGRAMS.len());
        assert!(choose(Some("fib,nonsense")).is_err());
    }
}
