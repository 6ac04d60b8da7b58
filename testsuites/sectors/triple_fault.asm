; The end: a fault while #DF is delivered shuts the CPU down, and the PC resets.
; modes: 16 32 64
; ends: triple fault
; Source: SDM 3A 7.15 (#DF), table 7-5.
%include "sector.inc"

    begin
%if MODE == 64
    mov byte [IDT + 13 * 16 + 5], 0x0e
%else
    mov byte [IDT + 13 * 8 + 5], 0x0e
%endif
    ;= double: #GP's gate is missing
    mov cl, DATA
    try CODED(8, 0), lldt cx
%if MODE == 64
    mov byte [IDT + 8 * 16 + 5], 0x0e
%else
    mov byte [IDT + 8 * 8 + 5], 0x0e
%endif
    ;= benign: #UD is delivered still
    try UD, ud2
    lldt cx
    done
    table
    finish
