; Memory: how much there is, the memory map, moves beyond 1 MiB, and the 21st address line.
;
; Source: ACPI specification 6.3, chapter 15 (E820h, E801h).

MEMORY_RAM      equ 1
MEMORY_RESERVED equ 2
MEMORY_AREA     equ 20              ; bytes of an area: base, length, kind
SMAP            equ 0x534d4150      ; "SMAP"

TABLES_AT       equ 0xe_0000        ; tables and this image: reserved up to 1 MiB

; memory_find: what the CMOS says of memory, and what fw_cfg adds; makes the memory map.
memory_find:
    mov al, CMOS_RAM_64K
    call cmos_word
    shl eax, 16
    jz .small
    add eax, 16 << 20
    jmp .low
.small:
    mov al, CMOS_RAM_1K
    call cmos_word
    shl eax, 10
    add eax, 1 << 20
.low:
    mov [fs:Ebda.low_ram], eax
    mov al, CMOS_HIGH_RAM
    call cmos_word
    mov ebx, eax
    mov al, CMOS_HIGH_RAM + 2
    call cmos_read
    movzx edx, al
    mov eax, ebx
    shl eax, 16
    mov [fs:Ebda.high_ram], eax
    mov [fs:Ebda.high_ram + 4], edx
    ; The map.
    xor ebx, ebx
    mov eax, EBDA_SEGMENT * 16
    mov cl, MEMORY_RAM
    call .area_until
    mov ebx, eax
    mov eax, 0xa_0000
    mov cl, MEMORY_RESERVED
    call .area_until
    mov ebx, TABLES_AT
    mov eax, 1 << 20
    call .area_until
    mov ebx, eax
    mov eax, [fs:Ebda.low_ram]
    mov cl, MEMORY_RAM
    call .area_until
    call map_read
    mov ebx, 0xffff_0000            ; the ROM
    xor eax, eax
    mov cl, MEMORY_RESERVED
    call .area_until
    mov eax, [fs:Ebda.high_ram]
    mov edx, [fs:Ebda.high_ram + 4]
    mov esi, eax
    or esi, edx
    jz .done
    mov edi, 1
    xor ebx, ebx
    mov cl, MEMORY_RAM
    jmp map_add
.done:
    ret
; An area below 4 GiB. In: EBX, its start; EAX, its end; CL.
.area_until:
    push eax
    sub eax, ebx
    xor edx, edx
    xor edi, edi
    call map_add
    pop eax
    ret

; cmos_word: In: AL, the first of two registers. Out: EAX. Clobbers EBX.
cmos_word:
    mov bl, al
    inc ax
    call cmos_read
    mov ah, al
    mov al, bl
    mov bh, ah
    call cmos_read
    mov ah, bh
    movzx eax, ax
    ret

; map_add: an area of the memory map. In: EDI:EBX, its start; EDX:EAX, its length; CL, its kind.
; Clobbers SI.
map_add:
    movzx si, byte [fs:Ebda.map_entries]
    cmp si, 24
    jae .full
    imul si, si, MEMORY_AREA
    mov [fs:si + Ebda.map], ebx
    mov [fs:si + Ebda.map + 4], edi
    mov [fs:si + Ebda.map + 8], eax
    mov [fs:si + Ebda.map + 12], edx
    mov [fs:si + Ebda.map + 16], cl
    inc byte [fs:Ebda.map_entries]
.full:
    ret

; map_read: what fw_cfg's file etc/e820 has reserved, and its RAM from 4 GiB on. Clobbers all.
map_read:
    mov si, .name
    call fw_cfg_open
    jc .done
.next:
    sub ecx, MEMORY_AREA
    jb .done
    push ecx
    mov si, MEMORY_AREA / 4
    mov di, Ebda.sector
.word:
    call fw_cfg_dword
    mov [fs:di], eax
    add di, 4
    dec si
    jnz .word
    mov ebx, [fs:Ebda.sector]
    mov edi, [fs:Ebda.sector + 4]
    mov eax, [fs:Ebda.sector + 8]
    mov edx, [fs:Ebda.sector + 12]
    mov cl, [fs:Ebda.sector + 16]
    cmp cl, MEMORY_RAM
    jne .add
    test edi, edi
    jz .known                       ; the CMOS told
    mov dword [fs:Ebda.high_ram], 0
    mov dword [fs:Ebda.high_ram + 4], 0
.add:
    call map_add
.known:
    pop ecx
    jmp .next
.done:
    ret
.name:
    db "etc/e820", 0

; ------------------------------------------------------------------------------------------------
; INT 15h E8h

memory_service:
    mov al, caller_al
    cmp al, 0x20
    je memory_map
    cmp al, 0x01
    je memory_two_counts
    cmp al, 0x81
    je memory_two_counts
    jmp system_unknown

; E820h: an area of the memory map. In: EDX, "SMAP"; EBX, 0 or what the last call gave; ECX, bytes
; at ES:DI. Out: EAX, "SMAP"; ECX, bytes; EBX, 0 at the end.
memory_map:
    cmp caller_edx, SMAP
    jne system_unknown
    cmp caller_ecx, MEMORY_AREA
    jb system_unknown
    mov eax, caller_ebx
    movzx ecx, byte [fs:Ebda.map_entries]
    cmp eax, ecx
    jae system_unknown
    imul si, ax, MEMORY_AREA
    add si, Ebda.map
    inc eax
    cmp eax, ecx
    jb .more
    xor eax, eax
.more:
    mov caller_ebx, eax
    mov es, caller_es
    mov di, caller_di
    mov cx, MEMORY_AREA / 2
    fs rep movsw
    mov caller_eax, SMAP
    mov caller_ecx, MEMORY_AREA
    clear_carry
    ret

; E801h, E881h: Out: AX = CX, KiB from 1 MiB to 16 MiB; BX = DX, 64 KiB beyond.
memory_two_counts:
    mov eax, [fs:Ebda.low_ram]
    mov ebx, 16 << 20
    cmp eax, ebx
    jae .beyond
    mov ebx, eax
.beyond:
    sub eax, ebx
    shr eax, 16
    sub ebx, 1 << 20
    shr ebx, 10
    cmp caller_al, 0x01
    je .words
    mov caller_ebx, eax
    mov caller_edx, eax
    mov caller_eax, ebx
    mov caller_ecx, ebx
    clear_carry
    ret
.words:
    mov caller_bx, ax
    mov caller_dx, ax
    mov caller_ax, bx
    mov caller_cx, bx
    clear_carry
    ret

; 88h: Out: AX, KiB from 1 MiB to 64 MiB.
memory_beyond_1m:
    mov eax, [fs:Ebda.low_ram]
    cmp eax, 64 << 20
    jb .below
    mov eax, 64 << 20
.below:
    sub eax, 1 << 20
    shr eax, 10
    mov caller_ax, ax
    clear_carry
    ret

; 87h: moves memory. In: CX, words; ES:SI, six descriptors, of which the third tells from where and
; the fourth whereto. Out: AH = 0.
move_memory:
    call flat_is_possible
    jc .fails
    call a20_get
    push ax
    call a20_on
    mov es, caller_es
    mov bx, caller_si
    mov eax, [es:bx + 0x10 + 2]
    and eax, 0xff_ffff
    movzx esi, byte [es:bx + 0x10 + 7]
    shl esi, 24
    or esi, eax
    mov eax, [es:bx + 0x18 + 2]
    and eax, 0xff_ffff
    movzx edi, byte [es:bx + 0x18 + 7]
    shl edi, 24
    or edi, eax
    movzx ecx, caller_cx
    add ecx, ecx
    call flat_move
    pop ax
    call a20_set
    jmp system_fine
.fails:
    mov caller_ah, 3
    set_carry
    ret

; ------------------------------------------------------------------------------------------------
; The 21st address line, by the PS/2's port 92h

; a20_on. Clobbers AL.
a20_on:
    mov al, 1
; a20_set: In: AL, 0 or 1. Clobbers AL.
a20_set:
    push cx
    mov cl, al
    add cl, cl
    in al, PORT_92
    and al, ~3
    or al, cl
    out PORT_92, al
    pop cx
    ret

; a20_get: Out: AL, 0 or 1.
a20_get:
    in al, PORT_92
    shr al, 1
    and al, 1
    ret

; INT 15h 24h: AL, 0 off, 1 on, 2 which? (AL), 3 by what? (BX).
a20_service:
    mov al, caller_al
    cmp al, 1
    jbe .set
    cmp al, 3
    jb .get
    ja system_unknown
    mov caller_bx, 3                ; keyboard controller and port 92h
    jmp system_fine
.set:
    call a20_set
    jmp system_fine
.get:
    call a20_get
    mov caller_al, al
    jmp system_fine
