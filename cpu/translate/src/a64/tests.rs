//! What is emitted is whole: every branch leads somewhere, on any host.

use trine_x86::{BLOCK_INSNS, Class, CpuModel, Decoder, Mode, Width};

use super::A64;
use crate::{
    code::{Backend, Emitted, Place, Runtime},
    family::{Families, Family},
    lift, passes,
    simd::Usable,
};

const BASE: usize = 0x7000_0000;
const CODE: usize = BASE + 0x10_0000;
const CELLS: usize = BASE + 0x200_0000;
const IP: u64 = 0xffff_8000_1234_5000;

const USABLE: Usable = Usable { sse: true, avx: true, x87: true };

fn emit(backend: &A64, runtime: Runtime, mode: Mode, page: &[u8]) -> Option<Emitted> {
    let (origin, ip) = if mode.is_64() { (IP, 0) } else { (0, 0x5000) };
    let model = CpuModel::named("max").expect("there is one");
    let source = lift::Source {
        origin,
        ip,
        page,
        offset: 0,
        beyond: &[],
        mode,
        limit: 0xffff_ffff,
        linear_bits: 48,
        backwards: false,
        decoder: &Decoder::new(&model),
        is_vector: &|insn| backend.is_vector(insn, USABLE),
        is_x87: &|_| false,
        steps: BLOCK_INSNS,
    };
    let mut region = lift::region(&source);
    passes::optimise(&mut region);
    let place = Place {
        code: CODE,
        sites: 7,
        exits: 9,
        cells: 11,
        cell_base: CELLS,
        page_ip: ip,
        region: 3,
        version: 0x7fff_1234_5678,
        shared: true,
        class: Class::User,
        runtime,
    };
    (!region.blocks.is_empty()).then(|| backend.emit(&region, &place))
}

/// Where the instruction at `at` may go, if it is a branch with a distance.
fn target(word: u32, at: usize) -> Option<usize> {
    let signed =
        |bits: u32, width: u32| i64::from((bits << (32 - width)).cast_signed() >> (32 - width));
    let words = match word >> 24 {
        _ if word >> 26 & 0x1f == 0b00101 => signed(word & 0x3ff_ffff, 26),
        0x54 | 0x34 | 0x35 | 0xb4 | 0xb5 => signed(word >> 5 & 0x7_ffff, 19),
        0x36 | 0x37 | 0xb6 | 0xb7 => signed(word >> 5 & 0x3fff, 14),
        _ => return None,
    };
    Some(at.wrapping_add_signed(4 * words as isize))
}

fn check(emitted: &Emitted, runtime: &Runtime) {
    let (words, rest) = emitted.code.as_chunks::<4>();
    assert!(rest.is_empty());
    let known = |to| {
        [runtime.miss, runtime.cold, runtime.call].contains(&to)
            || [&runtime.leave[..], &runtime.vectors].concat().contains(&to)
    };
    let inside = CODE..CODE + emitted.code.len();
    for (n, word) in words.iter().enumerate() {
        let (word, at) = (u32::from_le_bytes(*word), CODE + 4 * n);
        if let Some(to) = target(word, at) {
            assert!(inside.contains(&to) || known(to), "{word:08x} at {at:x} leads to {to:x}");
        }
    }
}

/// Numbers that look like chance (Marsaglia's xorshift64).
fn chance(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn branches_lead_somewhere() {
    let mut state = 0x1234_5678_9abc_def1;
    let each = Family::ALL.into_iter().map(|family| [family].into_iter().collect());
    let without =
        [Families::default()].into_iter().chain(each).chain([Family::ALL.into_iter().collect()]);
    for (atomics, without) in without.flat_map(|f| [(false, f), (true, f)]) {
        let backend = A64 { atomics, without };
        let (shared, runtime) = backend.runtime(BASE);
        assert!(shared.len() < CODE - BASE && shared.len().is_multiple_of(4));
        let mut instructions = 0;
        for n in 0..1500 {
            let mut page = [0; 64];
            for chunk in page.chunks_exact_mut(8) {
                chunk.copy_from_slice(&chance(&mut state).to_le_bytes());
            }
            // Every opcode comes first, some behind a prefix.
            page[n % 2] = (n / 2) as u8;
            page[0] = if n % 2 == 1 { [0x0f, 0x66, 0x48, 0xf0][n / 512 % 4] } else { page[0] };
            let width = [Width::W64, Width::W32][n % 3 / 2];
            let mode = Mode::new(width, width, true, true);
            if let Some(emitted) = emit(&backend, runtime, mode, &page) {
                check(&emitted, &runtime);
                instructions += emitted.sites.len();
            }
        }
        assert!(instructions > 1000, "{instructions}");
    }
}
