; What MOV SS holds up: traps on data wait for the next instruction's end, breakpoints on
; that instruction are lost.
; modes: 16
; Source: SDM 3A 7.8.3; SDM 3B 18.3.1.1, 18.3.1.2.
%include "sector.inc"

    begin
    mov word [DATA0], DATA
    mov eax, DATA0
    mov dr0, eax
    mov eax, 0x000f0002         ; 0: read or write, 4 bytes
    mov dr7, eax
    xor eax, eax
    ;= data: behind the NOP
    try TRAP(1)
    mov ss, [DATA0]
    nop
    caught
    ;= data-other: a load of another segment does not wait
    try TRAP(1 | 1 << 5)
    mov gs, [DATA0]
    nop
    caught
    ;= dr6: B0, once it is delivered
    mov eax, dr6
    and ax, 0x600f
    is 1
    mov eax, blocked
    mov dr0, eax
    mov eax, 2                  ; 0: instruction
    mov dr7, eax
    xor eax, eax
    mov cx, DATA
    ;= instruction: a breakpoint behind MOV SS
    try NONE
    mov ss, cx
blocked:
    nop
    caught
    mov eax, alone
    mov dr0, eax
    xor eax, eax
    ;= instruction-alone
    try DB_
alone:
    nop
    caught
    done
    table
    finish
