; Single-stepping over each kind of instruction: how many #DB there are.
; modes: 0
; Source: SDM 3B 18.3.1.4 (single-step exception), 18.3.1.1; SDM 3A 7.8.3 (MOV SS inhibits traps);
; SDM 2, REP, INT n.
%include "sector.inc"

; steps WANT, instructions, stepped: AX counts; the handler switches TF off where BP is reached.
%macro steps 1
    %push
    %define %$want %1
    mov bp, %$end
    push word 0x102
    popf
%endmacro
%macro stepped 0
%$end:
    is %$want
    %pop
%endmacro

    begin
    mov word [4], step
    ;= plain
    steps 2
    nop
    nop
    stepped
    ;= jump
    steps 1
    jmp short $ + 2
    stepped
    ;= loop: each time around
    mov cx, 3
    steps 3
    loop $
    stepped
    ;= rep: each iteration
    mov cl, 3
    mov si, 0x6000
    mov di, si
    steps 3
    rep movsb
    stepped
    ;= rep-zero: REP with a count of 0 is one instruction
    steps 1
    rep movsb
    stepped
    ;= mov-ss: no trap between it and the next instruction
    steps 1
    mov ss, cx
    nop
    stepped
    ;= pop-ss
    push cx
    steps 1
    pop ss
    nop
    stepped
    ;= mov-ds
    steps 2
    mov ds, cx
    nop
    stepped
    ;= int-n: INT clears TF, and IRET, which sets it, is not traced
    mov word [31 * 4], return
    steps 1
    int 31
    nop
    stepped
    ;= popf-clears: the POPF that clears TF still traps
    push cx
    steps 1
    popf
    stepped
    ;= popf-sets: it stays on
    push word 0x102
    steps 2
    popf
    nop
    stepped
    ;= pushf: the image has TF
    steps 1
    pushf
    stepped
    pop cx
    ;= pushf-image
    holds 0x102, cx
    done
step:
    inc ax
    push bx
    mov bx, sp
    cmp [bx + 2], bp
    jb .on
    and byte [bx + 7], 0xfe
.on:
    pop bx
return:
    iret
    table
    finish
