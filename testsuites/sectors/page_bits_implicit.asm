; Accessed and dirty bits that the CPU sets by itself: for descriptors and gates. The page at 8000h
; is a second view of the sector, that at 9000h one of the IDT.
; modes: 16
; Source: SDM 3A 5.8, 5.6 (implicit supervisor-mode accesses), 3.4.5.1.
%define PAGING
%include "sector.inc"
%macro paging 0
    pages_4
    mov word [PT + 8 * 4], 0x7007       ; the sector, and its GDT
    mov word [PT + 9 * 4], 0x1007       ; the IDT
%endmacro

; a_and_d WANT, PAGE: its A and D bits, which are cleared.
%macro a_and_d 2
    mov ax, 7
    xchg al, [PT + %2 * 4]
    mov edx, cr3
    mov cr3, edx
    is %1
%endmacro

    begin
    add word [gdt + 2], 0x1000
    lgdt [gdt]
    mov byte [idtr + 3], 0x90
    lidt [idtr]
    mov cx, 0x18
    ;= lar: reads the descriptor
    lar bx, cx
    a_and_d 0x27, 8
    ;= load: sets its accessed bit
    mov es, cx
    a_and_d 0x67, 8
    ;= load-again: the bit is set already
    mov es, cx
    a_and_d 0x27, 8
    ;= interrupt: reads the gate
    try TRAP(3), int3
    ;= interrupt-idt
    a_and_d 0x27, 9
    ;= ltr: marks the TSS busy
    mov cl, 0x20
    ltr cx
    a_and_d 0x67, 8
    done
    table
    desc 0, 0xffff, DATA_RW
    desc TSS, 0x67, TSS_32
    finish
