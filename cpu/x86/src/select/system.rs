//! System instructions.

use iced_x86::{Code as C, Mnemonic as M};

use crate::{
    insn::Insn,
    sem::Pick,
    system::{
        clock, control, cpuid, debug, far, flag, hypercall, idle, interrupt, iret, load, msr, port,
        syscall, tables, undefined,
    },
};

pub(super) fn pick<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
    let p = match registers(i, p) {
        Ok(out) => return Ok(out),
        Err(p) => p,
    };
    let p = match segments(i, p) {
        Ok(out) => return Ok(out),
        Err(p) => p,
    };
    processor(i, p)
}

/// Control, debug, model-specific and table registers.
fn registers<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
    Ok(match i.code {
        C::Mov_r32_cr | C::Mov_r64_cr => cold!(p, control::mov_from_cr => CR_READ),
        C::Mov_cr_r32 | C::Mov_cr_r64 => cold!(p, control::mov_to_cr, ends, serial => CR_WRITE),
        C::Mov_r32_dr | C::Mov_r64_dr => cold!(p, debug::mov_from_dr => DR),
        C::Mov_dr_r32 | C::Mov_dr_r64 => cold!(p, debug::mov_to_dr, ends, serial => DR),
        _ => match i.code.mnemonic() {
            M::Lmsw => cold!(p, control::lmsw, ends => CR_WRITE),
            M::Smsw => cold!(p, control::smsw => CR_READ),
            M::Clts => cold!(p, control::clts, ends => CR_WRITE),
            M::Xgetbv => cold!(p, control::xgetbv),
            M::Xsetbv => cold!(p, control::xsetbv, ends => CR_WRITE),
            M::Rdpkru => cold!(p, control::rdpkru),
            M::Wrpkru => cold!(p, control::wrpkru, ends),
            M::Rdfsbase => cold!(p, control::rdfsbase),
            M::Rdgsbase => cold!(p, control::rdgsbase),
            M::Wrfsbase => cold!(p, control::wrfsbase),
            M::Wrgsbase => cold!(p, control::wrgsbase),
            M::Swapgs => cold!(p, control::swapgs),
            M::Rdmsr => cold!(p, msr::rdmsr => RDMSR),
            M::Wrmsr => cold!(p, msr::wrmsr, ends, serial => WRMSR),
            M::Sgdt => cold!(p, tables::sgdt => TABLE),
            M::Sidt => cold!(p, tables::sidt => TABLE),
            M::Lgdt => cold!(p, tables::lgdt, serial => TABLE),
            M::Lidt => cold!(p, tables::lidt, serial => TABLE),
            M::Sldt => cold!(p, tables::sldt => TABLE),
            M::Str => cold!(p, tables::str => TABLE),
            M::Lldt => cold!(p, tables::lldt, serial => TABLE),
            M::Ltr => cold!(p, tables::ltr, serial => TABLE),
            _ => return Err(p),
        },
    })
}

/// Segment registers, descriptors and far transfers.
fn segments<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
    Ok(match i.code {
        C::Mov_rm16_Sreg | C::Mov_r32m16_Sreg | C::Mov_r64m16_Sreg => {
            cold!(p, load::mov_from_sreg)
        }
        C::Mov_Sreg_rm16 | C::Mov_Sreg_r32m16 | C::Mov_Sreg_r64m16 => {
            cold!(p, load::mov_to_sreg, ends)
        }
        C::Pushw_ES | C::Pushw_CS | C::Pushw_SS | C::Pushw_DS | C::Pushw_FS | C::Pushw_GS => {
            cold!(p, load::push_sreg)
        }
        C::Pushd_ES | C::Pushd_CS | C::Pushd_SS | C::Pushd_DS | C::Pushd_FS | C::Pushd_GS => {
            cold!(p, load::push_sreg)
        }
        C::Pushq_FS | C::Pushq_GS => cold!(p, load::push_sreg),
        C::Popw_ES | C::Popw_SS | C::Popw_DS | C::Popw_FS | C::Popw_GS | C::Popw_CS => {
            cold!(p, load::pop_sreg, ends)
        }
        C::Popd_ES | C::Popd_SS | C::Popd_DS | C::Popd_FS | C::Popd_GS => {
            cold!(p, load::pop_sreg, ends)
        }
        C::Popq_FS | C::Popq_GS => cold!(p, load::pop_sreg, ends),
        C::Jmp_ptr1616 | C::Jmp_ptr1632 | C::Jmp_m1616 | C::Jmp_m1632 | C::Jmp_m1664 => {
            cold!(p, far::jmp_far, ends)
        }
        C::Call_ptr1616 | C::Call_ptr1632 | C::Call_m1616 | C::Call_m1632 | C::Call_m1664 => {
            cold!(p, far::call_far, ends)
        }
        _ => match i.code.mnemonic() {
            M::Retf => cold!(p, far::ret_far, ends),
            M::Iret | M::Iretd | M::Iretq => cold!(p, iret::iret, ends, serial),
            M::Int => cold!(p, interrupt::int_n, ends => SOFTWARE_INTERRUPT),
            M::Int3 => cold!(p, interrupt::int3, ends => SOFTWARE_INTERRUPT),
            M::Into => cold!(p, interrupt::into, ends => SOFTWARE_INTERRUPT),
            M::Int1 => cold!(p, interrupt::int1, ends => SOFTWARE_INTERRUPT),
            M::Vmcall => cold!(p, hypercall::vmcall, ends => HYPERCALL),
            M::Vmmcall => cold!(p, hypercall::vmmcall, ends => HYPERCALL),
            M::Syscall => cold!(p, syscall::syscall, ends),
            M::Sysret => cold!(p, syscall::sysretd, ends),
            M::Sysretq => cold!(p, syscall::sysretq, ends),
            M::Sysenter => cold!(p, syscall::sysenter, ends),
            M::Sysexit => cold!(p, syscall::sysexitd, ends),
            M::Sysexitq => cold!(p, syscall::sysexitq, ends),
            M::Les => cold!(p, load::les, ends),
            M::Lds => cold!(p, load::lds, ends),
            M::Lss => cold!(p, load::lss, ends),
            M::Lfs => cold!(p, load::lfs, ends),
            M::Lgs => cold!(p, load::lgs, ends),
            M::Lar => cold!(p, tables::lar),
            M::Lsl => cold!(p, tables::lsl),
            M::Verr => cold!(p, tables::verr),
            M::Verw => cold!(p, tables::verw),
            M::Arpl => cold!(p, tables::arpl),
            _ => return Err(p),
        },
    })
}

/// Flags, ports, idling, time and identity.
fn processor<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
    Ok(match i.code.mnemonic() {
        M::Cpuid => cold!(p, cpuid::cpuid, serial => CPUID),
        M::Cli => cold!(p, flag::cli => FLAGS),
        M::Sti => cold!(p, flag::sti, ends => FLAGS),
        M::Clac => cold!(p, flag::clac),
        M::Stac => cold!(p, flag::stac),
        M::Pushf | M::Pushfd | M::Pushfq => cold!(p, flag::pushf => FLAGS),
        M::Popf | M::Popfd | M::Popfq => cold!(p, flag::popf, ends => FLAGS),
        M::In => cold!(p, port::input => IN),
        M::Out => cold!(p, port::output, ends => OUT),
        M::Insb | M::Insw | M::Insd => cold!(p, port::ins, ends => IN),
        M::Outsb | M::Outsw | M::Outsd => cold!(p, port::outs, ends => OUT),
        M::Hlt => cold!(p, idle::hlt, ends => HLT),
        M::Monitor => cold!(p, idle::monitor),
        M::Mwait => cold!(p, idle::mwait, ends => HLT),
        M::Invd | M::Wbinvd => cold!(p, idle::wbinvd, serial => WBINVD),
        M::Invlpg => cold!(p, idle::invlpg, ends, serial => INVLPG),
        M::Invpcid => cold!(p, idle::invpcid, ends, serial => INVLPG),
        M::Rdtsc => cold!(p, clock::rdtsc => RDTSC),
        M::Rdtscp => cold!(p, clock::rdtscp => RDTSC),
        M::Rdpmc => cold!(p, clock::rdpmc),
        M::Rdpid => cold!(p, clock::rdpid),
        M::Rdrand | M::Rdseed => cold!(p, clock::rdrand),
        M::Ud0 | M::Ud1 | M::Ud2 | M::Rsm => cold!(p, undefined::undefined, ends),
        _ => return Err(p),
    })
}
