; CD drives: packets over ATA, and what is the same of all CD drives.
;
; Sources: ATA/ATAPI-6 (T13 1410D), section 9.11 (PACKET); SFF-8020i; MMC-3 (READ (10)).

CD_SECTOR       equ 2048
SCSI_READY      equ 0x00            ; TEST UNIT READY
SCSI_SENSE      equ 0x03            ; REQUEST SENSE
SCSI_READ_10    equ 0x28

; cd_transfer: see drive_transfer; sectors have 2048 bytes.
cd_transfer:
    cmp byte [fs:Ebda.request + Request.write], 0
    mov ah, 0x03
    jne .failed
    mov cx, 3                       ; a changed medium is told once, as an error
.again:
    push cx
    call .packet
    mov eax, [fs:Ebda.request + Request.buffer]
    movzx ecx, word [fs:Ebda.request + Request.count]
    shl ecx, 11
    call packet_send
    pop cx
    jnc .done
    push cx
    call sense_clear
    pop cx
    loop .again
    mov ah, DISK_NOT_READY
.failed:
    stc
    ret
.done:
    mov ax, [fs:Ebda.request + Request.count]
    mov [fs:Ebda.request + Request.done], ax
    xor ah, ah
    ret
.packet:
    call packet_clear
    mov byte [fs:Ebda.packet], SCSI_READ_10
    mov eax, [fs:Ebda.request + Request.lba]
    bswap eax
    mov [fs:Ebda.packet + 2], eax
    mov ax, [fs:Ebda.request + Request.count]
    xchg al, ah
    mov [fs:Ebda.packet + 7], ax
    ret

; packet_clear: Clobbers EAX.
packet_clear:
    xor eax, eax
    mov [fs:Ebda.packet], eax
    mov [fs:Ebda.packet + 4], eax
    mov [fs:Ebda.packet + 8], eax
    mov [fs:Ebda.packet + 12], eax
    ret

; sense_clear: asks what was wrong, for the drive to forget it. In: SI (of FS).
sense_clear:
    call packet_clear
    mov byte [fs:Ebda.packet], SCSI_SENSE
    mov byte [fs:Ebda.packet + 4], 18
    mov ax, fs
    shl eax, 16
    mov ax, Ebda.sector
    mov ecx, 18
; packet_send: a command that reads. In: SI (of FS); Ebda.packet; EAX, far pointer to a buffer; ECX,
; its bytes. Out: carry set if it failed.
packet_send:
    cmp byte [fs:si + Drive.kind], DRIVE_AHCI | DRIVE_IS_CD
    je ahci_packet
    push ecx
    push eax
    call ata_select
    jc .failed
    mov dx, [fs:si + Drive.port]
    inc dx
    xor al, al                      ; no DMA
    out dx, al
    add dx, ATA_MID - ATA_ERROR
    xor al, al                      ; at most 32 KiB at a time: no segment is crossed
    out dx, al
    inc dx
    mov al, 0x80
    out dx, al
    add dx, ATA_COMMAND - ATA_HIGH
    mov al, ATA_PACKET
    out dx, al
    mov bx, ATA_BUSY << 8 | ATA_REQUEST
    mov ax, ATA_PATIENCE_MS
    call ata_wait
    jc .failed
    test al, ATA_FAILED
    jnz .failed
    sub dx, ATA_STATUS
    push si
    mov si, Ebda.packet
    mov cx, 6
    fs rep outsw
    pop si
    pop eax
    mov di, ax
    shr eax, 16
    mov es, ax
    pop ecx
.part:
    mov bx, ATA_BUSY << 8
    mov ax, ATA_PATIENCE_MS
    call ata_wait
    jc .done
    test al, ATA_FAILED
    jnz .no
    test al, ATA_REQUEST
    jz .done                        ; that was all; carry is clear
    sub dx, ATA_STATUS - ATA_MID
    in al, dx
    mov bl, al
    inc dx
    in al, dx
    mov bh, al                      ; bytes of this part
    movzx ebx, bx
    cmp ebx, ecx
    ja .no                          ; more than was asked for
    sub ecx, ebx
    sub dx, ATA_HIGH
    push cx
    mov cx, bx
    inc cx
    shr cx, 1
    rep insw
    pop cx
    mov ax, di                      ; DI stays small
    shr ax, 4
    mov bx, es
    add bx, ax
    mov es, bx
    and di, 0x0f
    jmp .part
.failed:
    pop eax
    pop ecx
.no:
    stc
.done:
    ret
