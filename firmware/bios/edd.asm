; INT 13h 41h to 49h: drives addressed by sector.
;
; Source: BIOS Enhanced Disk Drive Specification 3.0 (T13 1226DT).

struc DiskAddress
    .size           resb 1
                    resb 1
    .count          resw 1
    .buffer         resd 1
    .lba            resd 2
    .flat           resd 2
endstruc

struc DriveParameters
    .size           resw 1
    .flags          resw 1
    .cylinders      resd 1
    .heads          resd 1
    .per_track      resd 1
    .sectors        resd 2
    .sector_bytes   resw 1
    .dpte           resd 1          ; far pointer to the device parameter table extension; none
    .key            resw 1          ; BEDDh: a path follows
    .path_size      resb 1
                    resb 3
    .bus            resb 4
    .interface      resb 8
    .interface_path resd 2
    .device_path    resd 2
                    resb 1
    .checksum       resb 1
endstruc

; 41h: In: BX = 55AAh. Out: BX = AA55h; AH, the version; CX, what there is.
edd_check:
    cmp caller_bx, 0x55aa
    jne disk_bad
    mov caller_bx, 0xaa55
    mov caller_ah, 0x30
    mov caller_cx, 0x07             ; 42h to 44h, 47h, 48h; locking; 48h's and 4Eh
    clear_carry
    ret

; 42h, 43h: In: DS:SI, a DiskAddress. Out: its count, sectors moved.
edd_write:
    mov al, 1
    jmp edd_moves
edd_read:
    mov al, 0
edd_moves:
    call edd_request
    jc disk_bad
    call edd_pieces
    mov es, caller_ds
    mov bx, caller_si
    mov cx, [fs:Ebda.moved]
    mov [es:bx + DiskAddress.count], cx
    jmp disk_ends

; edd_pieces: does Ebda.request, COUNT_MAX sectors at a time. In: SI (of FS). Out: AH, carry;
; Ebda.moved, sectors moved.
edd_pieces:
    mov cx, [fs:Ebda.request + Request.count]
    xor dx, dx                      ; moved
.piece:
    mov ax, COUNT_MAX
    test byte [fs:si + Drive.kind], DRIVE_IS_CD
    jz .size
    mov ax, COUNT_MAX / 4
.size:
    cmp cx, ax
    jae .take
    mov ax, cx
.take:
    mov [fs:Ebda.request + Request.count], ax
    push ax
    push cx
    push dx
    push dword [fs:Ebda.request + Request.lba]
    push dword [fs:Ebda.request + Request.lba + 4]
    push dword [fs:Ebda.request + Request.buffer]
    call drive_transfer
    pop dword [fs:Ebda.request + Request.buffer]
    pop dword [fs:Ebda.request + Request.lba + 4]
    pop dword [fs:Ebda.request + Request.lba]
    pop dx
    pop cx
    pop bx
    jc .ends
    add dx, bx
    sub cx, bx
    jz .ends                        ; and carry is clear
    push edx
    movzx edx, bx
    add [fs:Ebda.request + Request.lba], edx
    adc dword [fs:Ebda.request + Request.lba + 4], 0
    pop edx
    mov ax, SECTOR / 16
    test byte [fs:si + Drive.kind], DRIVE_IS_CD
    jz .advance
    mov ax, 2048 / 16
.advance:
    push dx
    mul bx
    pop dx
    add [fs:Ebda.request + Request.buffer + 2], ax
    jmp .piece
.ends:
    jnc .done
    add dx, [fs:Ebda.request + Request.done]
    stc
.done:
    mov [fs:Ebda.moved], dx
    ret

; 44h: In: as 42h.
edd_verify:
    mov al, 0
    call edd_request
    jc disk_bad
    jmp disk_fine

; 47h: In: as 42h.
edd_seek equ edd_verify

; edd_request: makes Ebda.request of the caller's DiskAddress. In: AL, does it write? SI (of FS).
; Out: carry set if it makes no sense.
edd_request:
    mov [fs:Ebda.request + Request.write], al
    mov es, caller_ds
    mov bx, caller_si
    cmp byte [es:bx + DiskAddress.size], 16
    jb .bad
    mov eax, [es:bx + DiskAddress.lba]
    mov [fs:Ebda.request + Request.lba], eax
    mov eax, [es:bx + DiskAddress.lba + 4]
    mov [fs:Ebda.request + Request.lba + 4], eax
    mov eax, [es:bx + DiskAddress.buffer]
    cmp eax, -1                     ; a flat address follows
    je .bad
    mov [fs:Ebda.request + Request.buffer], eax
    mov ax, [es:bx + DiskAddress.count]
    mov [fs:Ebda.request + Request.count], ax
    test byte [fs:si + Drive.kind], DRIVE_IS_CD
    jz request_check
    ret                             ; and carry is clear
.bad:
    stc
    ret

; 45h: In: AL, 0 lock, 1 unlock, 2 state. Nothing can be locked.
edd_lock:
    cmp caller_al, 2
    ja disk_bad
    mov caller_al, 0
    jmp disk_fine

; 49h: Has the medium been changed?
edd_changed equ disk_fine

; 4Eh: In: AL, what to set up for the hardware. It is as it is.
edd_hardware:
    cmp caller_al, 6
    ja disk_bad
    mov caller_al, 0
    jmp disk_fine

; 48h: In: DS:SI, a DriveParameters with its size.
edd_parameters:
    mov es, caller_ds
    mov di, caller_si
    mov cx, [es:di + DriveParameters.size]
    mov dx, DriveParameters.dpte
    cmp cx, dx
    jb disk_bad
    mov ax, DriveParameters.key
    cmp cx, ax
    jb .size
    mov dx, ax
    cmp cx, DriveParameters_size
    jb .size
    mov dx, DriveParameters_size
.size:
    push di                         ; all of it is zero first
    push dx
    mov cx, dx
    xor al, al
    rep stosb
    pop dx
    pop di
    mov [es:di + DriveParameters.size], dx
    test byte [fs:si + Drive.kind], DRIVE_IS_CD
    jnz .cd
    mov word [es:di + DriveParameters.flags], 1 << 1 ; the geometry is valid
    mov word [es:di + DriveParameters.sector_bytes], SECTOR
    movzx eax, word [fs:si + Drive.cylinders]
    movzx ecx, word [fs:si + Drive.heads]
    movzx ebx, word [fs:si + Drive.per_track]
    cmp word [fs:si + Drive.real_cylinders], 0
    je .geometry
    movzx eax, word [fs:si + Drive.real_cylinders]
    movzx ecx, word [fs:si + Drive.real_heads]
    movzx ebx, word [fs:si + Drive.real_per_track]
.geometry:
    mov [es:di + DriveParameters.cylinders], eax
    mov [es:di + DriveParameters.heads], ecx
    mov [es:di + DriveParameters.per_track], ebx
    mov eax, [fs:si + Drive.sectors]
    mov [es:di + DriveParameters.sectors], eax
    mov eax, [fs:si + Drive.sectors + 4]
    mov [es:di + DriveParameters.sectors + 4], eax
    jmp .extension
.cd:
    mov word [es:di + DriveParameters.flags], 1 << 2 | 1 << 4 | 1 << 6 ; removable
    mov word [es:di + DriveParameters.sector_bytes], 2048
    mov dword [es:di + DriveParameters.sectors], -1
    mov dword [es:di + DriveParameters.sectors + 4], -1
.extension:
    cmp dx, DriveParameters.key
    jb disk_fine
    mov dword [es:di + DriveParameters.dpte], -1
    cmp dx, DriveParameters_size
    jb disk_fine
    mov word [es:di + DriveParameters.key], 0xbedd
    mov byte [es:di + DriveParameters.path_size], DriveParameters_size - DriveParameters.key
    mov dword [es:di + DriveParameters.bus], "PCI "
    mov bx, [fs:si + Drive.pci]
    mov [es:di + DriveParameters.interface_path], bh
    mov al, bl
    shr al, 3
    mov [es:di + DriveParameters.interface_path + 1], al
    and bl, 7
    mov [es:di + DriveParameters.interface_path + 2], bl
    mov dword [es:di + DriveParameters.interface + 4], "    "
    mov al, [fs:si + Drive.kind]
    and al, ~DRIVE_IS_CD
    cmp al, DRIVE_VIRTIO
    mov eax, "SCSI"
    je .interface
    mov al, [fs:si + Drive.unit]
    cmp byte [fs:si + Drive.kind], DRIVE_AHCI
    mov ebx, "SATA"
    je .unit
    shr al, 4
    and al, 1
    mov ebx, "ATA "
    cmp word [fs:si + Drive.port], ATA_SECONDARY
    jne .unit
    mov byte [es:di + DriveParameters.interface_path + 3], 1
.unit:
    mov [es:di + DriveParameters.device_path], al
    mov eax, ebx
.interface:
    mov [es:di + DriveParameters.interface], eax
    mov bx, di
    mov cx, DriveParameters.checksum - DriveParameters.key
    xor al, al
.sum:
    add al, [es:bx + DriveParameters.key]
    inc bx
    loop .sum
    neg al
    mov [es:di + DriveParameters.checksum], al
    jmp disk_fine
