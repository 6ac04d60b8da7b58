//! x87, SSE, AVX and PKRU by way of KVM's image of an XSAVE area.
//!
//! Source: SDM vol. 1, sections 10.5.1 and 13.4 (standard format; the legacy region as FXSAVE64
//! writes it).

use kvm_bindings::kvm_xsave;
use trine_x86::{CpuModel, CpuState, Feature, xcr0};

const BYTES: usize = 4096;
const FCW: usize = 0;
const FSW: usize = 2;
const FTW: usize = 4;
const FOP: usize = 6;
const FIP: usize = 8;
const FDP: usize = 16;
const MXCSR: usize = 24;
const ST0: usize = 32;
const XMM0: usize = 160;
const XSTATE_BV: usize = 512;
const YMM_HIGH: usize = 576;
const PKRU: usize = 2688;
const PKRU_COMPONENT: u64 = 1 << 9;

/// An area as bytes.
struct Area([u8; BYTES]);

impl Area {
    fn put(&mut self, at: usize, value: &[u8]) {
        self.0[at..at + value.len()].copy_from_slice(value);
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    fn double(&self, at: usize) -> u32 {
        u32::from(self.word(at)) | u32::from(self.word(at + 2)) << 16
    }

    fn quad(&self, at: usize) -> u64 {
        u64::from(self.double(at)) | u64::from(self.double(at + 4)) << 32
    }
}

/// The physical register that is ST(n) with this status word.
fn physical(status: u16, n: usize) -> usize {
    (usize::from(status >> 11) + n) & 7
}

/// The area that holds what `state` has. `area` is what KVM has, for what `state` does not know.
pub(crate) fn store(state: &CpuState, model: &CpuModel, area: &mut kvm_xsave) {
    let mut a = Area(bytes(area));
    let x87 = &state.x87;
    a.put(FCW, &x87.control.to_le_bytes());
    a.put(FSW, &x87.status.to_le_bytes());
    a.put(FTW, &[x87.valid, 0]);
    a.put(FOP, &x87.opcode.to_le_bytes());
    a.put(FIP, &x87.ip.to_le_bytes());
    a.put(FDP, &x87.dp.to_le_bytes());
    a.put(MXCSR, &state.simd.mxcsr.to_le_bytes());
    for n in 0..8 {
        let (significand, exponent) = x87.reg[physical(x87.status, n)];
        a.put(ST0 + 16 * n, &significand.to_le_bytes());
        a.put(ST0 + 16 * n + 8, &u64::from(exponent).to_le_bytes());
    }
    for (n, ymm) in state.simd.ymm.iter().enumerate() {
        for (quad, value) in ymm.iter().enumerate() {
            let at = match quad {
                0 | 1 => XMM0 + 16 * n + 8 * quad,
                _ => YMM_HIGH + 16 * n + 8 * (quad - 2),
            };
            if quad < 2 || model.has(Feature::Avx) {
                a.put(at, &value.to_le_bytes());
            }
        }
    }
    let mut components = xcr0::X87 | xcr0::SSE;
    if model.has(Feature::Avx) {
        components |= xcr0::AVX;
    }
    if model.has(Feature::Pku) {
        components |= PKRU_COMPONENT;
        a.put(PKRU, &state.control.pkru.to_le_bytes());
    }
    let known = a.quad(XSTATE_BV);
    a.put(XSTATE_BV, &(known | components).to_le_bytes());
    for (word, bytes) in area.region.iter_mut().zip(a.0.chunks_exact(4)) {
        *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
}

/// Takes from an area what `state` has. The selectors of the x87's last instruction are not in
/// it: they stay.
pub(crate) fn load(area: &kvm_xsave, model: &CpuModel, state: &mut CpuState) {
    let a = Area(bytes(area));
    let x87 = &mut state.x87;
    x87.control = a.word(FCW);
    x87.status = a.word(FSW);
    x87.valid = a.0[FTW];
    x87.opcode = a.word(FOP);
    x87.ip = a.quad(FIP);
    x87.dp = a.quad(FDP);
    for n in 0..8 {
        let at = ST0 + 16 * n;
        x87.reg[physical(x87.status, n)] = (a.quad(at), a.word(at + 8));
    }
    state.simd.mxcsr = a.double(MXCSR);
    let has = |component: u64| a.quad(XSTATE_BV) & component != 0;
    for (n, ymm) in state.simd.ymm.iter_mut().enumerate() {
        ymm[0] = a.quad(XMM0 + 16 * n);
        ymm[1] = a.quad(XMM0 + 16 * n + 8);
        if model.has(Feature::Avx) {
            let high = has(xcr0::AVX);
            ymm[2] = if high { a.quad(YMM_HIGH + 16 * n) } else { 0 };
            ymm[3] = if high { a.quad(YMM_HIGH + 16 * n + 8) } else { 0 };
        }
    }
    if model.has(Feature::Pku) {
        state.control.pkru = if has(PKRU_COMPONENT) { a.double(PKRU) } else { 0 };
    }
}

fn bytes(area: &kvm_xsave) -> [u8; BYTES] {
    let mut all = [0; BYTES];
    for (bytes, word) in all.chunks_exact_mut(4).zip(&area.region) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_as_it_was() {
        let model = CpuModel::named("max").expect("there is a model 'max'");
        let mut state = CpuState::reset(&model, 0);
        for n in 0..8 {
            state.x87.reg[n] = (1 << 63 | n as u64, 0x3fff + n as u16);
        }
        (state.x87.status, state.x87.valid, state.x87.opcode) = (0x2841, 0x5a, 0x123);
        (state.x87.ip, state.x87.dp) = (0x1234_5678_9abc, 0xffff_8000_0000_1000);
        for n in 0..16 {
            state.simd.ymm[n] = [n as u64, 1, 2 << n, 3];
        }
        state.control.pkru = 0x55;
        let mut area = kvm_xsave::default();
        store(&state, &model, &mut area);
        // ST(0) is R5.
        assert_eq!(area.region[ST0 / 4], 5);
        let mut back = CpuState::reset(&model, 0);
        load(&area, &model, &mut back);
        assert_eq!((back.x87, back.simd), (state.x87, state.simd));
        assert_eq!(back.control.pkru, 0x55);
    }
}
