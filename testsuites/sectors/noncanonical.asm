; Addresses that are not canonical.
; modes: 64
; Source: SDM 1, 3.3.7.1; SDM 2, 64-bit mode exceptions; SDM 3A 7.15 (#GP, #SS).
%include "sector.inc"

    begin
    xor ebx, ebx
    bts rbx, 47
    ;= read
    try GP(0), mov cl, [rbx]
    ;= write
    try GP(0), mov [rbx], cl
    ;= stack: RSP as a base makes it #SS
    try SS(0), mov cl, [rsp + rbx]
    ;= below: canonical, and missing
    try PF(0), mov cl, [rbx - 8]
    ;= jump: the target is tested first
    try GP(0), jmp rbx
    push rbx
    ;= ret
    try GP(0), ret
    ;= invlpg: does nothing there
    try NONE, invlpg [rbx]
    ;= wrmsr: FS base
    mov ecx, 0xc0000100
    mov edx, ebx
    bts edx, 15
    try GP(0), wrmsr
    ;= crosses: the last bytes are not canonical
    try GP(0), mov rcx, [rbx - 4]
    done
    table
    finish
