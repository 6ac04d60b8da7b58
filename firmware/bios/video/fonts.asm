; INT 10h 11h: fonts. Text modes have theirs in plane 2 of the video memory, graphics modes where
; the vectors 43h and 1Fh point.

FONT_HEIGHT_MAX equ 32

font_8x8:
    incbin "../font/8x8.bin"
font_8x14:
    incbin "../font/8x14.bin"
font_8x16:
    incbin "../font/8x16.bin"

; font_rom: In: AL, a height. Out: SI (of CS), the font; AL, its height.
font_rom:
    mov si, font_8x8
    cmp al, 8
    jbe .eight
    mov si, font_8x14
    cmp al, 14
    jbe .fourteen
    mov si, font_8x16
    mov al, 16
    ret
.eight:
    mov al, 8
    ret
.fourteen:
    mov al, 14
    ret

; font_vector: graphics modes draw with the font of this height. In: AL. Clobbers AX, ES.
font_vector:
    push si
    call font_rom
    xor ax, ax
    mov es, ax
    mov [es:0x43 * 4], si
    mov [es:0x43 * 4 + 2], cs
    mov word [es:0x1f * 4], font_8x8 + 128 * 8
    mov [es:0x1f * 4 + 2], cs
    pop si
    ret

; font_load_rom: In: AL, height; BL, block. Clobbers all but SI, DI, BP.
font_load_rom:
    push si
    push di
    call font_rom
    push cs
    pop es
    mov bh, al
    mov cx, 256
    xor dx, dx
    call font_load
    pop di
    pop si
    ret

; font_load: In: ES:SI, glyphs; BH, bytes of each; CX, how many; DX, the first's code; BL, block.
; Clobbers all but BX, BP.
font_load:
    jcxz .done
    cmp bh, FONT_HEIGHT_MAX
    ja .done
    pusha
    mov si, .access
    call .set
    popa
    push ds
    push es
    pop ds
    mov ax, VIDEO_PLANES
    mov es, ax
    movzx ax, bl                    ; blocks 0 to 3 every 16 KiB, 4 to 7 between them
    and al, 3
    shl ax, 14
    mov di, ax
    test bl, 4
    jz .block
    add di, 0x2000
.block:
    shl dx, 5
    add di, dx
    mov dx, cx
.glyph:
    push di
    movzx cx, bh
    rep movsb
    mov cx, FONT_HEIGHT_MAX
    sub cl, bh
    xor al, al
    rep stosb
    pop di
    add di, FONT_HEIGHT_MAX
    dec dx
    jnz .glyph
    pop ds
    mov si, .restore
    call .set
    mov ax, 0x0e06                  ; the window of text
    cmp byte [Bda.crtc], 0xb4
    jne .color
    mov ah, 0x0a
.color:
    mov dx, VGA_GRAPHICS
    out dx, ax
.done:
    ret
.set:
    mov dx, VGA_SEQUENCER
    mov cx, 2
    call .write
    mov dx, VGA_GRAPHICS
    mov cx, 3
.write:
    cs lodsw
    out dx, ax
    loop .write
    ret
.access:
    dw 0x0402, 0x0704               ; plane 2, linear
    dw 0x0204, 0x0005, 0x0406       ; 64 KiB at A0000h
.restore:
    dw 0x0302, 0x0304
    dw 0x0004, 0x1005, 0x0e06

VIDEO_PLANES    equ 0xa000

; INT 10h 11h
font_service:
    mov al, caller_al
    cmp al, 0x30
    je font_where
    cmp al, 0x20
    jae font_graphics
    cmp al, 0x03
    je .blocks
    cmp al, 0x13
    je .blocks
    mov cl, al
    and cl, 0x0f
    mov al, 14
    cmp cl, 1
    je .rom
    mov al, 8
    cmp cl, 2
    je .rom
    mov al, 16
    cmp cl, 4
    je .rom
    test cl, cl
    jnz .done
    mov es, caller_es               ; 00h, 10h: the caller's
    mov si, caller_bp
    mov bx, caller_bx
    mov cx, caller_cx
    mov dx, caller_dx
    call font_load
    mov al, caller_bh
    jmp .height
.rom:
    push ax
    mov bl, caller_bl
    call font_load_rom
    pop ax
.height:
    test caller_al, 0x10
    jz .done
    jmp font_height
.blocks:
    mov ah, caller_bl               ; which two blocks are shown
    mov al, 3
    mov dx, VGA_SEQUENCER
    out dx, ax
.done:
    ret

; font_height: the screen has as many rows as there is room for. In: AL, height of a character.
font_height:
    test al, al
    jz .done
    cmp al, FONT_HEIGHT_MAX
    ja .done
    movzx bx, al
    mov [Bda.char_height], bx
    mov dx, [Bda.crtc]
    mov al, 0x09
    out dx, al
    inc dx
    in al, dx
    and al, 0xe0
    lea cx, [bx - 1]
    or al, cl
    out dx, al
    dec dx
    call crtc_lines
    xor dx, dx
    div bx
    dec ax
    mov [Bda.last_row], al
    inc ax
    mul word [Bda.columns]
    add ax, ax
    add ax, 0x00ff
    xor al, al
    mov [Bda.page_size], ax
    mov cx, 0x0607
    jmp cursor_shape
.done:
    ret

; crtc_lines: Out: AX, lines of the picture. Clobbers CX, DX.
crtc_lines:
    mov dx, [Bda.crtc]
    mov al, 0x07                    ; overflow: bits 8 and 9 in 1 and 6
    out dx, al
    inc dx
    in al, dx
    mov cl, al
    dec dx
    mov al, 0x12
    out dx, al
    inc dx
    in al, dx
    mov ah, cl
    shr ah, 1
    and ah, 1
    test cl, 1 << 6
    jz .there
    or ah, 2
.there:
    inc ax
    ret

; 20h to 24h: fonts of graphics modes. In: ES:BP, CX, height; BL, rows: 0 (in DL), 1: 14, 2: 25, 3:
; 43.
font_graphics:
    xor dx, dx
    push es
    mov es, dx
    cmp al, 0x20
    je .upper
    cmp al, 0x21
    je .users
    cmp al, 0x24
    ja .leave
    mov cl, al
    mov al, 14
    cmp cl, 0x22
    je .rom
    mov al, 8
    cmp cl, 0x23
    je .rom
    mov al, 16
.rom:
    call font_rom
    mov ah, 0
    mov [Bda.char_height], ax
    mov [es:0x43 * 4], si
    mov [es:0x43 * 4 + 2], cs
    jmp .rows
.users:
    mov ax, caller_bp
    mov [es:0x43 * 4], ax
    mov ax, caller_es
    mov [es:0x43 * 4 + 2], ax
    mov ax, caller_cx
    mov [Bda.char_height], ax
.rows:
    movzx bx, caller_bl
    mov al, caller_dl
    test bl, bl
    jz .given
    cmp bl, 3
    ja .leave
    mov al, [cs:bx + .counts]
.given:
    dec al
    mov [Bda.last_row], al
    jmp .leave
.upper:
    mov ax, caller_bp
    mov [es:0x1f * 4], ax
    mov ax, caller_es
    mov [es:0x1f * 4 + 2], ax
.leave:
    pop es
    ret
.counts:
    db 0, 14, 25, 43

; 30h: In: BH, which font. Out: ES:BP; CX, height on the screen; DL, the last row.
font_where:
    mov ax, [Bda.char_height]
    mov caller_cx, ax
    mov al, [Bda.last_row]
    mov caller_dl, al
    movzx bx, caller_bh
    cmp bl, 7
    ja .done
    xor ax, ax
    mov es, ax
    mov ax, [es:0x1f * 4]
    mov dx, [es:0x1f * 4 + 2]
    cmp bl, 1
    jb .vector
    mov ax, [es:0x43 * 4]
    mov dx, [es:0x43 * 4 + 2]
    je .vector
    add bx, bx
    mov ax, [cs:bx + .roms - 4]
    mov dx, cs
.vector:
    mov caller_bp, ax
    mov caller_es, dx
.done:
    ret
.roms:
    dw font_8x14, font_8x8, font_8x8 + 128 * 8, .no_changes, font_8x16, .no_changes
.no_changes:
    db 0                            ; there are no glyphs for 9 dots
