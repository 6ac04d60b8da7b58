; Single-stepping in 64-bit mode.
; modes: 64
; Source: SDM 3B 18.3.1.4; SDM 2, IRET, MOV SS, REP.
%include "sector.inc"

%macro steps 1
    %push
    %define %$want %1
    mov bp, %$end
    push 0x102
    popf
%endmacro
%macro stepped 0
%$end:
    is %$want
    %pop
%endmacro

    begin
    mov word [IDT + 16], step
    ;= rep: each iteration
    mov ecx, 3
    mov esi, DATA0
    mov edi, esi
    steps 3
    rep movsb
    stepped
    ;= mov-ss
    mov cl, DATA
    steps 1
    mov ss, ecx
    nop
    stepped
    ;= iretq
    steps 6
    push DATA
    push STACK
    pushf
    push CODE
    push %$end
    iretq
    stepped
    done
step:
    inc eax
    cmp [rsp], rbp
    jb .on
    and byte [rsp + 17], 0xfe
.on:
    iretq
    table
    finish
