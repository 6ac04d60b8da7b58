; Disks and CD drives behind AHCI.
;
; The controller's registers lie beyond 1 MiB (flat.asm); what it reads and writes lies in the EBDA.
; One command at a time is given to one port, in slot 0. Source: Serial ATA AHCI 1.3.1; Serial ATA
; 3.0, section 10.3 (frames).

AHCI_CLASS          equ 0x0106_01   ; SATA, AHCI
AHCI_BAR            equ PCI_BAR_0 + 5 * 4

AHCI_CONTROL        equ 0x04        ; GHC
AHCI_ENABLED        equ 1 << 31
AHCI_PORTS          equ 0x0c        ; PI
AHCI_PORT_0         equ 0x100
AHCI_PORT_SIZE      equ 0x80

PORT_COMMANDS       equ 0x00        ; PxCLB, its upper half behind it
PORT_RECEIVED       equ 0x08        ; PxFB
PORT_INTERRUPTS     equ 0x10        ; PxIS
PORT_COMMAND        equ 0x18        ; PxCMD
PORT_TASK           equ 0x20        ; PxTFD
PORT_SIGNATURE      equ 0x24        ; PxSIG
PORT_SATA           equ 0x28        ; PxSSTS
PORT_ERROR          equ 0x30        ; PxSERR
PORT_ISSUE          equ 0x38        ; PxCI

PORT_START          equ 1 << 0
PORT_SPIN_UP        equ 1 << 1
PORT_POWER          equ 1 << 2
PORT_RECEIVE        equ 1 << 4
PORT_RECEIVES       equ 1 << 14
PORT_RUNS           equ 1 << 15

SIGNATURE_CD        equ 0xeb14_0101
PORT_FAILED         equ 1 << 30     ; PxIS: task file error

FIS_COMMAND         equ 0x8027      ; from host to device, a command
HEADER_DWORDS       equ 5           ; of that frame
HEADER_PACKET       equ 1 << 5
HEADER_WRITE        equ 1 << 6

ATA_READ_DMA        equ 0x25        ; with 48 bits of address
ATA_WRITE_DMA       equ 0x35
AHCI_PATIENCE_MS    equ 10000

; ahci_find: what is behind all ports of all controllers.
ahci_find:
    mov si, .function
    jmp pci_each
.function:
    mov di, PCI_CLASS
    call pci_read
    shr eax, 8
    cmp eax, AHCI_CLASS
    jne .done
    call pci_master
    mov di, AHCI_BAR
    call pci_read
    and eax, ~0x0f
    jz .done
    mov ebp, eax                    ; the registers
    lea edi, [ebp + AHCI_CONTROL]
    call flat_read
    or eax, AHCI_ENABLED
    call flat_write
    lea edi, [ebp + AHCI_PORTS]
    call flat_read
    mov ecx, eax                    ; a bit for each port
    lea edi, [ebp + AHCI_PORT_0]
    xor dl, dl
.port:
    shr ecx, 1
    jnc .next
    pushad
    call ahci_probe
    popad
.next:
    add edi, AHCI_PORT_SIZE
    inc dl
    test ecx, ecx
    jnz .port
.done:
    ret

; ahci_probe: a port. In: EDI, its registers; DL, its number; BX, the controller. Clobbers all.
ahci_probe:
    mov ebp, edi
    add edi, PORT_SATA
    call flat_read
    and al, 0x0f
    cmp al, 3                       ; a device, and they talk
    jne .none
    call ahci_port_start
    jc .none
    lea edi, [ebp + PORT_SIGNATURE]
    call flat_read
    mov cx, DRIVE_AHCI | ATA_IDENTIFY << 8
    cmp eax, SIGNATURE_CD
    jne .kind
    mov cx, DRIVE_AHCI | DRIVE_IS_CD | ATA_IDENTIFY_CD << 8
.kind:
    mov al, cl
    call drive_new
    jc .none
    mov [fs:si + Drive.unit], dl
    mov [fs:si + Drive.pci], bx
    mov [fs:si + Drive.registers], ebp
    mov al, ch
    call ahci_command_begin
    mov eax, EBDA_SEGMENT * 16 + Ebda.sector
    mov ecx, SECTOR
    xor dx, dx
    call ahci_command_do
    jc .none
    jmp ata_identity
.none:
    ret

; ahci_port_start: the port works on our command list. In: EBP, its registers. Out: carry set if it
; cannot be stopped before. Clobbers EAX, EDI.
ahci_port_start:
    lea edi, [ebp + PORT_COMMAND]
    call flat_read
    and eax, ~(PORT_START | PORT_RECEIVE)
    call flat_write
    mov ax, 1000
    call timeout_start
.stop:
    call flat_read
    test eax, PORT_RECEIVES | PORT_RUNS
    jz .stopped
    call timeout_check
    jnc .stop
    ret
.stopped:
    lea edi, [ebp + PORT_COMMANDS]
    mov eax, EBDA_SEGMENT * 16 + Ebda.ahci_commands
    call flat_write
    add edi, 4
    xor eax, eax
    call flat_write
    lea edi, [ebp + PORT_RECEIVED]
    mov eax, EBDA_SEGMENT * 16 + Ebda.ahci_received
    call flat_write
    add edi, 4
    xor eax, eax
    call flat_write
    lea edi, [ebp + PORT_ERROR]
    mov eax, -1
    call flat_write
    lea edi, [ebp + PORT_INTERRUPTS]
    call flat_write
    lea edi, [ebp + PORT_COMMAND]
    call flat_read
    or eax, PORT_RECEIVE | PORT_SPIN_UP | PORT_POWER
    call flat_write
    mov ax, 1000                    ; the signature comes with the first frame
    call timeout_start
    lea edi, [ebp + PORT_TASK]
.ready:
    call flat_read
    test al, ATA_BUSY | ATA_REQUEST
    jz .start
    call timeout_check
    jnc .ready
    ret
.start:
    lea edi, [ebp + PORT_COMMAND]
    call flat_read
    or eax, PORT_START
    call flat_write
    clc
    ret

; ahci_command_begin: an empty command. In: AL, the ATA command. Clobbers EAX, CX, DI, ES.
ahci_command_begin:
    push ax
    push fs
    pop es
    mov di, Ebda.ahci_table
    mov cx, 0x80 + 16
    xor al, al
    rep stosb
    pop ax
    mov word [fs:Ebda.ahci_table], FIS_COMMAND
    mov [fs:Ebda.ahci_table + 2], al
    ret

; ahci_command_do: does the command. In: SI (of FS), the drive; EAX, where its data are; ECX, their
; bytes; DX, flags of the header. Out: carry set if it failed. Clobbers EAX, ECX, DX, EDI.
ahci_command_do:
    mov [fs:Ebda.ahci_table + 0x80], eax
    dec ecx
    mov [fs:Ebda.ahci_table + 0x80 + 12], ecx
    or dx, HEADER_DWORDS
    mov [fs:Ebda.ahci_commands], dx
    mov word [fs:Ebda.ahci_commands + 2], 1 ; one piece of memory
    mov dword [fs:Ebda.ahci_commands + 4], 0
    mov dword [fs:Ebda.ahci_commands + 8], EBDA_SEGMENT * 16 + Ebda.ahci_table
    mov dword [fs:Ebda.ahci_commands + 12], 0
    push ebp
    mov ebp, [fs:si + Drive.registers]
    call ahci_port_start
    jc .done
    lea edi, [ebp + PORT_ISSUE]
    mov eax, 1
    call flat_write
    mov ax, AHCI_PATIENCE_MS
    call timeout_start
.wait:
    lea edi, [ebp + PORT_INTERRUPTS]
    call flat_read
    test eax, PORT_FAILED
    stc
    jnz .done
    lea edi, [ebp + PORT_ISSUE]
    call flat_read
    test al, 1
    jz .done                        ; and carry is clear
    call timeout_check
    jnc .wait
.done:
    pop ebp
    ret

; ahci_transfer: see drive_transfer. The controller takes even addresses alone: what is for others
; goes through Ebda.sector.
ahci_transfer:
    call flat_is_possible
    jc .failed
    mov eax, [fs:Ebda.request + Request.buffer]
    call linear
    mov ebx, eax
    mov cx, [fs:Ebda.request + Request.count]
    test al, 1
    jz .piece                       ; all at once
    mov cx, 1
.piece:
    mov edi, ebx
    test bl, 1
    jz .direct
    mov edi, EBDA_SEGMENT * 16 + Ebda.sector
    cmp byte [fs:Ebda.request + Request.write], 0
    je .direct
    push edi
    push cx
    push si
    mov esi, ebx
    mov ecx, SECTOR
    call flat_move
    pop si
    pop cx
    pop edi
.direct:
    push cx
    call ahci_sectors
    pop cx
    jc .failed
    test bl, 1
    jz .moved
    cmp byte [fs:Ebda.request + Request.write], 0
    jne .moved
    push cx
    push si
    mov esi, EBDA_SEGMENT * 16 + Ebda.sector
    mov edi, ebx
    mov ecx, SECTOR
    call flat_move
    pop si
    pop cx
.moved:
    movzx ecx, cx
    add [fs:Ebda.request + Request.lba], ecx
    adc dword [fs:Ebda.request + Request.lba + 4], 0
    add [fs:Ebda.request + Request.done], cx
    mov ax, [fs:Ebda.request + Request.done]
    shl ecx, 9
    add ebx, ecx
    shr ecx, 9
    cmp ax, [fs:Ebda.request + Request.count]
    jb .piece
    xor ah, ah
    ret
.failed:
    mov ah, DISK_CONTROLLER
    stc
    ret

; ahci_sectors: moves CX sectors from or to Ebda.request's place on the disk. In: SI (of FS); EDI,
; the address. Out: carry set if that failed. Clobbers EAX, ECX, DX, DI, ES.
ahci_sectors:
    push cx
    push edi
    mov al, ATA_READ_DMA
    xor dx, dx
    cmp byte [fs:Ebda.request + Request.write], 0
    je .read
    mov al, ATA_WRITE_DMA
    mov dx, HEADER_WRITE
.read:
    call ahci_command_begin
    mov eax, [fs:Ebda.request + Request.lba]
    mov [fs:Ebda.ahci_table + 4], eax
    mov byte [fs:Ebda.ahci_table + 7], ATA_LBA
    shr eax, 24
    mov [fs:Ebda.ahci_table + 8], al
    mov ax, [fs:Ebda.request + Request.lba + 4]
    mov [fs:Ebda.ahci_table + 9], ax
    pop eax
    pop cx
    mov [fs:Ebda.ahci_table + 12], cx
    movzx ecx, cx
    shl ecx, 9
    jmp ahci_command_do

; ahci_packet: see packet_send.
ahci_packet:
    push eax
    call flat_is_possible
    pop eax
    jc .done
    push ecx
    push eax
    mov al, ATA_PACKET
    call ahci_command_begin
    mov byte [fs:Ebda.ahci_table + 3], 1 ; by DMA
    push si
    mov si, Ebda.packet
    mov di, Ebda.ahci_table + 0x40
    mov cx, 6
    fs rep movsw
    pop si
    pop eax
    pop ecx
    call linear
    mov dx, HEADER_PACKET
    call ahci_command_do
.done:
    ret
