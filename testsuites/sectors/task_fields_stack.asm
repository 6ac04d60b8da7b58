; Task switches to a TSS whose stack segment is bad: #TS is a task gate here, as the
; manual advises, for the new task has no stack to handle it on.
; modes: 16
; Source: SDM 3A 7.15 (#TS), 8.3, table 8-1.
%include "sector.inc"
NEW         equ TSS + 0x80
HANDLER     equ TSS + 0x100
; These are cleared with the rest, below USER_STACK.

; field CODE, OFFSET, GOOD, BAD: jumps to a task with a bad selector, and compares the error code.
%macro field 4
    mov bp, %%next
    mov byte [NEW + %2], %4
    jmp switch
%%next:
    mov byte [NEW + %2], %3
    is %1
%endmacro

    begin
    mov word [NEW + 0x38], STACK - 64
    mov byte [NEW + 0x4c], CODE
    mov byte [NEW + 0x50], DATA
    mov byte [NEW + 0x54], DATA
    mov byte [NEW + 0x48], DATA
    mov si, NEW
    mov di, HANDLER
    mov cx, 0x68
    rep movsb
    mov word [HANDLER + 0x20], failed
    mov byte [IDT + 10 * 8 + 2], 0x28
    mov byte [IDT + 10 * 8 + 5], TASK_GATE
    ;= ss-null
    field 0, 0x50, DATA, 0
    ;= ss-code
    field CODE, 0x50, DATA, CODE
    ;= ss-rpl
    field DATA, 0x50, DATA, DATA | 2
    ;= back-link: the task that failed called the handler
    holds 0x20, [HANDLER]
    done
switch:
    mov [NEW + 0x20], bp
    mov [HANDLER + 0x3c], bp
    mov al, TSS_32
    mov [gdt + 0x1d], al
    mov [gdt + 0x25], al
    mov [gdt + 0x2d], al
    mov al, 0x18
    ltr ax
    jmp 0x20:0
failed:
    pop eax
    push word 2
    popf
    mov word [HANDLER + 0x20], failed
    mov word [HANDLER + 0x38], STACK - 64
    jmp bp
    table
    desc TSS, 0x67, TSS_32
    desc NEW, 0x67, TSS_32
    desc HANDLER, 0x67, TSS_32
    finish
