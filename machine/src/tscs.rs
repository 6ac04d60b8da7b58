//! Whether all vCPUs have the same time-stamp counter: then KVM's clock says that one vCPU's is as
//! good as another's, and a guest's programs read whichever they find.

use std::sync::{Mutex, PoisonError};

use crate::cpu_wires::CpuWires;

/// What each vCPU's time-stamp counter is ahead of guest time. Follows from the CPUs' states.
pub struct Tscs {
    ahead: Mutex<Vec<u64>>,
}

impl Tscs {
    /// Those of so many vCPUs after power-on.
    pub fn new(cpus: u32) -> Self {
        Self { ahead: Mutex::new(vec![0; cpus as usize]) }
    }

    /// vCPU `vcpu` is so many ticks ahead; all of them hear whether they agree.
    pub fn set(&self, vcpu: u32, ticks: u64, cpus: &[CpuWires]) {
        // Held until all are told, so that who comes last tells of all. Plain numbers are
        // consistent wherever a holder could panic.
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = ahead.get_mut(vcpu as usize) {
            *place = ticks;
        }
        let differ = ahead.windows(2).any(|pair| pair[0] != pair[1]);
        for cpu in cpus {
            cpu.tell_tscs_differ(differ);
        }
    }
}

#[cfg(test)]
mod tests {
    use trine_engine::Kicker;

    use super::*;

    #[test]
    fn all_hear_when_one_leaves_and_when_it_is_back() {
        let cpus = [CpuWires::default(), CpuWires::default(), CpuWires::default()];
        let kicker = Kicker::default();
        cpus[0].connect(kicker.clone());
        let tscs = Tscs::new(3);
        let differ = |cpu: &CpuWires| cpu.sample().tscs_differ;
        for (vcpu, ticks, expected) in [
            (2, 5, true),
            (1, 5, true),
            (0, 5, false),
            (0, 5, false),
            (1, 0, true),
            (1, 5, false),
            (9, 1, false),
        ] {
            let before = differ(&cpus[0]);
            tscs.set(vcpu, ticks, &cpus);
            assert!(cpus.iter().all(|cpu| differ(cpu) == expected), "{vcpu} {ticks}");
            assert_eq!(kicker.is_raised(), before != expected, "{vcpu} {ticks}");
            let _ = kicker.take();
        }
    }
}
