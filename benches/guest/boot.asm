; The boot sector that brings the guest where there is a BIOS but no -kernel: it loads the parts
; that the harness lists in it, and enters the first one, an ELF file that is loaded as it is, where
; its header says, in 32-bit protected mode.
;
;   nasm -f bin -o boot.bin boot.asm

BUFFER  equ 0x10000
AT_ONCE equ 64                     ; sectors of one call: 32 KiB

bits 16
org 0x7c00
    jmp 0:start
start:
    cli
    cld
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x7c00
    mov [drive], dl
    in al, 0x92                    ; A20
    or al, 2
    and al, 0xfe
    out 0x92, al
    mov bx, parts
.part:
    mov ebp, [bx + 8]              ; sectors left
    test ebp, ebp
    jz .enter
    mov edi, [bx]                  ; where it goes
    mov eax, [bx + 4]              ; its first sector
    mov [packet.sector], eax
.read:
    mov eax, AT_ONCE
    cmp eax, ebp
    jbe .count
    mov eax, ebp
.count:
    mov [packet.count], ax
    pushad
    mov si, packet
    mov dl, [drive]
    mov ah, 0x42                   ; extended read (EDD)
    sti
    int 0x13
    cli
    jc fail
    popad
    ; big real mode: the BIOS may have used the segments' limits itself
    lgdt [gdtr]
    mov ecx, cr0
    or cl, 1
    mov cr0, ecx
    mov dx, 0x10
    mov ds, dx
    mov es, dx
    and cl, 0xfe
    mov cr0, ecx
    xor dx, dx
    mov ds, dx
    mov es, dx
    movzx ecx, word [packet.count]
    sub ebp, ecx
    add [packet.sector], ecx
    shl ecx, 7
    mov esi, BUFFER
    a32 rep movsd
    test ebp, ebp
    jnz .read
    add bx, 12
    jmp .part
.enter:
    lgdt [gdtr]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp 8:protected
fail:
    mov si, message
.next:
    lodsb
    test al, al
    jz $
    mov dx, 0x3f8
    out dx, al
    jmp .next

bits 32
protected:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov fs, eax
    mov gs, eax
    xor ebx, ebx
    jmp dword [0x100018]            ; e_entry of the file

align 8, db 0
gdt: dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr: dw 23
    dd gdt
packet: db 16, 0
.count: dw 0
    dw 0, BUFFER >> 4
.sector: dd 0, 0
drive: db 0
message: db "@disk fails", 10, 0

    times 0x180 - ($ - $$) db 0
parts:                             ; address, first sector, sectors; ends with zeros
    times 0x1fe - ($ - $$) db 0
    dw 0xaa55
