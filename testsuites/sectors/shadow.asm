; The interrupt shadow: STI and MOV SS hold an interrupt up for one instruction. The interrupt is one
; that the local APIC sends itself; its handler says how many instructions were executed.
; modes: 16
; Source: SDM 3A 7.8.3 (MOV SS, POP SS), 11.6 (ICR); SDM 2, STI, POPF, LSS, HLT.
%include "sector.inc"

; pending WANT, instructions, taken: an interrupt waits while they execute; CX counts.
%macro pending 1
    %push
    %define %$want %1
    xor cx, cx
    mov dword [ebx + 0x300], 0x4401e    ; to itself: vector 30
%endmacro
%macro taken 0
    cli
    holds %$want, dx
    %pop
%endmacro

    begin
    mov ebx, 0xfee00000
    mov dword [ebx + 0xf0], 0x1ff
    mov word [IDT + 30 * 8], interrupt
    ;= sti: taken behind the instruction after it
    pending 1
    sti
    inc cx
    inc cx
    taken
    ;= sti-twice: the second one does not prolong it
    pending 0
    sti
    sti
    inc cx
    taken
    ;= popf: has none
    push word 0x202
    pending 0
    popf
    inc cx
    taken
    ;= lss: has none
    pending 0
    sti
    lss sp, [cs:pointer]
    inc cx
    taken
    ;= sti-cli: never taken
    mov dx, 0x55
    pending 0x55
    sti
    cli
    inc cx
    taken
    ;= then: but it still waits
    sti
    nop
    nop
    cli
    holds 1, dx
    ;= sti-hlt: wakes at once
    pending 0
    sti
    hlt
    taken
    done
pointer:
    dw STACK, DATA
interrupt:
    mov dx, cx
    mov [ebx + 0xb0], ecx       ; EOI
    iretd
    table
    finish
