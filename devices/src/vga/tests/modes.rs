//! A table of the BIOS's modes. Source: IBM VGA/XGA Technical Reference, section 2, "BIOS values".

/// The registers of a mode.
#[derive(Clone)]
pub(super) struct Standard {
    pub misc: u8,
    pub sequencer: [u8; 5],
    pub crtc: [u8; 25],
    pub graphics: [u8; 9],
    pub attribute: [u8; 21],
}

/// CRT controller: 400 lines (70 Hz), `columns` characters, and what differs.
const fn crtc_400(columns: u8, maximum: u8, underline: u8, mode: u8) -> [u8; 25] {
    let [a, b, c, d, e, f, offset] = match columns {
        80 => [0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0x28],
        _ => [0x2d, 0x27, 0x28, 0x90, 0x2b, 0xa0, 0x14],
    };
    [
        a, b, c, d, e, f, 0xbf, 0x1f, 0, maximum, 0x0d, 0x0e, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, offset,
        underline, 0x96, 0xb9, mode, 0xff,
    ]
}

/// CRT controller: 350 lines (70 Hz).
const CRTC_350: [u8; 25] = [
    0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0, 0x40, 0, 0, 0, 0, 0, 0, 0x83, 0x85, 0x5d,
    0x28, 0x0f, 0x63, 0xba, 0xe3, 0xff,
];
/// CRT controller: 480 lines (60 Hz).
const CRTC_480: [u8; 25] = [
    0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0, 0x40, 0, 0, 0, 0, 0, 0, 0xea, 0x8c, 0xdf,
    0x28, 0, 0xe7, 0x04, 0xe3, 0xff,
];
const TEXT: [u8; 9] = [0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff];
const PLANAR: [u8; 9] = [0, 0, 0, 0, 0, 0, 0x05, 0x0f, 0xff];

/// An EGA's 16 colors, then mode control to color select.
const fn ega(tail: [u8; 5]) -> [u8; 21] {
    let [a, b, c, d, e] = tail;
    [0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, a, b, c, d, e]
}

/// A CGA's 16 colors.
const fn cga(tail: [u8; 5]) -> [u8; 21] {
    let [a, b, c, d, e] = tail;
    [0, 1, 2, 3, 4, 5, 6, 7, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, a, b, c, d, e]
}

/// 40 by 25 characters.
pub(super) const MODE_1: Standard = Standard {
    misc: 0x67,
    sequencer: [3, 0x08, 3, 0, 2],
    crtc: crtc_400(40, 0x4f, 0x1f, 0xa3),
    graphics: TEXT,
    attribute: ega([0x0c, 0, 0x0f, 8, 0]),
};
/// 80 by 25 characters.
pub(super) const MODE_3: Standard = Standard {
    misc: 0x67,
    sequencer: [3, 0, 3, 0, 2],
    crtc: crtc_400(80, 0x4f, 0x1f, 0xa3),
    graphics: TEXT,
    attribute: ega([0x0c, 0, 0x0f, 8, 0]),
};
/// 80 by 25 characters, monochrome.
pub(super) const MODE_7: Standard = Standard {
    misc: 0x66,
    sequencer: [3, 0, 3, 0, 2],
    crtc: crtc_400(80, 0x4f, 0x0f, 0xa3),
    graphics: [0, 0, 0, 0, 0, 0x10, 0x0a, 0, 0xff],
    attribute: [
        0, 8, 8, 8, 8, 8, 8, 8, 0x10, 0x18, 0x18, 0x18, 0x18, 0x18, 0x18, 0x18, 0x0e, 0, 0x0f, 8, 0,
    ],
};
/// 320 by 200 pixels, 4 colors.
pub(super) const MODE_4: Standard = Standard {
    misc: 0x63,
    sequencer: [3, 0x09, 3, 0, 2],
    crtc: crtc_400(40, 0xc1, 0, 0xa2),
    graphics: [0, 0, 0, 0, 0, 0x30, 0x0f, 0, 0xff],
    attribute: [
        0, 0x13, 0x15, 0x17, 2, 4, 6, 7, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 1, 0, 3,
        0, 0,
    ],
};
/// 640 by 200 pixels, 2 colors.
pub(super) const MODE_6: Standard = Standard {
    misc: 0x63,
    sequencer: [3, 0x01, 1, 0, 6],
    crtc: crtc_400(80, 0xc1, 0, 0xc2),
    graphics: [0, 0, 0, 0, 0, 0, 0x0d, 0, 0xff],
    attribute: [
        0, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17,
        0x17, 1, 0, 1, 0, 0,
    ],
};
/// 320 by 200 pixels, 16 colors.
pub(super) const MODE_D: Standard = Standard {
    misc: 0x63,
    sequencer: [3, 0x09, 0x0f, 0, 6],
    crtc: crtc_400(40, 0xc0, 0, 0xe3),
    graphics: PLANAR,
    attribute: cga([1, 0, 0x0f, 0, 0]),
};
/// 640 by 200 pixels, 16 colors.
pub(super) const MODE_E: Standard = Standard {
    misc: 0x63,
    sequencer: [3, 0x01, 0x0f, 0, 6],
    crtc: crtc_400(80, 0xc0, 0, 0xe3),
    graphics: PLANAR,
    attribute: cga([1, 0, 0x0f, 0, 0]),
};
/// 640 by 350 pixels, monochrome.
pub(super) const MODE_F: Standard = Standard {
    misc: 0xa2,
    sequencer: [3, 0x01, 0x0f, 0, 6],
    crtc: CRTC_350,
    graphics: PLANAR,
    attribute: [0, 8, 0, 0, 0x18, 0x18, 0, 0, 0, 8, 0, 0, 0, 0x18, 0, 0, 0x0b, 0, 5, 0, 0],
};
/// 640 by 350 pixels, 16 colors.
pub(super) const MODE_10: Standard = Standard {
    misc: 0xa3,
    sequencer: [3, 0x01, 0x0f, 0, 6],
    crtc: CRTC_350,
    graphics: PLANAR,
    attribute: ega([1, 0, 0x0f, 0, 0]),
};
/// 640 by 480 pixels, 2 colors.
pub(super) const MODE_11: Standard = Standard {
    misc: 0xe3,
    sequencer: [3, 0x01, 0x0f, 0, 6],
    crtc: CRTC_480,
    graphics: PLANAR,
    attribute: [
        0, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f,
        0x3f, 1, 0, 0x0f, 0, 0,
    ],
};
/// 640 by 480 pixels, 16 colors.
pub(super) const MODE_12: Standard = Standard {
    misc: 0xe3,
    sequencer: [3, 0x01, 0x0f, 0, 6],
    crtc: CRTC_480,
    graphics: PLANAR,
    attribute: ega([1, 0, 0x0f, 0, 0]),
};
/// 320 by 200 pixels, 256 colors.
pub(super) const MODE_13: Standard = Standard {
    misc: 0x63,
    sequencer: [3, 0x01, 0x0f, 0, 0x0e],
    crtc: crtc_400(80, 0x41, 0x40, 0xa3),
    graphics: [0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff],
    attribute: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x41, 0, 0x0f, 0, 0],
};
