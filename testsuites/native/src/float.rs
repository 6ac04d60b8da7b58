//! Floating-point instructions on the host's CPU, many at a time: the oracle of `float`.
//!
//! A [`Kernel`] is a loop around one instruction. Each [`Case`] has its own control register. An
//! unmasked exception is no obstacle: the x87 reports one at its next waiting instruction only,
//! and the loop has none (FNSAVE takes the state out, and leaves the x87 as it was); for SSE the
//! signal of #XM is caught, and execution goes on behind the instruction.
//!
//! Sources: SDM vol. 1, sections 8.6 (the x87's deferred exceptions) and 11.5.3; vol. 2A, FSAVE.

/// One execution: what goes in, and after [`Kernel::run`] what came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C, align(16))]
pub struct Case {
    /// ST(0) in its low 80 bits, or XMM0.
    pub a: u128,
    /// ST(1), or XMM1.
    pub b: u128,
    /// XMM2.
    pub c: u128,
    /// The memory operand of x87 instructions, RAX for SSE: in and out. Comparisons that set
    /// EFLAGS leave them here.
    pub memory: u128,
    /// ST(0) or XMM0 afterwards.
    pub result: u128,
    /// ST(1) afterwards.
    pub second: u128,
    /// The x87 control word, or MXCSR.
    pub control: u32,
    /// The x87 status word afterwards, or MXCSR.
    pub status: u32,
}

/// An instruction in a loop.
#[derive(Clone, Copy)]
pub struct Kernel {
    /// It in assembly language; `{m}` is the memory operand.
    pub text: &'static str,
    /// Its encoding in 64-bit mode, in hexadecimal, where `{m}` is RBX.
    pub code: &'static str,
    /// Whether it is of the x87, not of SSE.
    pub x87: bool,
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "no such host has it"))]
    needs: Needs,
    run: fn(&mut [Case]),
}

/// What a CPU must have for an instruction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    Sse41,
    Fma,
    F16c,
}

impl Case {
    /// Whether an SSE instruction raised #XM: then its masks are set afterwards.
    #[must_use]
    pub fn faulted(&self) -> bool {
        (self.control ^ self.status) & MXCSR_MASKS != 0
    }
}

/// The mask bits of MXCSR.
const MXCSR_MASKS: u32 = 0x1f80;

impl Kernel {
    /// Why this host cannot run it, if it cannot.
    #[must_use]
    pub fn missing(&self) -> Option<&'static str> {
        #[cfg(target_arch = "x86_64")]
        {
            let (has, without) = match self.needs {
                Needs::Nothing => (true, ""),
                Needs::Sse41 => (is_x86_feature_detected!("sse4.1"), "the host CPU has no SSE4.1"),
                Needs::Fma => (is_x86_feature_detected!("fma"), "the host CPU has no FMA"),
                Needs::F16c => (is_x86_feature_detected!("f16c"), "the host CPU has no F16C"),
            };
            (!has).then_some(without)
        }
        #[cfg(not(target_arch = "x86_64"))]
        Some("the host CPU is no x86-64")
    }

    /// Whether it can be run with this exception mask: on hosts that give no signals, SSE
    /// exceptions have to be masked.
    #[must_use]
    pub fn takes_unmasked(&self) -> bool {
        self.x87 || cfg!(all(target_os = "linux", target_arch = "x86_64"))
    }

    /// Executes all cases.
    ///
    /// # Panics
    /// If the host cannot run it ([`Kernel::missing`]), or an SSE exception is unmasked where that
    /// cannot be ([`Kernel::takes_unmasked`]).
    pub fn run(&self, cases: &mut [Case]) {
        assert!(self.missing().is_none(), "{}", self.text);
        if !self.x87 {
            let masked = cases.iter().all(|c| c.control & MXCSR_MASKS == MXCSR_MASKS);
            assert!(masked || self.takes_unmasked(), "{} cannot be unmasked", self.text);
            #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
            if !masked {
                signal::catch();
            }
        }
        (self.run)(cases);
    }
}

/// R10 while an SSE kernel executes: who raises SIGFPE then is one.
#[cfg(target_arch = "x86_64")]
const EXECUTING: u64 = 0x7472_696e_6520_666c;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod signal {
    use std::{mem::MaybeUninit, ptr, sync::Once};

    use super::{EXECUTING, MXCSR_MASKS};

    /// Sees to it that kernels survive #XM.
    pub(super) fn catch() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            // SAFETY: all zeros is a sigaction: no flags, no signals blocked.
            let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
            let on_fpe: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) = on_fpe;
            action.sa_sigaction = on_fpe as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            // SAFETY: the handler only touches the context that it is given.
            let failed = unsafe { libc::sigaction(libc::SIGFPE, &action, ptr::null_mut()) };
            assert_eq!(failed, 0, "SIGFPE can be caught");
        });
    }

    /// Goes on where R11 says, with all exceptions masked, if a kernel was executing.
    extern "C" fn on_fpe(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
        let context = context.cast::<libc::ucontext_t>();
        // SAFETY: the kernel passes the context of the interrupted code, which is ours alone until
        // we return, with its floating-point state.
        unsafe {
            let registers = &mut (*context).uc_mcontext.gregs;
            if registers[libc::REG_R10 as usize].cast_unsigned() == EXECUTING {
                registers[libc::REG_RIP as usize] = registers[libc::REG_R11 as usize];
                (*(*context).uc_mcontext.fpregs).mxcsr |= MXCSR_MASKS;
            } else {
                // Not ours: it comes again, and ends the process as it would have.
                libc::signal(libc::SIGFPE, libc::SIG_DFL);
            }
        }
    }
}

/// A kernel of the x87: ST(0) and ST(1) are loaded, and the memory operand is at `{m}`.
macro_rules! x87 {
    ($name:ident, $code:literal, $text:literal) => {
        #[doc = concat!("`", $text, "`")]
        pub static $name: Kernel = Kernel {
            text: $text,
            code: $code,
            x87: true,
            needs: Needs::Nothing,
            run: |cases| {
                #[cfg(target_arch = "x86_64")]
                for case in cases {
                    let (mut area, memory) = ([0_u8; 108], &raw mut case.memory);
                    // SAFETY: the instructions access the case and the area that FNSAVE fills, and
                    // FNSAVE leaves the x87 as the ABI wants it, with nothing pending.
                    unsafe {
                        core::arch::asm!(
                            "fninit",
                            "fld tbyte ptr [{c} + {b}]",
                            "fld tbyte ptr [{c} + {a}]",
                            "fldcw word ptr [{c} + {control}]",
                            concat!($text, " /* {m} */"),
                            "fnsave [{area}]",
                            c = in(reg) &raw mut *case,
                            m = in(reg) memory,
                            area = in(reg) &raw mut area,
                            a = const core::mem::offset_of!(Case, a),
                            b = const core::mem::offset_of!(Case, b),
                            control = const core::mem::offset_of!(Case, control),
                            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
                        );
                    }
                    case.status = u32::from(u16::from_le_bytes([area[4], area[5]]));
                    (case.result, case.second) = (register(&area, 0), register(&area, 1));
                }
                #[cfg(not(target_arch = "x86_64"))]
                let _ = cases;
            },
        };
    };
}

/// ST(`n`) of an FNSAVE area.
#[cfg(target_arch = "x86_64")]
fn register(area: &[u8; 108], n: usize) -> u128 {
    let mut bytes = [0; 16];
    bytes[..10].copy_from_slice(&area[28 + 10 * n..][..10]);
    u128::from_le_bytes(bytes)
}

/// A kernel of SSE: XMM0, XMM1, XMM2 and RAX are loaded, and XMM0 and RAX stored.
macro_rules! sse {
    ($name:ident, $needs:ident, $code:literal, $text:literal $(, $after:literal)*) => {
        #[doc = concat!("`", $text, "`")]
        pub static $name: Kernel = Kernel {
            text: $text,
            code: $code,
            x87: false,
            needs: Needs::$needs,
            run: |cases| {
                #[cfg(target_arch = "x86_64")]
                for case in cases {
                    let default = 0x1f80_u32;
                    // SAFETY: the instructions access the case alone and leave MXCSR as the ABI
                    // wants it; an exception goes on at the label in R11 by `signal`.
                    unsafe {
                        core::arch::asm!(
                            "lea r11, [rip + 2f]",
                            "mov r10, {executing}",
                            "movaps xmm0, [{c} + {a}]",
                            "movaps xmm1, [{c} + {b}]",
                            "movaps xmm2, [{c} + {third}]",
                            "mov rax, [{c} + {memory}]",
                            "ldmxcsr [{c} + {control}]",
                            $text,
                            "2:",
                            "stmxcsr [{c} + {status}]",
                            "ldmxcsr [{default}]",
                            "mov r10d, 0",
                            $($after,)*
                            "mov [{c} + {memory}], rax",
                            "movaps [{c} + {result}], xmm0",
                            c = in(reg) &raw mut *case,
                            default = in(reg) &raw const default,
                            executing = const EXECUTING,
                            a = const core::mem::offset_of!(Case, a),
                            b = const core::mem::offset_of!(Case, b),
                            third = const core::mem::offset_of!(Case, c),
                            memory = const core::mem::offset_of!(Case, memory),
                            control = const core::mem::offset_of!(Case, control),
                            status = const core::mem::offset_of!(Case, status),
                            result = const core::mem::offset_of!(Case, result),
                            out("rax") _, out("r10") _, out("r11") _,
                            out("xmm0") _, out("xmm1") _, out("xmm2") _,
                        );
                    }
                }
                #[cfg(not(target_arch = "x86_64"))]
                let _ = cases;
            },
        };
    };
}

/// A comparison that sets EFLAGS, which RAX takes.
macro_rules! sse_compare {
    ($name:ident, $code:literal, $text:literal) => {
        sse!($name, Nothing, $code, $text, "pushfq", "pop rax");
    };
}

x87!(FADD, "d8c1", "fadd st(0), st(1)");
x87!(FSUB, "d8e1", "fsub st(0), st(1)");
x87!(FSUBR, "d8e9", "fsubr st(0), st(1)");
x87!(FMUL, "d8c9", "fmul st(0), st(1)");
x87!(FDIV, "d8f1", "fdiv st(0), st(1)");
x87!(FDIVR, "d8f9", "fdivr st(0), st(1)");
x87!(FSQRT, "d9fa", "fsqrt");
x87!(FPREM, "d9f8", "fprem");
x87!(FPREM1, "d9f5", "fprem1");
x87!(FRNDINT, "d9fc", "frndint");
x87!(FSCALE, "d9fd", "fscale");
x87!(FXTRACT, "d9f4", "fxtract");
x87!(FADD_M32, "d803", "fadd dword ptr [{m}]");
x87!(FADD_M64, "dc03", "fadd qword ptr [{m}]");
x87!(FSUB_M32, "d823", "fsub dword ptr [{m}]");
x87!(FSUB_M64, "dc23", "fsub qword ptr [{m}]");
x87!(FSUBR_M32, "d82b", "fsubr dword ptr [{m}]");
x87!(FSUBR_M64, "dc2b", "fsubr qword ptr [{m}]");
x87!(FMUL_M32, "d80b", "fmul dword ptr [{m}]");
x87!(FMUL_M64, "dc0b", "fmul qword ptr [{m}]");
x87!(FDIV_M32, "d833", "fdiv dword ptr [{m}]");
x87!(FDIV_M64, "dc33", "fdiv qword ptr [{m}]");
x87!(FDIVR_M32, "d83b", "fdivr dword ptr [{m}]");
x87!(FDIVR_M64, "dc3b", "fdivr qword ptr [{m}]");
x87!(FCOM, "d8d1", "fcom st(1)");
x87!(FUCOM, "dde1", "fucom st(1)");
x87!(FCOM_M32, "d813", "fcom dword ptr [{m}]");
x87!(FCOM_M64, "dc13", "fcom qword ptr [{m}]");
x87!(FTST, "d9e4", "ftst");
x87!(FXAM, "d9e5", "fxam");
x87!(FLD_M32, "d903", "fld dword ptr [{m}]");
x87!(FLD_M64, "dd03", "fld qword ptr [{m}]");
x87!(FILD_M16, "df03", "fild word ptr [{m}]");
x87!(FILD_M32, "db03", "fild dword ptr [{m}]");
x87!(FILD_M64, "df2b", "fild qword ptr [{m}]");
x87!(FBLD, "df23", "fbld tbyte ptr [{m}]");
x87!(FST_M32, "d913", "fst dword ptr [{m}]");
x87!(FST_M64, "dd13", "fst qword ptr [{m}]");
x87!(FIST_M16, "df13", "fist word ptr [{m}]");
x87!(FIST_M32, "db13", "fist dword ptr [{m}]");
x87!(FISTP_M64, "df3b", "fistp qword ptr [{m}]");
x87!(FISTTP_M16, "df0b", "fisttp word ptr [{m}]");
x87!(FISTTP_M32, "db0b", "fisttp dword ptr [{m}]");
x87!(FISTTP_M64, "dd0b", "fisttp qword ptr [{m}]");
x87!(FBSTP, "df33", "fbstp tbyte ptr [{m}]");
x87!(FSIN, "d9fe", "fsin");
x87!(FCOS, "d9ff", "fcos");
x87!(FSINCOS, "d9fb", "fsincos");
x87!(FPTAN, "d9f2", "fptan");
x87!(FPATAN, "d9f3", "fpatan");
x87!(F2XM1, "d9f0", "f2xm1");
x87!(FYL2X, "d9f1", "fyl2x");
x87!(FYL2XP1, "d9f9", "fyl2xp1");

sse!(ADDSS, Nothing, "f30f58c1", "addss xmm0, xmm1");
sse!(SUBSS, Nothing, "f30f5cc1", "subss xmm0, xmm1");
sse!(MULSS, Nothing, "f30f59c1", "mulss xmm0, xmm1");
sse!(DIVSS, Nothing, "f30f5ec1", "divss xmm0, xmm1");
sse!(MINSS, Nothing, "f30f5dc1", "minss xmm0, xmm1");
sse!(MAXSS, Nothing, "f30f5fc1", "maxss xmm0, xmm1");
sse!(SQRTSS, Nothing, "f30f51c0", "sqrtss xmm0, xmm0");
sse!(ROUNDSS, Sse41, "660f3a0ac004", "roundss xmm0, xmm0, 4");
sse!(ROUNDSS_QUIET, Sse41, "660f3a0ac00c", "roundss xmm0, xmm0, 12");
sse!(CMPEQSS, Nothing, "f30fc2c100", "cmpss xmm0, xmm1, 0");
sse!(CMPLTSS, Nothing, "f30fc2c101", "cmpss xmm0, xmm1, 1");
sse!(CMPLESS, Nothing, "f30fc2c102", "cmpss xmm0, xmm1, 2");
sse!(CMPUNORDSS, Nothing, "f30fc2c103", "cmpss xmm0, xmm1, 3");
sse!(CMPNEQSS, Nothing, "f30fc2c104", "cmpss xmm0, xmm1, 4");
sse!(CMPNLTSS, Nothing, "f30fc2c105", "cmpss xmm0, xmm1, 5");
sse!(CMPNLESS, Nothing, "f30fc2c106", "cmpss xmm0, xmm1, 6");
sse!(CMPORDSS, Nothing, "f30fc2c107", "cmpss xmm0, xmm1, 7");
sse_compare!(COMISS, "0f2fc1", "comiss xmm0, xmm1");
sse_compare!(UCOMISS, "0f2ec1", "ucomiss xmm0, xmm1");
sse!(CVTSS2SI32, Nothing, "f30f2dc0", "cvtss2si eax, xmm0");
sse!(CVTTSS2SI32, Nothing, "f30f2cc0", "cvttss2si eax, xmm0");
sse!(CVTSI2SS32, Nothing, "f30f2ac0", "cvtsi2ss xmm0, eax");
sse!(CVTSS2SI64, Nothing, "f3480f2dc0", "cvtss2si rax, xmm0");
sse!(CVTTSS2SI64, Nothing, "f3480f2cc0", "cvttss2si rax, xmm0");
sse!(CVTSI2SS64, Nothing, "f3480f2ac0", "cvtsi2ss xmm0, rax");
sse!(VFMADDSS, Fma, "c4e271a9c2", "vfmadd213ss xmm0, xmm1, xmm2");
sse!(ADDSD, Nothing, "f20f58c1", "addsd xmm0, xmm1");
sse!(SUBSD, Nothing, "f20f5cc1", "subsd xmm0, xmm1");
sse!(MULSD, Nothing, "f20f59c1", "mulsd xmm0, xmm1");
sse!(DIVSD, Nothing, "f20f5ec1", "divsd xmm0, xmm1");
sse!(MINSD, Nothing, "f20f5dc1", "minsd xmm0, xmm1");
sse!(MAXSD, Nothing, "f20f5fc1", "maxsd xmm0, xmm1");
sse!(SQRTSD, Nothing, "f20f51c0", "sqrtsd xmm0, xmm0");
sse!(ROUNDSD, Sse41, "660f3a0bc004", "roundsd xmm0, xmm0, 4");
sse!(ROUNDSD_QUIET, Sse41, "660f3a0bc00c", "roundsd xmm0, xmm0, 12");
sse!(CMPEQSD, Nothing, "f20fc2c100", "cmpsd xmm0, xmm1, 0");
sse!(CMPLTSD, Nothing, "f20fc2c101", "cmpsd xmm0, xmm1, 1");
sse!(CMPLESD, Nothing, "f20fc2c102", "cmpsd xmm0, xmm1, 2");
sse!(CMPUNORDSD, Nothing, "f20fc2c103", "cmpsd xmm0, xmm1, 3");
sse!(CMPNEQSD, Nothing, "f20fc2c104", "cmpsd xmm0, xmm1, 4");
sse!(CMPNLTSD, Nothing, "f20fc2c105", "cmpsd xmm0, xmm1, 5");
sse!(CMPNLESD, Nothing, "f20fc2c106", "cmpsd xmm0, xmm1, 6");
sse!(CMPORDSD, Nothing, "f20fc2c107", "cmpsd xmm0, xmm1, 7");
sse_compare!(COMISD, "660f2fc1", "comisd xmm0, xmm1");
sse_compare!(UCOMISD, "660f2ec1", "ucomisd xmm0, xmm1");
sse!(CVTSD2SI32, Nothing, "f20f2dc0", "cvtsd2si eax, xmm0");
sse!(CVTTSD2SI32, Nothing, "f20f2cc0", "cvttsd2si eax, xmm0");
sse!(CVTSI2SD32, Nothing, "f20f2ac0", "cvtsi2sd xmm0, eax");
sse!(CVTSD2SI64, Nothing, "f2480f2dc0", "cvtsd2si rax, xmm0");
sse!(CVTTSD2SI64, Nothing, "f2480f2cc0", "cvttsd2si rax, xmm0");
sse!(CVTSI2SD64, Nothing, "f2480f2ac0", "cvtsi2sd xmm0, rax");
sse!(VFMADDSD, Fma, "c4e2f1a9c2", "vfmadd213sd xmm0, xmm1, xmm2");
sse!(CVTSS2SD, Nothing, "f30f5ac0", "cvtss2sd xmm0, xmm0");
sse!(CVTSD2SS, Nothing, "f20f5ac0", "cvtsd2ss xmm0, xmm0");
sse!(VCVTPH2PS, F16c, "c4e27913c0", "vcvtph2ps xmm0, xmm0");
sse!(VCVTPS2PH, F16c, "c4e3791dc004", "vcvtps2ph xmm0, xmm0, 4");
