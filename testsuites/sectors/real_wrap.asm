; Where 16-bit registers wrap around, and where that is a fault.
; modes: 0
; Source: SDM 3A 23.33 (segment wrap-around: running past FFFFh, and operands across it, are #GP);
; SDM 1, 3.3.5 and SDM 2 (operations on 16-bit IP, SP, SI and DI are modulo 64K).
%include "sector.inc"

    begin
    mov byte [0xffff], 0x90
    ;= runs-past-ffff: NOP at FFFFh; the saved IP has 16 bits
    try_at GP_REAL, 0x10000, jmp 0xffff
    mov byte [0xffff], 0xb1
    ;= straddles-ffff: MOV CL, imm8
    try_at GP_REAL, 0xffff, jmp 0xffff
    ;= jump-wraps: a near jump's 16-bit target wraps
    mov byte [0xfff0], 0xe9
    mov word [0xfff1], landing + 13
    mov bp, landed
    jmp 0xfff0
landing:
    xor ax, ax
    jmp landed
landed:
    is NONE
    ;= push-wraps: SP is 0
    mov sp, 0
    push cx
    mov ax, sp
    mov sp, STACK
    is 0xfffe
    ;= pop-wraps
    mov sp, 0xfffe
    pop cx
    mov ax, sp
    mov sp, STACK
    is 0
    ;= lodsb-wraps: SI
    mov si, 0xffff
    lodsb
    holds 0, si
    ;= movsb-backwards-wraps
    std
    xor si, si
    mov di, si
    movsb
    cld
    holds 0xffff, di
    ;= rep-crosses: LODSW at FFFFh after one iteration
    mov si, 0xfffd
    mov cx, 3
    try GP_REAL, rep lodsw
    ;= rep-crosses-cx
    holds 2, cx
    done
    table
    finish
