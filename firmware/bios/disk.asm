; INT 13h: hard disks by cylinders, heads and sectors, and what is common to all drives.
;
; Sources: IBM PS/2 BIOS Interface Technical Reference (INT 13h); the geometry of large disks as in
; "BIOS Enhanced Disk Drive Specification" 3.0, annex B.

DISK_OK             equ 0x00
DISK_BAD_COMMAND    equ 0x01
DISK_NOT_FOUND      equ 0x04
DISK_CONTROLLER     equ 0x20
DISK_TIMEOUT        equ 0x80
DISK_NOT_READY      equ 0xaa

SECTOR              equ 512
PER_TRACK           equ 63          ; of disks that are addressed by sector anyway
COUNT_MAX           equ 128         ; sectors of one request: a segment's worth

; ------------------------------------------------------------------------------------------------
; Drives

; drive_new: room for another drive. In: AL, its kind. Out: SI (of FS), the drive; or carry set.
; Clobbers AX.
drive_new:
    test al, DRIVE_IS_CD
    jnz .cd
    movzx si, byte [fs:Ebda.disks]
    cmp si, DISKS_MAX
    jae .full
    inc byte [fs:Ebda.disks]
    inc byte [Bda.disks]
    jmp .there
.cd:
    movzx si, byte [fs:Ebda.cds]
    cmp si, CDS_MAX
    jae .full
    inc byte [fs:Ebda.cds]
    add si, DISKS_MAX
.there:
    shl si, 6
    add si, Ebda.drives
    mov [fs:si + Drive.kind], al
    clc
    ret
.full:
    stc
    ret

; drive_find: In: DL, a drive number from 80h on. Out: SI (of FS); carry set if there is none.
; Clobbers AX.
drive_find:
    mov al, dl
    sub al, FIRST_CD
    jae .cd
    mov al, dl
    sub al, 0x80
    cmp byte [fs:Ebda.emulation + Emulation.is_on], 0
    je .disk
    cmp byte [fs:Ebda.emulation + Emulation.drive], 0x80
    jne .disk
    sub al, 1                       ; the emulated one comes before all others
    jb .none
.disk:
    cmp al, [fs:Ebda.disks]
    jae .none
    movzx si, al
    jmp .there
.cd:
    cmp al, [fs:Ebda.cds]
    jae .none
    movzx si, al
    add si, DISKS_MAX
.there:
    shl si, 6
    add si, Ebda.drives
    clc
    ret
.none:
    stc
    ret

; drive_geometry: cylinders, heads and sectors as programs see them. In: SI (of FS), with its
; sectors and what it says itself.
drive_geometry:
    mov ax, [fs:si + Drive.real_cylinders]
    test ax, ax
    jz .large
    cmp ax, 1024
    ja .large
    mov [fs:si + Drive.cylinders], ax
    mov ax, [fs:si + Drive.real_heads]
    mov [fs:si + Drive.heads], ax
    mov ax, [fs:si + Drive.real_per_track]
    mov [fs:si + Drive.per_track], ax
    ret
.large:
    mov word [fs:si + Drive.per_track], PER_TRACK
    mov eax, [fs:si + Drive.sectors]
    cmp dword [fs:si + Drive.sectors + 4], 0
    je .divide
    mov eax, -1
.divide:
    xor edx, edx
    mov ecx, PER_TRACK
    div ecx                         ; tracks
    mov ecx, 16
.heads:
    mov ebx, ecx
    shl ebx, 10
    cmp eax, ebx
    jbe .enough
    add cx, cx
    cmp cx, 256
    jb .heads
    mov cx, 255
.enough:
    mov [fs:si + Drive.heads], cx
    xor edx, edx
    div ecx
    cmp eax, 1024
    jbe .cylinders
    mov ax, 1024
.cylinders:
    test ax, ax
    jnz .some
    inc ax
.some:
    mov [fs:si + Drive.cylinders], ax
    ret

; drive_transfer: does Ebda.request. In: SI (of FS). Out: AH, DISK_ status and carry set if it is
; not 0. Clobbers all but SI and BP.
drive_transfer:
    push si
    mov word [fs:Ebda.request + Request.done], 0
    mov eax, [fs:Ebda.request + Request.buffer]
    call far_normal
    mov [fs:Ebda.request + Request.buffer], eax
    mov al, [fs:si + Drive.kind]
    mov bx, ata_transfer
    cmp al, DRIVE_ATA
    je .do
    mov bx, virtio_transfer
    cmp al, DRIVE_VIRTIO
    je .do
    mov bx, ahci_transfer
    cmp al, DRIVE_AHCI
    je .do
    mov bx, cd_transfer
.do:
    call bx
    pop si
    ret

; far_normal: the same address with the smallest offset. In, out: EAX, a far pointer. Clobbers EBX.
far_normal:
    mov bx, ax
    and ax, 0x0f
    shr bx, 4
    shl ebx, 16
    add eax, ebx
    ret

; disk_tables_write: the drive parameter tables of the first two disks, at vectors 41h and 46h.
disk_tables_write:
    xor ax, ax
    mov es, ax
    mov word [es:0x41 * 4], Ebda.disk_tables
    mov [es:0x41 * 4 + 2], fs
    mov word [es:0x46 * 4], Ebda.disk_tables + 16
    mov [es:0x46 * 4 + 2], fs
    mov si, Ebda.drives
    mov di, Ebda.disk_tables
    mov cl, [fs:Ebda.disks]
    cmp cl, 2
    jbe .next
    mov cl, 2
.next:
    sub cl, 1
    jb .done
    mov ax, [fs:si + Drive.cylinders]
    mov [fs:di], ax
    mov [fs:di + 0x0c], ax          ; landing zone
    mov al, [fs:si + Drive.heads]
    mov [fs:di + 2], al
    mov word [fs:di + 5], -1        ; no precompensation
    mov byte [fs:di + 8], 0xc8      ; no retries; more than 8 heads
    mov al, [fs:si + Drive.per_track]
    mov [fs:di + 0x0e], al
    add si, Drive_size
    add di, 16
    jmp .next
.done:
    ret

; ------------------------------------------------------------------------------------------------
; INT 13h

service int_13, disk_service

disk_service:
    sti
    mov dl, caller_dl
    cmp byte [fs:Ebda.emulation + Emulation.is_on], 0
    je .real
    mov al, caller_ah
    sub al, 0x4b
    cmp al, 1
    jbe .emulation                  ; 4Bh, 4Ch: for whatever drive
    cmp dl, [fs:Ebda.emulation + Emulation.drive]
    je emulated_service
    cmp byte [fs:Ebda.emulation + Emulation.drive], 0
    jne .real
    cmp dl, 1
    jne .real
    mov dl, 0                       ; the drive that was A
.real:
    test dl, 0x80
    jz floppy_service
    call drive_find
    jc .no_drive
    mov al, caller_ah
    push si
    test byte [fs:si + Drive.kind], DRIVE_IS_CD
    mov si, disk_functions
    jz .disk
    mov si, cd_functions
.disk:
    mov ah, al
.next:
    cs lodsb
    cmp al, ah
    je .found
    cmp al, 0xff
    je .found
    add si, 2
    jmp .next
.found:
    mov bx, [cs:si]
    pop si
    jmp bx
.no_drive:
    cmp caller_ah, 0x15
    jne .bad
    mov caller_ah, 0                ; INT 13h 15h: no such drive
    clear_carry
    ret
.emulation:
    mov al, caller_ah
    cmp al, 0x4b
    je emulation_end
.bad:
    mov ah, DISK_BAD_COMMAND
    jmp disk_ends

; disk_ends: ends a function with a status. In: AH.
disk_ends:
    mov caller_ah, ah
    mov [Bda.disk_status], ah
    test ah, ah
    jnz .failed
    clear_carry
    ret
.failed:
    set_carry
    ret

disk_functions:
    code 0x00, disk_fine            ; reset
    code 0x01, disk_status
    code 0x02, disk_read
    code 0x03, disk_write
    code 0x04, disk_verify
    code 0x05, disk_fine            ; a track is formatted already
    code 0x08, disk_parameters
    code 0x09, disk_fine            ; drive parameters as they are
    code 0x0c, disk_fine            ; seek
    code 0x0d, disk_fine            ; reset
    code 0x10, disk_fine            ; ready
    code 0x11, disk_fine            ; recalibrate
    code 0x14, disk_fine            ; self-test
    code 0x15, disk_kind
    code 0x41, edd_check
    code 0x42, edd_read
    code 0x43, edd_write
    code 0x44, edd_verify
    code 0x45, edd_lock
    code 0x46, disk_bad             ; eject
    code 0x47, edd_seek
    code 0x48, edd_parameters
    code 0x49, edd_changed
    code 0x4e, edd_hardware
    code 0xff, disk_bad

cd_functions:
    code 0x00, disk_fine
    code 0x01, disk_status
    code 0x08, disk_bad
    code 0x09, disk_fine
    code 0x0c, disk_fine
    code 0x0d, disk_fine
    code 0x10, disk_fine
    code 0x11, disk_fine
    code 0x14, disk_fine
    code 0x15, cd_kind
    code 0x41, edd_check
    code 0x42, edd_read
    code 0x43, cd_protected
    code 0x44, edd_verify
    code 0x45, edd_lock
    code 0x46, disk_bad
    code 0x47, edd_seek
    code 0x48, edd_parameters
    code 0x49, edd_changed
    code 0x4a, emulation_start
    code 0x4b, emulation_end
    code 0x4e, edd_hardware
    code 0xff, disk_bad

disk_fine:
    mov ah, DISK_OK
    jmp disk_ends
disk_bad:
    mov ah, DISK_BAD_COMMAND
    jmp disk_ends
cd_protected:
    mov ah, 0x03
    jmp disk_ends

; 01h: Out: AH, the status of the last function.
disk_status:
    mov ah, [Bda.disk_status]
    mov caller_ah, ah
    mov byte [Bda.disk_status], 0
    clear_carry
    test ah, ah
    jz .done
    set_carry
.done:
    ret

; 02h, 03h: In: AL, sectors; CH, CL, DH, where; ES:BX. Out: AL, sectors moved.
disk_write:
    call chs_request
    jc disk_bad
    mov byte [fs:Ebda.request + Request.write], 1
    jmp disk_moves
disk_read:
    call chs_request
    jc disk_bad
disk_moves:
    call drive_transfer
    mov al, [fs:Ebda.request + Request.done]
    mov caller_al, al
    jmp disk_ends

; 04h: In: as 02h. That the sectors are there is enough.
disk_verify:
    call chs_request
    jc disk_bad
    jmp disk_fine

; chs_request: makes Ebda.request of the caller's registers. In: SI (of FS), the drive. Out: carry
; set if they make no sense.
chs_request:
    movzx eax, caller_ch
    mov bl, caller_cl
    shl bx, 2
    mov ah, bh
    and ah, 3                       ; cylinder
    cmp ax, [fs:si + Drive.cylinders]
    jae .bad
    movzx ecx, word [fs:si + Drive.heads]
    imul eax, ecx
    movzx edx, caller_dh
    cmp dx, cx
    jae .bad
    add eax, edx
    movzx ecx, word [fs:si + Drive.per_track]
    imul eax, ecx
    mov dl, caller_cl
    and dx, 0x3f
    jz .bad
    cmp dx, cx
    ja .bad
    dec dx
    add eax, edx
    mov [fs:Ebda.request + Request.lba], eax
    mov dword [fs:Ebda.request + Request.lba + 4], 0
    movzx ecx, caller_al
    mov [fs:Ebda.request + Request.count], cx
    cmp cx, COUNT_MAX
    ja .bad
    jcxz .bad
    mov ax, caller_bx
    mov [fs:Ebda.request + Request.buffer], ax
    mov ax, caller_es
    mov [fs:Ebda.request + Request.buffer + 2], ax
    mov byte [fs:Ebda.request + Request.write], 0
    jmp request_check
.bad:
    stc
    ret

; request_check: Are its sectors on the drive? In: SI (of FS). Out: carry set if not. Clobbers EAX,
; EDX.
request_check:
    mov eax, [fs:Ebda.request + Request.lba]
    mov edx, [fs:Ebda.request + Request.lba + 4]
    push ecx
    movzx ecx, word [fs:Ebda.request + Request.count]
    add eax, ecx
    pop ecx
    adc edx, 0
    jc .done
    sub eax, [fs:si + Drive.sectors]
    sbb edx, [fs:si + Drive.sectors + 4]
    jc .inside
    or eax, edx                     ; clears the carry
    jz .done
.outside:
    stc
    ret
.inside:
    clc
.done:
    ret

; 08h: Out: CH, CL, DH, the last cylinder, sector and head; DL, how many disks.
disk_parameters:
    mov ax, [fs:si + Drive.cylinders]
    dec ax
    mov caller_ch, al
    shl ah, 6
    or ah, [fs:si + Drive.per_track]
    mov caller_cl, ah
    mov al, [fs:si + Drive.heads]
    dec al
    mov caller_dh, al
    mov al, [fs:Ebda.disks]
    cmp byte [fs:Ebda.emulation + Emulation.is_on], 0
    je .count
    cmp byte [fs:Ebda.emulation + Emulation.drive], 0x80
    jne .count
    inc al
.count:
    mov caller_dl, al
    mov caller_al, 0
    jmp disk_fine

; 15h: Out: AH = 3; CX:DX, sectors.
disk_kind:
    mov ax, [fs:si + Drive.heads]
    mul word [fs:si + Drive.per_track]
    movzx eax, ax
    movzx edx, word [fs:si + Drive.cylinders]
    mul edx
    mov caller_dx, ax
    shr eax, 16
    mov caller_cx, ax
    mov caller_ah, 3
    mov byte [Bda.disk_status], 0
    clear_carry
    ret
cd_kind:
    mov caller_ah, 2                ; the medium can be changed
    clear_carry
    ret
