; The programs that need no privilege as a Linux process: the beginning of an ELF file. What follows
; are the programs, cut out of the guest (from PROGRAMS to its end), so they are the same bytes at
; the same addresses. The arguments are the plan, as words.
;
;   nasm -f bin -o native.bin native.asm
;   cat native.bin <(tail -c 16384 guest.elf) >native

%include "layout.inc"

SYS_WRITE equ 1
SYS_EXIT equ 60
FILE_LEN equ PROGRAMS + PROGRAMS_LEN - IMAGE

bits 64
default rel
org IMAGE
; ELF header, two program headers: the file, which programs write to, and the buffers (some are run)
    db 0x7f, "ELF", 2, 1, 1, 0
    dq 0
    dw 2, 62                       ; an executable for x86-64
    dd 1
    dq start, program_headers - $$, 0
    dd 0
    dw 64, 56, 2, 64, 0, 0
program_headers:
    dd 1, 7
    dq 0, IMAGE, IMAGE, FILE_LEN, FILE_LEN, 4096
    dd 1, 7
    dq 0, BUFFERS, BUFFERS, 0, BUFFERS_LEN, 4096

start:
    ; The arguments follow each other in memory; with blanks between them they are the plan.
    mov rcx, [rsp]                 ; how many
    lea rsi, [none]
    cmp ecx, 2
    jb .perform
    mov rsi, [rsp + 16]
    mov rdi, rsi
    dec ecx
.word:
    cmp byte [rdi], 0
    lea rdi, [rdi + 1]
    jne .word
    dec ecx
    jz .perform
    mov byte [rdi - 1], ' '
    jmp .word
.perform:
    call perform
    mov eax, SYS_EXIT
    xor edi, edi
    syscall

none: db 0
more_programs: db 0

; AL goes to the line, which is written when it ends.
putc:
    mov edx, [line_len]
    mov [rdx + line], al
    inc edx
    cmp al, 10
    je .write
    cmp edx, LINE_ROOM
    je .write
    mov [line_len], edx
    ret
.write:
    push rsi
    push rdi
    push rcx
    push r11
    mov eax, SYS_WRITE
    mov edi, 1
    mov esi, line
    syscall
    mov dword [line_len], 0
    pop r11
    pop rcx
    pop rdi
    pop rsi
drain:
    ret

%include "driver.inc"

LINE_ROOM equ 256
line_len: dd 0
line: times LINE_ROOM db 0

    times PROGRAMS - IMAGE - ($ - $$) db 0
programs:
