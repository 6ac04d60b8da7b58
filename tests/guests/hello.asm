; An EFI program that says hello and switches the machine off: one section, which is where it says
; wherever it is loaded.
;
; Sources: Microsoft PE/COFF specification, chapter 3 (headers of an image); UEFI Specification 2.10,
; sections 2.3.4 (calling convention), 4.3 (system table), 12.4 (simple text output), 8.5.1
; (ResetSystem).
;
; nasm -f bin -o hello.efi hello.asm

bits 64
default rel

IMAGE           equ 0x1000          ; bytes of it in memory, and of each alignment
ALIGN_FILE      equ 0x200

; Offsets in tables, and what is called.
CON_OUT         equ 64
RUNTIME         equ 88
OUTPUT_STRING   equ 8
RESET_SYSTEM    equ 104
RESET_SHUTDOWN  equ 2

; The old header, of which nobody reads more than this.
    db "MZ"
    times 0x3c - ($ - $$) db 0
    dd pe - $$
pe:
    db "PE", 0, 0
    dw 0x8664                       ; x86-64
    dw 1                            ; sections
    dd 0, 0, 0                      ; no time, no symbols
    dw sections - optional
    dw 0x0022                       ; executable; addresses may be large
optional:
    dw 0x020b                       ; PE32+
    db 0, 0
    dd end - start, 0, 0            ; code, data, and data that is not in the file
    dd IMAGE + entry - start
    dd IMAGE                        ; where code begins
    dq 0x40_0000                    ; any base will do
    dd IMAGE, ALIGN_FILE
    dw 0, 0, 0, 0, 0, 0             ; no versions
    dd 0
    dd 2 * IMAGE, ALIGN_FILE        ; in memory, and of it headers
    dd 0
    dw 10, 0                        ; an EFI application
    dq 0, 0, 0, 0                   ; no stack, no heap of its own
    dd 0, 6                         ; directories, of which all are empty
    times 6 dq 0
sections:
    db ".text", 0, 0, 0
    dd end - start, IMAGE, end - start, start - $$
    dd 0, 0
    dw 0, 0
    dd 0x6000_0020                  ; code, which can be read and executed
    times ALIGN_FILE - ($ - $$) db 0

start:
; In: RDX, the system table.
entry:
    sub rsp, 0x28                   ; room for four arguments; and the stack is aligned
    mov rbx, rdx
    mov rcx, [rbx + CON_OUT]
    lea rdx, [hello]
    call [rcx + OUTPUT_STRING]
    mov rax, [rbx + RUNTIME]
    mov ecx, RESET_SHUTDOWN
    xor edx, edx                    ; EFI_SUCCESS
    xor r8d, r8d                    ; no data
    xor r9d, r9d
    call [rax + RESET_SYSTEM]
    add rsp, 0x28
    xor eax, eax
    ret
hello:
    dw __utf16le__(`Hello from an EFI program.\r\n`), 0
    times -($ - start) & (ALIGN_FILE - 1) db 0
end:
