; 16-bit task state segments, and the debug trap bit and CR3 of 32-bit ones.
; modes: 16
; Source: SDM 3A 8.6 (16-bit TSS), 8.2.1 (T, CR3), 8.3; SDM 3B 18.3.1.5 (task-switch trap).
%include "sector.inc"
NEW_16      equ TSS + 0x100

    begin
    task_register 0x18
    mov word [NEW_16 + 0x0e], there         ; IP
    mov word [NEW_16 + 0x10], 2             ; flags
    mov word [NEW_16 + 0x14], 0x4321        ; CX
    mov word [NEW_16 + 0x1a], STACK - 64    ; SP
    mov byte [NEW_16 + 0x22], DATA          ; ES
    mov byte [NEW_16 + 0x24], CODE
    mov byte [NEW_16 + 0x26], DATA
    mov byte [NEW_16 + 0x28], DATA
    mov ecx, 0x12345678
    jmp 0x20:0
there:
    mov esp, STACK              ; a 16-bit TSS has no upper half
    xor eax, eax
    ;= cx
    holds 0x4321, cx
    ;= busy-16
    holds TSS_BUSY_16 << 8, [gdt + 0x24]
    ;= saved-32: into the old 32-bit TSS
    holds 0x1234, [TSS + 0x2e]
    ;= fs-null: a 16-bit TSS has no FS
    holds 0, fs
    ;= trap-bit: T of the TSS that is switched to
    mov word [TSS + 0x20], again
    mov byte [TSS + 0x64], 1                ; T
    mov bp, again
    mov [TSS + 0x3c], bp
    jmp 0x18:0
again:
    is TRAP(1)
    ;= t-dr6: BT
    mov eax, dr6
    and ax, 0xe00f
    is 0x8000
    ;= saved-16
    holds 0x4321, [NEW_16 + 0x14]
    ;= not-busy-16
    holds TSS_16 << 8, [gdt + 0x24]
    done
    table
    desc TSS, 0x67, TSS_32
    desc NEW_16, 0x2b, TSS_16
    finish
