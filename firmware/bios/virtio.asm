; Disks behind virtio-blk, modern PCI functions.
;
; The device's registers are reached through its window in configuration space, so that no access
; beyond 1 MiB is needed. One request is in flight at a time: a header, the data, a status.
;
; Source: VIRTIO 1.2, sections 2.7 (split queues), 4.1 (PCI), 5.2 (block device).

VIRTIO_VENDOR       equ 0x1af4
VIRTIO_BLK          equ 0x1042      ; modern
VIRTIO_BLK_BOTH     equ 0x1001      ; legacy and modern

; A vendor capability: kind, BAR, offset, length, and of notifications their multiplier.
VIRTIO_CAP_KIND     equ 3
VIRTIO_CAP_BAR      equ 4
VIRTIO_CAP_OFFSET   equ 8
VIRTIO_CAP_LENGTH   equ 12
VIRTIO_CAP_MORE     equ 16          ; the multiplier, or the window's data

VIRTIO_COMMON       equ 1
VIRTIO_NOTIFY       equ 2
VIRTIO_DEVICE       equ 4
VIRTIO_WINDOW       equ 5

; The common structure.
COMMON_FEATURE_SEL  equ 0x00
COMMON_FEATURES     equ 0x04
COMMON_DRIVER_SEL   equ 0x08
COMMON_DRIVER       equ 0x0c
COMMON_STATUS       equ 0x14
COMMON_QUEUE        equ 0x16
COMMON_QUEUE_SIZE   equ 0x18
COMMON_QUEUE_ON     equ 0x1c
COMMON_NOTIFY_OFF   equ 0x1e
COMMON_TABLE        equ 0x20
COMMON_AVAILABLE    equ 0x28
COMMON_USED         equ 0x30

STATUS_KNOWN        equ 1
STATUS_DRIVER       equ 2
STATUS_DRIVER_OK    equ 4
STATUS_FEATURES_OK  equ 8

VERSION_1           equ 1 << 0      ; feature 32
ACCESS_PLATFORM     equ 1 << 1      ; feature 33

VIRTIO_QUEUE_SIZE   equ 4
DESC_NEXT           equ 1
DESC_WRITE          equ 2

VIRTIO_BLK_IN       equ 0
VIRTIO_BLK_OUT      equ 1

VIRTIO_PATIENCE_MS  equ 10000

; virtio_find: the disks there are.
virtio_find:
    mov si, .function
    jmp pci_each
.function:
    cmp ax, VIRTIO_VENDOR
    jne .done
    shr eax, 16
    cmp ax, VIRTIO_BLK
    je .disk
    cmp ax, VIRTIO_BLK_BOTH
    jne .done
.disk:
    call pci_master
    call virtio_start
    jc .done
    mov al, DRIVE_VIRTIO
    call drive_new
    jc .done
    mov [fs:si + Drive.pci], bx
    mov al, VIRTIO_DEVICE           ; its capacity comes first
    xor ecx, ecx
    call virtio_read
    mov [fs:si + Drive.sectors], eax
    mov al, VIRTIO_DEVICE
    mov cl, 4
    call virtio_read
    mov [fs:si + Drive.sectors + 4], eax
    push bx
    call drive_geometry
    pop bx
    call virtio_stop                ; until it is needed
    lea di, [si + Drive.name]
    push fs
    pop es
    mov si, .name
.char:
    cs lodsb
    stosb
    test al, al
    jnz .char
.done:
    ret
.name:
    db "virtio", 0

; virtio_note: finds the structures of a function, unless they are those that were found the last
; time: there are dozens of accesses to each request. In: BX. Clobbers nothing.
virtio_note:
    cmp [fs:Ebda.virtio_noted], bx
    je .same
    pushad
    mov [fs:Ebda.virtio_noted], bx
    mov dword [fs:Ebda.virtio_bars], -1
    mov word [fs:Ebda.virtio_bars + 4], -1
    xor di, di
    mov cx, 48                      ; there cannot be more
.next:
    mov al, 0x09
    call pci_capability
    jc .done
    call virtio_note_one
    loop .next
.done:
    popad
.same:
    ret

; virtio_note_one: notes a vendor capability; the first one of a kind counts. In: BX, DI. Clobbers
; EAX, SI.
virtio_note_one:
    push di
    add di, VIRTIO_CAP_KIND
    call pci_read_byte
    inc di                          ; VIRTIO_CAP_BAR
    movzx si, al
    cmp si, VIRTIO_WINDOW
    ja .done
    cmp byte [fs:Ebda.virtio_bars + si], -1
    jne .done
    call pci_read_byte
    mov [fs:Ebda.virtio_bars + si], al
    add di, VIRTIO_CAP_OFFSET - VIRTIO_CAP_BAR
    call pci_read
    shl si, 2
    mov [fs:Ebda.virtio_at + si], eax
    cmp si, VIRTIO_WINDOW * 4
    je .window
    cmp si, VIRTIO_NOTIFY * 4
    jne .done
    add di, VIRTIO_CAP_MORE - VIRTIO_CAP_OFFSET
    call pci_read
    mov [fs:Ebda.virtio_scale], eax
.done:
    pop di
    ret
.window:
    pop di
    mov [fs:Ebda.virtio_window], di
    ret

; virtio_window: points the window at a register. In: BX, the function; AL, the structure's kind;
; ECX, the register's offset in it; DX, how many bytes. Out: DI, the window's data; carry set if
; there is no such structure. Clobbers EAX.
virtio_window:
    call virtio_note
    push si
    movzx si, al
    mov al, [fs:Ebda.virtio_bars + si]
    cmp al, -1
    je .none
    cmp byte [fs:Ebda.virtio_bars + VIRTIO_WINDOW], -1
    je .none
    mov di, [fs:Ebda.virtio_window]
    add di, VIRTIO_CAP_BAR
    call pci_write_byte
    shl si, 2
    mov eax, [fs:Ebda.virtio_at + si]
    add eax, ecx
    add di, VIRTIO_CAP_OFFSET - VIRTIO_CAP_BAR
    call pci_write
    movzx eax, dx
    add di, VIRTIO_CAP_LENGTH - VIRTIO_CAP_OFFSET
    call pci_write
    add di, VIRTIO_CAP_MORE - VIRTIO_CAP_LENGTH
    pop si
    clc
    ret
.none:
    pop si
    stc
    ret

; virtio_read: Out: EAX, a doubleword of a structure. In: BX; AL; ECX. Clobbers DI, DX.
virtio_read:
    mov dx, 4
    call virtio_window
    jmp pci_read

; common_read_word, common_write_byte, _word, _address: registers of the common structure. In: BX;
; CX, the register; EAX, what to write. Clobbers DI, DX and, reading, EAX.
common_read_word:
    movzx ecx, cx
    mov al, VIRTIO_COMMON
    mov dx, 2
    call virtio_window
    jmp pci_read_word
common_write_byte:
    mov dx, 1
    call common_window
    jmp pci_write_byte
common_write_word:
    mov dx, 2
    call common_window
    jmp pci_write_word
common_write:
    mov dx, 4
    call common_window
    jmp pci_write
; An address in the EBDA, whose offset there is in AX; the upper half is 0.
common_write_address:
    movzx eax, ax
    add eax, EBDA_SEGMENT * 16
    call common_write
    add cx, 4
    xor eax, eax
    jmp common_write
common_window:
    push eax
    movzx ecx, cx
    mov al, VIRTIO_COMMON
    call virtio_window
    pop eax
    ret

; virtio_stop: the device is reset, and lets go of its queue. In: BX. Clobbers AX, CX, DX, DI.
virtio_stop:
    xor al, al
    mov cx, COMMON_STATUS
    jmp common_write_byte

; virtio_start: the device gets its queue. In: BX. Out: carry set if it will not do. Clobbers all
; but BX, SI, BP.
virtio_start:
    mov al, VIRTIO_COMMON           ; is it a modern one?
    xor ecx, ecx
    mov dx, 4
    call virtio_window
    jc .fails
    call virtio_stop
    mov al, STATUS_KNOWN | STATUS_DRIVER
    call common_write_byte
    mov eax, 1                      ; features 32 and up
    mov cx, COMMON_FEATURE_SEL
    call common_write
    mov cx, COMMON_FEATURES
    call common_read_word
    and eax, VERSION_1 | ACCESS_PLATFORM
    push eax
    mov eax, 1
    mov cx, COMMON_DRIVER_SEL
    call common_write
    pop eax
    mov cx, COMMON_DRIVER
    call common_write
    xor eax, eax
    mov cx, COMMON_DRIVER_SEL
    call common_write
    xor eax, eax
    mov cx, COMMON_DRIVER
    call common_write
    mov al, STATUS_KNOWN | STATUS_DRIVER | STATUS_FEATURES_OK
    mov cx, COMMON_STATUS
    call common_write_byte
    call common_read_word
    test al, STATUS_FEATURES_OK
    jz .fails
    xor ax, ax
    mov cx, COMMON_QUEUE
    call common_write_word
    mov cx, COMMON_QUEUE_SIZE
    call common_read_word
    cmp ax, VIRTIO_QUEUE_SIZE
    jb .fails
    mov ax, VIRTIO_QUEUE_SIZE
    call common_write_word
    push fs                         ; nothing is in the queue
    pop es
    mov di, Ebda.virtio_driver
    mov cx, Ebda.sector - Ebda.virtio_driver
    xor al, al
    rep stosb
    mov byte [fs:Ebda.virtio_driver], 1 ; interrupts are not wanted
    mov ax, Ebda.virtio_table
    mov cx, COMMON_TABLE
    call common_write_address
    mov ax, Ebda.virtio_driver
    mov cx, COMMON_AVAILABLE
    call common_write_address
    mov ax, Ebda.virtio_device
    mov cx, COMMON_USED
    call common_write_address
    mov ax, 1
    mov cx, COMMON_QUEUE_ON
    call common_write_word
    mov al, STATUS_KNOWN | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK
    mov cx, COMMON_STATUS
    call common_write_byte
    clc
    ret
.fails:
    stc
    ret

; virtio_transfer: see drive_transfer. The device has its queue for one request only, so that an
; operating system finds it as after a reset.
virtio_transfer:
    mov bx, [fs:si + Drive.pci]
    call virtio_start
    jc .failed
    call virtio_request
    call virtio_notify
    mov ax, VIRTIO_PATIENCE_MS
    call timeout_start
.wait:
    cmp word [fs:Ebda.virtio_device + 2], 0
    jne .answered
    call timeout_check
    jnc .wait
    call virtio_stop
    mov ah, DISK_TIMEOUT
    stc
    ret
.answered:
    call virtio_stop
    cmp byte [fs:Ebda.virtio_status], 0
    jne .failed
    mov ax, [fs:Ebda.request + Request.count]
    mov [fs:Ebda.request + Request.done], ax
    xor ah, ah
    ret
.failed:
    mov ah, DISK_CONTROLLER
    stc
    ret

; virtio_request: puts Ebda.request into the queue. Clobbers EAX, ECX, DX, DI.
virtio_request:
    movzx eax, byte [fs:Ebda.request + Request.write]
    mov dx, ax
    mov [fs:Ebda.virtio_header], eax ; VIRTIO_BLK_IN or _OUT
    mov dword [fs:Ebda.virtio_header + 4], 0
    mov eax, [fs:Ebda.request + Request.lba]
    mov [fs:Ebda.virtio_header + 8], eax
    mov eax, [fs:Ebda.request + Request.lba + 4]
    mov [fs:Ebda.virtio_header + 12], eax
    mov byte [fs:Ebda.virtio_status], 0xff
    mov di, Ebda.virtio_table
    mov eax, EBDA_SEGMENT * 16 + Ebda.virtio_header
    mov ecx, 16
    mov dh, DESC_NEXT
    call .descriptor
    mov eax, [fs:Ebda.request + Request.buffer]
    call linear
    movzx ecx, word [fs:Ebda.request + Request.count]
    shl ecx, 9
    test dl, dl
    jnz .from_memory
    or dh, DESC_WRITE
.from_memory:
    call .descriptor
    mov eax, EBDA_SEGMENT * 16 + Ebda.virtio_status
    mov ecx, 1
    mov dh, DESC_WRITE
    call .descriptor
    mov word [fs:Ebda.virtio_driver + 4], 0 ; the chain begins with descriptor 0
    mov word [fs:Ebda.virtio_driver + 2], 1
    ret
; The descriptor at DI: address EAX, length ECX, flags DH. Out: DI, the next one.
.descriptor:
    mov [fs:di], eax
    mov dword [fs:di + 4], 0
    mov [fs:di + 8], ecx
    movzx ax, dh
    mov [fs:di + 12], ax
    mov ax, di
    sub ax, Ebda.virtio_table
    shr ax, 4
    inc ax
    mov [fs:di + 14], ax
    add di, 16
    ret

; virtio_notify: tells the device of the queue. In: BX. Clobbers EAX, ECX, DX, DI.
virtio_notify:
    mov cx, COMMON_NOTIFY_OFF
    call common_read_word
    movzx ecx, ax
    imul ecx, [fs:Ebda.virtio_scale]
    mov al, VIRTIO_NOTIFY
    mov dx, 2
    call virtio_window
    jc .done
    xor ax, ax
    call pci_write_word
.done:
    ret
