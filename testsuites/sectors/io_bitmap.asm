; The I/O permission bitmap at CPL 3 with IOPL 0, and its edges.
; modes: 16
; Source: SDM 1, 19.5.2; SDM 2, IN, OUT, INS: two bytes of the map are read for every port.
%define NO_INTERRUPTS
%include "sector.inc"
MAP         equ TSS + 0x68

    begin
    mov byte [TSS + 0x66], 0x68
    mov byte [MAP + 0x80 / 8], 0x02     ; 81h is forbidden
    task_register 0x28
    ;= allowed
    user HLT_USER, out 0x80, al
    ;= forbidden
    user GP(0), out 0x81, al
    ;= word: covers 81h
    user GP(0), out 0x80, ax
    ;= dword-across: 7Eh to 81h
    user GP(0), out 0x7e, eax
    ;= last: 87h, in the last byte but one of the TSS
    user HLT_USER, in al, 0x87
    ;= beyond-limit: 88h needs a byte beyond the limit
    user GP(0), in al, 0x88
    ;= in-string: the permission comes before the memory
    mov dx, 0x81
    user GP(0), insb
    ;= cli: IOPL 0
    user GP(0), cli
    ;= iopl-3: the map does not matter then
    pushf
    or byte [esp + 1], 0x30
    popf
    user HLT_USER, in al, 0x88
    ;= iopl-3-sti
    user HLT_USER, cli
    done
    with_user 0x18, 0x20
    table
    desc 0, 0xffff, CODE_XR | DPL3
    desc 0, 0xfffff, DATA_RW | DPL3, BIG_ | GRAN
    desc TSS, 0x79, TSS_32
    finish
