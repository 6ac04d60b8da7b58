vbe_service:
vbe_find:
vbe_off:
    ret
