; SYSENTER and SYSEXIT: from MSRs, not from descriptors.
; modes: 16
; Source: SDM 2, SYSENTER, SYSEXIT; SDM 3A 6.8.7.
%include "sector.inc"

    begin
    ;= null-cs: SYSENTER_CS is null
    try GP(0), sysenter
    ;= sysexit-null-cs
    try GP(0), sysexit
    mov ecx, 0x174              ; SYSENTER_CS, ESP, EIP
    mov al, 0x1b                ; its RPL does not matter
    xor edx, edx
    wrmsr
    inc cx
    mov ax, STACK - 16
    wrmsr
    inc cx
    mov ax, target
    wrmsr
    xor eax, eax
    push word 0x0602            ; IF, DF
    popf
    sysenter
    bits 32
target:
    mov ebx, esp
    mov ecx, cs
    mov edi, ss
    jmp CODE:back
    bits 16
back:
    cld
    ;= cs
    holds 0x18, cx
    ;= ss: the next descriptor, which need not be good
    holds 0x20, di
    ;= esp
    holds STACK - 16, bx
    ;= flags: IF is cleared
    pushf
    pop ax
    and ax, 0x200
    is 0
    done
    table
    desc 0x1234, 0, CODE_XR     ; not used
    desc 0x1234, 0, 0
    finish
