; INT 10h: its functions, and how a mode is set.
;
; Sources: IBM PS/2 BIOS Interface Technical Reference (INT 10h); IBM PS/2 Video Subsystem Technical
; Reference (registers).

VGA_ATTRIBUTE   equ 0x3c0           ; index and data by turns
VGA_ATTRIBUTE_R equ 0x3c1
VGA_MISC        equ 0x3c2
VGA_SEQUENCER   equ 0x3c4
VGA_DAC_MASK    equ 0x3c6
VGA_DAC_READ    equ 0x3c7
VGA_DAC_WRITE   equ 0x3c8
VGA_DAC         equ 0x3c9
VGA_MISC_R      equ 0x3cc
VGA_GRAPHICS    equ 0x3ce
VGA_CRTC        equ 0x3d4
VGA_STATUS      equ 0x3da

KEEP_MEMORY     equ 0x80            ; AH=00h: the picture stays

; Bda.video_flags
VIDEO_NO_PALETTE    equ 1 << 3
VIDEO_GREY          equ 1 << 1

service int_10, video_service

video_service:
    cmp caller_ah, 0x4f
    je vbe_service
    dispatch .functions, 0x1c, .none
.functions:
    dw video_set_mode, cursor_set_shape, cursor_set, cursor_get
    dw light_pen, page_select, scroll_up, scroll_down
    dw char_read, char_write, char_write_only, color_select
    dw pixel_write, pixel_read, teletype, video_mode_get
    dw palette_service, font_service, video_select, string_write
    dw .none, .none, .none, .none, .none, .none
    dw display_code, video_state, video_save
.none:
    ret

; video_find: is there an adapter? Its own BIOS serves it, or we do.
video_find:
    mov si, .is_vga
    call pci_each
    cmp byte [fs:Ebda.has_video], 0
    je .headless
    mov word [fs:Ebda.rom_next], ROMS_AT
    mov bx, [fs:Ebda.vbe_pci]
    call rom_of_function
    jnc .set                        ; INT 10h is its
    call vbe_find
.set:
    mov ax, 0x0003
    int 0x10
.headless:
    ret
.is_vga:
    mov di, PCI_CLASS
    call pci_read
    shr eax, 16
    cmp ax, 0x0300
    jne .other
    cmp byte [fs:Ebda.has_video], 0
    jne .other
    mov byte [fs:Ebda.has_video], 1
    mov [fs:Ebda.vbe_pci], bx
.other:
    ret

; mode_find: In: AL, a mode. Out: SI (of CS), its Mode; or carry set. Clobbers nothing else.
mode_find:
    mov si, modes
.next:
    cmp [cs:si + Mode.number], al
    je .found
    add si, Mode_size
    cmp si, modes_end
    jb .next
    stc
    ret
.found:
    clc
    ret

; mode_now: the same for the mode that is set.
mode_now:
    push ax
    mov al, [Bda.mode]
    call mode_find
    pop ax
    ret

; 00h: In: AL, the mode, and KEEP_MEMORY. Out: AL, as old programs expected.
video_set_mode:
    mov al, caller_al
    and al, ~KEEP_MEMORY
    call mode_find
    jc .done
    mov ah, caller_al
    and ah, KEEP_MEMORY
    call mode_set
    mov al, [Bda.mode]
    cmp al, 7
    mov ah, 0x20
    ja .answer
    mov ah, 0x3f
    cmp al, 6
    je .answer
    mov ah, 0x30
.answer:
    mov caller_al, ah
.done:
    ret

; mode_set: In: AL, the mode; AH, KEEP_MEMORY or 0; SI (of CS), its Mode.
mode_set:
    push ax
    call vbe_off
    mov word [fs:Ebda.vbe_mode], 0
    mov di, [cs:si + Mode.parameters]
    call registers_write
    test byte [Bda.video_flags], VIDEO_NO_PALETTE
    jnz .palette_kept
    mov al, [cs:si + Mode.palette]
    call palette_load
.palette_kept:
    pop ax
    test ah, ah
    jnz .kept
    push ax
    call mode_clear
    pop ax
.kept:
    call mode_note
    cmp byte [cs:si + Mode.kind], KIND_TEXT
    jne .graphics
    mov bl, 0
    mov al, [Bda.char_height]
    call font_load_rom
    mov cx, 0x0607
    call cursor_shape
.graphics:
    mov dx, VGA_STATUS              ; the picture on: attribute controller, bit 5
    cmp byte [Bda.crtc], 0xb4
    jne .color
    mov dl, 0xba
.color:
    in al, dx
    mov al, 0x20
    mov dx, VGA_ATTRIBUTE
    out dx, al
    ret

; mode_note: the BIOS data area knows of a mode. In: AL, AH, SI, DI as mode_set. Clobbers AX, CX,
; ES.
mode_note:
    mov [Bda.mode], al
    or ah, 0x60                     ; 256 KiB
    mov [Bda.video_control], ah
    mov byte [Bda.video_switches], 0xf9
    or byte [Bda.video_flags], 0x11 ; a VGA of 400 lines
    mov byte [Bda.display], 0x08
    movzx ax, byte [cs:di + Parameters.columns]
    mov [Bda.columns], ax
    mov al, [cs:di + Parameters.last_row]
    mov [Bda.last_row], al
    mov al, [cs:di + Parameters.char_height]
    mov [Bda.char_height], ax
    mov ax, [cs:di + Parameters.page_size]
    mov [Bda.page_size], ax
    mov word [Bda.page_start], 0
    mov byte [Bda.page], 0
    push di
    push ds
    pop es
    mov di, Bda.cursors
    xor ax, ax
    mov cx, 8
    rep stosw
    pop di
    mov ax, VGA_CRTC
    test byte [cs:di + Parameters.misc], 1
    jnz .color
    mov al, 0xb4
.color:
    mov [Bda.crtc], ax
    movzx bx, byte [Bda.mode]
    cmp bl, 7
    ja .vga
    mov al, [cs:bx + .cga_modes]
    mov [Bda.cga_mode], al
    mov byte [Bda.cga_palette], 0x30
    cmp bl, 6
    jne .vga
    mov byte [Bda.cga_palette], 0x3f
.vga:
    mov word [Bda.video_save], video_save_table
    mov word [Bda.video_save + 2], cs
    mov al, [Bda.char_height]
    call font_vector
    ret
.cga_modes:
    db 0x2c, 0x28, 0x2d, 0x29, 0x2a, 0x2e, 0x1e, 0x29

; registers_write: In: DI (of CS), Parameters.
registers_write:
    pusha
    mov dx, VGA_SEQUENCER
    mov ax, 0x0100                  ; reset
    out dx, ax
    lea si, [di + Parameters.misc]
    mov al, [cs:si]
    push dx
    mov dx, VGA_MISC
    out dx, al
    pop dx
    lea si, [di + Parameters.sequencer]
    mov cx, 4
    mov al, 1
    call .indexed
    mov ax, 0x0300
    out dx, ax
    mov dx, VGA_CRTC
    test byte [cs:di + Parameters.misc], 1
    jnz .color
    mov dl, 0xb4
.color:
    mov ax, 0x0011                  ; registers 0 to 7 can be written
    out dx, ax
    lea si, [di + Parameters.crtc]
    mov cx, 25
    mov al, 0
    call .indexed
    push dx
    add dl, 6                       ; VGA_STATUS: index comes next
    in al, dx
    mov dx, VGA_ATTRIBUTE
    lea si, [di + Parameters.attribute]
    mov cx, 20
    xor ah, ah
.attribute:
    mov al, ah
    out dx, al
    cs lodsb
    out dx, al
    inc ah
    loop .attribute
    mov al, 0x14                    ; color select
    out dx, al
    xor al, al
    out dx, al
    pop dx
    mov dx, VGA_GRAPHICS
    lea si, [di + Parameters.graphics]
    mov cx, 9
    mov al, 0
    call .indexed
    write_port VGA_DAC_MASK, 0xff
    popa
    ret
; CX registers from AL on, from CS:SI, at the index port DX.
.indexed:
    mov ah, [cs:si]
    out dx, ax
    inc al
    inc si
    loop .indexed
    ret

; mode_clear: empties video memory. In: SI (of CS), the Mode. Clobbers AX, CX, ES.
mode_clear:
    push di
    mov es, [cs:si + Mode.segment]
    xor di, di
    xor ax, ax
    mov cx, 0x8000
    cmp byte [cs:si + Mode.kind], KIND_PLANAR
    jae .clear
    mov cx, 0x4000
    cmp byte [cs:si + Mode.kind], KIND_TEXT
    jne .clear
    mov ax, 0x0720
.clear:
    rep stosw
    pop di
    ret

; 0Fh: Out: AL, mode; AH, columns; BH, page.
video_mode_get:
    mov al, [Bda.video_control]
    and al, KEEP_MEMORY
    or al, [Bda.mode]
    mov ah, [Bda.columns]
    mov caller_ax, ax
    mov al, [Bda.page]
    mov caller_bh, al
    ret

; 04h: there is no light pen.
light_pen:
    mov caller_ah, 0
    ret

; crtc_write: In: AL, register; BX, the value of it (BH) and the next one (BL). Clobbers AX, DX.
crtc_write_pair:
    mov dx, [Bda.crtc]
    mov ah, bh
    out dx, ax
    inc al
    mov ah, bl
    out dx, ax
    ret
