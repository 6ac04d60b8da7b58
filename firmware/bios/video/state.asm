; INT 10h 12h, 1Ah, 1Bh, 1Ch: what the display is, and saving what it does.

; 12h: In: BL, which choice; AL.
video_select:
    mov al, caller_bl
    mov si, video_choices
    jmp by_code

video_choices:
    code 0x10, video_ega
    code 0x30, choose_lines
    code 0x31, choose_palette
    code 0x32, choose_decoding
    code 0x33, choose_greys
    code 0x34, choose_cursor
    code 0x35, video_chosen
    code 0x36, choose_refresh
    code 0xff, video_not_chosen

video_chosen:
    mov caller_al, 0x12
video_not_chosen:
    ret

; 10h: Out: BH, 0 color; BL, 256 KiB; CX, switches.
video_ega:
    mov caller_bx, 0x0003
    cmp byte [Bda.crtc], 0xb4
    jne .color
    mov caller_bh, 1
.color:
    mov al, [Bda.video_switches]
    and al, 0x0f
    mov caller_cl, al
    mov caller_ch, 0
    ret

; 30h: text modes have 200, 350 or 400 lines from now on. Ours have 400.
choose_lines:
    cmp caller_al, 2
    jne video_not_chosen
    jmp video_chosen

; 31h: In: AL, 1: the palette stays when a mode is set.
choose_palette:
    mov ah, VIDEO_NO_PALETTE
; video_flag: bit AH of Bda.video_flags is bit 0 of the caller's AL.
video_flag:
    mov al, caller_al
    cmp al, 1
    ja video_not_chosen
    jb .clear
    or [Bda.video_flags], ah
    jmp video_chosen
.clear:
    not ah
    and [Bda.video_flags], ah
    jmp video_chosen

; 32h: In: AL, 1: the adapter answers to nothing but this.
choose_decoding:
    mov al, caller_al
    cmp al, 1
    ja video_not_chosen
    xor al, 1
    shl al, 1
    mov ah, al
    mov dx, VGA_MISC_R
    in al, dx
    and al, ~2
    or al, ah
    mov dx, VGA_MISC
    out dx, al
    jmp video_chosen

; 33h: In: AL, 0: colors become greys.
choose_greys:
    mov ah, VIDEO_GREY
    xor caller_al, 1
    call video_flag
    ret

; 34h: In: AL, 1: the cursor's shape is taken as it is.
choose_cursor:
    mov al, caller_al
    cmp al, 1
    ja video_not_chosen
    and byte [Bda.video_control], ~1
    or [Bda.video_control], al
    jmp video_chosen

; 36h: In: AL, 1: no picture.
choose_refresh:
    mov bl, caller_al
    and bl, 1
    shl bl, 5
    mov dx, VGA_SEQUENCER
    mov al, 1
    out dx, al
    inc dx
    in al, dx
    and al, ~0x20
    or al, bl
    out dx, al
    jmp video_chosen

; 1Ah: In: AL, 0 tell, 1 set. Out, in: BL, the display; BH, another one.
display_code:
    cmp caller_al, 1
    ja .done
    je .set
    movzx bx, byte [Bda.display]
    mov caller_bx, bx
    jmp .known
.set:
    mov al, caller_bl
    mov [Bda.display], al
.known:
    mov caller_al, 0x1a
.done:
    ret

; 1Bh: In: BX = 0; ES:DI, 64 bytes. Out: what there is, and the state of it.
video_state:
    cmp caller_bx, 0
    jne .done
    mov es, caller_es
    mov di, caller_di
    mov ax, video_abilities
    stosw
    mov ax, cs
    stosw
    mov si, Bda.mode                ; 49h to 66h
    mov cx, 30
    rep movsb
    mov si, Bda.last_row            ; rows, height of characters
    lodsb
    inc al
    stosb
    movsw
    movzx ax, byte [Bda.display]
    stosw
    mov ax, 16                      ; colors
    cmp byte [Bda.mode], 0x13
    jne .colors
    mov ax, 256
.colors:
    stosw
    mov al, 8                       ; pages
    stosb
    mov al, 2                       ; 400 lines
    stosb
    xor ax, ax                      ; which font blocks
    stosw
    mov al, [Bda.video_flags]
    and al, 0x0f
    or al, 0x10                     ; a VGA shows color
    stosb
    xor al, al
    mov cx, 3
    rep stosb
    mov al, 3                       ; 256 KiB
    stosb
    xor al, al
    mov cx, 13
    rep stosb
    mov caller_al, 0x1b
.done:
    ret

; The static functionality table: modes, lines, fonts, functions.
video_abilities:
    db 0xff, 0xe0, 0x0f             ; modes 0 to 7, 0Dh to 0Fh, 10h to 13h
    dd 0
    db 0x04                         ; 400 lines
    db 2, 8                         ; font blocks
    db 0xff, 0x0e
    dw 0
    dw 0
%if $ - video_abilities != 16
    %error "the static functionality table has 16 bytes"
%endif

; The video save pointer table.
video_save_table:
    dw parameters_40x25, BIOS_SEGMENT
    times 6 dd 0

; ------------------------------------------------------------------------------------------------
; 1Ch: In: AL, 0 size, 1 save, 2 restore; CX, bit 0: registers, 1: data area, 2: DAC; ES:BX. Out:
; BX, blocks of 64 bytes.

SAVE_REGISTERS  equ 1 << 0
SAVE_DATA       equ 1 << 1
SAVE_DAC        equ 1 << 2
DAC_BLOCKS      equ (3 * 256 + 2 + 63) / 64

video_save:
    mov cx, caller_cx
    and cx, SAVE_REGISTERS | SAVE_DATA | SAVE_DAC
    mov al, caller_al
    cmp al, 1
    jb .size
    mov es, caller_es
    mov di, caller_bx
    je .save
    cmp al, 2
    jne .done
    call state_restore
    jmp .fine
.save:
    call state_save
    jmp .fine
.size:
    call state_size
    mov caller_bx, bx
.fine:
    mov caller_al, 0x1c
.done:
    ret

; state_size: In: CX, which parts. Out: BX, blocks.
state_size:
    xor bx, bx
    test cl, SAVE_REGISTERS
    jz .data
    inc bx
.data:
    test cl, SAVE_DATA
    jz .dac
    inc bx
.dac:
    test cl, SAVE_DAC
    jz .done
    add bx, DAC_BLOCKS
.done:
    ret

; The registers that are saved, by index ports: port, how many from index 0.
state_registers:
    dw VGA_SEQUENCER, 5
    dw VGA_GRAPHICS, 9
    dw 0

; state_save: In: CX, which parts; ES:DI. Clobbers all but BP. state_restore: the same.
state_save:
    test cl, SAVE_REGISTERS
    jz .data
    push cx
    push di
    mov ax, [Bda.crtc]
    stosw
    mov dx, VGA_MISC_R
    in al, dx
    stosb
    mov dx, [Bda.crtc]
    mov bx, 25
    call .indexed
    mov si, state_registers
.next:
    cs lodsw
    test ax, ax
    jz .attribute
    mov dx, ax
    cs lodsw
    mov bx, ax
    call .indexed
    jmp .next
.attribute:
    xor cl, cl
.color:
    mov al, cl
    call attribute_read
    mov al, ah
    stosb
    inc cl
    cmp cl, 21
    jb .color
    pop di
    add di, 64
    pop cx
.data:
    test cl, SAVE_DATA
    jz .dac
    push cx
    push di
    mov si, Bda.mode
    mov cx, 30
    rep movsb
    mov si, Bda.last_row
    mov cx, 7
    rep movsb
    mov si, Bda.video_save
    movsd
    push ds
    xor ax, ax
    mov ds, ax
    mov si, 0x1f * 4
    movsd
    mov si, 0x43 * 4
    movsd
    pop ds
    pop di
    add di, 64
    pop cx
.dac:
    test cl, SAVE_DAC
    jz .done
    mov dx, VGA_DAC_MASK
    in al, dx
    stosb
    write_port VGA_DAC_READ, 0
    mov dx, VGA_DAC
    mov cx, 3 * 256
    rep insb
.done:
    ret
; BX registers at the index port DX.
.indexed:
    xor ah, ah
.register:
    mov al, ah
    out dx, al
    inc dx
    in al, dx
    dec dx
    stosb
    inc ah
    dec bx
    jnz .register
    ret

state_restore:
    test cl, SAVE_REGISTERS
    jz .data
    push cx
    push di
    mov bx, [es:di]
    mov al, [es:di + 2]
    mov dx, VGA_MISC
    out dx, al
    add di, 3
    mov dx, bx
    mov ax, 0x0011                  ; not protected
    out dx, ax
    mov bx, 25
    call .indexed
    mov si, state_registers
.next:
    cs lodsw
    test ax, ax
    jz .attribute
    mov dx, ax
    cs lodsw
    mov bx, ax
    call .indexed
    jmp .next
.attribute:
    xor cl, cl
.color:
    mov ah, [es:di]
    inc di
    mov al, cl
    call attribute_write
    inc cl
    cmp cl, 21
    jb .color
    pop di
    add di, 64
    pop cx
.data:
    test cl, SAVE_DATA
    jz .dac
    push cx
    push di
    push ds
    push es
    push ds
    push es
    pop ds
    pop es
    mov si, di
    mov di, Bda.mode
    mov cx, 30
    rep movsb
    mov di, Bda.last_row
    mov cx, 7
    rep movsb
    mov di, Bda.video_save
    movsd
    xor ax, ax
    mov es, ax
    mov di, 0x1f * 4
    movsd
    mov di, 0x43 * 4
    movsd
    pop es
    pop ds
    pop di
    add di, 64
    pop cx
.dac:
    test cl, SAVE_DAC
    jz .done
    mov al, [es:di]
    inc di
    mov dx, VGA_DAC_MASK
    out dx, al
    write_port VGA_DAC_WRITE, 0
    mov dx, VGA_DAC
    mov si, di
    mov cx, 3 * 256
    es rep outsb
.done:
    ret
.indexed:
    xor al, al
.register:
    mov ah, [es:di]
    inc di
    out dx, ax
    inc al
    dec bx
    jnz .register
    ret
