; INT 10h 4Fh: linear modes over the Bochs display interface (DISPI), which QEMU's standard VGA and
; Trine's have.
;
; Sources: VESA BIOS Extension Core Functions 3.0; VBE/DDC 1.1; Bochs, "VBE DISPI" interface.

DISPI_INDEX     equ 0x1ce
DISPI_DATA      equ 0x1cf

DISPI_ID        equ 0
DISPI_WIDTH     equ 1
DISPI_HEIGHT    equ 2
DISPI_BITS      equ 3
DISPI_ENABLE    equ 4
DISPI_BANK      equ 5
DISPI_PITCH     equ 6               ; in pixels
DISPI_X         equ 8
DISPI_Y         equ 9
DISPI_MEMORY    equ 10              ; in 64 KiB

DISPI_ON        equ 1 << 0
DISPI_8_BITS    equ 1 << 5          ; of a component in the DAC
DISPI_LINEAR    equ 1 << 6
DISPI_KEEP      equ 1 << 7

VBE_LINEAR      equ 1 << 14         ; bits of a mode's number, in 4F02h
VBE_KEEP        equ 1 << 15

VBE_DONE        equ 0x004f          ; answers in AX
VBE_FAILED      equ 0x014f
VBE_NOT_NOW     equ 0x034f          ; not in this mode

struc VbeMode
    .number         resw 1
    .width          resw 1
    .height         resw 1
    .bits           resw 1
endstruc

vbe_modes:
    dw 0x100, 640, 400, 8
    dw 0x101, 640, 480, 8
    dw 0x103, 800, 600, 8
    dw 0x105, 1024, 768, 8
    dw 0x107, 1280, 1024, 8
    dw 0x10d, 320, 200, 15
    dw 0x10e, 320, 200, 16
    dw 0x10f, 320, 200, 24
    dw 0x110, 640, 480, 15
    dw 0x111, 640, 480, 16
    dw 0x112, 640, 480, 24
    dw 0x113, 800, 600, 15
    dw 0x114, 800, 600, 16
    dw 0x115, 800, 600, 24
    dw 0x116, 1024, 768, 15
    dw 0x117, 1024, 768, 16
    dw 0x118, 1024, 768, 24
    dw 0x119, 1280, 1024, 15
    dw 0x11a, 1280, 1024, 16
    dw 0x11b, 1280, 1024, 24
    dw 0x11c, 1600, 1200, 8
    dw 0x11e, 1600, 1200, 16
    dw 0x11f, 1600, 1200, 24
    dw 0x140, 320, 200, 32
    dw 0x141, 640, 400, 32
    dw 0x142, 640, 480, 32
    dw 0x143, 800, 600, 32
    dw 0x144, 1024, 768, 32
    dw 0x145, 1280, 1024, 32
    dw 0x146, 320, 200, 8
    dw 0x147, 1600, 1200, 32
    dw 0x175, 1280, 768, 16
    dw 0x177, 1280, 768, 32
    dw 0x178, 1280, 800, 16
    dw 0x17a, 1280, 800, 32
    dw 0x18d, 1280, 720, 16
    dw 0x18f, 1280, 720, 32
    dw 0x190, 1920, 1080, 16
    dw 0x192, 1920, 1080, 32
vbe_modes_end:

; Red, green, blue, reserved: bits and place of each, by bits of a pixel.
vbe_masks_15:
    db 5, 10, 5, 5, 5, 0, 1, 15
vbe_masks_16:
    db 5, 11, 6, 5, 5, 0, 0, 0
vbe_masks_24:
    db 8, 16, 8, 8, 8, 0, 0, 0
vbe_masks_32:
    db 8, 16, 8, 8, 8, 0, 8, 24

; dispi_read: In: AL, register. Out: AX. dispi_write: In: AL, register; BX, value. Clobbers DX.
dispi_read:
    mov dx, DISPI_INDEX
    mov ah, 0
    out dx, ax
    inc dx
    in ax, dx
    ret
dispi_write:
    mov dx, DISPI_INDEX
    mov ah, 0
    out dx, ax
    inc dx
    mov ax, bx
    out dx, ax
    ret

; vbe_find: Is there the interface? Ebda.vbe_memory is not 0 then.
vbe_find:
    mov al, DISPI_ID
    call dispi_read
    and ax, 0xfff0
    cmp ax, 0xb0c0
    jne .done
    mov bx, [fs:Ebda.vbe_pci]
    mov di, PCI_BAR_0
    call pci_read
    and al, 0xf0
    mov [fs:Ebda.vbe_memory], eax
    mov di, PCI_BAR_0 + 2 * 4
    call pci_read
    and al, 0xf0
    mov [fs:Ebda.vbe_registers], eax
.done:
    ret

; vbe_off: back to what VGA registers say. Clobbers AX, BX, DX.
vbe_off:
    cmp dword [fs:Ebda.vbe_memory], 0
    je .done
    mov al, DISPI_ENABLE
    xor bx, bx
    call dispi_write
.done:
    ret

; vbe_size: Out: EAX, bytes of video memory. Clobbers DX.
vbe_size:
    mov al, DISPI_MEMORY
    call dispi_read
    shl eax, 16
    jnz .done
    mov eax, 4 << 20                ; before B0C5h
.done:
    ret

; vbe_mode_find: In: AX, a mode. Out: SI (of CS), its VbeMode; carry set if there is none that fits
; into video memory. Clobbers EBX, ECX, EDX, DI.
vbe_mode_find:
    mov si, vbe_modes
.next:
    cmp [cs:si + VbeMode.number], ax
    je .found
    add si, VbeMode_size
    cmp si, vbe_modes_end
    jb .next
    stc
    ret
.found:
    push eax
    call vbe_pitch
    movzx ecx, word [cs:si + VbeMode.height]
    imul ebx, ecx
    call vbe_size
    cmp eax, ebx
    pop eax
    ret

; vbe_pitch: In: SI (of CS), a VbeMode. Out: EBX, bytes of a line. Clobbers ECX.
vbe_pitch:
    movzx ebx, word [cs:si + VbeMode.bits]
    add bx, 7
    shr bx, 3
    movzx ecx, word [cs:si + VbeMode.width]
    imul ebx, ecx
    ret

; ------------------------------------------------------------------------------------------------

vbe_service:
    cmp dword [fs:Ebda.vbe_memory], 0
    je .none
    mov al, caller_al
    mov si, vbe_functions
    jmp by_code
.none:
    ret

vbe_functions:
    code 0x00, vbe_controller
    code 0x01, vbe_mode_describe
    code 0x02, vbe_set_mode
    code 0x03, vbe_get_mode
    code 0x04, vbe_state
    code 0x05, vbe_window
    code 0x06, vbe_line
    code 0x07, vbe_start
    code 0x08, vbe_dac_width
    code 0x09, vbe_palette
    code 0x0a, vbe_protected
    code 0x15, vbe_ddc
    code 0xff, vbe_fails

vbe_fails:
    mov caller_ax, VBE_FAILED
    ret
vbe_done:
    mov caller_ax, VBE_DONE
    ret
vbe_not_now:
    mov caller_ax, VBE_NOT_NOW
    ret

; 00h: In: ES:DI, a block of 512 bytes, or 256 if it does not say "VBE2". Out: in it, what there is.
vbe_controller:
    mov es, caller_es
    mov di, caller_di
    mov eax, "VBE2"
    xor edx, edx
    cmp [es:di], eax
    sete dl
    mov eax, "VESA"
    stosd
    mov ax, 0x0300
    stosw
    mov ax, .vendor
    stosw
    mov ax, cs
    stosw
    mov eax, 1                      ; the DAC can have 8 bits
    stosd
    mov ax, caller_di               ; the list is in the block
    add ax, 0x22
    stosw
    mov ax, es
    stosw
    push dx
    call vbe_size
    pop dx
    shr eax, 16
    stosw
    test dl, dl
    jz .old
    mov ax, 0x0001                  ; of this software
    stosw
    mov ax, .vendor
    mov cx, 3                       ; vendor, product, revision
.name:
    stosw
    push ax
    mov ax, cs
    stosw
    pop ax
    loop .name
.old:
    mov di, caller_di
    add di, 0x22
    mov ax, -1
    test dl, dl
    jz .list
    mov di, caller_di               ; behind the revision
    add di, 0x40
    mov bx, caller_di
    mov [es:bx + 0x0e], di
.list:
    mov si, vbe_modes
.mode:
    push si
    push di
    mov ax, [cs:si + VbeMode.number]
    call vbe_mode_find
    pop di
    pop si
    jc .skip
    stosw
.skip:
    add si, VbeMode_size
    cmp si, vbe_modes_end
    jb .mode
    mov ax, -1
    stosw
    jmp vbe_done
.vendor:
    db "Trine BIOS", 0

; 01h: In: CX, a mode; ES:DI, a block of 256 bytes.
vbe_mode_describe:
    mov ax, caller_cx
    and ah, 0x3f
    call vbe_mode_find
    jc vbe_fails
    mov es, caller_es
    mov di, caller_di
    push di
    xor ax, ax
    mov cx, 128
    rep stosw
    pop di
    mov word [es:di + 0x00], 0x9b   ; color graphics, linear, with all that follows
    mov byte [es:di + 0x02], 7      ; window A can be read and written
    mov word [es:di + 0x04], 64
    mov word [es:di + 0x06], 64
    mov word [es:di + 0x08], 0xa000
    mov word [es:di + 0x0c], vbe_window_far
    mov [es:di + 0x0e], cs
    call vbe_pitch
    mov [es:di + 0x10], bx
    mov [es:di + 0x32], bx
    mov ax, [cs:si + VbeMode.width]
    mov [es:di + 0x12], ax
    mov ax, [cs:si + VbeMode.height]
    mov [es:di + 0x14], ax
    mov word [es:di + 0x16], 0x1008 ; characters
    mov byte [es:di + 0x18], 1      ; planes
    mov al, [cs:si + VbeMode.bits]
    mov [es:di + 0x19], al
    mov byte [es:di + 0x1a], 1      ; banks
    movzx ecx, word [cs:si + VbeMode.height]
    imul ecx, ebx
    call vbe_size
    xor edx, edx
    div ecx
    dec ax
    mov [es:di + 0x1d], al          ; further pages
    mov [es:di + 0x34], al
    mov [es:di + 0x35], al
    mov byte [es:di + 0x1e], 1
    mov eax, [fs:Ebda.vbe_memory]
    mov [es:di + 0x28], eax
    mov dword [es:di + 0x3e], 300_000_000 ; Hz
    mov byte [es:di + 0x1b], 4      ; packed pixels
    mov bx, vbe_masks_15
    mov al, [cs:si + VbeMode.bits]
    cmp al, 15
    jb vbe_done
    je .direct
    mov bx, vbe_masks_16
    cmp al, 24
    jb .direct
    mov bx, vbe_masks_24
    je .direct
    mov bx, vbe_masks_32
.direct:
    mov byte [es:di + 0x1b], 6
    mov eax, [cs:bx]
    mov edx, [cs:bx + 4]
    mov [es:di + 0x1f], eax
    mov [es:di + 0x23], edx
    mov [es:di + 0x36], eax         ; of linear modes
    mov [es:di + 0x3a], edx
    mov byte [es:di + 0x27], 2      ; the reserved bits can be used
    jmp vbe_done

; 02h: In: BX, a mode, VBE_LINEAR, VBE_KEEP.
vbe_set_mode:
    mov ax, caller_bx
    and ax, 0x01ff
    cmp ax, 0x100
    jb .standard
    call vbe_mode_find
    jc vbe_fails
    push si
    mov al, 0x13                    ; the registers of 256 colors
    mov ah, KEEP_MEMORY
    call mode_find
    call mode_set
    pop si
    mov al, DISPI_WIDTH
    mov bx, [cs:si + VbeMode.width]
    call dispi_write
    mov al, DISPI_HEIGHT
    mov bx, [cs:si + VbeMode.height]
    call dispi_write
    mov al, DISPI_BITS
    mov bx, [cs:si + VbeMode.bits]
    call dispi_write
    mov bx, DISPI_ON | DISPI_LINEAR
    test caller_bh, VBE_KEEP >> 8
    jz .clear
    or bl, DISPI_KEEP
.clear:
    mov al, DISPI_ENABLE
    call dispi_write
    xor bx, bx
    mov al, DISPI_BANK
    call dispi_write
    mov ax, caller_bx
    and ax, ~VBE_KEEP
    mov [fs:Ebda.vbe_mode], ax
    mov byte [Bda.mode], 0xff       ; none that characters are drawn in
    mov ax, [cs:si + VbeMode.width]
    shr ax, 3
    mov [Bda.columns], ax
    mov ax, [cs:si + VbeMode.height]
    shr ax, 4
    dec ax
    mov [Bda.last_row], al
    mov word [Bda.char_height], 16
    jmp vbe_done
.standard:
    mov ah, 0
    test caller_bh, VBE_KEEP >> 8
    jz .keep
    mov ah, KEEP_MEMORY
.keep:
    test al, 0x80
    jnz vbe_fails
    call mode_find
    jc vbe_fails
    call mode_set
    jmp vbe_done

; 03h: Out: BX.
vbe_get_mode:
    mov ax, [fs:Ebda.vbe_mode]
    test ax, ax
    jnz .there
    mov al, [Bda.mode]
.there:
    mov caller_bx, ax
    jmp vbe_done

; 04h: as 1Ch, with DL for AL. The interface's registers come first, a block more.
vbe_state:
    mov cx, caller_cx
    and cx, SAVE_REGISTERS | SAVE_DATA | SAVE_DAC
    mov es, caller_es
    mov di, caller_bx
    mov al, caller_dl
    cmp al, 1
    jb .size
    je .save
    cmp al, 2
    jne vbe_fails
    mov ax, [es:di]
    mov [fs:Ebda.vbe_mode], ax
    lea si, [di + 2]
    xor ecx, ecx
.restore:
    mov al, [cs:.order + ecx]
    mov bx, [es:si]
    call dispi_write
    add si, 2
    inc cl
    cmp cl, .order_end - .order
    jb .restore
    mov cx, caller_cx
    add di, 64
    call state_restore
    jmp vbe_done
.save:
    mov ax, [fs:Ebda.vbe_mode]
    mov [es:di], ax
    lea si, [di + 2]
    xor ecx, ecx
.read:
    mov al, [cs:.order + ecx]
    call dispi_read
    mov [es:si], ax
    add si, 2
    inc cl
    cmp cl, .order_end - .order
    jb .read
    mov cx, caller_cx
    add di, 64
    call state_save
    jmp vbe_done
.size:
    call state_size
    inc bx
    mov caller_bx, bx
    jmp vbe_done
; First off, then what it is like, then on if it was, and then what can be changed in a mode.
.order:
    db DISPI_WIDTH, DISPI_HEIGHT, DISPI_BITS, DISPI_ENABLE
    db DISPI_BANK, DISPI_PITCH, DISPI_X, DISPI_Y
.order_end:

; 05h: In: BH, 0 set, 1 get; BL, 0, window A; DX, its place in 64 KiB.
vbe_window:
    mov bx, caller_bx
    mov dx, caller_dx
    call vbe_window_move
    mov caller_dx, dx
    jc vbe_fails
    jmp vbe_done

; vbe_window_far: the same, called by programs.
vbe_window_far:
    push bx
    call vbe_window_move
    pop bx
    mov ax, VBE_DONE
    jnc .done
    mov ax, VBE_FAILED
.done:
    retf

; vbe_window_move: In: BX, DX. Out: DX, or carry set. Clobbers AX, BX.
vbe_window_move:
    test bl, bl
    jnz .fails
    cmp bh, 1
    ja .fails
    je .get
    mov bx, dx
    mov al, DISPI_BANK
    call dispi_write
.get:
    mov al, DISPI_BANK
    call dispi_read
    mov dx, ax
    clc
    ret
.fails:
    stc
    ret

; vbe_bytes: Out: ECX, bytes of a pixel. Clobbers AX, DX.
vbe_bytes:
    mov al, DISPI_BITS
    call dispi_read
    add ax, 7
    shr ax, 3
    movzx ecx, ax
    ret

; 06h: In: BL, 0 set pixels of a line in CX, 1 get, 2 set bytes, 3 the most. Out: BX, bytes; CX,
; pixels; DX, lines there is room for.
vbe_line:
    cmp word [fs:Ebda.vbe_mode], 0
    je vbe_not_now
    call vbe_bytes
    movzx eax, caller_cx
    cmp caller_bl, 1
    jb .set
    je .get
    cmp caller_bl, 3
    je .most
    ja vbe_fails
    xor edx, edx
    add eax, ecx
    dec eax
    div ecx
.set:
    mov bx, ax
    push cx
    mov al, DISPI_PITCH
    call dispi_write
    mov al, DISPI_PITCH
    call dispi_read
    pop cx
    cmp ax, bx
    jb vbe_fails
.get:
    push cx
    mov al, DISPI_PITCH
    call dispi_read
    pop cx
.tell:
    movzx eax, ax
    mov caller_cx, ax
    imul ecx, eax
    mov caller_bx, cx
    call vbe_size
    xor edx, edx
    div ecx
    cmp eax, 0xffff
    jbe .lines
    mov ax, 0xffff
.lines:
    mov caller_dx, ax
    jmp vbe_done
.most:
    mov eax, 0xfff8
    xor edx, edx
    div ecx
    cmp ax, 4096
    jb .tell
    mov ax, 4096
    jmp .tell

; 07h: In: BL, 0 or 80h set, 1 get; CX, DX, what is at the upper left.
vbe_start:
    cmp word [fs:Ebda.vbe_mode], 0
    je vbe_not_now
    cmp caller_bl, 1
    je .get
    test caller_bl, 0x7f
    jnz vbe_fails
    mov al, DISPI_X
    mov bx, caller_cx
    call dispi_write
    mov al, DISPI_Y
    mov bx, caller_dx
    call dispi_write
    mov al, DISPI_Y
    call dispi_read
    cmp ax, bx
    jne vbe_fails
    jmp vbe_done
.get:
    mov al, DISPI_X
    call dispi_read
    mov caller_cx, ax
    mov al, DISPI_Y
    call dispi_read
    mov caller_dx, ax
    mov caller_bh, 0
    jmp vbe_done

; 08h: In: BL, 0 set, 1 get; BH, bits of a component. Out: BH.
vbe_dac_width:
    mov al, DISPI_ENABLE
    call dispi_read
    cmp caller_bl, 1
    ja vbe_fails
    je .get
    and al, ~DISPI_8_BITS
    cmp caller_bh, 8
    jb .set
    or al, DISPI_8_BITS
.set:
    or al, DISPI_KEEP
    mov bx, ax
    mov al, DISPI_ENABLE
    call dispi_write
    mov ax, bx
.get:
    test al, DISPI_8_BITS
    mov al, 6
    jz .there
    mov al, 8
.there:
    mov caller_bh, al
    jmp vbe_done

; 09h: In: BL, 0 or 80h set, 1 get; CX, how many; DX, the first; ES:DI: blue, green, red, 0.
vbe_palette:
    mov cx, caller_cx
    mov es, caller_es
    mov di, caller_di
    mov al, caller_dl
    cmp caller_bl, 1
    je .get
    test caller_bl, 0x7f
    jnz vbe_fails
    mov dx, VGA_DAC_WRITE
    out dx, al
    jcxz .none
.set:
    mov al, [es:di + 2]
    mov ah, [es:di + 1]
    mov bl, [es:di]
    call dac_color
    add di, 4
    loop .set
.none:
    jmp vbe_done
.get:
    mov dx, VGA_DAC_READ
    out dx, al
    mov dx, VGA_DAC
    jcxz .none
.next:
    in al, dx
    mov [es:di + 2], al
    in al, dx
    mov [es:di + 1], al
    in al, dx
    mov [es:di], al
    mov byte [es:di + 3], 0
    add di, 4
    loop .next
    jmp vbe_done

; 15h: In: BL, 0: what is possible? (BX); 1: the display's description (EDID) to ES:DI.
vbe_ddc:
    cmp caller_bl, 1
    ja vbe_fails
    je .read
    mov caller_bx, 0x0102           ; a second for a block; DDC2
    jmp vbe_done
.read:
    call flat_is_possible
    jc vbe_fails
    cmp caller_dx, 0
    jne vbe_fails
    mov edi, [fs:Ebda.vbe_registers]
    test edi, edi
    jz vbe_fails
    call flat_read
    cmp eax, 0xffff_ff00
    jne vbe_fails
    mov es, caller_es
    mov bx, caller_di
    mov cx, 128 / 4
.next:
    call flat_read
    mov [es:bx], eax
    add bx, 4
    add edi, 4
    loop .next
    jmp vbe_done
