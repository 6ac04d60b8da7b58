; What is booted, in which order, and how: INT 18h and INT 19h, and a menu.
;
; Sources: BIOS Boot Specification 1.01; QEMU's fw_cfg files bootorder and etc/boot-menu-wait.

BOOT_SECTOR         equ 0x7c00
BOOT_MAGIC          equ 0xaa55

CMOS_ORDER_1        equ 0x3d        ; first and second kind to boot, a nibble each
CMOS_ORDER_3        equ 0x38        ; the third, in the upper nibble

FW_CFG_MENU         equ 0x0e        ; is a menu to be offered?
MENU_WAIT_MS        equ 2500
KEY_ESC             equ 0x011b
KEY_F12             equ 0x8600

; Ranks: lines of bootorder, then kinds that the CMOS orders, then the rest.
RANK_BY_CMOS        equ 0x80
RANK_OTHERS         equ 0xc0

; boot_new: something that can be booted. In: AL, kind; AH, drive. Out: SI (of FS); or carry set.
boot_new:
    movzx si, byte [fs:Ebda.boots]
    cmp si, BOOTS_MAX
    jae .full
    inc byte [fs:Ebda.boots]
    imul si, si, Boot_size
    add si, Ebda.boot_list
    mov [fs:si + Boot.kind], ax     ; and Boot.drive
    clc
    ret
.full:
    stc
    ret

; boot_list_make: all there is, in order. The network is in the list already.
boot_list_make:
    mov ax, BOOT_FLOPPY
    mov cl, [fs:Ebda.floppies]
    call .drives
    mov ax, BOOT_DISK | 0x80 << 8
    mov cl, [Bda.disks]
    call .drives
    mov ax, BOOT_CD | FIRST_CD << 8
    mov cl, [fs:Ebda.cds]
    call .drives
    mov si, Ebda.boot_list
    movzx cx, byte [fs:Ebda.boots]
    jcxz .done
.rank:
    push cx
    push si
    call boot_rank
    pop si
    mov [fs:si + Boot.rank], al
    add si, Boot_size
    pop cx
    loop .rank
    call boot_sort
.done:
    ret
.drives:
    test cl, cl
    jz .none
    call boot_new
    jc .none
    inc ah
    dec cl
    jmp .drives
.none:
    ret

; boot_sort: by rank; equals stay in order.
boot_sort:
    movzx cx, byte [fs:Ebda.boots]
.pass:
    push cx
    mov si, Ebda.boot_list
    movzx cx, byte [fs:Ebda.boots]
.next:
    dec cx
    jz .passed
    mov al, [fs:si + Boot.rank]
    cmp al, [fs:si + Boot_size + Boot.rank]
    jbe .in_order
    mov bx, Boot_size - 2
.swap:
    mov ax, [fs:si + bx]
    xchg ax, [fs:si + bx + Boot_size]
    mov [fs:si + bx], ax
    sub bx, 2
    jns .swap
.in_order:
    add si, Boot_size
    jmp .next
.passed:
    pop cx
    loop .pass
    ret

; boot_rank: In: SI (of FS), a Boot. Out: AL. Clobbers all but BP.
boot_rank:
    call boot_path
    push si
    call order_find
    pop si
    jnc .done
    mov al, CMOS_ORDER_1
    call cmos_read
    mov bl, al
    mov al, CMOS_ORDER_3
    call cmos_read
    mov bh, al
    shr bh, 4
    mov al, RANK_BY_CMOS
.nibble:
    mov ah, bl
    and ah, 0x0f
    jz .others                      ; the order ends
    dec ah
    cmp ah, [fs:si + Boot.kind]
    je .done
    shr bx, 4
    add al, 0x10
    jmp .nibble
.others:
    mov al, [fs:si + Boot.kind]
    shl al, 4
    add al, RANK_OTHERS
.done:
    ret

; order_find: In: Ebda.path, as boot_path leaves it. Out: AL, its line in bootorder;
; carry set if it is not there. A star in the path stands for any name up to the next @.
order_find:
    mov si, .name
    call fw_cfg_open
    jc .absent
    xor bl, bl                      ; line
.line:
    mov si, Ebda.path
    mov bh, 1                       ; it fits so far
.char:
    sub ecx, 1
    jc .absent
    mov dx, FW_CFG_DATA
    in al, dx
    cmp al, 10
    je .ends
    test al, al
    jz .ends
    test bh, bh
    jz .char
    mov ah, [fs:si]
    cmp ah, '*'
    je .star
    test ah, ah
    jz .longer
    inc si
    cmp al, ah
    je .char
    xor bh, bh
    jmp .char
.star:
    cmp al, '@'
    jne .char
    add si, 2                       ; the star and the @
    jmp .char
.longer:                            ; the path ends before the line: the line may go on with /
    cmp al, '/'
    je .found

    xor bh, bh
    jmp .char
.ends:
    test bh, bh
    jz .next
    cmp byte [fs:si], 0
    je .found
.next:
    inc bl
    jmp .line
.absent:
    stc
    ret
.found:
    mov al, bl
    clc
    ret
.name:
    db "bootorder", 0

; boot_path: the path that bootorder has for something. In: SI (of FS), a Boot. Out: Ebda.path.
; Clobbers all but SI.
boot_path:
    push si
    push fs
    pop es
    mov di, Ebda.path
    mov al, [fs:si + Boot.kind]
    cmp al, BOOT_FLOPPY
    je .floppy
    cmp al, BOOT_NETWORK
    je .network
    mov dl, [fs:si + Boot.drive]
    call drive_find
    jc .end
    mov bx, [fs:si + Drive.pci]
    call .pci
    mov al, [fs:si + Drive.kind]
    and al, ~DRIVE_IS_CD
    cmp al, DRIVE_VIRTIO
    je .virtio
    cmp al, DRIVE_AHCI
    je .ahci
    push si
    mov si, .text_drive
    call .append
    pop si
    mov al, '0'
    cmp word [fs:si + Drive.port], ATA_SECONDARY
    jne .primary
    inc al
.primary:
    stosb
    push si
    mov si, .text_disk
    call .append
    pop si
    mov al, [fs:si + Drive.unit]
    shr al, 4
    and al, 1
    add al, '0'
    stosb
    jmp .end
.virtio:
    mov si, .text_lun
    call .append
    jmp .end
.ahci:
    push si
    mov si, .text_drive
    call .append
    pop si
    mov al, [fs:si + Drive.unit]
    call .hex
    mov si, .text_disk_0
    call .append
    jmp .end
.floppy:
    push si
    mov si, .text_floppy
    call .append
    pop si
    mov al, [fs:si + Boot.drive]
    add al, '0'
    stosb
    jmp .end
.network:
    mov bx, [fs:si + Boot.pci]
    call .pci
.end:
    xor al, al
    stosb
    pop si
    ret
; "/pci@i0cf8/*@D,F" of the function BX.
.pci:
    push si
    mov si, .text_pci
    call .append
    mov al, bl
    shr al, 3
    call .hex
    and bl, 7
    jz .function_0
    mov al, ','
    stosb
    mov al, bl
    call .hex
.function_0:
    pop si
    ret
.append:
    cs lodsb
    test al, al
    jz .appended
    stosb
    jmp .append
.appended:
    ret
; AL as one or two digits.
.hex:
    push ax
    shr al, 4
    jz .low
    call .digit
.low:
    pop ax
    and al, 0x0f
.digit:
    cmp al, 10
    sbb al, 0x69
    das
    or al, 0x20                     ; small letters; digits have that bit already
    stosb
    ret
.text_pci:
    db "/pci@i0cf8/*@", 0
.text_drive:
    db "/drive@", 0
.text_disk:
    db "/disk@", 0
.text_disk_0:
    db "/disk@0", 0
.text_lun:
    db "/*@0,0", 0
.text_floppy:
    db "/pci@i0cf8/isa@1/fdc@03f0/floppy@", 0

; ------------------------------------------------------------------------------------------------
; The menu

; boot_menu_offer: shows the menu to who asks for it with F12 or Esc. Where fw_cfg says so, asks.
boot_menu_offer:
    cmp byte [fs:Ebda.fw_cfg], 0
    je .look
    mov dx, FW_CFG_SELECT
    mov ax, FW_CFG_MENU
    out dx, ax
    mov dx, FW_CFG_DATA
    in al, dx
    test al, al
    jz .look
    mov si, .name
    call fw_cfg_open
    mov ax, MENU_WAIT_MS
    jc .wait
    call fw_cfg_dword
.wait:
    say text_menu_offer
    call timeout_start
.again:
    call .key
    je boot_menu
    call timeout_check
    jnc .again
    ret
.look:
    call .key
    je boot_menu
    ret
; ZF set if it was pressed.
.key:
    mov ah, 0x11
    int 0x16
    jz .no_key
    mov ah, 0x10
    int 0x16
    cmp ax, KEY_F12
    je .pressed
    cmp ax, KEY_ESC
.pressed:
    ret
.no_key:
    test sp, sp                     ; never 0
    ret
.name:
    db "etc/boot-menu-wait", 0

; boot_menu: what is chosen comes first.
boot_menu:
    say text_menu
    mov si, Ebda.boot_list
    xor cx, cx
.next:
    cmp cl, [fs:Ebda.boots]
    jae .choose
    mov al, '1'
    add al, cl
    cmp cl, 9
    jb .digit
    add al, 'a' - '9' - 1
.digit:
    call print_char
    push si
    say text_menu_item
    pop si
    call boot_print
    push si
    say text_line
    pop si
    add si, Boot_size
    inc cx
    jmp .next
.choose:
    mov ah, 0x10
    int 0x16
    cmp ax, KEY_ESC
    je .done
    sub al, '1'
    cmp al, 9
    jb .chosen
    sub al, 'a' - '1'
    cmp al, 26
    ja .choose
    add al, 9
.chosen:
    cmp al, [fs:Ebda.boots]
    jae .choose
    mov ah, Boot_size
    mul ah
    mov si, ax
    mov byte [fs:si + Ebda.boot_list + Boot.rank], 0
    mov cx, ax                      ; others with that rank come later
    mov si, Ebda.boot_list
    mov bl, [fs:Ebda.boots]
.others:
    mov ax, si
    sub ax, Ebda.boot_list
    cmp ax, cx
    je .first
    cmp byte [fs:si + Boot.rank], 0
    jne .first
    inc byte [fs:si + Boot.rank]
.first:
    add si, Boot_size
    dec bl
    jnz .others
    call boot_sort
.done:
    ret

; boot_print: In: SI (of FS), a Boot. Clobbers AX, DX, DI.
boot_print:
    push si
    push es
    movzx di, byte [fs:si + Boot.kind]
    add di, di
    push si
    mov si, [cs:di + .kinds]
    call print
    pop si
    cmp byte [fs:si + Boot.kind], BOOT_NETWORK
    je .network
    cmp byte [fs:si + Boot.kind], BOOT_FLOPPY
    je .floppy
    mov dl, [fs:si + Boot.drive]
    call drive_find
    jc .done
    push fs
    pop es
    add si, Drive.name
    call print_es
    jmp .done
.floppy:
    mov al, [fs:si + Boot.drive]
    add al, 'A'
    call print_char
    jmp .done
.network:
    les si, [fs:si + Boot.name]
    test si, si
    jz .done
    call print_es
.done:
    pop es
    pop si
    ret
.kinds:
    dw text_floppy, text_disk, text_cd, text_network

; ------------------------------------------------------------------------------------------------
; INT 19h: boots. INT 18h: what was booted had nothing; the next one.

int_19:
    xor ax, ax
    jmp boot_from
int_18:
    push BDA_SEGMENT
    pop ds
    mov fs, [Bda.ebda]
    movzx ax, byte [fs:Ebda.boot_next]

; boot_from: In: AX, the first place in the list to try.
boot_from:
    cli
    xor bx, bx
    mov ss, bx
    mov sp, POST_STACK
    sti
    cld
    push BDA_SEGMENT
    pop ds
    mov fs, [Bda.ebda]
    mov [fs:Ebda.boot_next], al
.next:
    movzx ax, byte [fs:Ebda.boot_next]
    cmp al, [fs:Ebda.boots]
    jae nothing_boots
    inc byte [fs:Ebda.boot_next]
    imul si, ax, Boot_size
    add si, Ebda.boot_list
    mov byte [fs:Ebda.emulation + Emulation.is_on], 0
    mov byte [fs:Ebda.emulation + Emulation.size], 0
    push si
    call boot_load
    mov di, si
    pop si
    jnc .start
    mov [fs:si + Boot.failure], di
    jmp .next
.start:
    push ebx                        ; where
    push dx                         ; the drive
    push si
    say text_booting
    pop si
    call boot_print
    say text_line
    pop dx
    xor ax, ax
    mov ds, ax
    mov es, ax
    xor bx, bx
    xor cx, cx
    xor bp, bp
    mov di, pnp
    push cs
    pop es
    mov si, ax
    cmp dl, 0xff                    ; a boot entry vector returns
    jne .jump
    pop eax
    push cs
    push int_18
    push eax
    mov dl, 0
.jump:
    xor ax, ax
    retf

; boot_load: In: SI (of FS), a Boot. Out: EBX, where to go; DL, the drive, FFh for the network. Or
; carry set, and SI (of CS), why not.
boot_load:
    mov al, [fs:si + Boot.kind]
    cmp al, BOOT_NETWORK
    je .network
    mov dl, [fs:si + Boot.drive]
    cmp al, BOOT_CD
    je cd_boot
    mov cx, 3                       ; a drive whose medium was changed fails first
.again:
    push cx
    push dx
    xor ax, ax
    mov es, ax
    mov bx, BOOT_SECTOR
    mov cx, 1
    mov dh, 0
    mov ax, 0x0201
    int 0x13
    pop dx
    pop cx
    jnc .read
    push dx
    mov ah, 0
    int 0x13
    pop dx
    loop .again
    mov si, text_no_medium
    stc
    ret
.read:
    cmp word [es:BOOT_SECTOR + 510], BOOT_MAGIC
    mov si, text_not_bootable
    jne .no
    mov ebx, BOOT_SECTOR
    clc
    ret
.no:
    stc
    ret
.network:
    mov ebx, [fs:si + Boot.entry]
    mov dl, 0xff
    clc
    ret

; nothing_boots: says what was tried, and waits for somebody to press a key.
nothing_boots:
    sti
    push BDA_SEGMENT
    pop ds
    mov fs, [Bda.ebda]
    say text_nothing
    mov si, Ebda.boot_list
    movzx cx, byte [fs:Ebda.boots]
    jcxz .wait
.next:
    push si
    say text_indent
    pop si
    call boot_print
    push si
    mov di, [fs:si + Boot.failure]
    test di, di
    jz .printed
    say text_colon
    mov si, di
    call print
.printed:
    say text_line
    pop si
    add si, Boot_size
    loop .next
.wait:
    say text_restart
    mov ah, 0x10
    int 0x16
    jmp restart

text_booting:
    db "Booting from ", 0
text_floppy:
    db "floppy drive ", 0
text_disk:
    db "hard disk ", 0
text_cd:
    db "CD ", 0
text_network:
    db "network ", 0
text_no_medium:
    db "nothing can be read", 0
text_not_bootable:
    db "it has no boot sector", 0
text_nothing:
    db 13, 10, "No bootable device. Tried:", 13, 10, 0
text_indent:
    db "  ", 0
text_colon:
    db ": ", 0
text_line:
    db 13, 10, 0
text_restart:
    db "Press a key to restart.", 13, 10, 0
text_menu_offer:
    db "F12 or Esc: boot menu", 13, 10, 0
text_menu:
    db 13, 10, "Boot from:", 13, 10, 0
text_menu_item:
    db ". ", 0
