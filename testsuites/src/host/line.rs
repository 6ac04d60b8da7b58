//! Cases as vector lines, and vector lines as cases.
//!
//! Lines of the modes 32c and 16c (32- and 16-bit code under a 64-bit kernel), and of 64u if the
//! code lies at 10000h or beyond, run on the host's stage: see [`crate::vectors`].

use std::fmt::Write as _;

use trine_engine::CpuModel;
use trine_native::{Case, Outcome, State, WINDOW};
use trine_x86::vector;

use super::{
    compare::Compared,
    draw::{Drawn, patch},
    guest::{Guest, background, from_image, to_image, word},
    undefined::Freedom,
};
use crate::{
    Candidate,
    vectors::{
        Mode, Vector,
        text::{Fault, GPR_NAMES, SEG_NAMES, Setting},
        window,
    },
};

const BP: u32 = 3;
const RSP: usize = 4;
const INT3: u8 = 0xcc;

/// The state in which a line of `mode` begins, but for what it says.
fn initial(mode: Mode) -> State {
    let mut state = State::default();
    state.gpr[RSP] = 0x1_8800;
    let data = window::LOCAL_DATA16;
    state.selectors = match mode {
        Mode::Compat32 => [0x2b, window::USER_CODE32, 0x2b, 0x2b, 0, 0],
        Mode::Compat16 => [data, window::LOCAL_CODE16, data, data, data, data],
        _ => state.selectors,
    };
    state.rip = match mode {
        Mode::Compat16 => 0x1000,
        _ => 0x1_1000,
    };
    if mode == Mode::Compat16 {
        state.gpr[RSP] = 0x8800;
    }
    state.fx[..2].copy_from_slice(&0x37f_u16.to_le_bytes());
    state.fx[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());
    state
}

/// The linear address of the instruction.
fn code_address(state: &State, mode: Mode) -> u64 {
    match mode {
        Mode::Long { .. } => state.rip,
        _ => window::segment(state.selectors[1]).base.wrapping_add(state.rip & 0xffff_ffff),
    }
}

pub(crate) fn mode_of(bits: u32) -> (Mode, &'static str) {
    match bits {
        64 => (Mode::Long { user: true }, "64u"),
        32 => (Mode::Compat32, "32c"),
        _ => (Mode::Compat16, "16c"),
    }
}

/// A line that shows what the host's CPU did with a case.
pub(crate) fn write(drawn: &Drawn, host: &Outcome, freedom: &Freedom) -> String {
    let (mode, name) = mode_of(drawn.form.bits);
    let bytes: String = drawn.encoded.bytes.iter().map(|b| format!("{b:02x}")).collect();
    let flaw = drawn.encoded.flaw.map_or(String::new(), |flaw| format!("{flaw} "));
    let mut out = format!("{name} {bytes} \"{flaw}{}\"", drawn.encoded.insn);
    let from = initial(mode);
    registers(&mut out, &from, &drawn.case.before, true);
    memory(&mut out, drawn);
    out.push_str(" =>");
    let mut expected = drawn.case.before;
    let mut after = host.after;
    if host.vector == BP && last_byte(drawn, host) == INT3 {
        // The INT3 behind the instruction.
        after.rip = after.rip.wrapping_sub(1);
        expected.rip = expected.rip.wrapping_add(drawn.encoded.bytes.len() as u64);
    } else {
        let _ = write!(out, " #{}", vector::name(host.vector as u8).trim_start_matches('#'));
        if matches!(host.vector, 8 | 10..=14 | 17 | 21) {
            let _ = write!(out, "({:x})", host.error);
        }
        if host.vector == 14 {
            let _ = write!(out, "@{:x}", host.cr2);
        }
        after.rflags &= !RF;
    }
    registers(&mut out, &expected, &after, false);
    if freedom.flags != 0 {
        let _ = write!(out, " undef={:x}", freedom.flags);
    }
    changes(&mut out, drawn, host);
    out
}

const RF: u64 = 1 << 16;

/// The byte before the last RIP: INT3, if the instruction was not one itself.
fn last_byte(drawn: &Drawn, host: &Outcome) -> u8 {
    let own = drawn.case.before.rip;
    let end = own.wrapping_add(drawn.encoded.bytes.len() as u64);
    if host.after.rip == end
        && matches!(
            drawn.encoded.insn.mnemonic(),
            iced_x86::Mnemonic::Int3 | iced_x86::Mnemonic::Int
        )
    {
        return 0;
    }
    INT3
}

/// What memory holds but for the instruction, as runs of bytes without a long gap.
fn memory(out: &mut String, drawn: &Drawn) {
    const GAP: u64 = 8;
    let code = drawn.at..drawn.at + drawn.encoded.bytes.len() as u64;
    let image = before_image(&drawn.case);
    let mut end = 0;
    for (at, byte) in (WINDOW..).zip(&image) {
        if *byte == background(at) || code.contains(&at) {
            continue;
        }
        if end == 0 || at - end > GAP || (end..at).any(|n| code.contains(&n)) {
            let _ = write!(out, " mem[{at:x}]=");
        } else {
            for gap in end..at {
                let _ = write!(out, "{:02x}", background(gap));
            }
        }
        let _ = write!(out, "{byte:02x}");
        end = at + 1;
    }
}

/// What a CPU stored, as runs of bytes.
fn changes(out: &mut String, drawn: &Drawn, host: &Outcome) {
    let image = before_image(&drawn.case);
    let mut end = 0;
    for line in host.lines() {
        for (n, byte) in line.bytes.iter().enumerate() {
            let at = line.at + n as u64;
            let old = image.get((at - WINDOW) as usize).copied().unwrap_or(0);
            if *byte == old {
                continue;
            }
            if at != end || end == 0 {
                let _ = write!(out, " mem[{at:x}]=");
            }
            let _ = write!(out, "{byte:02x}");
            end = at + 1;
        }
    }
}

fn before_image(case: &Case) -> Vec<u8> {
    let mut image: Vec<u8> =
        (0..trine_native::WINDOW_BYTES as u64).map(|n| background(WINDOW + n)).collect();
    for (at, bytes) in case.patches() {
        let at = (at - WINDOW) as usize;
        image[at..at + bytes.len()].copy_from_slice(bytes);
    }
    image
}

/// The registers in which `to` differs from `from`.
fn registers(out: &mut String, from: &State, to: &State, left: bool) {
    let mut put = |name: &str, from: u64, to: u64| {
        if from != to {
            let _ = write!(out, " {name}={to:x}");
        }
    };
    put("rip", from.rip, to.rip);
    for (n, name) in GPR_NAMES.iter().enumerate() {
        put(name, from.gpr[n], to.gpr[n]);
    }
    put("rflags", from.rflags, to.rflags);
    for (n, name) in SEG_NAMES.iter().enumerate() {
        put(name, from.selectors[n].into(), to.selectors[n].into());
    }
    // A descriptor's base is no news.
    for (n, name) in [(4, "fsbase"), (5, "gsbase")] {
        let loaded = |state: &State| {
            let selector = state.selectors[n];
            if selector & 0xfffc == 0 { state.bases[n - 4] } else { window::segment(selector).base }
        };
        put(name, loaded(from), loaded(to));
    }
    let field = |state: &State, at: usize, bits: u32| word(&state.fx, at) & (!0 >> (64 - bits));
    for (name, at, bits) in FIELDS {
        put(name, field(from, at, bits), field(to, at, bits));
    }
    let top = |state: &State| field(state, 2, 16) >> 11 & 7;
    for n in 0..8 {
        // Registers are named from TOP on, which may have moved.
        let moved = (n + 8 + top(to) as usize - top(from) as usize) % 8;
        let (f, t) = (32 + 16 * if left { n } else { moved }, 32 + 16 * n);
        let both = |state: &State, at: usize| (field(state, at + 8, 16), field(state, at, 64));
        if both(from, f) != both(to, t) {
            let (rest, significand) = both(to, t);
            let _ = write!(out, " st{n}={rest:04x}{significand:016x}");
        }
    }
    if left || field(from, 4, 8) != field(to, 4, 8) {
        let tags = field(to, 4, 8);
        if !left || tags != 0 || to.fx[32..160].iter().any(|b| *b != 0) {
            let _ = write!(out, " ftw={tags:x}");
        }
    }
    for n in 0..16 {
        let value = |state: &State| {
            u128::from(word(&state.fx, 168 + 16 * n)) << 64
                | u128::from(word(&state.fx, 160 + 16 * n))
        };
        let upper = |state: &State| (word(&state.ymm, 16 * n), word(&state.ymm, 16 * n + 8));
        if upper(from) != upper(to) {
            let (third, fourth) = upper(to);
            let _ = write!(out, " ymm{n}={fourth:016x}{third:016x}{:032x}", value(to));
        } else if value(from) != value(to) {
            let _ = write!(out, " xmm{n}={:x}", value(to));
        }
    }
}

/// Fields of the image: name, place, bits.
const FIELDS: [(&str, usize, u32); 6] = [
    ("fcw", 0, 16),
    ("fsw", 2, 16),
    ("fop", 6, 11),
    ("fip", 8, 64),
    ("fdp", 16, 64),
    ("mxcsr", 24, 32),
];

/// Runs a vector of the host's stage; `Err` says what differs.
pub(crate) fn run(vector: &Vector, model: &CpuModel, candidate: &Candidate) -> Result<(), String> {
    let (case, _) = case(vector);
    let want = expected(vector, &case);
    let mut guest = Guest::new(candidate, model)?;
    let mut got = Outcome::default();
    guest.run(&case, true, &mut got)?;
    got.after.rflags &= !RF;
    let undefined = vector.after_register("undef").unwrap_or(0) as u64;
    let freedom = Freedom { flags: undefined | RF, ..Freedom::default() };
    let bits = if matches!(vector.mode, Mode::Long { .. }) { 64 } else { 32 };
    let compared = Compared { bits, before: &case.before, keeps_fdp: false };
    let differences = compared.differences(&want, &got, &freedom);
    if differences.is_empty() { Ok(()) } else { Err(differences.join("; ")) }
}

fn case(vector: &Vector) -> (Case, u64) {
    let mut state = initial(vector.mode);
    let mut settings: Vec<&Setting> = vector.before.iter().collect();
    // TOP names the others.
    settings.sort_by_key(|s| !matches!(s, Setting::Register(name, _) if name == "fsw"));
    for setting in &settings {
        match setting {
            Setting::Register(name, value) => set(&mut state, name, *value),
            Setting::Ymm(n, value) => set_ymm(&mut state, *n, *value),
            Setting::Memory(..) => {}
        }
    }
    let mut case = Case::new(state);
    for setting in &vector.before {
        if let Setting::Memory(at, data) = setting {
            patch(&mut case, *at, data);
        }
    }
    let at = code_address(&state, vector.mode);
    patch(&mut case, at, &vector.code);
    (case, at)
}

/// What the line says becomes of the case.
fn expected(vector: &Vector, case: &Case) -> Outcome {
    let mut out = Outcome::default();
    out.after = case.before;
    match vector.fault {
        Some(Fault { vector, code, address }) => {
            out.vector = vector.into();
            out.error = code.unwrap_or(0);
            out.cr2 = address.unwrap_or(0);
        }
        None => {
            out.vector = BP;
            out.after.rip = out.after.rip.wrapping_add(vector.code.len() as u64);
        }
    }
    // The base of a selector that does not change is the descriptor's.
    for n in [4, 5] {
        let selector = out.after.selectors[n];
        if selector & 0xfffc != 0 {
            out.after.bases[n - 4] = window::segment(selector).base;
        }
    }
    let mut settings: Vec<&Setting> = vector.after.iter().collect();
    settings.sort_by_key(|s| !matches!(s, Setting::Register(name, _) if name == "fsw"));
    let image = before_image(case);
    let mut now = image.clone();
    for setting in settings {
        match setting {
            Setting::Register(name, _) if name == "undef" => {}
            Setting::Register(name, value) => set(&mut out.after, name, *value),
            Setting::Ymm(n, value) => set_ymm(&mut out.after, *n, *value),
            Setting::Memory(at, data) => {
                let at = at.wrapping_sub(WINDOW) as usize;
                if let Some(place) = now.get_mut(at..at.saturating_add(data.len())) {
                    place.copy_from_slice(data);
                }
            }
        }
    }
    if vector.fault.is_none() {
        out.after.rip = out.after.rip.wrapping_add(1);
    }
    for (n, (new, old)) in now.chunks_exact(64).zip(image.chunks_exact(64)).enumerate() {
        if new != old {
            let mut bytes = [0; 64];
            bytes.copy_from_slice(new);
            out.push_line(trine_native::Change { at: WINDOW + 64 * n as u64, bytes });
        }
    }
    out
}

fn set_ymm(state: &mut State, n: usize, value: [u64; 4]) {
    let bytes = value.map(u64::to_le_bytes);
    let (low, high) = bytes.as_flattened().split_at(16);
    state.fx[160 + 16 * n..176 + 16 * n].copy_from_slice(low);
    state.ymm[16 * n..16 * n + 16].copy_from_slice(high);
}

fn set(state: &mut State, name: &str, value: u128) {
    let low = value as u64;
    if let Some(n) = GPR_NAMES.iter().position(|g| *g == name) {
        state.gpr[n] = low;
        return;
    }
    if let Some(n) = SEG_NAMES.iter().position(|g| *g == name) {
        state.selectors[n] = low as u16;
        if n >= 4 {
            state.bases[n - 4] = window::segment(low as u16).base;
        }
        return;
    }
    if let Some((_, at, bits)) = FIELDS.iter().find(|field| field.0 == name) {
        let bytes = bits.div_ceil(8) as usize;
        // The registers stay where they are when TOP moves.
        let (mut x87, simd) = from_image(&state.fx);
        if name == "fsw" {
            x87.status = low as u16;
            state.fx = to_image(&x87, &simd);
            return;
        }
        state.fx[*at..at + bytes].copy_from_slice(&low.to_le_bytes()[..bytes]);
        return;
    }
    let numbered = |prefix: &str| name.strip_prefix(prefix).and_then(|n| n.parse::<usize>().ok());
    match name {
        "rip" => state.rip = low,
        "rflags" => state.rflags = low | 0x202,
        "flags" => state.rflags = state.rflags & !0x8d5 | low & 0x8d5,
        "fsbase" => state.bases[0] = low,
        "gsbase" => state.bases[1] = low,
        "ftw" => state.fx[4] = low as u8,
        _ => {
            if let Some(n @ 0..16) = numbered("xmm") {
                state.fx[160 + 16 * n..176 + 16 * n].copy_from_slice(&value.to_le_bytes());
            } else if let Some(n @ 0..8) = numbered("st") {
                state.fx[32 + 16 * n..42 + 16 * n].copy_from_slice(&value.to_le_bytes()[..10]);
                state.fx[4] |= 1 << ((n + (word(&state.fx, 2) >> 11) as usize) & 7);
            } else if let Some(n @ 0..8) = numbered("mm") {
                state.fx[32 + 16 * n..40 + 16 * n].copy_from_slice(&low.to_le_bytes());
                state.fx[40 + 16 * n..42 + 16 * n].fill(0xff);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use iced_x86::Code;

    use super::*;
    use crate::{
        host::{draw, forms::Form},
        noise::Noise,
    };

    /// A line says all that its case needs.
    #[test]
    fn what_is_written_is_read_again() {
        let codes = [
            (Code::Add_rm32_imm8, 64),
            (Code::Add_rm32_imm8, 32),
            (Code::Fstp_m80fp, 16),
            (Code::Addps_xmm_xmmm128, 32),
            (Code::VEX_Vaddps_ymm_ymm_ymmm256, 64),
            (Code::Retnd_imm16, 16),
            (Code::Cmpsb_m8_m8, 64),
        ];
        let mut noise = Noise::new(7);
        for (code, bits) in codes {
            for _ in 0..100 {
                let drawn = draw::draw(Form { code, bits }, !0, true, &mut noise).unwrap();
                let mut out = Outcome::default();
                out.vector = 3;
                out.after = drawn.case.before;
                out.after.rip += drawn.encoded.bytes.len() as u64 + 1;
                let line = write(&drawn, &out, &Freedom::default());
                let vector: Vector = line.parse().unwrap_or_else(|e| panic!("{e}: {line}"));
                let (case, at) = case(&vector);
                assert!(before_image(&case) == before_image(&drawn.case), "{line}");
                assert_eq!(at, drawn.at, "{line}");
                let (mut read, mut was) = (case.before, drawn.case.before);
                // Bases of segments that are loaded are their descriptors'.
                (read.bases, was.bases) = ([0; 2], [0; 2]);
                assert_eq!(read, was, "{line}");
            }
        }
    }
}
