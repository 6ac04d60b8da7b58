; INT 10h 0Bh and 10h: colors. The attribute controller maps 16 colors to 64, the DAC these to 256K.

; dac_color: In: AL, red; AH, green; BL, blue: 6 bits each. Clobbers DX.
dac_color:
    push ax
    mov dx, VGA_DAC
    out dx, al
    mov al, ah
    out dx, al
    mov al, bl
    out dx, al
    pop ax
    ret

; palette_load: the DAC as a mode has it. In: AL, PALETTE_. Clobbers AX, BX, CX, DX.
palette_load:
    push si
    push di
    push ax
    write_port VGA_DAC_WRITE, 0
    pop ax
    cmp al, PALETTE_256
    je .many
    mov ch, al
    xor cl, cl
.next:
    call palette_entry
    call dac_color
    inc cl
    cmp cl, 64
    jb .next
    mov cx, 256 - 64
    jmp .black
; 16 colors, 16 greys, 216 by hue, 24 black.
.many:
    mov cx, PALETTE_16 << 8
.first:
    mov al, cl
    and al, 8
    add al, al
    push cx
    and cl, 7
    or cl, al                       ; the bright ones are from 16 on
    call palette_entry
    call dac_color
    pop cx
    inc cl
    cmp cl, 16
    jb .first
    mov si, palette_greys
    mov cx, 16
.grey:
    cs lodsb
    mov ah, al
    mov bl, al
    call dac_color
    loop .grey
    mov si, palette_levels
.ring:
    mov di, palette_hues
    mov cx, 24
.hue:
    push cx
    mov cx, [cs:di]                 ; levels: red in bits 8 to 11, green 4 to 7, blue 0 to 3
    add di, 2
    movzx bx, ch
    mov al, [cs:si + bx]
    mov bl, cl
    shr bl, 4
    mov ah, [cs:si + bx]
    mov bl, cl
    and bl, 0x0f
    mov bl, [cs:si + bx]
    call dac_color
    pop cx
    loop .hue
    add si, 5
    cmp si, palette_levels_end
    jb .ring
    mov cx, 256 - 16 - 16 - 216
.black:
    xor ax, ax
    xor bl, bl
    call dac_color
    loop .black
    pop di
    pop si
    ret

; palette_entry: In: CL, a color's number up to 63; CH, PALETTE_. Out: AL, AH, BL. Clobbers BH, DX.
palette_entry:
    cmp ch, PALETTE_MONO
    je .mono
    cmp ch, PALETTE_64
    je .two_bits
    mov bh, cl
    and bh, 7
    cmp bh, 6
    jne .three
    test cl, 0x10
    jnz .three
    mov ax, 0x152a                  ; brown rather than dark yellow
    xor bl, bl
    ret
.three:
    test cl, 0x10
    mov bh, 0x15                    ; bright
    jnz .bright
    mov bh, 0
.bright:
    mov al, cl
    and al, 1
    call .primary
    mov bl, al
    mov al, cl
    and al, 2
    call .primary
    mov ah, al
    mov al, cl
    and al, 4
    push ax
    call .primary
    mov bh, al
    pop ax
    mov al, bh
    ret
.primary:
    test al, al
    mov al, bh
    jz .no
    add al, 0x2a
.no:
    ret
; Bits 2 to 0: two thirds of red, green, blue; bits 5 to 3: one third.
.two_bits:
    mov al, cl
    and al, 0x24
    mov bl, 0x04
    call .thirds
    push ax
    mov al, cl
    and al, 0x12
    mov bl, 0x02
    call .thirds
    push ax
    mov al, cl
    and al, 0x09
    mov bl, 0x01
    call .thirds
    mov bl, al
    pop ax
    mov ah, al
    pop dx
    mov al, dl
    ret
.thirds:
    mov bh, 0
    test al, bl
    jz .no_two
    mov bh, 0x2a
.no_two:
    not bl
    test al, bl
    jz .no_one
    add bh, 0x15
.no_one:
    mov al, bh
    ret
.mono:
    movzx bx, cl
    shr bl, 3
    and bl, 3
    mov al, [cs:bx + palette_mono]
    mov ah, al
    mov bl, al
    ret

palette_mono:
    db 0x00, 0x2a, 0x00, 0x3f
palette_greys:
    db 0x00, 0x05, 0x08, 0x0b, 0x0e, 0x11, 0x14, 0x18
    db 0x1c, 0x20, 0x24, 0x28, 0x2d, 0x32, 0x38, 0x3f
palette_hues:
    dw 0x004, 0x104, 0x204, 0x304, 0x404, 0x403, 0x402, 0x401
    dw 0x400, 0x410, 0x420, 0x430, 0x440, 0x340, 0x240, 0x140
    dw 0x040, 0x041, 0x042, 0x043, 0x044, 0x034, 0x024, 0x014
palette_levels:
    db 0x00, 0x10, 0x1f, 0x2f, 0x3f
    db 0x1f, 0x27, 0x2f, 0x37, 0x3f
    db 0x2d, 0x31, 0x36, 0x3a, 0x3f
    db 0x00, 0x07, 0x0e, 0x15, 0x1c
    db 0x0e, 0x11, 0x15, 0x18, 0x1c
    db 0x14, 0x16, 0x18, 0x1a, 0x1c
    db 0x00, 0x04, 0x08, 0x0c, 0x10
    db 0x08, 0x0a, 0x0c, 0x0e, 0x10
    db 0x0b, 0x0c, 0x0d, 0x0f, 0x10
palette_levels_end:

; ------------------------------------------------------------------------------------------------
; The attribute controller

; attribute_write: In: AL, register; AH, value. Clobbers AX, DX. attribute_read: Out: AH.
attribute_write:
    call attribute_index
    mov al, ah
    out dx, al
    jmp attribute_on
attribute_read:
    call attribute_index
    inc dx
    in al, dx
    mov ah, al
attribute_on:
    push ax
    call attribute_reset
    mov al, 0x20                    ; the picture goes on
    mov dx, VGA_ATTRIBUTE
    out dx, al
    call attribute_reset
    pop ax
    ret
attribute_index:
    push ax
    call attribute_reset
    pop ax
    mov dx, VGA_ATTRIBUTE
    out dx, al
    ret
attribute_reset:
    mov dx, [Bda.crtc]
    add dx, VGA_STATUS - VGA_CRTC
    in al, dx
    ret

; INT 10h 0Bh: In: BH, 0: BL, background or border; 1: BL, which palette of modes 4 and 5.
color_select:
    mov bl, caller_bl
    mov al, [Bda.cga_palette]
    cmp caller_bh, 1
    je .palette
    ja .done
    and bl, 0x1f
    and al, 0xe0
    or al, bl
    mov [Bda.cga_palette], al
    mov ah, bl                      ; intensity is bit 4
    and ah, 7
    test bl, 8
    jz .dark
    or ah, 0x10
.dark:
    mov al, 0
    push ax
    cmp byte [Bda.mode], 3
    jbe .border
    call attribute_write
.border:
    pop ax
    mov al, 0x11
    call attribute_write
    mov bl, caller_bl
    and bl, 0x10
    jmp .three
.palette:
    and al, ~0x20
    and bl, 1
    jz .set
    or al, 0x20
.set:
    mov [Bda.cga_palette], al
    mov bl, al
    and bl, 0x10
; Colors 1 to 3: green, red, brown, or with palette 1 cyan, magenta, white.
.three:
    mov cl, 1
.next:
    mov al, cl
    mov ah, cl
    add ah, ah
    test byte [Bda.cga_palette], 0x20
    jz .even
    inc ah
.even:
    or ah, bl
    push bx
    call attribute_write
    pop bx
    inc cl
    cmp cl, 4
    jb .next
.done:
    ret

; INT 10h 10h
palette_service:
    mov al, caller_al
    mov si, palette_functions
    jmp by_code
palette_none:
    ret

palette_functions:
    code 0x00, palette_set
    code 0x01, palette_set_border
    code 0x02, palette_set_all
    code 0x03, palette_blink
    code 0x07, palette_get
    code 0x08, palette_get_border
    code 0x09, palette_get_all
    code 0x10, dac_set
    code 0x12, dac_set_block
    code 0x13, dac_select
    code 0x15, dac_get
    code 0x17, dac_get_block
    code 0x18, dac_set_mask
    code 0x19, dac_get_mask
    code 0x1a, dac_selected
    code 0x1b, dac_grey_block
    code 0xff, palette_none

; 00h: In: BL, register; BH, value.
palette_set:
    mov ax, caller_bx
    and al, 0x1f
    jmp attribute_write
; 01h: In: BH.
palette_set_border:
    mov ah, caller_bh
    mov al, 0x11
    jmp attribute_write
; 02h: In: ES:DX, 16 colors and the border.
palette_set_all:
    mov es, caller_es
    mov si, caller_dx
    xor cl, cl
.next:
    es lodsb
    mov ah, al
    mov al, cl
    call attribute_write
    inc cl
    cmp cl, 16
    jb .next
    mov ah, [es:si]
    mov al, 0x11
    jmp attribute_write
; 03h: In: BL, 1: bit 7 of an attribute is to blink.
palette_blink:
    mov al, 0x10
    call attribute_read
    and ah, ~0x08
    test caller_bl, 1
    jz .write
    or ah, 0x08
.write:
    mov al, 0x10
    jmp attribute_write
; 07h: In: BL. Out: BH.
palette_get:
    mov al, caller_bl
    and al, 0x1f
    call attribute_read
    mov caller_bh, ah
    ret
; 08h: Out: BH.
palette_get_border:
    mov al, 0x11
    call attribute_read
    mov caller_bh, ah
    ret
; 09h: In: ES:DX.
palette_get_all:
    mov es, caller_es
    mov di, caller_dx
    xor cl, cl
.next:
    mov al, cl
    call attribute_read
    mov [es:di], ah
    inc di
    inc cl
    cmp cl, 16
    jb .next
    mov al, 0x11
    call attribute_read
    mov [es:di], ah
    ret

; 10h: In: BX, which; DH, CH, CL, red, green, blue.
dac_set:
    write_port VGA_DAC_WRITE, caller_bl
    mov al, caller_dh
    mov ah, caller_ch
    mov bl, caller_cl
    jmp dac_color
; 12h: In: BX, the first; CX, how many; ES:DX.
dac_set_block:
    write_port VGA_DAC_WRITE, caller_bl
    mov es, caller_es
    mov si, caller_dx
    mov cx, caller_cx
    imul cx, cx, 3
    jcxz .done
    mov dx, VGA_DAC
    es rep outsb
.done:
    ret
; 13h: In: BL, 0: BH, 4 blocks of 64 or 16 of 16; 1: BH, which.
dac_select:
    mov al, 0x10
    call attribute_read
    cmp caller_bl, 0
    jne .which
    and ah, 0x7f
    test caller_bh, 1
    jz .write
    or ah, 0x80
.write:
    mov al, 0x10
    jmp attribute_write
.which:
    test ah, 0x80
    mov ah, caller_bh
    jnz .sixteen
    shl ah, 2
.sixteen:
    mov al, 0x14
    jmp attribute_write
; 15h: In: BX. Out: DH, CH, CL.
dac_get:
    write_port VGA_DAC_READ, caller_bl
    mov dx, VGA_DAC
    in al, dx
    mov caller_dh, al
    in al, dx
    mov caller_ch, al
    in al, dx
    mov caller_cl, al
    ret
; 17h: In: BX, CX, ES:DX.
dac_get_block:
    write_port VGA_DAC_READ, caller_bl
    mov es, caller_es
    mov di, caller_dx
    mov cx, caller_cx
    imul cx, cx, 3
    jcxz .done
    mov dx, VGA_DAC
    rep insb
.done:
    ret
; 18h: In: BL. 19h: Out: BL.
dac_set_mask:
    write_port VGA_DAC_MASK, caller_bl
    ret
dac_get_mask:
    mov dx, VGA_DAC_MASK
    in al, dx
    mov caller_bl, al
    ret
; 1Ah: Out: BL, as 13h BL = 0; BH, which.
dac_selected:
    mov al, 0x14
    call attribute_read
    mov bh, ah
    and bh, 0x0f
    mov al, 0x10
    call attribute_read
    mov bl, 1
    test ah, 0x80
    jnz .there
    mov bl, 0
    shr bh, 2
.there:
    mov caller_bx, bx
    ret
; 1Bh: In: BX, the first; CX, how many.
dac_grey_block:
    mov cx, caller_cx
    mov bh, caller_bl
    jcxz .done
.next:
    write_port VGA_DAC_READ, bh
    mov dx, VGA_DAC
    in al, dx                       ; 30, 59 and 11 percent
    mov ah, 77
    mul ah
    mov si, ax
    in al, dx
    mov ah, 151
    mul ah
    add si, ax
    in al, dx
    mov ah, 28
    mul ah
    add si, ax
    write_port VGA_DAC_WRITE, bh
    mov ax, si
    mov al, ah
    mov bl, ah
    push bx
    call dac_color
    pop bx
    inc bh
    loop .next
.done:
    ret
