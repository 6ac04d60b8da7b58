; INT 10h in graphics modes: pixels, characters, scrolling.

; What a character cell is made of, for scrolling: in Ebda.
;   cell_lines      lines of a cell (in each bank)
;   cell_stride     bytes from a line to the next
;   cell_bytes      bytes of a cell in a line
;   cell_banks      1, or 2 where odd lines lie 8 KiB behind even ones
CGA_BANK        equ 0x2000
CGA_STRIDE      equ 80
LINEAR_STRIDE   equ 320

; cell_measure: In: SI (of CS), the Mode. Clobbers AX.
cell_measure:
    mov al, [cs:si + Mode.kind]
    cmp al, KIND_PLANAR
    je .planar
    ja .linear
    mov byte [fs:Ebda.cell_lines], 4
    mov word [fs:Ebda.cell_stride], CGA_STRIDE
    mov byte [fs:Ebda.cell_banks], 2
    mov al, [cs:si + Mode.bits]
    mov [fs:Ebda.cell_bytes], al
    ret
.planar:
    mov al, [Bda.char_height]
    mov [fs:Ebda.cell_lines], al
    mov ax, [Bda.columns]
    mov [fs:Ebda.cell_stride], ax
    mov byte [fs:Ebda.cell_banks], 1
    mov byte [fs:Ebda.cell_bytes], 1
    ret
.linear:
    mov byte [fs:Ebda.cell_lines], 8
    mov word [fs:Ebda.cell_stride], LINEAR_STRIDE
    mov byte [fs:Ebda.cell_banks], 1
    mov byte [fs:Ebda.cell_bytes], 8
    ret

; cell_place: In: AL, row; CL, column; AH, page. Out: DI. Clobbers AX.
cell_place:
    push bx
    push dx
    mov bl, ah
    mul byte [fs:Ebda.cell_lines]
    mul word [fs:Ebda.cell_stride]
    mov di, ax
    mov al, cl
    mul byte [fs:Ebda.cell_bytes]
    add di, ax
    mov al, bl
    mov ah, 0
    mul word [Bda.page_size]
    add di, ax
    pop dx
    pop bx
    ret

; pixels_up, pixels_down: scroll. In: AL, lines; AH, page; BH, color of new lines; CX, DX, corners;
; SI (of CS), ES, the mode.
pixels_up:
    call pixels_begin
.row:
    sub bl, 1
    jb .blank
    push bx
    mov bl, ch
    add bl, al
    call cells_copy
    pop bx
    inc ch
    jmp .row
.blank:
    call cells_blank
    inc ch
    cmp ch, dh
    jbe .blank
    jmp pixels_end

pixels_down:
    call pixels_begin
    xchg ch, dh
.row:
    sub bl, 1
    jb .blank
    push bx
    mov bl, ch
    sub bl, al
    call cells_copy
    pop bx
    dec ch
    jmp .row
.blank:
    call cells_blank
    sub ch, 1
    jb pixels_end
    cmp ch, dh
    jae .blank

; pixels_end: the registers as modes have them.
pixels_end:
    push ax
    push dx
    mov dx, VGA_GRAPHICS
    mov ax, 0x0001                  ; no set/reset
    out dx, ax
    mov ax, 0x0003                  ; no function
    out dx, ax
    mov ax, 0xff08                  ; all bits
    out dx, ax
    call graphics_mode_0
    pop dx
    pop ax
    ret

; pixels_begin: In: as pixels_up. Out: AL, BL as window_lines; DL, cells in a line.
pixels_begin:
    push ax
    call cell_measure
    pop ax
    call window_lines
    sub dl, cl
    inc dl
    cmp byte [cs:si + Mode.kind], KIND_PLANAR
    jne .done
    push ax
    push dx
    mov dx, VGA_SEQUENCER
    mov ax, 0x0f02                  ; all planes
    out dx, ax
    pop dx
    pop ax
.done:
    ret

; graphics_mode_0, graphics_mode: the write mode. In: AH, the mode, SI (of CS), the Mode. Clobbers
; AX, DX.
graphics_mode_0:
    mov ah, 0
graphics_mode:
    push bx
    mov bh, ah
    push si
    call mode_now
    mov bl, 0
    jc .write
    mov si, [cs:si + Mode.parameters]
    mov bl, [cs:si + Parameters.graphics + 5]
.write:
    pop si
    or bh, bl
    mov ah, bh
    mov al, 5
    mov dx, VGA_GRAPHICS
    out dx, ax
    pop bx
    ret

; cells_copy: row BL goes to row CH. In: AH, page; CL, first column; DL, cells.
cells_copy:
    pusha
    push ax
    push dx
    cmp byte [cs:si + Mode.kind], KIND_PLANAR
    jne .plain
    mov ah, 1                       ; latches move all planes
    call graphics_mode
.plain:
    pop dx
    pop ax
    mov bh, ah
    mov al, bl
    call cell_place
    push di
    mov ah, bh
    mov al, ch
    call cell_place
    pop si
    mov al, dl
    mul byte [fs:Ebda.cell_bytes]
    mov dx, ax
    mov bl, [fs:Ebda.cell_lines]
.line:
    push si
    push di
    mov cx, dx
    es rep movsb
    pop di
    pop si
    cmp byte [fs:Ebda.cell_banks], 1
    je .next
    push si
    push di
    add si, CGA_BANK
    add di, CGA_BANK
    mov cx, dx
    es rep movsb
    pop di
    pop si
.next:
    add si, [fs:Ebda.cell_stride]
    add di, [fs:Ebda.cell_stride]
    dec bl
    jnz .line
    popa
    ret

; cells_blank: In: AH, page; BH, color; CH, row; CL, column; DL, cells.
cells_blank:
    pusha
    push ax
    push dx
    cmp byte [cs:si + Mode.kind], KIND_PLANAR
    jne .plain
    mov dx, VGA_GRAPHICS
    mov ah, bh                      ; set/reset gives the color
    mov al, 0
    out dx, ax
    mov ax, 0x0f01
    out dx, ax
    call graphics_mode_0
.plain:
    pop dx
    pop ax
    mov al, ch
    call cell_place
    mov al, dl
    mul byte [fs:Ebda.cell_bytes]
    mov dx, ax
    mov al, bh
    mov bl, [fs:Ebda.cell_lines]
.line:
    push di
    mov cx, dx
    rep stosb
    pop di
    cmp byte [fs:Ebda.cell_banks], 1
    je .next
    push di
    add di, CGA_BANK
    mov cx, dx
    rep stosb
    pop di
.next:
    add di, [fs:Ebda.cell_stride]
    dec bl
    jnz .line
    popa
    ret

; ------------------------------------------------------------------------------------------------
; Pixels

; 0Ch: In: AL, color, bit 7: exclusive or; BH, page; CX, DX, where.
pixel_write:
    call mode_now
    jc .done
    mov es, [cs:si + Mode.segment]
    mov al, caller_al
    mov bh, caller_bh
    mov cx, caller_cx
    mov dx, caller_dx
    jmp pixel_put
.done:
    ret

; 0Dh: Out: AL.
pixel_read:
    call mode_now
    jc .done
    mov es, [cs:si + Mode.segment]
    mov bh, caller_bh
    mov cx, caller_cx
    mov dx, caller_dx
    call pixel_get
    mov caller_al, al
.done:
    ret

; pixel_place: In: BH, page; CX, DX; SI (of CS), the Mode. Out: DI, its byte; CL, how far it lies
; from the right end there; AH, its bits if it lay there. Clobbers BX, DX.
pixel_place:
    push ax
    mov al, [cs:si + Mode.kind]
    cmp al, KIND_LINEAR
    je .linear
    ja .text
    cmp al, KIND_CGA
    je .cga
    jb .text
    mov ax, dx
    mul word [Bda.columns]
    mov di, ax
    movzx ax, bh
    mul word [Bda.page_size]
    add di, ax
    mov ax, cx
    shr ax, 3
    add di, ax
    not cl
    and cl, 7
    pop ax
    mov ah, 1
    ret
.cga:
    mov ax, dx
    shr ax, 1
    mov bx, dx
    imul di, ax, CGA_STRIDE
    test bl, 1
    jz .even
    add di, CGA_BANK
.even:
    mov ah, [cs:si + Mode.bits]
    cmp ah, 2
    jne .one
    add cx, cx
.one:
    mov bx, cx
    shr bx, 3
    add di, bx
    not cl
    and cl, 7
    cmp ah, 2
    jne .bits
    dec cl                          ; the lower one of the two
.bits:
    add ah, ah                      ; 1 becomes 1, 2 becomes 3
    dec ah
    pop bx
    mov al, bl
    ret
.linear:
    imul di, dx, LINEAR_STRIDE
    add di, cx
    xor cl, cl
    pop ax
    mov ah, 0xff
    ret
.text:
    xor di, di
    pop ax
    ret

; pixel_put: In: AL; BH, CX, DX; SI (of CS), ES, the mode. Clobbers AX, BX, CX, DX, DI.
pixel_put:
    cmp byte [cs:si + Mode.kind], KIND_TEXT
    je .done
    call pixel_place
    cmp byte [cs:si + Mode.kind], KIND_PLANAR
    je .planar
    cmp byte [cs:si + Mode.kind], KIND_LINEAR
    je .store
    mov bl, al
    and bl, ah
    shl bl, cl
    test al, 0x80
    jnz .xor
    shl ah, cl
    not ah
    and [es:di], ah
    or [es:di], bl
    ret
.xor:
    xor [es:di], bl
    ret
.store:
    mov [es:di], al
.done:
    ret
.planar:
    shl ah, cl
; planar_put: the bits of a byte that are in AH get color AL. In: DI; ES. Clobbers AX, DX.
planar_put:
    push bx
    mov bx, ax
    mov dx, VGA_SEQUENCER
    mov ax, 0x0f02
    out dx, ax
    mov dx, VGA_GRAPHICS
    mov al, 8
    mov ah, bh
    out dx, ax
    mov ax, 0x0205                  ; write mode 2: a color
    out dx, ax
    mov ax, 0x0003
    test bl, 0x80
    jz .replace
    mov ah, 0x18
.replace:
    out dx, ax
    mov al, [es:di]                 ; the latches
    mov [es:di], bl
    pop bx
    jmp pixels_end

; pixel_get: In: BH, CX, DX; SI (of CS), ES. Out: AL. Clobbers AH, BX, CX, DX, DI.
pixel_get:
    call pixel_place
    cmp byte [cs:si + Mode.kind], KIND_PLANAR
    je .planar
    mov al, [es:di]
    shr al, cl
    and al, ah
    ret
.planar:
    xor bl, bl
    mov bh, 3
    mov dx, VGA_GRAPHICS
.plane:
    mov al, 4
    mov ah, bh
    out dx, ax
    mov al, [es:di]
    shr al, cl
    shr al, 1
    rcl bl, 1
    sub bh, 1
    jnc .plane
    mov al, bl
    ret

; ------------------------------------------------------------------------------------------------
; Characters

; glyph_find: In: AL, a character; SI (of CS), the Mode. Out: GS:DI, its lines. Clobbers AX.
glyph_find:
    push es
    xor di, di
    mov es, di
    lgs di, [es:0x43 * 4]
    cmp byte [cs:si + Mode.kind], KIND_CGA
    jne .font
    test al, 0x80
    jz .font
    and al, 0x7f
    lgs di, [es:0x1f * 4]
.font:
    pop es
    mul byte [Bda.char_height]
    add di, ax
    ret

; glyph_draw: In: AL, character; BL, color, bit 7: exclusive or; BH, page; DX, where; SI (of CS),
; ES, the mode. Clobbers all but BP.
glyph_draw:
    call glyph_find
    push di
    push bx
    push dx
    call cell_measure
    mov al, dh
    mov cl, dl
    mov ah, bh
    call cell_place
    pop dx
    pop bx
    pop si
    mov cl, [Bda.char_height]
    xor ch, ch                      ; line
    push si
    call mode_now
    mov ah, [cs:si + Mode.bits]
    mov al, [cs:si + Mode.kind]
    pop si
    cmp al, KIND_PLANAR
    je .planar
    ja .linear
.cga:
    push di
    test ch, 1
    jz .even
    add di, CGA_BANK
.even:
    push ax
    mov al, [gs:si]
    inc si
    cmp ah, 2
    je .wide
    test bl, 0x80
    jnz .xor_1
    mov [es:di], al
    jmp .cga_next
.xor_1:
    xor [es:di], al
    jmp .cga_next
.wide:
    call glyph_widen
    test bl, 0x80
    jnz .xor_2
    mov [es:di], dx
    jmp .cga_next
.xor_2:
    xor [es:di], dx
.cga_next:
    pop ax
    pop di
    test ch, 1
    jz .same
    add di, CGA_STRIDE
.same:
    inc ch
    cmp ch, cl
    jb .cga
    ret
.planar:
    mov ah, [gs:si]
    inc si
    push ax
    mov al, bl
    call planar_put
    pop ax
    test bl, 0x80
    jnz .planar_next
    not ah
    mov al, 0
    call planar_put
.planar_next:
    add di, [Bda.columns]
    inc ch
    cmp ch, cl
    jb .planar
    ret
.linear:
    mov ah, [gs:si]
    inc si
    push cx
    mov cx, 8
.dot:
    mov al, bl
    add ah, ah
    jc .set
    mov al, 0
.set:
    stosb
    loop .dot
    pop cx
    add di, LINEAR_STRIDE - 8
    inc ch
    cmp ch, cl
    jb .linear
    ret

; glyph_widen: a line in two bits a dot. In: AL; BL, the color. Out: DX, as it is stored. Clobbers
; AX.
glyph_widen:
    push cx
    mov ah, bl
    and ah, 3
    mov cx, 8
    xor dx, dx
.dot:
    shl dx, 2
    add al, al
    jnc .empty
    or dl, ah
.empty:
    loop .dot
    xchg dl, dh
    pop cx
    ret

; glyph_read: 08h. In: DX, where; SI (of CS), ES, the mode. Out: the caller's AL, 0 if it is none.
glyph_read:
    mov caller_ax, 0
    mov bl, [Bda.char_height]
    cmp bl, 16
    ja .done
    mov al, dh
    mul bl
    mov dh, 0
    shl dx, 3
    xchg ax, dx                     ; AX, DX: the cell's first pixel
    movzx cx, bl
    mov di, Ebda.sector             ; its lines, one for what is not background
.line:
    push cx
    push ax
    mov bl, 0
    mov cx, 8
.dot:
    pusha
    mov cx, ax
    call pixel_get
    cmp al, 1                       ; carry for background
    popa
    cmc
    rcl bl, 1
    inc ax
    loop .dot
    mov [fs:di], bl
    inc di
    inc dx
    pop ax
    pop cx
    loop .line
    xor al, al
.glyph:
    push ax
    call glyph_find
    movzx cx, byte [Bda.char_height]
    mov si, Ebda.sector
.compare:
    mov ah, [gs:di]
    cmp ah, [fs:si]
    jne .differs
    inc si
    inc di
    loop .compare
.differs:
    call mode_now
    test cx, cx
    pop ax
    jz .found
    inc al
    jnz .glyph
    ret
.found:
    mov caller_al, al
.done:
    ret
