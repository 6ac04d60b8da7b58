; Option ROMs: firmware of adapters, from their PCI function or where it lies on the ISA bus.
;
; Sources: PCI Firmware Specification 3.0, section 5; Plug and Play BIOS Specification 1.0a, section
; 3; BIOS Boot Specification 1.01.

ROM_SIGNATURE   equ 0xaa55
ROM_BLOCKS      equ 2               ; its length in 512 bytes
ROM_ENTRY       equ 3
ROM_PCI         equ 0x18            ; where its PCI data structure is
ROM_PNP         equ 0x1a            ; and its Plug and Play header

PCIR_LENGTH     equ 0x10
PCIR_CODE       equ 0x14            ; 0: for PCs
PCIR_LAST       equ 0x15

PNP_NEXT        equ 0x06
PNP_NAME        equ 0x10
PNP_BCV         equ 0x16
PNP_BEV         equ 0x1a

ROMS_AT         equ 0xc000          ; segments
ROMS_END        equ 0xe000
ISA_ROMS_AT     equ 0xc800

; option_roms_run: those on the ISA bus, then those of PCI functions.
option_roms_run:
    cmp word [fs:Ebda.rom_next], ISA_ROMS_AT
    jae .isa
    mov word [fs:Ebda.rom_next], ISA_ROMS_AT
.isa:
    mov ax, [fs:Ebda.rom_next]
.next:
    mov es, ax
    cmp word [es:0], ROM_SIGNATURE
    jne .empty
    push ax
    call rom_sum
    pop ax
    jnz .empty
    xor dx, dx                      ; no PCI function
    mov [fs:Ebda.rom_next], ax
    call rom_run
    mov ax, [fs:Ebda.rom_next]
    jmp .more
.empty:
    add ax, 0x80                    ; every 2 KiB
.more:
    cmp ax, ROMS_END
    jb .next
    mov si, .of_function
    jmp pci_each
.of_function:
    cmp bx, [fs:Ebda.vbe_pci]
    jne rom_of_function
    cmp byte [fs:Ebda.has_video], 0
    je rom_of_function
    ret                             ; it came first

; rom_of_function: runs the ROM of a PCI function, if it has one for PCs. In: BX. Out: carry set if
; there was none.
rom_of_function:
    mov di, PCI_HEADER
    call pci_read_byte
    test al, 0x7f
    jnz .none
    mov di, PCI_ROM
    call pci_read
    and eax, 0xffff_f800
    jz .none
    mov edi, eax
    push edi
    inc ax                          ; it answers
    mov di, PCI_ROM
    call pci_write
    pop edi
    call rom_copy
    pushf
    mov di, PCI_ROM
    call pci_read
    and al, ~1
    call pci_write
    popf
    jc .none
    mov dx, bx
    call rom_run
    clc
    ret
.none:
    stc
    ret

; rom_copy: In: EDI, where the ROM is. Out: a copy of its image for PCs at Ebda.rom_next; or carry
; set. Clobbers EAX, ECX, EDX, ESI, EDI.
rom_copy:
    mov esi, edi
    mov dx, 8                       ; so many images at most
.image:
    mov edi, esi
    call flat_read
    cmp ax, ROM_SIGNATURE
    jne .none
    shr eax, 16
    movzx ecx, al
    shl ecx, 9
    lea edi, [esi + ROM_PCI]
    call flat_read
    movzx eax, ax
    lea edi, [esi + eax]
    push edi
    call flat_read
    pop edi
    cmp eax, "PCIR"
    jne .none
    add di, PCIR_CODE
    call flat_read
    test al, al
    jz .copy
    test ah, 0x80                   ; PCIR_LAST
    jnz .none
    sub di, PCIR_CODE - PCIR_LENGTH
    call flat_read
    movzx eax, ax
    shl eax, 9
    add esi, eax
    dec dx
    jnz .image
.none:
    stc
    ret
.copy:
    movzx edi, word [fs:Ebda.rom_next]
    mov eax, ecx
    shr eax, 4
    add eax, edi
    cmp eax, ROMS_END
    ja .none
    push di
    shl edi, 4
    call flat_move
    pop es
    cmp word [es:0], ROM_SIGNATURE  ; there is RAM
    jne .none
    clc
    ret

; rom_sum: In: ES, a ROM. Out: ZF set if its bytes add up to 0. Clobbers AX, CX, SI.
rom_sum:
    push ds
    push es
    pop ds
    movzx cx, byte [ROM_BLOCKS]
    xor ah, ah
    xor si, si
    jcxz .none
.block:
    push cx
    mov cx, 512
.byte:
    lodsb
    add ah, al
    loop .byte
    pop cx
    loop .block
    test ah, ah
    pop ds
    ret
.none:
    or al, 1
    pop ds
    ret

; rom_run: initialises the ROM at Ebda.rom_next, and notes what it can boot. In: DX, its PCI
; function.
rom_run:
    pushad
    push dx
    mov es, [fs:Ebda.rom_next]
    push fs
    push ds
    push es
    push cs                         ; where it returns to
    push .initialised
    push es
    push ROM_ENTRY
    mov ax, dx                      ; bus, device and function
    mov bx, -1                      ; no card select number
    mov dx, -1
    mov di, cs
    mov es, di
    mov di, pnp
    retf
.initialised:
    cld
    cli
    pop es
    pop ds
    pop fs
    pop dx
    sti
    movzx ax, byte [es:ROM_BLOCKS]  ; it may have become smaller
    shl ax, 5
    add ax, 0x7f                    ; 2 KiB
    and ax, ~0x7f
    add [fs:Ebda.rom_next], ax
    mov bx, [es:ROM_PNP]
.header:
    test bx, bx
    jz .done
    cmp dword [es:bx], "$PnP"
    jne .done
    cmp word [es:bx + PNP_BEV], 0
    je .no_bev
    call .bev
.no_bev:
    mov ax, [es:bx + PNP_BCV]
    test ax, ax
    jz .no_bcv
    pusha
    push fs
    push ds
    push es
    push cs
    push .connected
    push es
    push ax
    mov ax, dx
    mov di, cs
    mov es, di
    mov di, pnp
    retf
.connected:
    cld
    pop es
    pop ds
    pop fs
    popa
.no_bcv:
    mov bx, [es:bx + PNP_NEXT]
    jmp .header
.done:
    popad
    ret
; Something to boot from.
.bev:
    pusha
    mov al, BOOT_NETWORK
    mov ah, 0
    call boot_new
    jc .full
    mov [fs:si + Boot.pci], dx
    mov ax, [es:bx + PNP_BEV]
    mov [fs:si + Boot.entry], ax
    mov [fs:si + Boot.entry + 2], es
    mov ax, [es:bx + PNP_NAME]
    mov [fs:si + Boot.name], ax
    mov [fs:si + Boot.name + 2], es
.full:
    popa
    ret
