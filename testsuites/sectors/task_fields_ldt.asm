; Task switches to a TSS whose LDT is bad (see task_fields.inc).
; modes: 16
; Source: SDM 3A 7.15 (#TS), 8.3, table 8-1.
%include "sector.inc"
%include "task_fields.inc"
    begin_fields
    ;= ldt-beyond-table
    field 0x30, 0x60, 0, 0x30
    ;= ldt-not-an-ldt
    field DATA, 0x60, 0, DATA
    ;= ldt-in-ldt
    field 0x14, 0x60, 0, 0x14
    end_fields
