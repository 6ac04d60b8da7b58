; Compatibility mode checks segments as protected mode does; 64-bit mode has none.
; modes: 64
; Source: SDM 3A 3.4.2.1, 3.4.4 (segments in IA-32e mode), 6.3.1 (limits), 6.4.
%include "sector.inc"

; compat WANT, instructions in 32-bit code, caught: ends with INT3 (a trap) if nothing faults.
%macro compat 1
    %push compat
    %xdefine %$want %1
    mov bp, %$next
    push byte 0x18
    push %$insn
    retfq
    bits 32
    %$insn:
%endmacro
%macro compat_end 0
    int3
    bits 64
%$next:
    fault_is %$want, %$next - %$insn
    %pop
%endmacro
OK          equ 3               ; INT3's word

    begin
    mov ebx, 0x20
    mov es, ebx
    ;= limit
    compat GP(0)
    mov cl, [es:0x1000]
    compat_end
    ;= within
    compat OK
    mov cl, [es:0xfff]
    compat_end
    mov es, eax
    ;= null
    compat GP(0)
    mov cl, [es:DATA0]
    compat_end
    ;= null-64: is no fault in 64-bit mode
    try NONE, mov cl, [es:DATA0]
    done
    table
    desc 0, 0xfffff, CODE_XR, BIG_ | GRAN
    desc DATA0, 0xfff, DATA_RW
    finish
