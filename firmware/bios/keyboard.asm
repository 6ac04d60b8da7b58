; The keyboard: i8042, INT 9 (IRQ 1) and INT 16h.
;
; Source: IBM PS/2 Technical Reference (keyboard controller, scan code set 1).

I8042_OUTPUT    equ 1 << 0          ; there is a byte to read
I8042_INPUT     equ 1 << 1          ; the last one written was not taken yet
I8042_AUX       equ 1 << 5          ; what there is to read is the mouse's

CCB_KEYBOARD    equ 1 << 0          ; command byte: interrupt
CCB_MOUSE       equ 1 << 1
CCB_SYSTEM      equ 1 << 2
CCB_NO_MOUSE    equ 1 << 5          ; its clock is off
CCB_TRANSLATE   equ 1 << 6

KEYBOARD_ACK    equ 0xfa

; Bda.shift, .shift_2, .shift_3
SHIFT_RIGHT     equ 1 << 0
SHIFT_LEFT      equ 1 << 1
SHIFT_CTRL      equ 1 << 2
SHIFT_ALT       equ 1 << 3
SHIFT_SCROLL    equ 1 << 4
SHIFT_NUM       equ 1 << 5
SHIFT_CAPS      equ 1 << 6
SHIFT_INSERT    equ 1 << 7
SHIFT_2_PAUSE   equ 1 << 3
SHIFT_3_E1      equ 1 << 0
SHIFT_3_E0      equ 1 << 1
SHIFT_3_CTRL    equ 1 << 2
SHIFT_3_ALT     equ 1 << 3
SHIFT_3_101     equ 1 << 4

; keyboard_init: the controller passes keys on, in scan code set 1.
keyboard_init:
    mov word [Bda.keys_first], Bda.keys
    mov word [Bda.keys_limit], Bda.keys_end
    mov word [Bda.keys_head], Bda.keys
    mov word [Bda.keys_tail], Bda.keys
    mov byte [Bda.shift_3], SHIFT_3_101
    mov al, 0xad
    call i8042_command
    mov al, 0xa7
    call i8042_command
    call i8042_flush
    mov al, 0xaa                    ; the controller's self-test
    call i8042_command
    call i8042_read
    jc .done
    mov al, 0x60
    call i8042_command
    mov al, CCB_SYSTEM | CCB_NO_MOUSE | CCB_TRANSLATE
    call i8042_write
    mov al, 0xae
    call i8042_command
    mov al, 0xff                    ; the keyboard's
    call keyboard_send
    jc .done
    call i8042_read                 ; AAh
    mov al, 0xf4
    call keyboard_send
    mov al, 0x60
    call i8042_command
    mov al, CCB_KEYBOARD | CCB_SYSTEM | CCB_NO_MOUSE | CCB_TRANSLATE
    call i8042_write
    mov cl, 1
    call irq_enable
.done:
    ret

; i8042_flush: what nobody has read is gone. Clobbers AX, CX.
i8042_flush:
    mov cx, 64
.next:
    in al, I8042_STATUS
    test al, I8042_OUTPUT
    jz .done
    in al, I8042_DATA
    loop .next
.done:
    ret

; i8042_wait_input: until a byte can be written, but not for ever. Clobbers nothing.
i8042_wait_input:
    push ax
    push cx
    xor cx, cx
.wait:
    in al, I8042_STATUS
    test al, I8042_INPUT
    loopnz .wait
    pop cx
    pop ax
    ret

; i8042_command: In: AL.
i8042_command:
    call i8042_wait_input
    out I8042_STATUS, al
    ret

; i8042_write: In: AL.
i8042_write:
    call i8042_wait_input
    out I8042_DATA, al
    ret

; i8042_read: waits a second. Out: AL, the byte, and AH, the status with it; or carry set.
i8042_read:
    push eax
    mov ax, 1000
    call timeout_start
    pop eax
.wait:
    in al, I8042_STATUS
    mov ah, al
    test al, I8042_OUTPUT
    jnz .there
    call timeout_check
    jnc .wait
    ret
.there:
    in al, I8042_DATA
    clc
    ret

; keyboard_send: a byte to the keyboard. In: AL. Out: carry set if it is not acknowledged. Clobbers
; AX.
keyboard_send:
    call i8042_write
.read:
    call i8042_read
    jc .done
    test ah, I8042_AUX
    jnz .read
    cmp al, KEYBOARD_ACK
    je .done
    stc
.done:
    ret

; ------------------------------------------------------------------------------------------------
; INT 9: IRQ 1

int_9:
    push es
    push ds
    push fs
    push gs
    pushad
    call enter_service
    in al, I8042_STATUS
    test al, I8042_OUTPUT
    jz .end
    test al, I8042_AUX
    jnz .end
    in al, I8042_DATA
    mov ah, 0x4f                    ; a program may change it or take it
    stc
    int 0x15
    jnc .end
    call key_event
.end:
    cli
    mov al, EOI
    out PIC_1, al
    jmp leave_service

; key_event: what a scan code means. In: AL.
key_event:
    cmp al, 0xe0
    je .e0
    cmp al, 0xe1
    je .e1
    test byte [Bda.shift_3], SHIFT_3_E1
    jnz .pause
    mov ah, al
    and al, 0x7f
    call key_is_shift
    jc .prefix_done
    test ah, 0x80
    jnz .prefix_done                ; releases of others do not matter
    call key_press
.prefix_done:
    and byte [Bda.shift_3], ~SHIFT_3_E0
    ret
.e0:
    or byte [Bda.shift_3], SHIFT_3_E0
    ret
.e1:
    or byte [Bda.shift_3], SHIFT_3_E1
    ret
.pause:                             ; E1 1D 45 E1 9D C5
    and al, 0x7f
    cmp al, 0x45
    jne .more
    and byte [Bda.shift_3], ~SHIFT_3_E1
    mov al, SHIFT_2_PAUSE
    xor byte [Bda.shift_2], al
    test byte [Bda.shift_2], al
    jz .more
    mov al, EOI
    out PIC_1, al
.stop:
    sti
    hlt
    test byte [Bda.shift_2], SHIFT_2_PAUSE
    jnz .stop
.more:
    ret

; key_is_shift: keys that change what others mean. In: AL, the key; AH, with its release bit. Out:
; carry set if it was one.
key_is_shift:
    push ax
    mov bl, SHIFT_LEFT
    cmp al, 0x2a
    je .shift
    mov bl, SHIFT_RIGHT
    cmp al, 0x36
    je .shift
    mov bx, SHIFT_CTRL | SHIFT_3_CTRL << 8
    cmp al, 0x1d
    je .sided
    mov bx, SHIFT_ALT | SHIFT_3_ALT << 8
    cmp al, 0x38
    je .sided
    mov bl, SHIFT_CAPS
    cmp al, 0x3a
    je .lock
    mov bl, SHIFT_NUM
    cmp al, 0x45
    je .lock
    mov bl, SHIFT_SCROLL
    cmp al, 0x46
    je .scroll
    cmp al, 0x52
    je .insert
    pop ax
    clc
    ret
.shift:
    test byte [Bda.shift_3], SHIFT_3_E0
    jnz .done                       ; E0 2A comes with the grey keys, and means nothing
    call .set_or_clear
    jmp .done
; Ctrl and Alt: there are two of each, and the flag is for either.
.sided:
    mov cl, bl
    shr cl, 2                       ; bit 0 or 1 of shift_2: the left one
    test byte [Bda.shift_3], SHIFT_3_E0
    jnz .right
    or [Bda.shift_2], cl
    test ah, 0x80
    jz .either
    not cl
    and [Bda.shift_2], cl
    jmp .either
.right:
    or [Bda.shift_3], bh
    test ah, 0x80
    jz .either
    not bh
    and [Bda.shift_3], bh
    not bh
.either:
    mov cl, bl
    shr cl, 2
    or [Bda.shift], bl
    test [Bda.shift_2], cl
    jnz .done
    test [Bda.shift_3], bh
    jnz .done
    not bl
    and [Bda.shift], bl
    cmp al, 0x38
    jne .done
    xor al, al                      ; Alt is up: the number typed on the keypad is a character
    xchg al, [Bda.alt_number]
    test al, al
    jz .done
    xor ah, ah
    call key_store
    jmp .done
.scroll:
    test byte [Bda.shift_3], SHIFT_3_E0
    jz .lock
    test ah, 0x80
    jnz .done
    mov byte [Bda.break], 0x80      ; Ctrl-Break
    mov ax, [Bda.keys_first]
    mov [Bda.keys_head], ax
    mov [Bda.keys_tail], ax
    int 0x1b
    xor ax, ax
    call key_store
    jmp .done
.lock:
    mov cl, bl
    test ah, 0x80
    jnz .lock_up
    test [Bda.shift_2], cl          ; it repeats
    jnz .done
    or [Bda.shift_2], cl
    xor [Bda.shift], bl
    call leds_show
    jmp .done
.lock_up:
    not cl
    and [Bda.shift_2], cl
    jmp .done
.insert:
    test ah, 0x80
    jnz .done
    test byte [Bda.shift_3], SHIFT_3_E0
    jnz .insert_toggle
    test byte [Bda.shift], SHIFT_NUM
    jnz .no
.insert_toggle:
    xor byte [Bda.shift], SHIFT_INSERT
.no:
    pop ax                          ; it is a key as well
    clc
    ret
.done:
    pop ax
    stc
    ret
.set_or_clear:
    or [Bda.shift], bl
    test ah, 0x80
    jz .set
    not bl
    and [Bda.shift], bl
.set:
    ret

; leds_show: the lamps show the locks. Clobbers AX.
leds_show:
    mov al, [Bda.shift]
    shr al, 4
    and al, 7
    mov [Bda.leds], al
    mov al, 0xed
    call keyboard_send
    jc .done
    mov al, [Bda.leds]
    call keyboard_send
.done:
    ret

; key_press: a key that gives a character or a code. In: AL, the key.
key_press:
    mov bl, [Bda.shift]
    mov bh, [Bda.shift_3]
    test bl, SHIFT_ALT
    jz .not_combined
    test bl, SHIFT_CTRL
    jz .not_combined
    cmp al, 0x53                    ; Ctrl-Alt-Del
    je restart_warm
.not_combined:
    cmp al, 0x37                    ; the star of the keypad, or Print Screen
    jne .not_print
    test bh, SHIFT_3_E0
    jz .not_print
    test bl, SHIFT_CTRL
    jnz .print_ctrl
    int 0x05
    ret
.print_ctrl:
    mov ax, 0x7200
    jmp key_store
.not_print:
    cmp al, KEYMAP_LAST
    ja .nothing
    test bh, SHIFT_3_E0
    jnz .grey
    cmp al, 0x47
    jb .column
    cmp al, 0x53
    ja .column
    jmp .keypad
.column:
    call key_row
    xor si, si                      ; which column
    mov cl, bl
    and cl, SHIFT_LEFT | SHIFT_RIGHT
    jz .unshifted
    mov si, 2
.unshifted:
    test bl, SHIFT_CAPS
    jz .no_caps
    cmp byte [cs:di], 'a'           ; letters alone
    jb .no_caps
    cmp byte [cs:di], 'z'
    ja .no_caps
    xor si, 2
.no_caps:
    test bl, SHIFT_CTRL
    jz .no_ctrl
    mov si, 4
.no_ctrl:
    test bl, SHIFT_ALT
    jz .take
    mov si, 6
.take:
    mov ax, [cs:di]
    add di, si
    mov ax, [cs:di]
    test ax, ax
    jnz key_store
.nothing:
    ret
; The keypad: digits with Num Lock or Shift, but not with both; with Alt a number.
.keypad:
    test bl, SHIFT_ALT
    jnz .number
    call key_row
    mov cl, bl
    shr cl, 5
    xor si, si
    test bl, SHIFT_LEFT | SHIFT_RIGHT
    jz .no_shift
    xor cl, 1
.no_shift:
    test cl, 1
    jz .no_digit
    mov si, 2
.no_digit:
    test bl, SHIFT_CTRL
    jz .take
    mov si, 4
    jmp .take
.number:
    push ax
    call key_row
    pop ax
    mov cl, [cs:di + 2]             ; its digit
    sub cl, '0'
    jb .minus
    cmp cl, 9
    ja .minus
    mov al, 10
    mul byte [Bda.alt_number]
    add al, cl
    mov [Bda.alt_number], al
    ret
.minus:
    mov si, 6
    jmp .take
; The grey keys, which came with the keyboard of 101 keys.
.grey:
    cmp al, 0x1c
    je .enter
    cmp al, 0x35
    je .slash
    call key_row
    xor si, si
    test bl, SHIFT_CTRL
    jz .grey_ctrl
    mov si, 4
.grey_ctrl:
    test bl, SHIFT_ALT
    jz .grey_take
    mov ah, al
    add ah, 0x50                    ; 97h to A3h
    xor al, al
    jmp key_store
.grey_take:
    add di, si
    mov ax, [cs:di]
    test ah, ah
    jz .nothing
    mov al, 0xe0
    jmp key_store
.enter:
    mov ax, 0xe00d
    test bl, SHIFT_CTRL
    jz .enter_alt
    mov al, 0x0a
.enter_alt:
    test bl, SHIFT_ALT
    jz key_store
    mov ax, 0xa600
    jmp key_store
.slash:
    mov ax, 0xe02f
    test bl, SHIFT_CTRL
    jz .slash_alt
    mov ax, 0x9500
.slash_alt:
    test bl, SHIFT_ALT
    jz key_store
    mov ax, 0xa400
    jmp key_store

; key_row: In: AL, a key. Out: DI, its row.
key_row:
    movzx di, al
    shl di, 3
    add di, keymap
    ret

; key_store: puts a key into the buffer, if there is room. In: AX. Out: carry set if there is not.
; Clobbers BX, DI.
key_store:
    mov di, [Bda.keys_tail]
    mov bx, di
    call key_after
    cmp di, [Bda.keys_head]
    je .full
    mov [bx], ax
    mov [Bda.keys_tail], di
    clc
    ret
.full:
    stc
    ret

; key_after: In, out: DI, a place in the buffer and the next one.
key_after:
    inc di
    inc di
    cmp di, [Bda.keys_limit]
    jb .there
    mov di, [Bda.keys_first]
.there:
    ret

; restart_warm: Ctrl-Alt-Del. restart: a cold start.
restart_warm:
    push BDA_SEGMENT
    pop ds
    mov word [Bda.reset_flag], 0x1234
restart:
    cli
    mov al, 0xfe                    ; the keyboard controller pulls RESET#
    call i8042_command
    mov ax, 100
    call delay
    write_port 0xcf9, 0x06
    write_port PORT_92, 0x03
.wait:
    hlt
    jmp .wait

; ------------------------------------------------------------------------------------------------
; INT 16h

service int_16, keyboard_service

keyboard_service:
    dispatch .functions, 0x12, .unknown
.functions:
    dw key_read, key_peek, key_shift, key_typematic, .unknown, key_push
    times 10 dw .unknown
    dw key_read_101, key_peek_101, key_shift_101
.unknown:
    ret

; 00h: waits for a key. Out: AX.
key_read:
    call key_take
    call key_is_old
    jc key_read
    mov caller_ax, ax
    ret

; 10h: the same with the keys of 101-key keyboards.
key_read_101:
    call key_take
    call key_plain
    mov caller_ax, ax
    ret

; key_take: Out: AX, the next key. Clobbers DI.
key_take:
    sti
    nop
    cli
    mov di, [Bda.keys_head]
    cmp di, [Bda.keys_tail]
    jne .there
    sti
    hlt
    jmp key_take
.there:
    mov ax, [di]
    call key_after
    mov [Bda.keys_head], di
    sti
    ret

; 01h: is there a key? Out: ZF clear and AX, the key.
key_peek:
    sti
    nop
    cli
    mov di, [Bda.keys_head]
    cmp di, [Bda.keys_tail]
    je no_key
    mov ax, [di]
    call key_is_old
    jnc a_key
    call key_after                  ; a new key, which old programs must not see
    mov [Bda.keys_head], di
    jmp key_peek

; 11h
key_peek_101:
    sti
    nop
    cli
    mov di, [Bda.keys_head]
    cmp di, [Bda.keys_tail]
    je no_key
    mov ax, [di]
    call key_plain
a_key:
    mov caller_ax, ax
    and caller_flags, ~FLAG_ZERO
    or word [bp + Frame.flags], FLAG_INTERRUPT
    ret
no_key:
    or caller_flags, FLAG_ZERO
    or word [bp + Frame.flags], FLAG_INTERRUPT
    ret

; key_is_old: a key as the keyboard of 84 keys had it. In, out: AX; carry set if it had it not.
key_is_old:
    cmp ah, 0xe0
    je .keypad
    cmp ah, 0x84
    ja .new
    cmp al, 0xe0
    jne .done
    test ah, ah
    jz .done
    xor al, al
.done:
    clc
    ret
.keypad:
    mov ah, 0x35
    cmp al, '/'
    je .done
    mov ah, 0x1c
    jmp .done
.new:
    stc
    ret

; key_plain: In, out: AX. Codes that only mark a key are not shown.
key_plain:
    cmp al, 0xf0
    jne .done
    test ah, ah
    jz .done
    xor al, al
.done:
    ret

; 02h: Out: AL.
key_shift:
    mov al, [Bda.shift]
    mov caller_al, al
    ret

; 12h: Out: AL; AH, what is held down.
key_shift_101:
    mov al, [Bda.shift]
    mov ah, [Bda.shift_2]
    mov bl, ah
    and ah, 0x73
    and bl, 1 << 2
    shl bl, 5
    or ah, bl
    mov bl, [Bda.shift_3]
    and bl, SHIFT_3_CTRL | SHIFT_3_ALT
    or ah, bl
    mov caller_ax, ax
    ret

; 03h: typematic rate. In: AL = 5; BH, delay; BL, rate.
key_typematic:
    cmp caller_al, 5
    jne .done
    cli
    mov al, 0xf3
    call keyboard_send
    jc .done
    mov al, caller_bh
    shl al, 5
    mov ah, caller_bl
    and ah, 0x1f
    or al, ah
    and al, 0x7f
    call keyboard_send
.done:
    ret

; 05h: In: CX, a key. Out: AL, 0, or 1 if the buffer is full.
key_push:
    mov ax, caller_cx
    call key_store
    setc caller_al
    ret
