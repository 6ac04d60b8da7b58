; BOUND, INTO, INT3, divisions and AAM.
; modes: 0 16
; Source: SDM 2, BOUND, INTO, INT3, DIV, IDIV, AAM; SDM 3A 7.15 (which are faults, and which traps).
%include "sector.inc"

    begin
    mov dword [DATA0], 0x00040002
    mov cx, 5
    ;= bound-above: a fault
    try BR, bound cx, [DATA0]
    mov cl, 4
    ;= bound-upper: both ends are within
    try NONE, bound cx, [DATA0]
    mov cl, 1
    ;= bound-below
    try BR, bound cx, [DATA0]
    ;= bound-register
    try UD, db 0x62, 0xc1
    ;= into-clear
    xor cx, cx
    try NONE, into
    ;= into-set: a trap
    mov cl, 0x7f
    inc cl
    try TRAP(4), into
    ;= int3
    try TRAP(3), int3
    ;= int-3: the form with two bytes
    try TRAP(3), int 3
    mov cl, 0
    ;= div-zero: a fault
    try DE, div cl
    ;= div-overflow
    mov ax, 0x100
    mov cl, 1
    try DE, div cl
    ;= idiv-most-negative
    mov ax, 0x8000
    mov cl, 0xff
    try DE, idiv cl
    mov ax, 0
    ;= aam-zero
    try DE, aam 0
    ;= ud2
    try UD, ud2
    done
    table
    finish
