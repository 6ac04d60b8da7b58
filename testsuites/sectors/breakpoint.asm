; Breakpoints on instructions, RF, and what DR6 says.
; modes: 16 32
; Source: SDM 3B 18.2 (debug registers), 18.3.1.1 (instruction breakpoints), 18.3.1.3 (GD).
%include "sector.inc"

; DR6's bits after a check; it is cleared.
%macro dr6_is 1
    call take_dr6
    is %1
%endmacro

    begin
    call take_dr6
    xor eax, eax
    mov ax, there
    mov dr0, eax
    mov ax, 0x402               ; G0: an instruction
    mov dr7, eax
    xor ax, ax
    ;= instruction: a fault, before it executes
    try DB_
there:
    nop
    caught
    ;= instruction-b0
    dr6_is 1
    ;= resume-flag: with RF in IRET's image of the flags it executes
    push dword 0x10002
    push dword CODE
    push dword there_2
    mov eax, there_2
    mov dr0, eax
    xor ax, ax
    try NONE
    iretd
there_2:
    nop
    caught
    ;= resume-flag-is-cleared: by the instruction that it was for
    try_at DB_, at(there_2), jmp there_2
    ;= general-detect: GD guards the debug registers, and the exception clears it
    mov eax, dr7
    or ah, 0x20
    mov dr7, eax
    xor ax, ax
    try DB_, mov ecx, dr0
    ;= general-detect-bd
    dr6_is 0x2000
    ;= general-detect-cleared
    mov ecx, dr7
    and cx, 0x2000
    holds 0, cx
    done
take_dr6:
    mov eax, dr6
    xor ecx, ecx
    mov dr6, ecx
    and ax, 0xe00f
    ret
    table
    finish
