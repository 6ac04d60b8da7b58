; Limits of the descriptor tables, and IDTs that are too short.
; modes: 16 32
; Source: SDM 3A 3.5.1, 7.10, 7.13; SDM 2, LGDT, LIDT, SGDT, LLDT.
%include "sector.inc"

    begin
    mov word [DATA0 + 0x85], DATA_RW
    lldt [cs:ldt_selector]
    ;= ldt-good
    mov cx, 4
    try NONE, mov es, cx
    ;= ldt-limit: half a descriptor is none
    mov cl, 0x0c
    try GP(0x0c), mov es, cx
%if MODE == 16
    ;= lldt-data
    mov cl, DATA
    try GP(DATA), lldt cx
%endif
    ;= lldt-absent
    mov cl, 0x20
    try NP(0x20), lldt cx
%if MODE == 16
    ;= lldt-in-ldt
    mov cl, 4
    try GP(4), lldt cx
%endif
    ;= gdt-limit: half a descriptor again
    mov word [gdt], 0x2b
    lgdt [gdt]
    mov cl, 0x28
    try GP(0x28), mov es, cx
    ;= sgdt-base-16: all 32 bits are stored with a 16-bit operand
    mov dword [DATA0 + 2], -1
    sgdt [DATA0]
    holds 0, [DATA0 + 4]
    ;= idt-limit: INT 30 is beyond
    mov word [idtr], 30 * 8 + 6
    lidt [idtr]
    try GP(30 * 8 + 2), int 30
    done
ldt_selector:
    dw 0x18
    table
    desc DATA0 + 0x80, 11, LDT
    desc 0, 7, LDT & 0x7f
    desc 0, 0xffff, DATA_RW
    finish
