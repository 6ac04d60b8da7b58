; Fetches and jumps beyond the limit of a code segment, 6FFFh.
; modes: 16
; Source: SDM 3A 6.3; SDM 2, JMP, CALL, RET, LOOP, IRET: #GP(0), before anything has changed.
%define NO_INTERRUPTS
%include "sector.inc"

    begin
    mov word [0x6ffe], 0x9090
    ;= far-jump: the target is tested before CS changes
    try GP(0), jmp 0x18:0x7000
    ;= far-call
    try GP(0), call 0x18:0x7000
    ;= runs-over: the instruction behind the last byte cannot be fetched
    try_at GP(0), 0x7000, jmp 0x18:0x6ffe
    mov byte [0x6fff], 0xb1
    ;= straddles: MOV CL, imm8 of which one byte is within
    try_at GP(0), 0x6fff, jmp 0x18:0x6fff
    mov dword [0x6ff0], 0x900010e9
    ;= near-jump: to 7003h
    try_at GP(0), 0x6ff0, jmp 0x18:0x6ff0
    mov byte [0x6ff0], 0xe8
    ;= near-call
    try_at GP(0), 0x6ff0, jmp 0x18:0x6ff0
    mov dword [0x6ff0], 0x0e0ee2f8
    mov cx, 2
    ;= loop
    try_at GP(0), 0x6ff1, jmp 0x18:0x6ff0
    ;= loop-keeps-cx
    holds 2, cx
    mov byte [0x6ff1], 0x72
    mov byte [0x6ff3], 0xcc
    ;= jump-not-taken: CLC; JC beyond; INT3
    try_at VECTOR(3), 0x6ff4, jmp 0x18:0x6ff0
    push word 0x7000
    mov byte [0x6ff0], 0xc3
    ;= ret
    try_at GP(0), 0x6ff0, jmp 0x18:0x6ff0
    ;= far-ret
    push byte 0x18
    push word 0x7000
    try GP(0), retf
    ;= iret
    push byte 0
    push byte 0x18
    push word 0x7000
    try GP(0), iret
    done
    table
    desc 0, 0x6fff, CODE_XR
    finish
