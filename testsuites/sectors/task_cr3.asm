; A task switch changes CR3, and the LDT with it.
; modes: 16
; Source: SDM 3A 8.2.1 (CR3 and LDT of the TSS are loaded, not saved), 8.3, 8.7.
%define PAGING
%include "sector.inc"
NEW         equ TSS + 0x80
OTHER       equ 0xa000          ; another directory, and its table
OTHER_PT    equ 0xb000
%macro paging 0
    pages_4
    mov si, PD
    mov di, OTHER
    mov cx, 0x2000
    rep movsb                   ; the directory, and the table behind it
    mov word [OTHER], OTHER_PT | 7
    mov word [OTHER_PT + 8 * 4], 0x9007
    mov word [0x9000], 0x9999
%endmacro

    begin
    task_register 0x18
    mov word [NEW + 0x1c], OTHER
    mov word [NEW + 0x20], there
    mov word [NEW + 0x38], STACK - 64
    mov byte [NEW + 0x48], 4            ; ES, from the LDT
    mov byte [NEW + 0x4c], CODE
    mov byte [NEW + 0x50], DATA
    mov byte [NEW + 0x54], DATA
    mov byte [NEW + 0x60], 0x28
    mov word [DATA0], 0xffff
    mov byte [DATA0 + 5], DATA_RW
    jmp 0x20:0
there:
    ;= after: another page is there
    holds 0x9999, [0x8000]
    ;= cr3
    mov eax, cr3
    is OTHER
    ;= ldt
    sldt ax
    is 0x28
    ;= from-ldt
    mov ax, es
    is 4
    ;= not-saved: the old TSS does not get CR3
    holds 0, [TSS + 0x1c]
    done
    table
    desc TSS, 0x67, TSS_32
    desc NEW, 0x67, TSS_32
    desc DATA0, 7, LDT
    finish
