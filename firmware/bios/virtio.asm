virtio_find:
    ret
virtio_transfer:
    stc
    ret
