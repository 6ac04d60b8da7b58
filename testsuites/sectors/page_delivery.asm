; Page faults while an exception is delivered: the upper half of the IDT is in a page that is missing.
; modes: 16
; Source: SDM 3A table 7-5: benign or contributory, then #PF: one after the other; #PF, then #PF or
; a contributory exception: #DF.
%define PAGING
%include "sector.inc"
%macro paging 0
    pages_4
    mov byte [PT + 9 * 4], 6            ; 9000h-9FFFh
%endmacro

    begin
    ; A copy of the IDT that ends with #PF's gate, so that #MF's and those behind are missing.
    mov si, IDT
    mov di, 0x9000 - 15 * 8
    mov cx, 15 * 8
    rep movsb
    mov word [idtr + 2], 0x9000 - 15 * 8
    lidt [idtr]
    ;= int-n: the gate of INT 31 is missing; an implicit access of the supervisor
    try PF(0), int 31
    ;= int-n-cr2: where the gate is
    mov ecx, cr2
    holds 0x9000 + 16 * 8, cx
    mov eax, cr0
    and al, 0xfd
    or al, 0x20
    mov cr0, eax
    xor eax, eax
    fninit
    fldz
    fld1
    fnstcw [DATA0]
    and byte [DATA0], 0xfb
    fldcw [DATA0]
    fdiv st1
    ;= benign: #MF, then #PF
    try PF(0), wait
    ;= benign-cr2
    mov ecx, cr2
    holds 0x9000 + 8, cx
    ; Now #PF's gate is missing, too.
    mov si, IDT
    mov di, 0x9000 - 14 * 8
    mov cx, 14 * 8
    rep movsb
    mov word [idtr + 2], 0x9000 - 14 * 8
    lidt [idtr]
    ;= page-fault-page-fault
    try CODED(8, 0), mov cl, [0x9000]
    ;= page-fault-cr2: the second one is the last
    mov ecx, cr2
    holds 0x9000, cx
    ;= benign-page-fault-page-fault: #MF, #PF for its gate, #PF for the gate of that
    try CODED(8, 0), wait
    done
    table
    finish
