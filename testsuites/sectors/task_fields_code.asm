; Task switches to a TSS whose code segment is bad (see task_fields.inc).
; modes: 16
; Source: SDM 3A 7.15 (#TS), 8.3, table 8-1.
%include "sector.inc"
%include "task_fields.inc"
    begin_fields
    ;= cs-null
    field 0, 0x4c, CODE, 0
    ;= cs-data
    field DATA, 0x4c, CODE, DATA
    end_fields
