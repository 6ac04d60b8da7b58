; Interrupts and exceptions through task gates.
; modes: 16
; Source: SDM 3A 7.12.2 (interrupt tasks), 8.3, 7.13 (error codes go to the new task's stack).
%include "sector.inc"
NEW         equ TSS + 0x80

    begin
    task_register 0x18
    mov word [NEW + 0x20], handler
    mov byte [NEW + 0x24], 2
    mov word [NEW + 0x38], STACK - 128
    mov byte [NEW + 0x48], DATA
    mov byte [NEW + 0x4c], CODE
    mov byte [NEW + 0x50], DATA
    mov byte [NEW + 0x54], DATA
    mov byte [IDT + 13 * 8 + 2], 0x20
    mov byte [IDT + 13 * 8 + 5], TASK_GATE
    mov cl, 0x30
faulting:
    mov es, cx
behind:
    ;= error-code: on the stack of the new task
    holds 0x30, [DATA0]
    ;= esp: 32 bits
    holds STACK - 132, [DATA0 + 2]
    ;= saved-eip: of the instruction that faulted, which the handler moved on
    holds faulting, [DATA0 + 4]
    ;= saved-rf: RF is set in the image that is saved
    holds 1, [DATA0 + 6]
    ;= nt
    holds 0x40, [DATA0 + 8]
    ;= back-link
    holds 0x18, [NEW]
    ;= returned
    str ax
    is 0x18
    done
handler:
    mov [DATA0 + 2], sp
    pop eax
    mov [DATA0], ax
    mov ax, behind
    xchg ax, [TSS + 0x20]
    mov [DATA0 + 4], ax
    mov al, [TSS + 0x26]
    mov [DATA0 + 6], al
    pushf
    pop ax
    mov al, ah
    and ax, 0x40
    mov [DATA0 + 8], ax
    iret
    table
    desc TSS, 0x67, TSS_32
    desc NEW, 0x67, TSS_32
    finish
