; SYSCALL and SYSRET: what they load, and what they refuse.
; modes: 64
; Source: SDM 2, SYSCALL, SYSRET; SDM 3A 6.8.8.
%define EFER 0x901
%include "sector.inc"

    begin
    mov ecx, 0xc0000081         ; STAR: CS 08h, SS 10h for SYSCALL
    mov edx, 0x00130008
    wrmsr
    inc ecx                     ; LSTAR
    mov eax, target
    xor edx, edx
    wrmsr
    inc ecx
    inc ecx                     ; FMASK
    mov eax, 0x400              ; DF
    wrmsr
    std
    syscall
next:
    cld
target:
    ;= rip: in RCX
    sub ecx, next
    holds 0, cx
    ;= flags: in R11, with DF
    mov rax, r11
    and ax, 0x400
    is 0x400
    ;= mask: DF is clear
    pushf
    pop rax
    and ax, 0x400
    is 0
    ;= sysret-not-canonical: #GP at CPL 0, on this side
    xor ecx, ecx
    bts rcx, 47
    try GP(0), o64 sysret
    ;= sce: without EFER.SCE it does not exist
    mov ecx, 0xc0000080
    mov eax, 0x900
    xor edx, edx
    wrmsr
    xor eax, eax
    try UD, syscall
    done
    table
    finish
