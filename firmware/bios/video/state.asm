video_select:
display_code:
video_state:
video_save:
    ret
video_save_table:
    dd 0
