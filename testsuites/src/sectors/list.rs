//! Which sectors there are: a table of sources and the modes that each is assembled for.

use super::{Mode, Sector};

macro_rules! mode {
    (real) => {
        Mode::Real
    };
    (p16) => {
        Mode::P16
    };
    (p32) => {
        Mode::P32
    };
    (long) => {
        Mode::Long
    };
}

macro_rules! sectors {
    ($($name:ident: $($mode:ident)+,)+) => {
        pub(super) static SECTORS: &[Sector] = &[$(Sector {
            name: stringify!($name),
            source: include_str!(concat!("../../sectors/", stringify!($name), ".asm")),
            images: &[$((mode!($mode), include_bytes!(concat!(
                "../../sectors/", stringify!($name), ".", stringify!($mode), ".bin"
            )))),+],
        }),+];
    };
}

sectors! {
    accessed: p16,
    align_check: p16,
    align_operand: p16,
    bound_into: real p16,
    breakpoint: p16 p32,
    breakpoint_data: p16,
    call_gate: p16,
    call_gate_inner: p16,
    call_gate_level: p16,
    code_limit: p16,
    compat: long,
    conforming: p16,
    control_long: long,
    control_reserved: p16 p32,
    data_limit: p16 p32,
    data_limit_wide: p16 p32,
    double_fault: p16 p32,
    expand_down: p16 p32,
    far_pointer: p16 p32,
    fpu_control: p16 long,
    fpu_error: p16,
    gate_long: long,
    inner_stack: p16,
    inner_stack_more: p16,
    insn_length: real p16 long,
    int_long: long,
    io_bitmap: p16,
    iret_long: long,
    lock_prefix: real p16 long,
    mov_ss_traps: p16,
    nmi: p16,
    noncanonical: long,
    noncanonical_stack: long,
    null_selector: p16 p32,
    outer_return: p16,
    outer_return_null: p16,
    pae: p16,
    page_bits: p16,
    page_bits_implicit: p16,
    page_bits_long: long,
    page_code: p16 p32,
    page_code_user: p16,
    page_cross: p16 p32,
    page_delivery: p16,
    page_nx: long,
    page_reserved: long,
    page_smap: long,
    page_smap_ac: long,
    popf_user: p16,
    pvi: p16,
    real_idt: real,
    real_limit: real,
    real_wrap: real,
    rep_fault: p16 p32,
    resume_flag: p16 p32,
    segment_load: p16 p32,
    segment_long: long,
    segment_rights: p16,
    shadow: p16,
    single_step: real,
    single_step_flags: real,
    sse_align: p16 long,
    stack_limit: p16 p32,
    stack_limit_up: p16 p32,
    stack_top: p16,
    stack_wrap: p16,
    step_long: long,
    step_protected: p16,
    syscall: long,
    sysenter: p16,
    table_limit: p16 p32,
    table_result: p16,
    task_16: p16,
    task_bad: p16,
    task_call: p16,
    task_cr3: p16,
    task_fields: p16,
    task_fields_code: p16,
    task_fields_ldt: p16,
    task_fields_more: p16,
    task_fields_stack: p16,
    task_int: p16,
    task_jump: p16,
    triple_fault: p16 p32 long,
    umip: p16,
    v86_gate: p16,
    v86_iopl_0: p16,
    v86_iopl_3: p16,
    v86_limit: p16,
    v86_privileged: p16,
    v86_vme: p16,
}
