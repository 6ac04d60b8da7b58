; Single-stepping through protected mode's own transfers: far calls, gates, CPL 3 and faults.
; modes: 16
; Source: SDM 3B 18.3.1.4; SDM 2, IRET, RET, MOV SS.
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
    mov word [IDT + 8], step
    ;= far-call: two, and two within
    steps 4
    call CODE:far_return
    nop
    stepped
    ;= call-gate
    steps 4
    call 0x18:0
    nop
    stepped
    ;= interrupt: its handler is not traced
    mov word [IDT + 31 * 8], int_return
    steps 1
    int 31
    nop
    stepped
    ;= iret
    steps 4
    pushfd
    push dword CODE
    push dword %$end
    iretd
    stepped
    ;= mov-ss
    mov cx, DATA
    steps 1
    mov ss, cx
    nop
    stepped
    ;= mov-ss-fault: a load that fails has no shadow
    mov word [IDT + 13 * 8], skip
    steps 1
    mov ss, ax
    nop
    stepped
    ;= lss
    steps 1
    lss sp, [cs:pointer]
    stepped
    ;= dr6: only BS
    mov eax, dr6
    and ax, 0xe00f
    is 0x4000
    done
pointer:
    dw STACK, DATA
far_return:
    nop
    retf
skip:
    add sp, 4
    add word [esp], 2
int_return:
    iretd
step:
    inc ax
    cmp [esp], bp
    jne .on
    and byte [esp + 9], 0xfe
.on:
    iretd
    table
    gate CODE, far_return, CALL_16
    finish
