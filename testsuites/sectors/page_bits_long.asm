; Accessed and dirty bits at all levels of 4-level paging, by the program and by the CPU itself.
; modes: 64
; Source: SDM 3A 5.8.
%define PAGING
%include "sector.inc"

    begin
    ;= read: sets A at every level
    mov cl, [0x8000]
    mov al, [PML4]
    is 0x27
    ;= read-pdpt
    mov al, [PDPT]
    is 0x27
    ;= read-pd: and D in none that leads to a table
    mov al, [PD]
    is 0x27
    ;= read-pt
    mov al, [PT + 8 * 8]
    is 0x27
    ;= exception-frame: the stack of an exception is written
    mov sp, 0x8800
    try UD, ud2
    ;= exception-frame-dirty
    mov al, [PT + 8 * 8]
    is 0x67
    done
    table
    finish
