; Faults while an exception is delivered: #DF, or one after the other; and the EXT bit.
; modes: 16 32
; Source: SDM 3A table 7-5 (conditions for a double fault), 7.13 (error codes: EXT, IDT), 7.15.
%include "sector.inc"

    begin
    mov cl, 0x0e                ; not present
    mov [IDT + 6 * 8 + 5], cl
    mov [IDT + 13 * 8 + 5], cl
    mov [IDT + 0 * 8 + 5], cl
    mov [IDT + 3 * 8 + 5], cl
    mov [IDT + 4 * 8 + 5], cl
    mov [IDT + 1 * 8 + 5], cl
    mov [IDT + 31 * 8 + 5], cl
    ;= benign-contributory: #UD's gate is missing: #NP, for an event that no INT n asked for
    try NP(6 * 8 + 2 + 1), ud2
    ;= contributory-contributory: #GP's gate is missing
    try CODED(8, 0), mov ss, ax
    ;= divide: #DE is contributory
    try CODED(8, 0), div ah
    ;= int3: the program's own doing, EXT = 0
    try NP(3 * 8 + 2), int3
    ;= int-n
    try NP(31 * 8 + 2), int 31
    ;= into
    mov ch, 0x7f
    inc ch
    mov ah, 0
    try NP(4 * 8 + 2), into
    ;= icebp: INT1 is an event from outside
    try NP(1 * 8 + 2 + 1), db 0xf1
    mov byte [IDT + 6 * 8 + 5], 0x8c
    ;= gate-type: a call gate is no gate of an IDT
    mov byte [IDT + 13 * 8 + 5], 0x8e
    try GP(6 * 8 + 2 + 1), ud2
    mov word [IDT + 6 * 8 + 2], 0
    ;= gate-null: no code segment
    mov byte [IDT + 6 * 8 + 5], 0x8e
    try GP(1), ud2
    done
    table
    finish
