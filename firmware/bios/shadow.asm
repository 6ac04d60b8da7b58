; The first instructions, and the move of the image from ROM into RAM.
;
; A PC starts in the copy of its ROM that ends at 4 GiB; the one below 1 MiB shows through where the
; host bridge has no RAM switched on. So the image is copied while it still runs from the upper one.
; Where there is no such bridge, it goes on from the ROM.
;
; Source: Intel 82441FX datasheet, section 3.2.18 (PAM).

HOST_BRIDGE_440FX   equ 0x1237_8086
PAM                 equ 0x58        ; the doubleword with PAM0 in its second byte
PAM0_READ           equ 0x10 << 8   ; F0000h: reads go to RAM
PAM0_WRITE          equ 0x20 << 8   ; and writes
PAM_ALL             equ 0x33        ; both, for two parts of 16 KiB

; reset: where the CPU starts. CS has its base 64 KiB below 4 GiB, or is F000h.
reset:
    cli
    cld
    xor ax, ax
    mov ss, ax
    mov sp, POST_STACK
    mov eax, cr0                    ; caches on
    and eax, ~(1 << 30 | 1 << 29)
    mov cr0, eax
    mov eax, 1 << 31                ; bus 0, device 0, function 0
    call bridge_read
    cmp eax, HOST_BRIDGE_440FX
    jne .shadowed
    mov eax, 1 << 31 | PAM
    call bridge_read
    test ah, PAM0_READ >> 8
    jnz .shadowed
    or ah, (PAM0_READ | PAM0_WRITE) >> 8
    or eax, PAM_ALL << 24 | PAM_ALL << 16
    out dx, eax
    mov ax, BIOS_SEGMENT
    mov es, ax
    xor si, si
    xor di, di
    mov cx, 0x1_0000 / 4
    cs rep movsd
    mov eax, 1 << 31 | PAM + 4
    call bridge_read
    mov eax, PAM_ALL * 0x01010101   ; D0000h to EFFFFh
    out dx, eax
    mov eax, 1 << 31 | PAM
    call bridge_read
    and ah, ~(PAM0_WRITE >> 8)      ; nobody writes to the BIOS any more
    out dx, eax
.shadowed:
    jmp BIOS_SEGMENT:post

; bridge_read: a doubleword of configuration space. In: EAX, its address. Out: EAX, DX = PCI_DATA.
bridge_read:
    mov dx, PCI_ADDRESS
    out dx, eax
    mov dx, PCI_DATA
    in eax, dx
    ret
