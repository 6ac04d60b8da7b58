; UMIP: what CPL 3 may not store.
; modes: 16
; Source: SDM 3A 2.5 (CR4.UMIP); SDM 2, SGDT, SIDT, SLDT, STR, SMSW.
%include "sector.inc"

    begin
    task_register 0x28
    ;= sgdt-without
    user HLT_USER, sgdt [0x7000]
    ;= str-without
    user HLT_USER, str cx
    mov ax, 0x800
    mov cr4, eax
    xor ax, ax
    ;= sgdt
    user GP(0), sgdt [0x7000]
    ;= sidt
    user GP(0), sidt [0x7000]
    ;= sldt
    user GP(0), sldt cx
    ;= str
    user GP(0), str [0x7000]
    ;= smsw
    user GP(0), smsw cx
    ;= cpl-0
    try NONE, smsw cx
    done
    with_user 0x18, 0x20
    table
    desc 0, 0xffff, CODE_XR | DPL3
    desc 0, 0xfffff, DATA_RW | DPL3, BIG_ | GRAN
    desc TSS, 0x67, TSS_32
    finish
