; Booting from a CD: El Torito, with an emulated drive or without.
;
; Source: "El Torito" Bootable CD-ROM Format Specification 1.0.

BOOT_RECORD         equ 17          ; the CD sector that says where the catalog is
RECORD_CATALOG      equ 0x47
ENTRY               equ 0x20        ; in the catalog's sector: the default entry
ENTRY_MEDIA         equ ENTRY + 1
ENTRY_SEGMENT       equ ENTRY + 2
ENTRY_COUNT         equ ENTRY + 6
ENTRY_LBA           equ ENTRY + 8

MEDIA_NONE          equ 0
MEDIA_DISK          equ 4

; cd_read: CD sectors. In: SI (of FS), the drive; EAX, the first; CX, how many; ES:BX, whereto. Out:
; AH, carry as drive_transfer.
cd_read:
    mov [fs:Ebda.request + Request.lba], eax
    mov dword [fs:Ebda.request + Request.lba + 4], 0
    mov [fs:Ebda.request + Request.count], cx
    mov [fs:Ebda.request + Request.buffer], bx
    mov [fs:Ebda.request + Request.buffer + 2], es
    mov byte [fs:Ebda.request + Request.write], 0
    call edd_pieces
    ret

; cd_boot: loads what a CD boots. In: DL, its drive number. Out: carry set if there is nothing, and
; SI (of CS) why; else DX, the drive number for the loaded code and EBX, a far pointer to it.
cd_boot:
    mov [fs:Ebda.emulation + Emulation.cd], dl
    call drive_find
    jc .no_medium
    mov eax, BOOT_RECORD
    call .sector
    jc .no_medium
    cmp dword [fs:di], 0x30444300   ; 00h "CD0"
    jne .not_bootable
    cmp word [fs:di + 4], "01"
    jne .not_bootable
    cmp dword [fs:di + 7], "EL T"
    jne .not_bootable
    mov eax, [fs:di + RECORD_CATALOG]
    call .sector
    jc .no_medium
    cmp byte [fs:di], 1             ; the validation entry
    jne .not_bootable
    cmp word [fs:di + 0x1e], 0xaa55
    jne .not_bootable
    cmp byte [fs:di + ENTRY], 0x88
    jne .not_bootable
    call .note
    test al, al
    jnz .emulated
    ; No emulation: as many sectors of 512 bytes as the entry says.
    mov es, [fs:Ebda.emulation + Emulation.load_segment]
    xor bx, bx
    mov eax, [fs:Ebda.emulation + Emulation.lba]
    mov cx, [fs:Ebda.emulation + Emulation.load_count]
    add cx, 3
    shr cx, 2
    call cd_read
    jc .no_medium
    mov dl, [fs:Ebda.emulation + Emulation.cd]
    jmp .loaded
.emulated:
    call emulation_on
    jc .no_medium
    mov es, [fs:Ebda.emulation + Emulation.load_segment]
    xor bx, bx
    xor eax, eax
    mov cx, [fs:Ebda.emulation + Emulation.load_count]
    call emulated_read
    jc .no_medium
    mov dl, [fs:Ebda.emulation + Emulation.drive]
.loaded:
    mov bx, [fs:Ebda.emulation + Emulation.load_segment]
    shl ebx, 16
    clc
    ret
.not_bootable:
    mov si, text_not_bootable
    stc
    ret
.no_medium:
    mov si, text_no_medium
    stc
    ret
; Sector EAX, to FS:DI.
.sector:
    push fs
    pop es
    mov bx, Ebda.sector
    mov cx, 1
    call cd_read
    mov di, Ebda.sector
    ret
; Fills Ebda.emulation from the catalog at FS:DI. Out: AL, the media.
.note:
    mov byte [fs:Ebda.emulation + Emulation.size], 0x13
    mov dl, [fs:Ebda.emulation + Emulation.cd]
    mov al, dl
    sub al, FIRST_CD
    mov [fs:Ebda.emulation + Emulation.controller], al
    mov eax, [fs:di + ENTRY_LBA]
    mov [fs:Ebda.emulation + Emulation.lba], eax
    mov ax, [fs:di + ENTRY_SEGMENT]
    test ax, ax
    jnz .segment
    mov ax, 0x07c0
.segment:
    mov [fs:Ebda.emulation + Emulation.load_segment], ax
    mov ax, [fs:di + ENTRY_COUNT]
    test ax, ax
    jnz .count
    inc ax
.count:
    mov [fs:Ebda.emulation + Emulation.load_count], ax
    mov al, [fs:di + ENTRY_MEDIA]
    and al, 0x0f
    mov [fs:Ebda.emulation + Emulation.media], al
    mov byte [fs:Ebda.emulation + Emulation.drive], dl
    cmp al, MEDIA_NONE
    je .noted
    mov byte [fs:Ebda.emulation + Emulation.drive], 0
    cmp al, MEDIA_DISK
    jb .noted
    mov byte [fs:Ebda.emulation + Emulation.drive], 0x80
.noted:
    ret

; emulation_on: the emulated drive answers. In: SI (of FS), the CD drive. Out: carry set if its
; image cannot be read. Clobbers all but SI.
emulation_on:
    movzx bx, byte [fs:Ebda.emulation + Emulation.media]
    cmp bl, MEDIA_DISK
    jae .disk
    mov byte [fs:Ebda.emulation + Emulation.cylinders], 80 - 1
    mov byte [fs:Ebda.emulation + Emulation.heads], 2 - 1
    mov al, [cs:bx + .per_track - 1]
    mov [fs:Ebda.emulation + Emulation.sectors], al
    jmp .on
; A disk: its first partition ends where the geometry does.
.disk:
    push fs
    pop es
    mov bx, Ebda.sector
    mov eax, [fs:Ebda.emulation + Emulation.lba]
    mov cx, 1
    call cd_read
    jc .done
    mov ax, [fs:Ebda.sector + 0x1be + 6] ; sector and cylinder of its end
    mov [fs:Ebda.emulation + Emulation.sectors], al
    mov [fs:Ebda.emulation + Emulation.cylinders], ah
    mov al, [fs:Ebda.sector + 0x1be + 5]
    mov [fs:Ebda.emulation + Emulation.heads], al
    test byte [fs:Ebda.emulation + Emulation.sectors], 0x3f
    jnz .on
    stc
    ret
.on:
    mov byte [fs:Ebda.emulation + Emulation.is_on], 1
    clc
.done:
    ret
.per_track:
    db 15, 18, 36

; emulated_read: sectors of 512 bytes of the emulated drive. In: EAX, the first; CX, how many;
; ES:BX, whereto. Out: AH, carry as drive_transfer; DX, how many were read.
emulated_read:
    push bp
    mov edi, -1                     ; the CD sector in Ebda.sector
    xor dx, dx
.next:
    jcxz .done
    push eax
    shr eax, 2
    add eax, [fs:Ebda.emulation + Emulation.lba]
    cmp eax, edi
    je .there
    mov edi, eax
    pushad
    push es
    mov dl, [fs:Ebda.emulation + Emulation.cd]
    push eax
    sub dl, FIRST_CD
    movzx si, dl
    add si, DISKS_MAX
    shl si, 6
    add si, Ebda.drives
    pop eax
    push fs
    pop es
    mov bx, Ebda.sector
    mov cx, 1
    call cd_read
    pop es
    mov bp, ax
    popad
    jc .failed
.there:
    pop eax
    push eax
    push cx
    push di
    and ax, 3
    shl ax, 9
    lea si, [Ebda.sector]
    add si, ax
    mov di, bx
    mov cx, SECTOR / 2
    fs rep movsw
    pop di
    pop cx
    pop eax
    mov si, es                      ; BX stays
    add si, SECTOR / 16
    mov es, si
    inc eax
    inc dx
    dec cx
    jmp .next
.failed:
    pop eax
    pop bp
    mov ah, DISK_NOT_READY
    stc
    ret
.done:
    pop bp
    xor ah, ah
    ret

; emulated_service: INT 13h for the emulated drive.
emulated_service:
    mov al, caller_ah
    mov si, emulated_functions
    jmp by_code

emulated_functions:
    code 0x00, disk_fine
    code 0x01, disk_status
    code 0x02, emulated_reads
    code 0x03, cd_protected
    code 0x04, emulated_verify
    code 0x05, cd_protected
    code 0x08, emulated_parameters
    code 0x09, disk_fine
    code 0x0c, disk_fine
    code 0x0d, disk_fine
    code 0x10, disk_fine
    code 0x11, disk_fine
    code 0x14, disk_fine
    code 0x15, emulated_kind
    code 0x4a, emulation_start
    code 0xff, disk_bad

; 02h, 04h
emulated_verify:
    call emulated_address
    jc disk_bad
    jmp disk_fine
emulated_reads:
    call emulated_address
    jc disk_bad
    movzx cx, caller_al
    mov es, caller_es
    mov bx, caller_bx
    call emulated_read
    mov caller_al, dl
    jmp disk_ends

; emulated_address: In: the caller's CH, CL, DH. Out: EAX, the sector; carry set if there is none.
emulated_address:
    movzx ebx, byte [fs:Ebda.emulation + Emulation.heads]
    movzx edx, caller_dh
    cmp bx, dx
    jb .done
    movzx eax, caller_ch
    mov cl, caller_cl
    shl cx, 2
    mov ah, ch
    and ah, 3
    inc bx
    imul eax, ebx
    add eax, edx
    movzx ecx, byte [fs:Ebda.emulation + Emulation.sectors]
    and cl, 0x3f
    imul eax, ecx
    mov dl, caller_cl
    and dx, 0x3f
    jz .bad
    cmp cx, dx
    jb .done
    add eax, edx
    dec eax
    clc
.done:
    ret
.bad:
    stc
    ret

; 08h: Out: as of any drive; BL, kind of floppy, and ES:DI its table.
emulated_parameters:
    mov al, [fs:Ebda.emulation + Emulation.cylinders]
    mov caller_ch, al
    mov al, [fs:Ebda.emulation + Emulation.sectors]
    mov caller_cl, al
    mov al, [fs:Ebda.emulation + Emulation.heads]
    mov caller_dh, al
    mov caller_al, 0
    cmp byte [fs:Ebda.emulation + Emulation.drive], 0
    jne .disk
    movzx bx, byte [fs:Ebda.emulation + Emulation.media]
    mov al, [cs:bx + .kinds - 1]
    mov caller_bl, al
    mov caller_dl, 1
    mov caller_es, BIOS_SEGMENT
    mov caller_di, FIXED_FLOPPY_TABLE
    jmp disk_fine
.disk:
    mov al, [fs:Ebda.disks]
    inc al
    mov caller_dl, al
    jmp disk_fine
.kinds:
    db 2, 4, 6

; 15h
emulated_kind:
    cmp byte [fs:Ebda.emulation + Emulation.drive], 0
    mov ah, 1
    je .kind
    mov ah, 3
.kind:
    mov caller_ah, ah
    clear_carry
    ret

; 4Ah: starts an emulation that DS:SI describes. 4Bh: ends it. In: AL, 0, or 1 to tell alone; DS:SI,
; where to tell.
emulation_start:
    jmp disk_bad
emulation_end:
    mov es, caller_ds
    mov di, caller_si
    mov si, Ebda.emulation
    mov cx, Emulation.is_on - Emulation.size
    fs rep movsb
    cmp byte [fs:Ebda.emulation + Emulation.size], 0
    je disk_bad                     ; nothing was booted from a CD
    cmp caller_al, 0
    jne disk_fine
    mov byte [fs:Ebda.emulation + Emulation.is_on], 0
    jmp disk_fine
