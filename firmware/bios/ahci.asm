ahci_find:
    ret
ahci_transfer:
ahci_packet:
    stc
    ret
