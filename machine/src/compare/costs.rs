//! What the measuring guest says, and what it is about.

use serde::Serialize;
use trine_firmware::measure::PM_TIMER_HZ;

/// What an operation is to a virtual machine monitor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Innocuous: it can run on the real CPU as it is.
    Innocuous,
    /// Sensitive and, at least on the first x86 CPUs, not privileged: it does not trap in ring 3.
    Unprivileged,
    /// Sensitive and privileged: it traps in ring 3.
    Privileged,
    /// An access to a device.
    Device,
    /// A change of privilege, an exception, an interrupt.
    Event,
    /// It changes code.
    Code,
}

/// An operation that the measuring guest measures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operation {
    /// Its name in the guest's output.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// What it is.
    pub kind: Kind,
}

const fn of(name: &'static str, title: &'static str, kind: Kind) -> Operation {
    Operation { name, title, kind }
}

/// The operations, in the order of the page.
pub const OPERATIONS: [Operation; 22] = [
    of("add", "ADD register", Kind::Innocuous),
    of("memory", "ADD to memory", Kind::Innocuous),
    of("call", "CALL and RET", Kind::Innocuous),
    of("sgdt", "SGDT", Kind::Unprivileged),
    of("popf", "PUSHF and POPF", Kind::Unprivileged),
    of("cpuid", "CPUID", Kind::Unprivileged),
    of("rdtsc", "RDTSC", Kind::Unprivileged),
    of("cli", "CLI", Kind::Privileged),
    of("cr0_read", "MOV from CR0", Kind::Privileged),
    of("cr3_write", "MOV to CR3", Kind::Privileged),
    of("invlpg", "INVLPG", Kind::Privileged),
    of("rdmsr", "RDMSR", Kind::Privileged),
    of("wrmsr", "WRMSR", Kind::Privileged),
    of("in", "IN from a port", Kind::Device),
    of("out", "OUT to a port", Kind::Device),
    of("mmio", "load from the local APIC", Kind::Device),
    of("int", "INT n and IRET", Kind::Event),
    of("syscall", "SYSCALL and SYSRET", Kind::Event),
    of("page_fault", "page fault and IRET", Kind::Event),
    of("self_ipi", "interrupt to itself, to EOI", Kind::Event),
    of("hlt", "wake-up from HLT by a timer", Kind::Event),
    of("smc", "store into the next instruction", Kind::Code),
];

/// The operation of that name.
#[must_use]
pub fn operation(name: &str) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|operation| operation.name == name)
}

/// What an operation cost.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Cost {
    /// Its name.
    pub operation: String,
    /// What it is.
    pub kind: Kind,
    /// Nanoseconds of guest time each, the loop around it subtracted.
    pub ns: f64,
    /// How often it was done in a round.
    pub times: u64,
}

/// Reads what the measuring guest says; `None` if it did not get to the end.
pub fn parse(text: &str) -> Option<Vec<Cost>> {
    let number = |word: Option<&str>| u64::from_str_radix(word?, 16).ok();
    let (mut ticks_per_ns, mut costs, mut has_ended) = (0.0, Vec::new(), false);
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("clock") => {
                let (tsc, pm) = (number(words.next())?, number(words.next())?);
                ticks_per_ns = tsc as f64 * PM_TIMER_HZ as f64 / (pm as f64 * 1e9);
            }
            Some("row") => {
                let operation = operation(words.next()?)?;
                let (times, took, empty) =
                    (number(words.next())?, number(words.next())?, number(words.next())?);
                let ns = (took as f64 - empty as f64) / times as f64 / ticks_per_ns;
                let ns = if ns.is_finite() { ns.max(0.0) } else { return None };
                costs.push(Cost {
                    operation: operation.name.into(),
                    kind: operation.kind,
                    ns,
                    times,
                });
            }
            Some("end") => has_ended = true,
            _ => {}
        }
    }
    has_ended.then_some(costs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_nanoseconds_each() {
        // A TSC of 2 GHz; 1000 times in 5000 ticks, 1000 of which are the loop's.
        let pm = PM_TIMER_HZ / 100;
        let text = format!("clock {:016x} {pm:016x}\r\n", pm * 2_000_000_000 / PM_TIMER_HZ)
            + "row cpuid 00000000000003e8 0000000000001388 00000000000003e8\r\n";
        assert_eq!(parse(&text), None, "no end");
        let costs = parse(&(text + "end\r\n")).expect("it ended");
        assert_eq!((costs[0].operation.as_str(), costs[0].times), ("cpuid", 1000));
        assert!((costs[0].ns - 2.0).abs() < 0.01, "{costs:?}");
        assert_eq!(parse("row nonsense 1 2 3\nend"), None);
        assert_eq!(parse("row cpuid 1 2 3\nend"), None, "no clock");
    }

    #[test]
    fn names_are_unique() {
        for (n, one) in OPERATIONS.iter().enumerate() {
            assert!(OPERATIONS[n + 1..].iter().all(|other| other.name != one.name), "{one:?}");
        }
    }
}
