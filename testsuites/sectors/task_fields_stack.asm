; Task switches to a TSS whose stack segment is bad (see task_fields.inc).
; modes: 16
; Source: SDM 3A 7.15 (#TS), 8.3, table 8-1.
%include "sector.inc"
%include "task_fields.inc"
    begin_fields
    ;= ss-null
    field 0, 0x50, DATA, 0
    ;= ss-code
    field CODE, 0x50, DATA, CODE
    ;= ss-rpl
    field DATA, 0x50, DATA, DATA | 2
    ;= back-link: the task that failed called the handler
    holds 0x20, [HANDLER]
    end_fields
