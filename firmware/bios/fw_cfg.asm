; What the board's maker tells its firmware: fw_cfg, which QEMU and Trine have.
;
; Source: QEMU, docs/specs/fw_cfg.rst.

FW_CFG_SIGNATURE    equ 0x00
FW_CFG_DIRECTORY    equ 0x19
FW_CFG_NAME         equ 56          ; bytes of a file's name

; fw_cfg_find: Is there one?
fw_cfg_find:
    mov dx, FW_CFG_SELECT
    mov ax, FW_CFG_SIGNATURE
    out dx, ax
    call fw_cfg_dword
    cmp eax, "QEMU"
    sete [fs:Ebda.fw_cfg]
    ret

; fw_cfg_dword: Out: EAX, the next four bytes of the selected item. Clobbers DX.
fw_cfg_dword:
    push cx
    mov cx, 4
    mov dx, FW_CFG_DATA
.next:
    in al, dx
    ror eax, 8
    loop .next
    pop cx
    ret

; fw_cfg_open: selects a file. In: CS:SI, its name. Out: ECX, its length; or carry set. Clobbers
; EAX, EBX, DX, SI, DI.
fw_cfg_open:
    cmp byte [fs:Ebda.fw_cfg], 0
    je .none
    mov dx, FW_CFG_SELECT
    mov ax, FW_CFG_DIRECTORY
    out dx, ax
    call fw_cfg_dword
    bswap eax
    mov ecx, eax                    ; how many files
.file:
    sub ecx, 1
    jc .none
    call fw_cfg_dword
    bswap eax
    mov ebx, eax                    ; length
    call fw_cfg_dword
    xchg al, ah
    push ax                         ; the item that has it
    mov di, si
    mov dx, FW_CFG_DATA
    push cx
    mov cx, FW_CFG_NAME
    xor ah, ah                      ; what differs, and after the end nothing
.name:
    in al, dx
    test ah, 0x80
    jnz .skip
    cmp al, [cs:di]
    je .same
    or ah, 0x81                     ; another name
    jmp .skip
.same:
    inc di
    test al, al
    jnz .skip
    or ah, 0x80
.skip:
    loop .name
    pop cx
    test ah, 1
    pop ax
    jnz .file
    mov dx, FW_CFG_SELECT
    out dx, ax
    mov ecx, ebx
    clc
    ret
.none:
    stc
    ret
