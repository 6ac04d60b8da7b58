; Protected-mode virtual interrupts: CLI, STI and VIF at CPL 3 with IOPL 0.
; modes: 16
; Source: SDM 3A 22.4; SDM 2, CLI, STI, PUSHF, POPF.
%define WITH_FRAME
%include "sector.inc"
VIF         equ 0x80000
VIP         equ 0x100000

    begin
    task_register 0x28
    ;= cli-without
    user GP(0), cli
    mov al, 2
    mov cr4, eax
    mov al, 0
    ;= sti
    user HLT_USER, sti
    ;= sti-vif: and RF, as HLT faults
    holds VIF >> 16 | 1, [FRAME + 10]
    ;= sti-if: is not touched
    mov ax, [FRAME + 8]
    and ax, 0x200
    is 0
    ;= cli
    user HLT_USER, cli
    ;= cli-vif
    holds 1, [FRAME + 10]
    ;= pushf: does not show VIF
    user HLT_USER
    sti
    pushf
    pop cx
    caught
    and cx, 0x3200
    ;= pushf-image
    holds 0, cx
    ;= popf-vip: POPF changes neither VIP nor VIF
    push dword VIP | 2
    popfd
    pushfd
    pop ecx
    shr ecx, 16
    holds VIF >> 16, cx
    done
    with_user 0x18, 0x20
    table
    desc 0, 0xffff, CODE_XR | DPL3
    desc 0, 0xfffff, DATA_RW | DPL3, BIG_ | GRAN
    desc TSS, 0x67, TSS_32
    finish
