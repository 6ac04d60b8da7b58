; Memory beyond 1 MiB: moves, and the registers of devices. For these the CPU is in protected mode
; for a moment, with interrupts off and in segments of 16 bits with a limit of 4 GiB; real mode
; comes back with ordinary limits, for some CPUs and virtual machines know no others there.
;
; Source: SDM vol. 3A, section 10.9.

SELECTOR_CODE   equ 0x08            ; F0000h, 64 KiB
SELECTOR_FLAT   equ 0x10            ; 0, 4 GiB
SELECTOR_REAL   equ 0x18            ; limit 64 KiB

; flat_gdt: read where it lies, in the image.
    align 8
flat_gdt:
    dq 0
    dw 0xffff, 0x0000, 0x9b0f, 0x0000
    dw 0xffff, 0x0000, 0x9300, 0x00cf
    dw 0xffff, 0x0000, 0x9300, 0x0000
flat_gdt_register:
    dw $ - flat_gdt - 1
    dd BIOS_SEGMENT * 16 + flat_gdt

; flat_is_possible: Out: carry set in virtual-8086 mode, where a privileged instruction would be
; another's to judge. Clobbers AX.
flat_is_possible:
    smsw ax
    shr ax, 1
    ret

; flat_enter: Out: DS = ES = 4 GiB from 0, interrupts off. What is on the stack stays reachable; SS
; and the rest keep their real-mode descriptors. Clobbers AX. The old flags, ES and DS lie on the
; stack for flat_leave; so a routine calls both.
%macro flat_enter 0
    pushf
    push ds
    push es
    cli
    push eax
    o32 lgdt [cs:flat_gdt_register]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp SELECTOR_CODE:%%protected
%%protected:
    mov ax, SELECTOR_FLAT
    mov ds, ax
    mov es, ax
    pop eax
%endmacro

; flat_leave: back to what was before flat_enter.
%macro flat_leave 0
    push eax
    mov ax, SELECTOR_REAL
    mov ds, ax
    mov es, ax
    mov eax, cr0
    and al, ~1
    mov cr0, eax
    jmp BIOS_SEGMENT:%%real
%%real:
    pop eax
    pop es
    pop ds
    popf
%endmacro

; flat_read: In: EDI, an address. Out: EAX, the doubleword there.
flat_read:
    flat_enter
    mov eax, [edi]
    flat_leave
    ret

; flat_write: In: EDI, an address; EAX.
flat_write:
    flat_enter
    mov [edi], eax
    flat_leave
    ret

; flat_move: In: ESI, from; EDI, to; ECX, bytes. Clobbers ECX, ESI, EDI.
flat_move:
    flat_enter
    push ecx
    shr ecx, 2
    a32 rep movsd
    pop ecx
    and ecx, 3
    a32 rep movsb
    flat_leave
    ret

; linear: In: EAX, a far pointer. Out: EAX, its address. 
linear:
    push ebx
    movzx ebx, ax
    shr eax, 16
    shl eax, 4
    add eax, ebx
    pop ebx
    ret
