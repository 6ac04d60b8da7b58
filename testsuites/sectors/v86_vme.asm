; Virtual-8086 mode extensions: VIF, VIP and the redirection bitmap, with IOPL 0.
; modes: 16
; Source: SDM 3A 22.3.3.4, 22.4 (virtual interrupt flag), table 22-2 (software interrupts); SDM 2,
; CLI, STI, PUSHF, POPF, INT n.
%define GATE 0xee
%define WITH_FRAME
%include "sector.inc"
VIF         equ 0x80000
VIP         equ 0x100000

    begin
    mov byte [TSS + 0x67], 1            ; the I/O map is at 100h, the redirection map below
    mov byte [TSS + 0xe0 + 31 / 8], 0x80        ; INT 31 is not redirected
    task_register 0x18
    mov al, 1
    mov cr4, eax
    mov ecx, VM
    ;= sti
    v86 HLT_USER, sti
    ;= sti-vif: VIF is set (and RF, as HLT faults)
    holds (VM | VIF) >> 16 | 1, [FRAME + 10]
    ;= pushf-cli: PUSHF shows VIF as IF, and IOPL 3; CLI clears VIF
    mov ecx, VM | VIF
    v86 HLT_USER
    pushf
    cli
    pop cx
    caught
    ;= pushf-image
    holds 0x3202, cx
    mov ecx, VM | VIP
    ;= sti-vip: an interrupt is pending
    v86 GP(0), sti
    mov ecx, VM
    ;= int-not-redirected: and IOPL is 0
    v86 GP(0), int 31
    mov dword [30 * 4], 0x7000
    mov byte [0x7000], 0xcf         ; IRET
    ;= int-redirected: to the program's own handler
    v86 HLT_USER, int 30
    done
    with_v86
    table
    desc TSS, 0x1ff, TSS_32
    finish
