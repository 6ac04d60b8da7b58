; PCI: configuration space by mechanism 1, and what every function is given after a reset:
; addresses, interrupts, decoders.
;
; A function is called BBDDDDDFFF in BX: bus, device, function. There are no bridges to further
; buses. Sources: PCI Local Bus Specification 3.0, chapters 3.2.2.3 and 6; Intel 82371SB datasheet,
; section 2.2 (PIRQ route control), 2.3 (IDE timing); Intel 82371AB datasheet, section 7.1 (power
; management).

PCI_COMMAND     equ 0x04
PCI_CLASS       equ 0x08
PCI_HEADER      equ 0x0e
PCI_BAR_0       equ 0x10
PCI_ROM         equ 0x30
PCI_CAPABILITY  equ 0x34
PCI_LINE        equ 0x3c
PCI_PIN         equ 0x3d

PCI_DECODE      equ 0x03
PCI_MASTER      equ 0x04

PCI_PORTS       equ 0xc000          ; where addresses begin that are given away
PCI_MEMORY      equ 0xc000_0000
PCI_MEMORY_END  equ 0xfec0_0000

; The ports of power management, where the ACPI tables have them, and of the SMBus.
PM_PORTS        equ 0x600
SMBUS_PORTS     equ 0x700

; The interrupts: PIRQA# and B# on one, C# and D# on the other; the SCI is a level as well.
PIRQ_IRQ_1      equ 10
PIRQ_IRQ_2      equ 11
SCI_IRQ         equ 9

; pci_address: selects a register. In: BX; DI, the register. Out: DX, the port with its byte.
pci_address:
    push eax
    movzx eax, bx
    shl eax, 8
    mov ax, di
    mov ah, bl
    and al, 0xfc
    or eax, 1 << 31
    mov dx, PCI_ADDRESS
    out dx, eax
    mov dx, di
    and dx, 3
    or dx, PCI_DATA
    pop eax
    ret

; pci_read, pci_read_word, pci_read_byte: In: BX, DI. Out: EAX, AX or AL. Clobbers nothing else.
pci_read:
    push dx
    call pci_address
    in eax, dx
    pop dx
    ret
pci_read_word:
    push dx
    call pci_address
    in ax, dx
    pop dx
    ret
pci_read_byte:
    push dx
    call pci_address
    in al, dx
    pop dx
    ret

; pci_write, pci_write_word, pci_write_byte: In: BX, DI; EAX, AX or AL.
pci_write:
    push dx
    call pci_address
    out dx, eax
    pop dx
    ret
pci_write_word:
    push dx
    call pci_address
    out dx, ax
    pop dx
    ret
pci_write_byte:
    push dx
    call pci_address
    out dx, al
    pop dx
    ret

; pci_each: calls the routine at SI for each function, with BX, the function, and EAX, its vendor
; and device. It may change all registers but SI and BX.
pci_each:
    xor bx, bx
.next:
    xor di, di
    call pci_read
    cmp ax, 0xffff
    je .absent
    push bx
    push si
    call si
    pop si
    pop bx
.absent:
    test bl, 7
    jnz .function
    mov di, PCI_HEADER
    call pci_read_byte
    test al, 0x80                   ; are there functions 1 to 7?
    jnz .function
    or bl, 7
.function:
    inc bl
    jnz .next
    ret

; pci_init: addresses and interrupts for all.
pci_init:
    mov word [fs:Ebda.ports_next], PCI_PORTS
    mov eax, [fs:Ebda.low_ram]
    cmp eax, PCI_MEMORY
    jae .start
    mov eax, PCI_MEMORY
.start:
    mov [fs:Ebda.memory_next], eax
    mov si, pci_setup
    jmp pci_each

; pci_setup: sets a function up. In: BX; EAX, its vendor and device.
pci_setup:
    cmp eax, 0x7000_8086            ; PIIX3's and PIIX4's bridge to ISA
    je .bridge
    cmp eax, 0x7110_8086
    je .bridge
    cmp eax, 0x7010_8086            ; and their disk controllers
    je .ide
    cmp eax, 0x7111_8086
    je .ide
    cmp eax, 0x7113_8086            ; PIIX4's power management
    je .power
    jmp .resources
.power:
    mov di, 0x40
    mov eax, PM_PORTS
    call pci_write
    mov di, 0x80
    mov al, 0x01                    ; those are decoded
    call pci_write_byte
    mov di, 0x90
    mov eax, SMBUS_PORTS
    call pci_write
    mov di, 0xd2
    mov al, 0x09                    ; and those; its interrupt is IRQ 9
    call pci_write_byte
    mov di, PCI_COMMAND
    call pci_read_word
    or al, 0x01
    call pci_write_word
    mov di, PCI_LINE
    mov al, SCI_IRQ
    jmp pci_write_byte
.bridge:
    mov di, 0x60
    mov eax, PIRQ_IRQ_1 * 0x0101 | PIRQ_IRQ_2 * 0x0101_0000
    call pci_write
    jmp .resources
.ide:
    mov di, 0x40
    mov eax, 0x8000_8000            ; both cables are decoded
    call pci_write
.resources:
    mov di, PCI_HEADER
    call pci_read_byte
    test al, 0x7f
    jnz .done                       ; a bridge
    mov di, PCI_COMMAND
    call pci_read_word
    test al, PCI_DECODE
    jnz .interrupt                  ; somebody did it before
    mov di, PCI_BAR_0
.bar:
    call pci_place
    add di, 4
    cmp di, PCI_BAR_0 + 6 * 4
    jb .bar
    mov di, PCI_ROM
    call pci_place
    mov di, PCI_COMMAND
    call pci_read_word
    or al, PCI_DECODE
    call pci_write_word
.interrupt:
    mov di, PCI_PIN
    call pci_read_byte
    sub al, 1
    jb .done
    mov cl, bl                      ; one line further for each device
    shr cl, 3
    add al, cl
    dec ax
    test al, 2
    mov al, PIRQ_IRQ_1
    jz .line
    mov al, PIRQ_IRQ_2
.line:
    mov di, PCI_LINE
    call pci_write_byte
.done:
    ret

; pci_place: gives a BAR its address. In: BX; DI, the register. Out: DI, the last register of it.
; Clobbers EAX, ECX, EDX.
pci_place:
    mov eax, -1
    cmp di, PCI_ROM
    jne .ask
    mov eax, 0xffff_f800            ; not its enable bit
.ask:
    call pci_write
    call pci_read
    test eax, eax
    jz .done
    test al, 1
    jz .memory
    and al, ~3
    neg ax                          ; the size
    movzx ecx, word [fs:Ebda.ports_next]
    dec ax
    add cx, ax
    not ax
    and cx, ax
    neg ax
    mov edx, ecx
    add dx, ax
    jc .none
    mov [fs:Ebda.ports_next], dx
    mov eax, ecx
    call pci_write
    ret
.memory:
    mov ch, al                      ; its kind
    and al, 0xf0
    neg eax
    mov edx, [fs:Ebda.memory_next]
    push eax
    dec eax
    add edx, eax
    jc .full
    not eax
    and edx, eax
    pop eax
    push edx
    add edx, eax
    pop eax
    jc .none
    cmp edx, PCI_MEMORY_END
    ja .none
    mov [fs:Ebda.memory_next], edx
    call pci_write
    jmp .upper
.full:
    pop eax
.none:
    xor eax, eax
    call pci_write
.upper:
    and ch, 0x07
    cmp ch, 0x04                    ; 64 bits
    jne .done
    cmp di, PCI_BAR_0 + 5 * 4
    jae .done
    add di, 4
    xor eax, eax
    call pci_write
.done:
    ret

; pci_master: lets a function move data by itself, and decode addresses. In: BX. Clobbers AX, DI.
pci_master:
    mov di, PCI_COMMAND
    call pci_read_word
    or al, PCI_DECODE | PCI_MASTER
    jmp pci_write_word

; pci_capability: the next capability of a kind. In: BX; AL, its ID; DI, the one before or 0. Out:
; DI; or carry set. Clobbers AX.
pci_capability:
    push cx
    mov cl, al
    mov ch, 48                      ; there cannot be more
    test di, di
    jnz .following
    mov di, PCI_COMMAND + 2
    call pci_read_word
    mov di, PCI_CAPABILITY - 1
    test al, 1 << 4
    jz .none
.following:
    inc di
    call pci_read_byte
    and ax, 0x00fc
    jz .none
    mov di, ax
    call pci_read_byte
    cmp al, cl
    je .found
    dec ch
    jnz .following
.none:
    pop cx
    stc
    ret
.found:
    pop cx
    clc
    ret
