; The accessed bit of descriptors: loads set it, and nothing else.
; modes: 16
; Source: SDM 3A 3.4.5.1.
%include "sector.inc"

; a_is WANT, SELECTOR: its A bit.
%macro a_is 2
    mov al, [gdt + %2 + 5]
    and ax, 1
    is %1
%endmacro

    begin
    mov cx, 0x18
    ;= verr: does not
    verr cx
    a_is 0, 0x18
    ;= lar: does not
    lar bx, cx
    a_is 0, 0x18
    ;= mov
    mov es, cx
    a_is 1, 0x18
    ;= mov-that-fails: code that cannot be read
    mov cl, 0x20
    try GP(0x20), mov es, cx
    ;= mov-that-fails-not
    a_is 0, 0x20
    ;= far-jump
    jmp 0x20:next
next:
    jmp CODE:.back
.back:
    a_is 1, 0x20
    ;= lss
    lss sp, [cs:pointer]
    a_is 1, 0x28
    ;= conforming-jump
    call 0x30:return
    a_is 1, 0x30
    ;= interrupt: loads the handler's segment
    mov byte [IDT + 6 * 8 + 2], 0x38
    try UD, ud2
    ;= interrupt-handler
    a_is 1, 0x38
    jmp over
pointer:
    dw STACK, 0x28
return:
    retf
over:
    done
    table
    desc 0, 0xffff, DATA_RW
    desc 0, 0xffff, CODE_X
    desc 0, 0xffff, DATA_RW
    desc 0, 0xffff, CODE_CX
    desc 0, 0xffff, CODE_XR
    finish
