//! What may differ between two CPUs after the same case, and what does.

use std::fmt::Display;

use trine_native::{Change, Outcome, State};

use super::{
    guest::word,
    undefined::{self, Freedom},
};
use crate::vectors::text::{GPR_NAMES, SEG_NAMES};

const PF: u32 = 14;
/// Addresses from here on are the kernel's, or no addresses.
const USER_END: u64 = (1 << 47) - 0x1000;
/// The last data pointer's place in FXSAVE's image.
const FDP: usize = 16;
/// Linux sets this bit of the error code for them, lest a program learn what the kernel has mapped
/// (arch/x86/mm/fault.c, `set_signal_archinfo`).
const PRESENT: u32 = 1;

/// What two outcomes are of.
pub(crate) struct Compared<'a> {
    /// Of the code segment.
    pub(crate) bits: u32,
    pub(crate) before: &'a State,
    /// See [`super::cpuid::HostFeatures::keeps_fdp`].
    pub(crate) keeps_fdp: bool,
}

impl Compared<'_> {
    /// What differs; empty if nothing does.
    pub(crate) fn differences(
        &self,
        host: &Outcome,
        ours: &Outcome,
        freedom: &Freedom,
    ) -> Vec<String> {
        let mut out = Differences(Vec::new());
        out.number("exception", host.vector.into(), ours.vector.into());
        if host.vector != ours.vector {
            return out.0;
        }
        if matches!(host.vector, 8 | 10..=14 | 17 | 21) {
            let hidden = if host.vector == PF && host.cr2 >= USER_END { PRESENT } else { 0 };
            out.number("error code", (host.error | hidden).into(), (ours.error | hidden).into());
        }
        if host.vector == PF {
            out.number("cr2", host.cr2, ours.cr2);
        }
        let (h, o) = (&host.after, &ours.after);
        let low = if self.bits == 64 { !0 } else { 0xffff_ffff };
        let registers = if self.bits == 64 { 16 } else { 8 };
        for (n, name) in GPR_NAMES.iter().enumerate().take(registers) {
            out.number(name, h.gpr[n] & low, o.gpr[n] & low);
        }
        out.number("rip", h.rip, o.rip);
        let defined = !freedom.flags;
        out.number("rflags", h.rflags & defined, o.rflags & defined);
        for (n, name) in SEG_NAMES.iter().enumerate() {
            out.number(name, visible(h.selectors[n]), visible(o.selectors[n]));
        }
        for (n, name) in ["fs.base", "gs.base"].into_iter().enumerate() {
            out.number(name, h.bases[n], o.bases[n]);
        }
        let mut freedom = *freedom;
        if self.keeps_fdp && word(&h.fx, FDP) == word(&self.before.fx, FDP) {
            freedom.last_data = !0;
        }
        out.image(&h.fx, &o.fx, &freedom);
        for n in (0..16).filter(|_| !freedom.sse) {
            for (at, name) in [(16 * n, "third"), (16 * n + 8, "fourth")] {
                out.number(&format!("ymm{n} {name}"), word(&h.ymm, at), word(&o.ymm, at));
            }
        }
        out.memory(host, ours, &freedom);
        out.0
    }
}

/// A null selector without its RPL, which the kernel's IRET clears on the way back to the oracle
/// (SDM vol. 2A, IRET: RETURN-TO-OUTER-PRIVILEGE-LEVEL).
fn visible(selector: u16) -> u64 {
    if selector & 0xfffc == 0 { 0 } else { selector.into() }
}

struct Differences(Vec<String>);

impl Differences {
    fn number(&mut self, name: &str, host: u64, ours: u64) {
        if host != ours {
            self.0.push(format!("{name}: the host has {host:x}, we {ours:x}"));
        }
    }

    fn image(&mut self, host: &[u8], ours: &[u8], freedom: &Freedom) {
        let mut part = |name: &dyn Display, at: usize, bits: u32, free: u64| {
            let mask = if bits == 64 { !0 } else { (1 << bits) - 1 } & !free;
            let (h, o) = (word(host, at) & mask, word(ours, at) & mask);
            if h != o {
                self.number(&name.to_string(), h, o);
            }
        };
        if !freedom.sse {
            part(&"mxcsr", 24, 32, 0);
            for n in 0..16 {
                part(&format_args!("xmm{n}"), 160 + 16 * n, 64, 0);
                part(&format_args!("xmm{n} high"), 168 + 16 * n, 64, 0);
            }
        }
        if freedom.x87 {
            return;
        }
        part(&"fcw", 0, 16, 0);
        part(&"fsw", 2, 16, freedom.status);
        part(&"ftw", 4, 8, 0);
        part(&"fop", 6, 16, 0);
        part(&"fip", 8, 64, 0);
        part(&"fdp", 16, 64, freedom.last_data);
        for n in 0..8 {
            if freedom.ulps > 0 && undefined::near(&host[32 + 16 * n..], &ours[32 + 16 * n..]) {
                continue;
            }
            part(&format_args!("st{n}"), 32 + 16 * n, 64, 0);
            part(&format_args!("st{n} exponent"), 40 + 16 * n, 16, 0);
        }
    }

    fn memory(&mut self, host: &Outcome, ours: &Outcome, freedom: &Freedom) {
        if freedom.memory {
            return;
        }
        if host.lines() == ours.lines() && host.changed == ours.changed {
            return;
        }
        let find = |lines: &[Change], at: u64| lines.iter().find(|l| l.at == at).copied();
        let mut places: Vec<u64> =
            host.lines().iter().chain(ours.lines()).map(|line| line.at).collect();
        places.sort_unstable();
        places.dedup();
        for at in places {
            match (find(host.lines(), at), find(ours.lines(), at)) {
                (Some(h), Some(o)) if h == o => {}
                (Some(h), Some(o)) => {
                    for n in (0..64).filter(|n| h.bytes[*n] != o.bytes[*n]).take(16) {
                        let name = format!("mem[{:x}]", at + n as u64);
                        self.number(&name, h.bytes[n].into(), o.bytes[n].into());
                    }
                }
                (Some(_), None) => self.0.push(format!("only the host changes mem[{at:x}]")),
                (None, Some(_)) => self.0.push(format!("only we change mem[{at:x}]")),
                (None, None) => {}
            }
        }
    }
}
