; Alignment checks at CPL 3, with CR0.AM and EFLAGS.AC set.
; modes: 16
; Source: SDM 3A 7.15 (#AC, table 7-7: the alignment of each type), 2.5 (CR0.AM).
%include "sector.inc"

    begin
    task_register 0x28
    pushfd
    or byte [esp + 2], 4
    popfd
    ;= am-0: without CR0.AM nothing is checked
    user HLT_USER, mov cx, [STACK + 1]
    mov eax, cr0
    bts eax, 18
    mov cr0, eax
    xor ax, ax
    ;= cpl-0: the supervisor is not checked
    try NONE, mov cx, [STACK + 1]
    ;= word
    user AC, mov cx, [STACK + 1]
    ;= word-at-2
    user HLT_USER, mov cx, [STACK + 2]
    ;= dword-at-2
    user AC, mov ecx, [STACK + 2]
    ;= write
    user AC, mov [STACK + 1], cx
    ;= fpu-double-at-4: doubles want 8
    user AC, fld qword [STACK + 4]
    ;= ac-0: without EFLAGS.AC nothing is checked
    pushfd
    and byte [esp + 2], 0xfb
    popfd
    user HLT_USER, mov cx, [STACK + 1]
    done
    with_user 0x18, 0x20
    table
%if MODE == 32
    desc 0, 0xfffff, CODE_XR | DPL3, BIG_ | GRAN
%else
    desc 0, 0xffff, CODE_XR | DPL3
%endif
    desc 0, 0xfffff, DATA_RW | DPL3, BIG_ | GRAN
    desc TSS, 0x67, TSS_32
    finish
