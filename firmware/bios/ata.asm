; ATA disks by PIO.
;
; Source: ATA/ATAPI-6 (T13 1410D), sections 6.2, 8.15, 9.2 and 9.12.

ATA_PRIMARY     equ 0x1f0
ATA_SECONDARY   equ 0x170

; Registers of the command block.
ATA_DATA        equ 0
ATA_ERROR       equ 1
ATA_COUNT       equ 2
ATA_LOW         equ 3
ATA_MID         equ 4
ATA_HIGH        equ 5
ATA_DEVICE      equ 6
ATA_STATUS      equ 7               ; read
ATA_COMMAND     equ 7               ; written

ATA_BUSY        equ 1 << 7
ATA_READY       equ 1 << 6
ATA_FAULT       equ 1 << 5
ATA_REQUEST     equ 1 << 3          ; of data
ATA_FAILED      equ 1 << 0

ATA_RESET       equ 1 << 2          ; control block
ATA_QUIET       equ 1 << 1          ; no interrupts

ATA_LBA         equ 1 << 6          ; device register
ATA_DEVICE_0    equ 0xa0
ATA_DEVICE_1    equ 0xb0

ATA_READ        equ 0x20
ATA_READ_EXT    equ 0x24
ATA_WRITE       equ 0x30
ATA_WRITE_EXT   equ 0x34
ATA_PACKET      equ 0xa0
ATA_IDENTIFY_CD equ 0xa1
ATA_IDENTIFY    equ 0xec

ATA_PATIENCE_MS equ 10000

; ata_find: what is on the cables.
ata_find:
    mov si, .is_ide
    call pci_each
    mov word [fs:Ebda.cable], ATA_PRIMARY
    mov word [fs:Ebda.cable_control], ATA_PRIMARY + 0x206
    call .cable
    mov word [fs:Ebda.cable], ATA_SECONDARY
    mov word [fs:Ebda.cable_control], ATA_SECONDARY + 0x206
.cable:
    mov dx, [fs:Ebda.cable_control]
    mov al, ATA_RESET | ATA_QUIET
    out dx, al
    mov ax, 1
    call delay
    mov dx, [fs:Ebda.cable_control]
    mov al, ATA_QUIET
    out dx, al
    mov ax, 2
    call delay
    mov al, ATA_DEVICE_0
    call ata_probe
    mov al, ATA_DEVICE_1
    jmp ata_probe
; The function with the cables.
.is_ide:
    mov di, PCI_CLASS
    call pci_read
    shr eax, 16
    cmp ax, 0x0101
    jne .other
    mov [fs:Ebda.cable_pci], bx
.other:
    ret

; ata_probe: a device on a cable. In: AL, ATA_DEVICE_; Ebda.cable, the ports of its blocks.
ata_probe:
    mov [fs:Ebda.cable_unit], al
    mov dx, [fs:Ebda.cable]
    add dx, ATA_DEVICE
    out dx, al
    inc dx
    in al, dx                       ; ATA_STATUS
    cmp al, 0xff                    ; nothing drives the cable
    je .done
    mov bx, ATA_BUSY << 8
    mov ax, ATA_PATIENCE_MS
    call ata_wait
    jc .done
    mov al, [fs:Ebda.cable_unit]      ; a device 0 alone answers for device 1, but not as it
    sub dx, ATA_STATUS - ATA_DEVICE
    out dx, al
    sub dx, ATA_DEVICE - ATA_COUNT
    mov al, 0x55
    out dx, al
    inc dx
    mov al, 0xaa
    out dx, al
    dec dx
    in al, dx
    cmp al, 0x55
    jne .done
    inc dx
    in al, dx
    cmp al, 0xaa
    jne .done
    mov al, ATA_IDENTIFY
    mov ah, DRIVE_ATA
    call .identify
    jnc .there
    mov al, ATA_IDENTIFY_CD
    mov ah, DRIVE_ATA | DRIVE_IS_CD
    call .identify
    jc .done
.there:
    mov al, ah
    call drive_new
    jc .done
    mov ax, [fs:Ebda.cable]
    mov [fs:si + Drive.port], ax
    mov ax, [fs:Ebda.cable_control]
    mov [fs:si + Drive.control], ax
    mov ax, [fs:Ebda.cable_pci]
    mov [fs:si + Drive.pci], ax
    mov al, [fs:Ebda.cable_unit]
    mov [fs:si + Drive.unit], al
    jmp ata_identity
.done:
    ret
; The device's identity, into Ebda.sector. In: AL, the command. Out: carry set if there is none.
.identify:
    push ax
    mov dx, [fs:Ebda.cable]
    add dx, ATA_COMMAND
    out dx, al
    mov bx, ATA_BUSY << 8
    mov ax, ATA_PATIENCE_MS
    call ata_wait
    pop bx
    jc .no
    test al, ATA_FAILED | ATA_FAULT
    jnz .no
    test al, ATA_REQUEST
    jz .no
    sub dx, ATA_STATUS
    push fs
    pop es
    mov di, Ebda.sector
    mov cx, SECTOR / 4
    rep insd
    mov ax, bx
    clc
    ret
.no:
    mov ax, bx
    stc
    ret

; ata_wait: until bits of the status are 0 (BH) and, with them, others are 1 (BL, none or all of
; them), or an error shows. In: AX, milliseconds; DX, any port of the block. Out: AL, the status;
; DX, its port; carry set if it took too long. Clobbers EAX, BX.
ata_wait:
    or dl, ATA_STATUS
    push ax
    in al, dx                       ; often at once
    call .look
    jnc .now
    pop ax
    call timeout_start
.again:
    in al, dx
    call .look
    jnc .done
    call timeout_check
    jnc .again
.done:
    ret
.now:
    pop bx
    ret
.look:
    mov ah, al
    and ah, bh
    jnz .not
    test al, ATA_FAILED | ATA_FAULT
    jnz .seen
    mov ah, al
    and ah, bl
    cmp ah, bl
    jne .not
.seen:
    clc
    ret
.not:
    stc
    ret

; ata_identity: fills a drive from the identity in Ebda.sector. In: SI (of FS).
ata_identity:
    mov bx, Ebda.sector
    test byte [fs:si + Drive.kind], DRIVE_IS_CD
    jnz .name
    mov ax, [fs:bx + 1 * 2]
    mov [fs:si + Drive.real_cylinders], ax
    mov ax, [fs:bx + 3 * 2]
    mov [fs:si + Drive.real_heads], ax
    mov ax, [fs:bx + 6 * 2]
    mov [fs:si + Drive.real_per_track], ax
    mov eax, [fs:bx + 60 * 2]
    xor edx, edx
    test byte [fs:bx + 83 * 2 + 1], 1 << 2 ; 48-bit addresses
    jz .sectors
    mov eax, [fs:bx + 100 * 2]
    mov edx, [fs:bx + 102 * 2]
.sectors:
    mov [fs:si + Drive.sectors], eax
    mov [fs:si + Drive.sectors + 4], edx
    push bx
    call drive_geometry
    pop bx
.name:
    lea di, [si + Drive.name]       ; pairs of characters, swapped
    add bx, 27 * 2
    mov cx, 13
.pair:
    mov ax, [fs:bx]
    xchg al, ah
    mov [fs:di], ax
    add bx, 2
    add di, 2
    loop .pair
.trim:
    dec di
    lea ax, [si + Drive.name]
    cmp di, ax
    jb .done
    cmp byte [fs:di], ' '
    ja .done
    mov byte [fs:di], 0
    jmp .trim
.done:
    ret

; ata_transfer: see drive_transfer.
ata_transfer:
    mov eax, [fs:Ebda.request + Request.lba]
    mov edx, [fs:Ebda.request + Request.lba + 4]
    movzx ecx, word [fs:Ebda.request + Request.count]
    jcxz .nothing
    lea ebx, [eax + ecx]
    shr ebx, 28                     ; beyond 28 bits of address
    or ebx, edx
    mov ch, 0
    jz .short
    mov ch, ATA_READ_EXT - ATA_READ
.short:
    call ata_select
    jc .timeout
    jmp .address
.nothing:
    xor ah, ah
    ret
.address:
    mov eax, [fs:Ebda.request + Request.lba]
    mov ebx, eax
    mov dx, [fs:si + Drive.port]
    add dx, ATA_COUNT
    test ch, ch
    jz .low
    xor al, al                      ; the upper halves first
    out dx, al
    inc dx
    shr ebx, 24
    mov al, bl
    out dx, al
    inc dx
    mov ebx, [fs:Ebda.request + Request.lba + 4]
    mov al, bl
    out dx, al
    inc dx
    mov al, bh
    out dx, al
    sub dx, ATA_HIGH - ATA_COUNT
    mov ebx, [fs:Ebda.request + Request.lba]
.low:
    mov al, cl
    out dx, al
    inc dx
    mov al, bl
    out dx, al
    inc dx
    mov al, bh
    out dx, al
    inc dx
    shr ebx, 16
    mov al, bl
    out dx, al
    inc dx
    mov al, [fs:si + Drive.unit]
    or al, ATA_LBA
    test ch, ch
    jnz .device
    and bh, 0x0f
    or al, bh
.device:
    out dx, al
    inc dx
    mov al, ATA_READ
    cmp byte [fs:Ebda.request + Request.write], 0
    je .command
    mov al, ATA_WRITE
.command:
    add al, ch
    out dx, al
    xor ch, ch
    les di, [fs:Ebda.request + Request.buffer]
.sector:
    mov bx, ATA_BUSY << 8 | ATA_REQUEST
    mov ax, ATA_PATIENCE_MS
    call ata_wait
    jc .timeout
    test al, ATA_FAILED | ATA_FAULT
    jnz .failed
    sub dx, ATA_STATUS
    push cx
    mov cx, SECTOR / 4
    cmp byte [fs:Ebda.request + Request.write], 0
    jne .write
    rep insd
    jmp .moved
.write:
    push si
    mov si, di
    es rep outsd
    mov di, si
    pop si
.moved:
    pop cx
    mov ax, es                      ; DI stays small
    add ax, SECTOR / 16
    mov es, ax
    sub di, SECTOR
    inc word [fs:Ebda.request + Request.done]
    loop .sector
    mov bx, ATA_BUSY << 8
    mov ax, ATA_PATIENCE_MS
    call ata_wait
    jc .timeout
    test al, ATA_FAILED | ATA_FAULT
    jnz .failed
    xor ah, ah
    ret
.failed:
    mov ah, DISK_CONTROLLER
    test al, ATA_FAULT
    jnz .ends
    sub dx, ATA_STATUS - ATA_ERROR
    in al, dx
    mov ah, 0x10                    ; data that cannot be corrected
    test al, 1 << 6
    jnz .ends
    mov ah, DISK_NOT_FOUND
    test al, 1 << 4
    jnz .ends
    mov ah, DISK_CONTROLLER
    jmp .ends
.timeout:
    mov ah, DISK_TIMEOUT
.ends:
    stc
    ret

; ata_select: the drive listens, and will not interrupt. In: SI (of FS). Out: carry set if it is
; busy for too long. Clobbers EAX, BX, DX.
ata_select:
    mov dx, [fs:si + Drive.control]
    mov al, ATA_QUIET
    out dx, al
    mov dx, [fs:si + Drive.port]
    mov bx, ATA_BUSY << 8
    mov ax, ATA_PATIENCE_MS
    call ata_wait
    jc .done
    mov dx, [fs:si + Drive.port]
    add dx, ATA_DEVICE
    mov al, [fs:si + Drive.unit]
    out dx, al
    mov bx, ATA_BUSY << 8
    mov ax, ATA_PATIENCE_MS
    call ata_wait
.done:
    ret
