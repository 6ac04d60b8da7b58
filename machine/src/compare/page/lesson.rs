//! What the numbers mean: the part of the page that is for who learns.
//!
//! Sources: G. Popek and R. Goldberg, "Formal requirements for virtualizable third generation
//! architectures" (CACM 17, 1974); J. Robin and C. Irvine, "Analysis of the Intel Pentium's ability
//! to support a secure virtual machine monitor" (USENIX Security 2000); K. Adams and O. Agesen, "A
//! comparison of software and hardware techniques for x86 virtualization" (ASPLOS 2006); P. Barham et
//! al., "Xen and the art of virtualization" (SOSP 2003); SDM vol. 3C, chapters 24 to 29.

use maud::{Markup, html};

use super::costs::cost;
use crate::compare::{Comparison, EngineRun, words};

/// What the engines are.
pub fn engines() -> Markup {
    html! {
        div.note {
            p {
                strong { "interp" } " decodes each guest instruction once into a record and then calls a "
                "function for it, every time. No guest instruction ever reaches the host\u{2019}s CPU. "
                strong { "translate" } " does the same until a piece of code is hot, and then turns it "
                "into host code: " em { "binary translation" } ". " strong { "kvm" } " lends the guest "
                "the host\u{2019}s CPU and is called only when hardware says so: "
                em { "hardware assist" } "."
            }
        }
    }
}

/// The theorem, and what each way of running a guest makes of it.
pub fn theorem(comparison: &Comparison) -> Markup {
    html! {
        h2 { "What the numbers teach" }
        (popek_and_goldberg())
        (before_hardware(comparison))
        (hardware(comparison))
        (paravirtualisation(comparison))
    }
}

fn popek_and_goldberg() -> Markup {
    html! {
        h3 { "Popek and Goldberg, 1974" }
        p {
            "Call an instruction " em { "privileged" } " if it traps in user mode and does not trap in "
            "supervisor mode. Call it " em { "sensitive" } " if it changes the configuration of the "
            "machine (control-sensitive) or if what it does depends on that configuration or on the "
            "mode (behaviour-sensitive). The rest is innocuous. The theorem: "
            strong { "a virtual machine monitor can be built for a machine if its sensitive instructions "
            "are a subset of its privileged ones." } " For then the guest, kernel and all, can run in "
            "user mode: innocuous instructions run on the CPU at full speed, and every sensitive one "
            "traps to the monitor, which emulates it and returns. That is "
            em { "trap-and-emulate" } "."
        }
        p {
            "The x86 did not qualify. Robin and Irvine counted 17 instructions on the Pentium that are "
            "sensitive and not privileged. Two to remember:"
        }
        ul {
            li {
                code { "POPF" } " restores the flags. With too little privilege it leaves the interrupt "
                "flag as it was, " strong { "and does not trap" } ". A guest kernel that runs in ring 3 "
                "believes that interrupts are off, and its monitor never hears of it."
            }
            li {
                code { "SGDT" } " stores where the table of descriptors is. In ring 3 it worked without a "
                "trap, and gave the guest the address of the " em { "host\u{2019}s" } " table instead of "
                "its own. (Later CPUs can forbid it: UMIP.)"
            }
        }
    }
}

fn before_hardware(comparison: &Comparison) -> Markup {
    html! {
        h3 { "Two ways round: emulate everything, or translate" }
        p {
            "An interpreter does not care. It executes all instructions itself, so it has no sensitive "
            "ones: the privileged rows above cost it little more than the innocuous ones, and the "
            "innocuous ones cost it dear."
            (ratio(comparison, "interp"))
        }
        p {
            "A binary translator reads guest code before it runs. What is innocuous becomes host code "
            "almost one to one; what is sensitive becomes a call of the emulator. Nothing needs to trap, "
            "so it does not matter that POPF would not. That is how x86 was virtualised before 2005. "
            "Its prices are elsewhere: code has to be translated first, memory has to be translated by "
            "software in front of each access (compare ADD with ADD to memory), and code that changes "
            "has to be noticed and thrown away (the last row)."
            (ratio(comparison, "translate"))
        }
    }
}

/// A sentence about ADD and CPUID under an engine.
fn ratio(comparison: &Comparison, engine: &str) -> Markup {
    let run = comparison.engines.iter().find(|run| run.engine == engine);
    let costs = |run: &EngineRun| Some((cost(run, "add")?, cost(run, "cpuid")?));
    let Some((add, cpuid)) = run.and_then(costs) else { return html! {} };
    html! {
        " Here an ADD took " strong { (words::nanoseconds(add)) " ns" } " and a CPUID "
        strong { (words::nanoseconds(cpuid)) " ns" }
        @if add >= 0.01 {
            @let factor = cpuid / add;
            @let decimals = usize::from(factor < 10.0);
            ", " (format!("{factor:.decimals$}")) " times as much"
        }
        "."
    }
}

fn hardware(comparison: &Comparison) -> Markup {
    let has_kvm = comparison.ran().any(|(run, _)| run.engine == "kvm");
    html! {
        h3 { "Hardware assist" }
        p {
            "VT-x (2005) and AMD-V (2006) mend the theorem\u{2019}s premise in another way: not by making "
            "17 instructions privileged, but by a new mode beside the rings. In guest mode ring 0 is a "
            "real ring 0, and the monitor chooses what leaves it. POPF and SGDT then work on the "
            "guest\u{2019}s own state and need no exit; CPUID exits; HLT, IN, OUT, RDMSR, WRMSR "
            "and MOV to CR3 do if the monitor wants it. With nested paging (2007 and 2008) the CPU walks two "
            "sets of tables by itself, and MOV to CR3, INVLPG and the guest\u{2019}s own page faults do "
            "not concern the monitor any more. What is left is what an exit costs: the CPU saves one "
            "world and loads another, some thousand cycles with the monitor\u{2019}s own work, and an "
            "exit to user space for a device several times that."
            (ratio(comparison, "kvm"))
            @if !has_kvm { " (This host offers no kvm to show it with.)" }
        }
        p {
            "So the curves cross: hardware assist wins wherever innocuous instructions outnumber exits, "
            "which is nearly always; a tight loop of sensitive instructions is the one place where a "
            "translator, to which they are just calls, can be the faster one."
        }
    }
}

fn paravirtualisation(comparison: &Comparison) -> Markup {
    let device = ["port in", "port out", "mmio read", "mmio write"];
    let share = |run: &EngineRun| {
        let events = &run.stats.as_ref()?.events;
        let sum = |is: &dyn Fn(&str) -> bool| -> u64 {
            events.iter().filter(|event| is(&event.reason)).map(|event| event.count).sum()
        };
        let (devices, all) = (sum(&|reason| device.contains(&reason)), sum(&|_| true));
        (all > 0).then_some((run.engine, devices, all))
    };
    let share = comparison.engines.iter().find_map(share);
    html! {
        h3 { "Paravirtualisation" }
        p {
            "The third way: tell the guest. A kernel that knows that it is a guest can leave sensitive "
            "instructions out and call its monitor instead, for many things at once. Xen (2003) ran "
            "whole kernels that way, without translation and without VT-x. Today it is a set of small "
            "agreements on top of hardware assist, each against one reason for exits: kvmclock reads "
            "the time from a page of memory instead of a timer\u{2019}s ports, PV EOI ends an interrupt "
            "by a bit in memory instead of a store to the local APIC, virtio rings a bell once for a "
            "queue of requests where an old disk takes several port accesses for each."
            @if let Some((engine, devices, all)) = share {
                " In this run " (words::count(devices)) " of the " (words::count(all)) " events under "
                (engine) " were accesses to devices: the part that such agreements are about."
            }
        }
    }
}
