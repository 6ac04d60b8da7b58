//! From a stream that ends in two ways to the instruction that makes the difference.

use std::fmt::Write as _;

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Formatter, Instruction, IntelFormatter, OpKind,
};
use trine_engine::CpuState;
use trine_x86::{cr0, efer, rflags};

use super::{Outcome, Pair, Stream, Way};
use crate::vectors::{GPR_NAMES, differences};

/// Instructions in front of the first difference that are shown.
const SHOWN: u64 = 12;

/// What differs, and where, in the smallest stream that still shows it; and a vector line, where
/// the instruction alone shows it.
///
/// # Errors
/// If the host fails.
pub fn report(pair: &Pair<'_>, stream: &Stream) -> Result<(String, Option<String>), String> {
    let (stream, at) = shrunk(pair, stream)?;
    let (one, other) = pair.run(&stream, at)?;
    let mut out = format!("after {at} instructions: {}", different(&one, &other));
    let _ = write!(out, "; the last of them:");
    let image = stream.image(pair.world);
    let (trial, _) = pair.other;
    for n in at.saturating_sub(SHOWN)..at {
        let before = trial.run(&image, &stream.state, &stream.schedule, Way::Single, n)?;
        let _ = write!(out, "\n       {}", instruction(&before, &image));
    }
    let pieces = stream.program.pieces.len();
    let _ = write!(out, "\n       ({pieces} pieces are left of the stream in {:?})", stream.mode);
    let line = match pair.one.1 {
        // The instructions before it have their part in it.
        Way::Whole => None,
        Way::Single => {
            let before = trial.run(&image, &stream.state, &stream.schedule, Way::Single, at - 1)?;
            vector(&before, &other, &image)
        }
    };
    Ok((out, line))
}

/// The instruction between two states as a vector line, if it has registers only.
fn vector(before: &Outcome, after: &Outcome, image: &[u8]) -> Option<String> {
    let (mode, insn, code) = decode(before, image);
    let memory = (0..insn.op_count())
        .any(|n| insn.op_kind(n) != OpKind::Register && !is_immediate(insn.op_kind(n)));
    let (b, a) = (&before.state, &after.state);
    let mut same = a.clone();
    (same.gpr, same.rip, same.rflags, same.simd) = (b.gpr, b.rip, b.rflags, b.simd);
    if memory
        || insn.flow_control() != FlowControl::Next
        || insn.is_privileged()
        || insn.is_stack_instruction()
        || b.segments.seg[2].rights >> 5 & 3 == 3
        || b.rflags & (rflags::VM | rflags::TF) != 0
        || same != *b
    {
        return None;
    }
    let mode = match mode {
        64 => "64",
        32 => "32",
        _ if b.control.cr0 & cr0::PE == 0 => "real",
        _ => "16",
    };
    let mut out = format!("{mode} {code} \"{}\"", text(&insn));
    let settings = |out: &mut String, s: &CpuState, all: bool| {
        let differs = |n: usize| all || a.gpr[n] != b.gpr[n];
        for (n, name) in GPR_NAMES.iter().enumerate().filter(|(n, _)| differs(*n)) {
            if n < 8 || mode == "64" {
                let _ = write!(out, " {name}={:x}", s.gpr[n]);
            }
        }
        let flags = s.rflags & !(rflags::IF | rflags::IOPL | rflags::RF);
        let _ = write!(out, " rflags={flags:x}");
        for n in (0..16).filter(|n| {
            if all { b.simd.ymm[*n] != [0; 4] } else { a.simd.ymm[*n] != b.simd.ymm[*n] }
        }) {
            let _ = write!(out, " xmm{n}={:016x}{:016x}", s.simd.ymm[n][1], s.simd.ymm[n][0]);
        }
        let _ = write!(out, " mxcsr={:x}", s.simd.mxcsr);
    };
    settings(&mut out, b, true);
    out.push_str(" =>");
    settings(&mut out, a, false);
    Some(out)
}

/// The first number of instructions after which the two ways differ.
fn first_difference(pair: &Pair<'_>, stream: &Stream) -> Result<u64, String> {
    let (mut same, mut differ) = (0, stream.schedule.len());
    while differ - same > 1 {
        let middle = same + (differ - same) / 2;
        if pair.differs(stream, middle)? {
            differ = middle;
        } else {
            same = middle;
        }
    }
    Ok(differ)
}

/// The stream without all pieces, events and instructions that it takes not.
fn shrunk(pair: &Pair<'_>, stream: &Stream) -> Result<(Stream, u64), String> {
    let mut best = stream.clone();
    let mut at = first_difference(pair, &best)?;
    let mut size = best.program.pieces.len().div_ceil(2);
    while size > 0 {
        let mut n = 0;
        while n < best.program.pieces.len() {
            let mut less = best.clone();
            let end = (n + size).min(less.program.pieces.len());
            less.program.pieces.drain(n..end);
            if pair.differs(&less, at)? {
                at = first_difference(pair, &less)?.min(at);
                best = less;
            } else {
                n += size;
            }
        }
        size /= 2;
    }
    Ok((best, at))
}

fn different(one: &Outcome, other: &Outcome) -> String {
    let mut out = differences(&other.state, &one.state);
    if one.retired != other.retired {
        out.push(format!("retired: {} and {}", other.retired, one.retired));
    }
    if one.exits != other.exits {
        out.push(format!("exits: {:?} and {:?}", other.exits.last(), one.exits.last()));
    }
    if one.bus != other.bus {
        out.push("what the bus saw".into());
    }
    for (at, page) in &one.pages {
        let theirs = other.pages.iter().find(|(there, _)| there == at);
        match theirs {
            None => out.push(format!("page {at:x} has changed in one")),
            Some((_, theirs)) => {
                let first = page.iter().zip(theirs).position(|(a, b)| a != b);
                out.extend(first.map(|n| {
                    format!("mem[{:x}]: want {:02x}, got {:02x}", at + n as u64, theirs[n], page[n])
                }));
            }
        }
    }
    for (at, _) in &other.pages {
        if !one.pages.iter().any(|(there, _)| there == at) {
            out.push(format!("page {at:x} has changed in the other"));
        }
    }
    if out.is_empty() && one.state != other.state {
        out.push(hidden(&other.state, &one.state));
    }
    out.join("; ")
}

/// What differs in the parts of a state that vectors do not show.
fn hidden(want: &CpuState, got: &CpuState) -> String {
    let lines = |s: &CpuState| format!("{s:#?}").lines().map(str::to_string).collect::<Vec<_>>();
    let (want, got) = (lines(want), lines(got));
    let pairs = want.iter().zip(&got).filter(|(w, g)| w != g).take(4);
    let out: Vec<String> =
        pairs.map(|(w, g)| format!("want {} got {}", w.trim(), g.trim())).collect();
    out.join("; ")
}

/// The instruction at which a run stopped, as far as CS is where it seems: width, itself, bytes.
fn decode(at: &Outcome, image: &[u8]) -> (u32, Instruction, String) {
    let cs = &at.state.segments.seg[1];
    let long = at.state.control.efer & efer::LMA != 0 && cs.rights >> 13 & 1 != 0;
    let bits = match (long, cs.rights >> 14 & 1 != 0) {
        (true, _) => 64,
        (_, true) => 32,
        _ => 16,
    };
    let base = if long { 0 } else { cs.base };
    let linear = base.wrapping_add(at.state.rip) as usize;
    let mut bytes = [0; 15];
    for (n, byte) in bytes.iter_mut().enumerate() {
        let place = linear.wrapping_add(n);
        let page = (place & !0xfff) as u64;
        let changed = at.pages.iter().find(|(there, _)| *there == page);
        *byte = match changed {
            Some((_, page)) => page.get(place & 0xfff).copied(),
            None => image.get(place).copied(),
        }
        .unwrap_or(0xff);
    }
    let insn = Decoder::with_ip(bits, &bytes, at.state.rip, DecoderOptions::NONE).decode();
    let code = bytes.iter().take(insn.len()).map(|b| format!("{b:02x}")).collect();
    (bits, insn, code)
}

fn text(insn: &Instruction) -> String {
    let mut text = String::new();
    IntelFormatter::new().format(insn, &mut text);
    text
}

fn instruction(at: &Outcome, image: &[u8]) -> String {
    let (bits, insn, code) = decode(at, image);
    let cs = at.state.segments.seg[1].selector;
    format!("{bits} {cs:04x}:{:x} {code} \"{}\"", at.state.rip, text(&insn))
}

fn is_immediate(kind: OpKind) -> bool {
    matches!(
        kind,
        OpKind::Immediate8
            | OpKind::Immediate8_2nd
            | OpKind::Immediate16
            | OpKind::Immediate32
            | OpKind::Immediate64
            | OpKind::Immediate8to16
            | OpKind::Immediate8to32
            | OpKind::Immediate8to64
            | OpKind::Immediate32to64
    )
}
