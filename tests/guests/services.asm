; A disk that asks the BIOS for most of what it offers, and compares the answers with what every PC
; gives. It ends by the debug exit port: 20h if all was right, else with the number of the first
; question whose answer was not, after printing it.
;
;   nasm -f bin -o services.bin services.asm
;
; Questions are numbered in order, from 1 on: the listing (-l) shows a question's number at
; `expect`.

bits 16
org 0x7c00

DEBUG_EXIT      equ 0xf4
DEBUG_CONSOLE   equ 0xe9
SUCCESS         equ 0x20
BUFFER          equ 0x1000          ; a segment for data
SPARE_SECTOR    equ 40              ; it is written to
SECTORS         equ 48

; expect CONDITION: as of a conditional jump.
%assign question 0
%macro expect 1
    %assign question question + 1
    j%+1 %%right
    push question
    jmp wrong
%%right:
%endmacro

start:
    jmp 0:.here
.here:
    xor ax, ax
    mov ds, ax
    mov ss, ax
    mov sp, start
    cld
    mov [drive], dl
    xor ax, ax                      ; the rest, by cylinder, head and sector
    mov es, ax
    mov bx, start + 512
    mov cx, 0x0002
    mov dh, 0
    mov ax, 0x0200 + (end - start + 511) / 512 - 1
    int 0x13
    expect nc
    jmp questions

; Prints and exits with the number on the stack.
wrong:
    cli
    pop bx
    mov al, bh
    call .byte
    mov al, bl
    call .byte
    mov al, bl
    out DEBUG_EXIT, al
    hlt
.byte:
    push ax
    shr al, 4
    call .digit
    pop ax
    and al, 0x0f
.digit:
    cmp al, 10
    sbb al, 0x69
    das
    out DEBUG_CONSOLE, al
    ret

drive:
    db 0
    times 510 - ($ - $$) db 0
    dw 0xaa55

questions:
    call memory
    call disk
    call clock
    call pci
    call keyboard
    call mouse
    call text
    call graphics
    call colors
    call vbe
    mov ax, 0x0003
    int 0x10
    mov al, SUCCESS
    out DEBUG_EXIT, al
    hlt

; ------------------------------------------------------------------------------------------------
; INT 11h, 12h, 15h

memory:
    int 0x11
    test al, 1 << 1                 ; an FPU
    expect nz
    int 0x12
    cmp ax, 639
    expect be
    cmp ax, 600
    expect ae
    ; The memory map begins with RAM at 0 and comes to an end.
    xor ebx, ebx
    mov di, scratch
    mov bp, 64
.map:
    mov eax, 0xe820
    mov edx, 0x534d4150
    mov ecx, 20
    int 0x15
    expect nc
    cmp eax, 0x534d4150
    expect e
    cmp bp, 64
    jne .not_first
    cmp dword [di], 0
    expect e
    cmp dword [di + 16], 1
    expect e
.not_first:
    dec bp
    expect nz
    test ebx, ebx
    jnz .map
    mov eax, 0xe820                 ; behind the end, or with another signature
    mov edx, 0x534d4151
    mov ecx, 20
    int 0x15
    expect c
    mov ax, 0xe801
    int 0x15
    expect nc
    cmp ax, 15 << 10
    expect e
    cmp ax, cx
    expect e
    cmp bx, dx
    expect e
    mov ah, 0x88
    int 0x15
    expect nc
    cmp ax, 15 << 10
    expect ae
    ; A paragraph goes beyond 1 MiB and comes back.
    mov eax, 0x12345678
    mov [scratch], eax
    mov byte [.moves + 0x10 + 4], 0
    mov dword [.moves + 0x12], 0x93 << 24 | scratch
    mov dword [.moves + 0x1a], 0x93 << 24 | 0x20_0000
    call .move
    expect nc
    mov dword [.moves + 0x12], 0x93 << 24 | 0x20_0000
    mov dword [.moves + 0x1a], 0x93 << 24 | scratch + 64
    call .move
    expect nc
    cmp dword [scratch + 64], 0x12345678
    expect e
    mov ax, 0x2402                  ; the 21st address line
    int 0x15
    expect nc
    mov ax, 0x2400
    int 0x15
    mov ax, 0x2402
    int 0x15
    cmp al, 0
    expect e
    mov ax, 0x2401
    int 0x15
    mov ax, 0x2402
    int 0x15
    cmp al, 1
    expect e
    mov ah, 0xc0
    int 0x15
    expect nc
    cmp byte [es:bx + 2], 0xfc
    expect e
    mov ax, 0x4f1e
    stc
    int 0x15
    expect c
    cmp al, 0x1e
    expect e
    mov ah, 0xc1
    int 0x15
    expect nc
    mov ax, es
    cmp [0x40e], ax
    expect e
    mov ah, 0xee                    ; there is nothing
    clc
    int 0x15
    expect c
    cmp ah, 0x86
    expect e
    ret
.move:
    push ds
    pop es
    mov si, .moves
    mov cx, 8
    mov ah, 0x87
    int 0x15
    ret
    align 8
.moves:
    times 2 dq 0
    dw 0xffff, 0, 0x9300, 0
    dw 0xffff, 0, 0x9300, 0
    times 2 dq 0

; ------------------------------------------------------------------------------------------------
; INT 13h

disk:
    mov dl, [drive]
    mov ah, 0x08
    int 0x13
    expect nc
    mov al, cl
    and al, 0x3f
    expect nz
    mov [.per_track], al
    mov [.last_head], dh
    mov dl, [drive]
    mov ah, 0x15
    int 0x13
    expect nc
    cmp ah, 3
    expect e
    mov dl, [drive]
    mov bx, 0x55aa
    mov ah, 0x41
    int 0x13
    expect nc
    cmp bx, 0xaa55
    expect e
    test cx, 1
    expect nz
    mov dl, [drive]
    mov si, scratch
    mov word [si], 0x1a
    mov ah, 0x48
    int 0x13
    expect nc
    cmp word [si + 0x18], 512
    expect e
    cmp dword [si + 0x10], SECTORS
    expect e
    ; A sector is the same by either address.
    mov ax, BUFFER
    mov es, ax
    xor bx, bx
    mov ax, 0x0201
    mov cx, 0x0002
    mov dh, 0
    mov dl, [drive]
    int 0x13
    expect nc
    cmp al, 1
    expect e
    mov ah, 0x42
    mov dword [.lba], 1
    mov word [.offset], 512
    call .edd
    expect nc
    xor si, si
    call .compare
    expect e
    ; What is written can be read again, at an odd address too.
    mov word [.offset], 0
    mov dword [.lba], SPARE_SECTOR
    mov ah, 0x43
    call .edd
    expect nc
    mov word [.offset], 513
    mov ah, 0x42
    call .edd
    expect nc
    mov di, 513
    call .compare_at
    expect e
    cmp word [.count], 1
    expect e
    ; There is no such sector.
    mov dword [.lba], SECTORS
    mov ah, 0x42
    call .edd
    expect c
    test ah, ah
    expect nz
    mov ax, 0x0201
    mov cx, 0x0000
    mov dh, 0
    mov dl, [drive]
    int 0x13
    expect c
    mov dl, 0x8f                    ; and no such drive
    mov ah, 0x08
    int 0x13
    expect c
    ret
.edd:
    mov word [.count], 1
    mov si, .packet
    mov dl, [drive]
    int 0x13
    ret
.compare:
    mov di, 512
.compare_at:
    push ds
    mov ax, BUFFER
    mov ds, ax
    mov es, ax
    xor si, si
    mov cx, 512
    repe cmpsb
    pop ds
    ret
.per_track:
    db 0
.last_head:
    db 0
.packet:
    db 16, 0
.count:
    dw 1
.offset:
    dw 0, BUFFER
.lba:
    dq 0

; ------------------------------------------------------------------------------------------------
; INT 1Ah and waits

clock:
    mov ah, 0x00
    int 0x1a
    mov di, dx
    mov bp, 100                     ; ticks are lost where the host is busy
.waits:
    mov ah, 0x86                    ; as long as two ticks
    mov cx, 120000 >> 16
    mov dx, 120000 & 0xffff
    int 0x15
    expect nc
    mov ah, 0x00
    int 0x1a
    sub dx, di
    cmp dx, 2
    jae .passed
    dec bp
    jnz .waits
.passed:
    cmp dx, 2
    expect ae
    mov ah, 0x02
    int 0x1a
    expect nc
    cmp ch, 0x23
    expect be
    cmp dh, 0x59
    expect be
    mov ah, 0x04
    int 0x1a
    expect nc
    cmp ch, 0x19
    expect ae
    cmp dl, 0x31
    expect be
    ; The end of a wait in the background is marked.
    mov byte [scratch], 0
    push ds
    pop es
    mov bx, scratch
    mov cx, 0
    mov dx, 5000
    mov ax, 0x8300
    int 0x15
    expect nc
    mov bp, 100
.unmarked:
    mov ah, 0x86
    mov cx, 1
    mov dx, 0
    int 0x15
    cmp byte [scratch], 0x80
    je .marked
    dec bp
    jnz .unmarked
.marked:
    cmp byte [scratch], 0x80
    expect e
    ret

pci:
    mov ax, 0xb101
    int 0x1a
    expect nc
    cmp edx, "PCI "
    expect e
    cmp bx, 0x0210
    expect e
    mov ax, 0xb103
    mov ecx, 0x060000
    xor si, si
    int 0x1a
    expect nc
    test bx, bx
    expect z
    mov ax, 0xb10a
    xor di, di
    int 0x1a
    expect nc
    mov edx, ecx
    mov ax, 0xb109
    mov di, 2
    int 0x1a
    expect nc
    shr edx, 16
    cmp cx, dx
    expect e
    mov ax, 0xb10a                  ; not a multiple of four
    mov di, 2
    int 0x1a
    expect c
    cmp ah, 0x87
    expect e
    mov ax, 0xb102
    mov cx, 0x1234
    mov dx, 0x5678
    xor si, si
    int 0x1a
    expect c
    cmp ah, 0x86
    expect e
    ret

keyboard:
    mov ah, 0x11
    int 0x16
    expect z
    mov ah, 0x05
    mov cx, 0x1e61
    int 0x16
    cmp al, 0
    expect e
    mov ah, 0x05
    mov cx, 0x48e0                  ; a grey arrow
    int 0x16
    mov ah, 0x05
    mov cx, 0x8500                  ; F11, which the first keyboards had not
    int 0x16
    mov ah, 0x05
    mov cx, 0x1f73
    int 0x16
    mov ah, 0x01
    int 0x16
    expect nz
    cmp ax, 0x1e61
    expect e
    mov ah, 0x00
    int 0x16
    cmp ax, 0x1e61
    expect e
    mov ah, 0x11
    int 0x16
    cmp ax, 0x48e0
    expect e
    mov ah, 0x00
    int 0x16
    cmp ax, 0x4800
    expect e
    mov ah, 0x00
    int 0x16
    cmp ax, 0x1f73
    expect e
    mov cx, 15                      ; there is room for fifteen
.fill:
    push cx
    mov ah, 0x05
    mov cx, 0x1e61
    int 0x16
    pop cx
    cmp al, 0
    expect e
    loop .fill
    mov ah, 0x05
    int 0x16
    cmp al, 1
    expect e
    mov cx, 15
.drain:
    push cx
    mov ah, 0x10
    int 0x16
    pop cx
    loop .drain
    mov ah, 0x02
    int 0x16
    cmp al, 0
    expect e
    ret

mouse:
    int 0x11
    test al, 1 << 2
    expect nz
    mov ax, 0xc205                  ; packets of three bytes, and a reset
    mov bh, 3
    int 0x15
    expect nc
    cmp bx, 0x00aa
    expect e
    mov ax, 0xc204
    int 0x15
    expect nc
    cmp bh, 0
    expect e
    xor bx, bx                      ; no driver
    mov es, bx
    mov ax, 0xc207
    int 0x15
    expect nc
    mov ax, 0xc200
    mov bh, 1
    int 0x15
    expect c
    cmp ah, 5
    expect e
    mov ax, 0xc202                  ; 100 samples a second, which the status shows
    mov bh, 5
    int 0x15
    expect nc
    mov ax, 0xc206
    mov bh, 0
    int 0x15
    expect nc
    cmp dl, 100
    expect e
    mov ax, 0xc208
    int 0x15
    expect c
    ret

; ------------------------------------------------------------------------------------------------
; INT 10h

text:
    mov ax, 0x0003
    int 0x10
    mov ah, 0x0f
    int 0x10
    cmp ax, 80 << 8 | 3
    expect e
    mov ax, 0x1a00
    int 0x10
    cmp ax, 0x1a00 | 0x1a
    expect e
    cmp bl, 8
    expect e
    mov dx, 5 << 8 | 78
    call .go
    mov ax, 0x0e41                  ; the third character is on the next line
    int 0x10
    mov ax, 0x0e42
    int 0x10
    mov ax, 0x0e43
    int 0x10
    call .where
    cmp dx, 6 << 8 | 1
    expect e
    mov dx, 6 << 8
    call .go
    mov ah, 0x08
    mov bh, 0
    int 0x10
    cmp ax, 0x0743
    expect e
    mov ax, 0x092a                  ; stars
    mov bx, 0x001e
    mov cx, 3
    int 0x10
    mov ax, 0xb800
    mov es, ax
    cmp word [es:6 * 160 + 4], 0x1e2a
    expect e
    call .where                     ; and the cursor stays
    cmp dx, 6 << 8
    expect e
    mov ax, 0x0601                  ; lines 6 to 8 go up
    mov bh, 0x70
    mov cx, 5 << 8
    mov dx, 8 << 8 | 79
    int 0x10
    cmp word [es:5 * 160 + 4], 0x1e2a
    expect e
    cmp word [es:8 * 160 + 158], 0x7020
    expect e
    mov ax, 0x0702                  ; and down
    mov bh, 0x07
    mov cx, 5 << 8
    mov dx, 8 << 8 | 79
    int 0x10
    cmp word [es:7 * 160 + 4], 0x1e2a
    expect e
    cmp word [es:5 * 160 + 4], 0x0720
    expect e
    push ds
    pop es
    mov bp, .string
    mov ax, 0x1301
    mov bx, 0x0002
    mov cx, 3
    mov dx, 10 << 8 | 10
    int 0x10
    call .where
    cmp dx, 10 << 8 | 13
    expect e
    mov ax, 0xb800
    mov es, ax
    cmp dword [es:10 * 160 + 20], 0x02790278 ; "xy"
    expect e
    mov dx, 24 << 8                 ; the last line: all others go up
    call .go
    mov ax, 0x0e0a
    int 0x10
    cmp dword [es:9 * 160 + 20], 0x02790278
    expect e
    mov ax, 0x0501                  ; another page
    int 0x10
    mov ah, 0x0f
    int 0x10
    cmp bh, 1
    expect e
    mov ax, 0x0500
    int 0x10
    mov ax, 0x1112                  ; 50 lines
    mov bl, 0
    int 0x10
    mov ax, 0x1130
    mov bh, 0
    int 0x10
    cmp dl, 49
    expect e
    cmp cx, 8
    expect e
    mov bx, 0
    mov di, scratch
    push ds
    pop es
    mov ah, 0x1b
    int 0x10
    cmp al, 0x1b
    expect e
    cmp byte [di + 4], 3
    expect e
    cmp byte [di + 0x22], 50
    expect e
    mov ax, 0x1c00
    mov cx, 7
    int 0x10
    cmp al, 0x1c
    expect e
    test bx, bx
    expect nz
    ret
.go:
    mov ah, 0x02
    mov bh, 0
    int 0x10
    ret
.where:
    mov ah, 0x03
    mov bh, 0
    int 0x10
    ret
.string:
    db "xyz"

; Each graphics mode: a pixel, and a character that can be read again; and the line goes up.
graphics:
    mov si, .modes
.next:
    lodsb
    cmp al, 0xff
    je .done
    mov ah, 0
    int 0x10
    mov ah, 0x0f
    int 0x10
    cmp al, [si - 1]
    expect e
    mov bl, [si]                    ; a color
    inc si
    mov al, bl
    call .put
    mov ah, 0x0d
    call .at
    cmp al, bl
    expect e
    mov al, 0x80                    ; exclusive or, but with 256 colors
    cmp byte [si - 2], 0x13
    je .no_xor
    or al, bl
    call .put
    mov ah, 0x0d
    call .at
    cmp al, 0
    expect e
.no_xor:
    mov al, 0
    call .put
    mov dx, 3 << 8 | 4
    call text.go
    push bx
    mov ax, 0x0967                  ; "g"
    mov bh, 0
    mov cx, 2
    int 0x10
    mov dx, 3 << 8 | 5
    call text.go
    mov ah, 0x08
    mov bh, 0
    int 0x10
    cmp al, "g"
    expect e
    mov ax, 0x0601
    mov bx, 0
    mov cx, 0
    mov dx, 20 << 8 | 39
    int 0x10
    mov ah, 0x08
    mov bh, 0
    int 0x10
    cmp al, "g"
    expect ne
    mov dx, 2 << 8 | 5
    call text.go
    mov ah, 0x08
    mov bh, 0
    int 0x10
    cmp al, "g"
    expect e
    mov ax, 0x0702
    mov bx, 0
    mov cx, 0
    mov dx, 20 << 8 | 39
    int 0x10
    mov dx, 4 << 8 | 4
    call text.go
    mov ah, 0x08
    mov bh, 0
    int 0x10
    cmp al, "g"
    expect e
    pop bx
    jmp .next
.done:
    ret
.put:
    mov ah, 0x0c
.at:
    push bx
    mov bh, 0
    mov cx, 201
    mov dx, 101
    int 0x10
    pop bx
    ret
; Modes, each with a color.
.modes:
    db 0x04, 3, 0x05, 2, 0x06, 1, 0x0d, 13, 0x0e, 9, 0x10, 14, 0x11, 1, 0x12, 11, 0x13, 0x55, 0xff

colors:
    mov ax, 0x0003
    int 0x10
    mov ax, 0x1010                  ; the DAC
    mov bx, 0x20
    mov dx, 0x3f00
    mov cx, 0x0815
    int 0x10
    mov ax, 0x1015
    xor cx, cx
    xor dx, dx
    int 0x10
    cmp cx, 0x0815
    expect e
    cmp dh, 0x3f
    expect e
    mov ax, 0x1000                  ; the attribute controller
    mov bx, 0x2a03
    int 0x10
    mov ax, 0x1007
    mov bx, 0x0003
    int 0x10
    cmp bh, 0x2a
    expect e
    mov ax, 0x1007                  ; color 6 is brown
    mov bx, 0x0006
    int 0x10
    cmp bh, 0x14
    expect e
    mov ax, 0x1015
    mov bx, 0x14
    int 0x10
    cmp cx, 0x1500
    expect e
    cmp dh, 0x2a
    expect e
    mov ax, 0x0013                  ; the first of the colors by hue is blue
    int 0x10
    mov ax, 0x1015
    mov bx, 32
    int 0x10
    cmp cx, 0x003f
    expect e
    ret

vbe:
    push ds
    pop es
    mov di, scratch
    mov dword [di], "VBE2"
    mov ax, 0x4f00
    int 0x10
    cmp ax, 0x004f
    expect e
    cmp dword [di], "VESA"
    expect e
    cmp word [di + 4], 0x0300
    expect e
    les bx, [di + 14]               ; a mode of 1024 by 768 is in the list
.mode:
    mov ax, [es:bx]
    cmp ax, -1
    expect ne
    add bx, 2
    cmp ax, 0x144
    jne .mode
    push ds
    pop es
    mov cx, 0x144
    mov ax, 0x4f01
    int 0x10
    cmp ax, 0x004f
    expect e
    cmp dword [di + 0x12], 768 << 16 | 1024
    expect e
    cmp byte [di + 0x19], 32
    expect e
    mov ax, 0x4f02
    mov bx, 0x4144
    int 0x10
    cmp ax, 0x004f
    expect e
    mov ax, 0x4f03
    int 0x10
    cmp bx, 0x4144
    expect e
    mov ax, 0x4f05                  ; the fifth window
    mov bx, 0
    mov dx, 5
    int 0x10
    mov ax, 0xa000
    mov es, ax
    mov word [es:0x100], 0xbeef
    mov ax, 0x4f05
    mov bx, 0
    mov dx, 4
    int 0x10
    cmp word [es:0x100], 0xbeef
    expect ne
    mov ax, 0x4f05
    mov bx, 0
    mov dx, 5
    int 0x10
    cmp word [es:0x100], 0xbeef
    expect e
    mov ax, 0x4f06
    mov bl, 1
    int 0x10
    cmp bx, 4096
    expect e
    cmp cx, 1024
    expect e
    mov ax, 0x4f07
    mov bx, 0
    mov cx, 0
    mov dx, 100
    int 0x10
    cmp ax, 0x004f
    expect e
    mov ax, 0x4f07
    mov bx, 1
    int 0x10
    cmp dx, 100
    expect e
    mov ax, 0x4f08
    mov bx, 0x0800
    int 0x10
    cmp bh, 8
    expect e
    mov ax, 0x4f15
    mov bl, 0
    int 0x10
    cmp ax, 0x004f
    expect e
    mov ax, 0x4f02
    mov bx, 0x13f                   ; there is none
    int 0x10
    cmp ax, 0x004f
    expect ne
    mov ax, 0x4f02
    mov bx, 0x0003
    int 0x10
    mov ax, 0x4f03
    int 0x10
    cmp bx, 3
    expect e
    ret

    align 16
end:
scratch         equ 0xb000
    times SECTORS * 512 - ($ - $$) db 0
