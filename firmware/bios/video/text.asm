; INT 10h: cursor, pages, characters, scrolling. In text modes it is done here; in graphics modes
; pixels.asm draws.

; 01h: In: CX, first and last line of the cursor, as of 8 lines.
cursor_set_shape:
    mov cx, caller_cx
; cursor_shape: In: CX. Clobbers AX, BX, CX, DX.
cursor_shape:
    mov [Bda.cursor_shape], cx
    mov bx, [Bda.char_height]
    cmp bx, 8
    jbe .write
    test byte [Bda.video_control], 1 ; it is not adapted
    jnz .write
    cmp cl, 8
    jae .write
    cmp ch, 0x20                    ; hidden
    jae .write
    mov al, ch                      ; in proportion; what is two lines thick stays so
    inc al
    cmp al, cl
    mov dl, -1
    jne .first
    mov al, cl
    inc al
    mov dl, -2
.first:
    mul bl
    shr ax, 3
    add al, dl
    mov ch, al
    mov al, cl
    inc al
    mul bl
    shr ax, 3
    dec al
    mov cl, al
.write:
    mov bx, cx
    mov al, 0x0a
    jmp crtc_write_pair

; 02h: In: BH, page; DH, row; DL, column.
cursor_set:
    mov bh, caller_bh
    mov dx, caller_dx
; cursor_move: In: BH, DX. Clobbers AX, BX, DX, DI.
cursor_move:
    movzx di, bh
    and di, 7
    add di, di
    mov [di + Bda.cursors], dx
    cmp bh, [Bda.page]
    jne .done
    mov al, dh
    mul byte [Bda.columns]
    add al, dl
    adc ah, 0
    mov bx, [Bda.page_start]
    shr bx, 1
    add bx, ax
    mov al, 0x0e
    call crtc_write_pair
.done:
    ret

; 03h: In: BH, page. Out: CX, shape; DX, place.
cursor_get:
    movzx di, caller_bh
    and di, 7
    add di, di
    mov ax, [di + Bda.cursors]
    mov caller_dx, ax
    mov ax, [Bda.cursor_shape]
    mov caller_cx, ax
    ret

; 05h: In: AL, page.
page_select:
    mov al, caller_al
    cmp al, 7
    ja .done
    mov [Bda.page], al
    movzx ax, al
    mul word [Bda.page_size]
    mov [Bda.page_start], ax
    mov bx, ax
    call mode_now
    jc .done
    cmp byte [cs:si + Mode.kind], KIND_TEXT
    jne .bytes
    shr bx, 1
.bytes:
    mov al, 0x0c
    call crtc_write_pair
    movzx di, byte [Bda.page]
    add di, di
    mov dx, [di + Bda.cursors]
    mov bh, [Bda.page]
    jmp cursor_move
.done:
    ret

; text_place: where a character is. In: BH, page; DH, row; DL, column. Out: DI, its offset. Clobbers
; AX.
text_place:
    push dx
    mov al, dh
    mul byte [Bda.columns]
    xor dh, dh
    add ax, dx
    add ax, ax
    mov di, ax
    movzx ax, bh
    mul word [Bda.page_size]
    add di, ax
    pop dx
    ret

; cursor_at: In: BH, page. Out: DX, its cursor. Clobbers DI.
cursor_at:
    movzx di, bh
    and di, 7
    add di, di
    mov dx, [di + Bda.cursors]
    ret

; 08h: In: BH, page. Out: AL, character; AH, attribute.
char_read:
    call mode_now
    jc .done
    mov bh, caller_bh
    call cursor_at
    mov es, [cs:si + Mode.segment]
    cmp byte [cs:si + Mode.kind], KIND_TEXT
    jne glyph_read
    call text_place
    mov ax, [es:di]
    mov caller_ax, ax
.done:
    ret

; 09h, 0Ah: In: AL, character; BL, attribute or color; BH, page; CX, how often.
char_write:
    mov ah, 1
    jmp chars_write
char_write_only:
    mov ah, 0
; chars_write: In: AH, with an attribute?
chars_write:
    call mode_now
    jc .done
    mov al, caller_al
    mov bx, caller_bx
    mov cx, caller_cx
    jcxz .done
    push ax
    call cursor_at
    mov es, [cs:si + Mode.segment]
    pop ax
    cmp byte [cs:si + Mode.kind], KIND_TEXT
    jne .draw
    push ax
    call text_place
    pop ax
    test ah, ah
    jz .only
    mov ah, bl
    rep stosw
    ret
.only:
    stosb
    inc di
    loop .only
    ret
.draw:
    pusha
    call glyph_draw
    popa
    inc dl
    cmp dl, [Bda.columns]
    jae .done                       ; only as far as the line goes
    loop .draw
.done:
    ret

; 0Eh: In: AL, character; BL, color in graphics.
teletype:
    cmp byte [fs:Ebda.has_video], 0
    je serial_out
    mov al, caller_al
    mov bl, caller_bl
    mov bh, [Bda.page]
; type: a character where the cursor is, which goes on. In: AL; BL, color in graphics modes; BH,
; page. Clobbers all but BP.
type:
    mov ah, 0                       ; keep the attribute
; type_with: the same. In: AH, whether BL is an attribute in text modes as well.
type_with:
    call cursor_at
    cmp al, 13
    je .return
    jb .control
.plain:
    push bx
    call char_put
    pop bx
    inc dl
    cmp dl, [Bda.columns]
    jb .move
    xor dl, dl
    jmp .down
.control:
    cmp al, 10
    je .down
    cmp al, 8
    je .back
    cmp al, 7
    jne .plain
    jmp beep
.back:
    sub dl, 1
    adc dl, 0
    jmp .move
.return:
    xor dl, dl
    jmp .move
.down:
    inc dh
    cmp dh, [Bda.last_row]
    jbe .move
    dec dh
    push dx
    push bx
    call line_feed
    pop bx
    pop dx
.move:
    jmp cursor_move

; char_put: a character at a place. In: AL; AH, with its attribute?; BH, page; BL, attribute; DX.
; Clobbers AX, CX, SI, DI, ES.
char_put:
    call mode_now
    jc .done
    mov es, [cs:si + Mode.segment]
    cmp byte [cs:si + Mode.kind], KIND_TEXT
    jne .draw
    push ax
    call text_place
    pop ax
    stosb
    test ah, ah
    jz .done
    mov al, bl
    stosb
.done:
    ret
.draw:
    pusha
    call glyph_draw
    popa
    ret

; line_feed: scrolls a page by a line; the new one looks like the end of the last one. In: BH, page.
line_feed:
    call mode_now
    jc .done
    mov es, [cs:si + Mode.segment]
    xor ah, ah
    cmp byte [cs:si + Mode.kind], KIND_TEXT
    jne .blank
    mov dh, [Bda.last_row]
    mov dl, [Bda.columns]
    dec dl
    call text_place
    mov ah, [es:di + 1]
.blank:
    mov al, 1
    xor cx, cx
    mov dh, [Bda.last_row]
    mov dl, [Bda.columns]
    dec dl
    xchg bh, ah                     ; BH, attribute; AH, page
    jmp window_up
.done:
    ret

; serial_out: 0Eh where there is no display: on the first serial port.
serial_out:
    mov dx, [Bda.com]
    test dx, dx
    jz .done
    add dx, UART_STATUS
    mov cx, 0xffff
.wait:
    in al, dx
    test al, 0x20
    loopz .wait
    sub dx, UART_STATUS
    mov al, caller_al
    out dx, al
.done:
    ret

; beep: 7. For an eighth of a second.
beep:
    write_port PIT_CONTROL, 0xb6
    write_port PIT_COUNTER_2, 1331 & 0xff
    write_port PIT_COUNTER_2, 1331 >> 8
    in al, PORT_B
    push ax
    or al, 3
    out PORT_B, al
    mov ax, 125
    call delay
    pop ax
    out PORT_B, al
    ret

; 06h, 07h: scrolls a window. In: AL, lines, 0 for all; BH, attribute; CX, DX, its corners.
scroll_up:
    call scroll_window
    jc scroll_done
    call window_up
scroll_done:
    ret
scroll_down:
    call scroll_window
    jc scroll_done
    jmp window_down

; scroll_window: In: the caller's registers. Out: AL, lines; AH, page; BH, attribute; CX, DX,
; corners on the screen; SI (of CS), ES, the mode; carry set if there is nothing to do.
scroll_window:
    call mode_now
    jc .done
    mov es, [cs:si + Mode.segment]
    mov al, caller_al
    mov ah, [Bda.page]
    mov bh, caller_bh
    mov cx, caller_cx
    mov dx, caller_dx
    cmp dh, [Bda.last_row]
    jbe .rows
    mov dh, [Bda.last_row]
.rows:
    cmp dl, [Bda.columns]
    jb .columns
    mov dl, [Bda.columns]
    dec dl
.columns:
    cmp dh, ch
    jb .done                        ; with carry
    cmp dl, cl
.done:
    ret

; window_lines: In: AL, lines to scroll; CX, DX. Out: AL, at most the window's; BL, lines that stay.
window_lines:
    mov bl, dh
    sub bl, ch
    inc bl
    test al, al
    jz .all
    cmp al, bl
    jbe .some
.all:
    mov al, bl
.some:
    sub bl, al
    ret

; window_up, window_down: In: as scroll_window gives.
window_up:
    cmp byte [cs:si + Mode.kind], KIND_TEXT
    jne pixels_up
    call window_lines
    push dx
.line:
    sub bl, 1
    jb .blank
    push ax
    mov dh, ch
    add dh, al
    call .copy
    pop ax
    inc ch
    jmp .line
.blank:
    pop dx
.next:
    call line_blank
    inc ch
    cmp ch, dh
    jbe .next
    ret
; Line DH goes to line CH, columns CL to DL. In: AH, page.
.copy:
    push bx
    push cx
    push dx
    push si
    mov bh, ah
    movzx si, dl                    ; the last column
    mov dl, cl
    call text_place
    push di
    mov dh, ch
    call text_place
    mov cx, si
    sub cl, dl
    inc cx
    mov ch, 0
    pop si
    es rep movsw
    pop si
    pop dx
    pop cx
    pop bx
    ret

window_down:
    cmp byte [cs:si + Mode.kind], KIND_TEXT
    jne pixels_down
    call window_lines
    xchg ch, dh                     ; the last line comes first
.line:
    sub bl, 1
    jb .blank
    push ax
    push dx
    mov dh, ch
    sub dh, al
    call window_up.copy
    pop dx
    pop ax
    dec ch
    jmp .line
.blank:
    call line_blank
    sub ch, 1
    jb .done
    cmp ch, dh
    jae .blank
.done:
    ret

; line_blank: In: CH, line; CL, DL, columns; AH, page; BH, attribute.
line_blank:
    push ax
    push cx
    push dx
    push bx
    mov bl, bh
    mov bh, ah
    mov dh, ch
    movzx cx, cl
    sub dl, cl
    xchg cl, dl                     ; CX, columns less 1; DL, the first
    call text_place
    pop bx
    inc cx
    mov ah, bh
    mov al, ' '
    rep stosw
    pop dx
    pop cx
    pop ax
    ret

; 13h: In: ES:BP, characters; CX, how many; DX, where; BH, page; BL, attribute; AL, bit 0: the
; cursor moves; bit 1: each has its attribute.
string_write:
    mov bh, caller_bh
    call cursor_at
    push dx
    mov dx, caller_dx
    cmp dh, -1                      ; where the cursor is
    je .here
    call .move
.here:
    mov cx, caller_cx
    mov si, caller_bp
.next:
    sub cx, 1
    jb .written
    mov es, caller_es
    mov al, [es:si]
    inc si
    mov bx, caller_bx
    test caller_al, 2
    jz .type
    mov bl, [es:si]
    inc si
.type:
    push cx
    push si
    mov ah, 1
    call type_with
    pop si
    pop cx
    jmp .next
.written:
    pop dx
    test caller_al, 1
    jnz .done
    mov bh, caller_bh
    call cursor_move
.done:
    ret
.move:
    push bx
    call cursor_move
    pop bx
    ret
