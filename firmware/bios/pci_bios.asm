; The PCI BIOS, for real mode (INT 1Ah B1h) and for protected mode (BIOS32 Service Directory). Its
; functions are written once and assembled twice.
;
; Sources: PCI BIOS Specification 2.1; Standard BIOS 32-bit Service Directory Proposal 0.4.

PCI_UNSUPPORTED equ 0x81
PCI_BAD_VENDOR  equ 0x83
PCI_NOT_FOUND   equ 0x86
PCI_BAD_REGISTER equ 0x87

; pci_functions: all of them. In: AL, which; further registers as the specification says. Out: AH,
; status, and carry set if that is not 0.
%macro pci_functions 0
    cmp al, 0x01
    je .present
    cmp al, 0x02
    je .find_device
    cmp al, 0x03
    je .find_class
    cmp al, 0x08
    jb .unsupported
    cmp al, 0x0d
    ja .unsupported
    ; 08h to 0Dh: read and write a byte, a word, a doubleword. In: BX; DI, the register; (E)CX.
    push edx
    push ebx
    push eax
    mov dl, al                      ; the register must be a multiple of the width
    sub dl, 0x08
    cmp dl, 3
    jb .width
    sub dl, 3
.width:
    mov dh, dl
    shr dh, 1
    add dl, dh                      ; the width less 1
    mov dh, 0xff
    test di, dx
    jnz .bad_register
    movzx ebx, bx
    shl ebx, 8
    or bx, di
    and bl, 0xfc
    or ebx, 1 << 31
    xchg eax, ebx
    mov dx, PCI_ADDRESS
    out dx, eax
    mov dx, di
    and dx, 3
    or dx, PCI_DATA
    cmp bl, 0x09
    jb .read_byte
    je .read_word
    cmp bl, 0x0b
    jb .read
    je .write_byte
    cmp bl, 0x0c
    je .write_word
    mov eax, ecx
    out dx, eax
    jmp .accessed
.write_word:
    mov ax, cx
    out dx, ax
    jmp .accessed
.write_byte:
    mov al, cl
    out dx, al
    jmp .accessed
.read:
    in eax, dx
    mov ecx, eax
    jmp .accessed
.read_word:
    in ax, dx
    mov cx, ax
    jmp .accessed
.read_byte:
    in al, dx
    mov cl, al
.accessed:
    pop eax
    pop ebx
    pop edx
    mov ah, 0
    clc
    ret
.bad_register:
    pop eax
    pop ebx
    pop edx
    mov ah, PCI_BAD_REGISTER
    stc
    ret
.unsupported:
    mov ah, PCI_UNSUPPORTED
    stc
    ret
.present:
    mov ax, 0x0001                  ; mechanism 1
    mov bx, 0x0210
    mov cl, 0                       ; the last bus
    mov edx, "PCI "
    clc
    ret
; 02h: the function with device CX and vendor DX, number SI. Out: BX.
.find_device:
    cmp dx, 0xffff
    je .bad_vendor
    push edx
    push ecx
    shl ecx, 16
    mov cx, dx
    mov dl, 0x00
    jmp .find
.bad_vendor:
    mov ah, PCI_BAD_VENDOR
    stc
    ret
; 03h: the function with class ECX, number SI. Out: BX.
.find_class:
    push edx
    push ecx
    shl ecx, 8
    mov dl, PCI_CLASS
.find:
    push esi
    push eax
    xor bx, bx
.next:
    push edx
    movzx eax, bx
    shl eax, 8
    mov al, dl
    or eax, 1 << 31
    mov dx, PCI_ADDRESS
    out dx, eax
    mov dx, PCI_DATA
    in eax, dx
    pop edx
    xor eax, ecx
    test dl, dl
    jz .whole
    shr eax, 8                      ; below a class is the revision
.whole:
    test eax, eax
    jnz .other
    sub si, 1
    jb .found
.other:
    inc bl
    jnz .next
    pop eax
    pop esi
    pop ecx
    pop edx
    mov ah, PCI_NOT_FOUND
    stc
    ret
.found:
    pop eax
    pop esi
    pop ecx
    pop edx
    mov ah, 0
    clc
    ret
%endmacro

pci_functions_16:
    pci_functions

; INT 1Ah B1h
pci_service:
    mov eax, caller_eax
    mov ebx, caller_ebx
    mov ecx, caller_ecx
    mov edx, caller_edx
    mov si, caller_si
    mov di, caller_di
    call pci_functions_16
    mov caller_ax, ax
    mov caller_ebx, ebx
    mov caller_ecx, ecx
    mov caller_edx, edx
    jc .failed
    clear_carry
    ret
.failed:
    set_carry
    ret

    bits 32

; bios32: the service directory. In: EAX, which service; EBX, 0. Out: AL, 0; EBX, the base of its
; segment; ECX, its length; EDX, its entry there.
bios32:
    cmp eax, "$PCI"
    mov al, 0x80
    jne .done
    test ebx, ebx
    mov al, 0x81
    jnz .done
    mov ebx, BIOS_SEGMENT * 16
    mov ecx, 0x1_0000
    mov edx, pci_bios_32
    mov al, 0
.done:
    retf

; pci_bios_32: In: AH, B1h; AL and so on as pci_functions.
pci_bios_32:
    cmp ah, 0xb1
    jne .unsupported
    call pci_functions_32
    retf
.unsupported:
    mov ah, PCI_UNSUPPORTED
    stc
    retf

pci_functions_32:
    pci_functions

    bits 16

BIOS32_ENTRY    equ bios32 - $$
    align 16
bios32_directory:
    db "_32_"
    dd BIOS_SEGMENT * 16 + bios32
    db 0                            ; revision
    db 1                            ; paragraphs
    db -("_" * 2 + "3" + "2" + BIOS_SEGMENT / 0x1000 + 1 + BIOS32_ENTRY / 256 + BIOS32_ENTRY) & 0xff
    times 5 db 0
