; What POPF and IRET may change at CPL 3.
; modes: 16
; Source: SDM 2, POPF (IF needs CPL <= IOPL, IOPL needs CPL 0), IRET; SDM 1, 3.4.3.
%define WITH_FRAME
%include "sector.inc"

    begin
    task_register 0x28
    ;= popf-iopl-if: neither changes with IOPL 0, and nothing faults
    user HLT_USER
    push word 0x3203
    popf
    caught
    ;= popf-iopl-if-flags: only CF does
    mov ax, [FRAME + 8]
    and ax, 0x7201
    is 1
    ;= popf-nt: NT may be set by anyone
    user HLT_USER
    push word 0x4002
    popf
    caught
    ;= popf-nt-flags
    mov ax, [FRAME + 8]
    and ax, 0x4000
    is 0x4000
    ;= popfd-high: VM, VIF and VIP stay, ID and AC change
    user HLT_USER
    push dword 0x3e0002
    popfd
    caught
    ;= popfd-high-flags: RF, as HLT faults
    holds 0x25, [FRAME + 10]
    ;= iret-iopl: neither does IRET
    user HLT_USER
    push word 0x3202
    push cs
    push word %$there
    iret
%$there:
    caught
    ;= iret-iopl-flags
    mov ax, [FRAME + 8]
    and ax, 0x7200
    is 0
    done
    with_user 0x18, 0x20
    table
    desc 0, 0xffff, CODE_XR | DPL3
    desc 0, 0xfffff, DATA_RW | DPL3, BIG_ | GRAN
    desc TSS, 0x67, TSS_32
    finish
