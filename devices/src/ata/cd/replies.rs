//! What a CD drive answers, byte by byte.
//!
//! Sources: MMC-3, sections 5 (features), 6 (commands) and 7 (mode pages); SPC-2 for INQUIRY and
//! REQUEST SENSE; ECMA-130, section 14 (sectors).

use super::{FRAMES, PACKET, Sense};

/// READ CD, byte 9: synchronization.
const SYNC: u8 = 1 << 7;
/// READ CD, byte 9: the sector's header.
const HEADER: u8 = 1 << 5;
/// READ CD, byte 9: the data.
pub(super) const USER_DATA: u8 = 1 << 4;
/// READ CD, byte 9: error detection and correction.
const CORRECTION: u8 = 1 << 3;
const CORRECTION_LEN: usize = 288;

/// Feature profiles.
const PROFILE_CD_ROM: u16 = 0x0008;
const PROFILE_DVD_ROM: u16 = 0x0010;
/// More blocks than that, ninety minutes, are no CD.
const CD_BLOCKS_MAX: u32 = 90 * 60 * FRAMES;

/// The class of events about the medium.
pub(super) const MEDIA_EVENTS: u8 = 4;

/// The track's ADR and CONTROL: its position, digital data.
const DATA_TRACK: u8 = 0x14;
const LEAD_OUT: u8 = 0xaa;

/// Minute, second and frame of block `block`.
fn time(block: u32) -> [u8; 3] {
    let at = block.saturating_add(2 * FRAMES);
    [(at / FRAMES / 60).min(255) as u8, (at / FRAMES % 60) as u8, (at % FRAMES) as u8]
}

/// An address of four bytes, by time or by number.
fn address(block: u32, is_time: bool) -> [u8; 4] {
    let [minute, second, frame] = time(block);
    if is_time { [0, minute, second, frame] } else { block.to_be_bytes() }
}

/// `body` behind its length in two bytes.
fn with_length(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u16).to_be_bytes(), body].concat()
}

pub(super) fn inquiry() -> Vec<u8> {
    // A CD drive, removable media, data in SCSI-2's format, ATAPI version 3.
    let mut reply = vec![0x05, 0x80, 0x00, 0x32, 31, 0, 0, 0];
    reply.extend(b"TRINE   CD-ROM          1.0 ");
    reply
}

pub(super) fn sense(sense: Sense) -> Vec<u8> {
    let mut reply = vec![0; 18];
    (reply[0], reply[2], reply[7]) = (0x70, sense.key, 10);
    (reply[12], reply[13]) = (sense.code, sense.qualifier);
    reply
}

pub(super) fn capacity(blocks: u32) -> Vec<u8> {
    [blocks.saturating_sub(1).to_be_bytes(), (super::BLOCK as u32).to_be_bytes()].concat()
}

/// READ TOC/PMA/ATIP, formats 0 to 2; `None` for what is not there.
pub(super) fn toc(p: &[u8; PACKET], blocks: u32) -> Option<Vec<u8>> {
    let is_time = p[1] & 2 != 0;
    // SFF-8020i had the format in the last byte.
    let format = if p[2] & 0x0f != 0 { p[2] & 0x0f } else { p[9] >> 6 };
    let entry = |track: u8, block: u32| {
        let [a, b, c, d] = address(block, is_time);
        [0, DATA_TRACK, track, 0, a, b, c, d]
    };
    let mut body = vec![1, 1];
    match format {
        0 => {
            if p[6] > 1 && p[6] != LEAD_OUT {
                return None;
            }
            if p[6] <= 1 {
                body.extend(entry(1, 0));
            }
            body.extend(entry(LEAD_OUT, blocks));
        }
        1 => body.extend(entry(1, 0)),
        2 => {
            let [minute, second, frame] = time(blocks);
            let [.., first_second, first_frame] = time(0);
            for (point, at) in [
                (0xa0, [1, 0, 0]),
                (0xa1, [1, 0, 0]),
                (0xa2, [minute, second, frame]),
                (0x01, [0, first_second, first_frame]),
            ] {
                body.extend([1, DATA_TRACK, 0, point, 0, 0, 0, 0]);
                body.extend(at);
            }
        }
        _ => return None,
    }
    Some(with_length(&body))
}

/// READ SUB-CHANNEL: no sound is being played.
pub(super) fn subchannel(p: &[u8; PACKET]) -> Result<Vec<u8>, Sense> {
    const NO_AUDIO_STATUS: u8 = 0x15;
    if p[2] & 0x40 == 0 {
        return Ok(vec![0, NO_AUDIO_STATUS, 0, 0]);
    }
    let is_time = p[1] & 2 != 0;
    let data = match p[3] {
        1 => {
            let mut position = vec![1, DATA_TRACK, 1, 1];
            position.extend(address(0, is_time));
            position.extend(if is_time { [0; 4] } else { address(0, false) });
            position
        }
        // Catalogue number and ISRC: there is none.
        format @ (2 | 3) => {
            let mut none = vec![0; 20];
            none[0] = format;
            none
        }
        _ => return Err(Sense::BAD_FIELD),
    };
    Ok([vec![0, NO_AUDIO_STATUS], with_length(&data)].concat())
}

/// GET CONFIGURATION of a drive with a medium of so many blocks, or none.
pub(super) fn configuration(p: &[u8; PACKET], blocks: Option<u32>) -> Vec<u8> {
    let profile = match blocks {
        None => 0,
        Some(blocks) if blocks > CD_BLOCKS_MAX => PROFILE_DVD_ROM,
        Some(_) => PROFILE_CD_ROM,
    };
    let is = |other: u16| u8::from(profile == other);
    let [cd, dvd] = [is(PROFILE_CD_ROM), is(PROFILE_DVD_ROM)];
    let any = cd | dvd;
    // Number, version and whether it is persistent and current, then what it says.
    let features: [(u16, u8, &[u8]); 6] = [
        (0x0000, 0x03, &[0x00, 0x10, dvd, 0, 0x00, 0x08, cd, 0]),
        // Core: ATAPI.
        (0x0001, 0x03, &[0, 0, 0, 2]),
        // Removable medium: a tray, ejects, locks.
        (0x0003, 0x03, &[0x29, 0, 0, 0]),
        // Random readable: blocks of 2048 bytes, one at a time.
        (0x0010, any, &[0, 0, 0x08, 0, 0, 1, 0, 0]),
        // CD read, DVD read.
        (0x001e, cd, &[0, 0, 0, 0]),
        (0x001f, dvd, &[]),
    ];
    let first = u16::from_be_bytes([p[2], p[3]]);
    let chosen = features.iter().filter(|(number, state, _)| match p[1] & 3 {
        0 => *number >= first,
        1 => *number >= first && state & 1 != 0,
        _ => *number == first,
    });
    let mut body = vec![0, 0];
    body.extend(profile.to_be_bytes());
    for (number, state, data) in chosen {
        body.extend(number.to_be_bytes());
        body.extend([*state, data.len() as u8]);
        body.extend(*data);
    }
    [&(body.len() as u32).to_be_bytes(), &body[..]].concat()
}

/// GET EVENT STATUS NOTIFICATION, where none is asked for of which there are any.
pub(super) fn no_events() -> Vec<u8> {
    vec![0, 2, 0x80, 1 << MEDIA_EVENTS]
}

/// GET EVENT STATUS NOTIFICATION of the medium.
pub(super) fn media_event(event: u8, is_open: bool, is_present: bool) -> Vec<u8> {
    let status = u8::from(is_open) | u8::from(is_present) << 1;
    vec![0, 6, MEDIA_EVENTS, 1 << MEDIA_EVENTS, event, status, 0, 0]
}

pub(super) fn disc_information() -> Vec<u8> {
    let mut reply = vec![0; 34];
    // Complete, one session with one track, for use without restriction.
    reply[..8].copy_from_slice(&[0, 32, 0x0e, 1, 1, 1, 1, 0x20]);
    reply
}

/// READ TRACK INFORMATION.
pub(super) fn track_information(p: &[u8; PACKET], blocks: u32) -> Result<Vec<u8>, Sense> {
    let place = u32::from_be_bytes([p[2], p[3], p[4], p[5]]);
    let is_there = match p[1] & 3 {
        0 => place < blocks,
        _ => place == 1,
    };
    if !is_there {
        return Err(Sense::BAD_FIELD);
    }
    let mut reply = vec![0; 36];
    // Track 1 of session 1, data, mode 1.
    reply[..7].copy_from_slice(&[0, 34, 1, 1, 0, 0x04, 0x01]);
    reply[24..28].copy_from_slice(&blocks.to_be_bytes());
    Ok(reply)
}

pub(super) fn mechanism(is_open: bool) -> Vec<u8> {
    vec![0, u8::from(is_open) << 4, 0, 0, 0, 0, 0, 0]
}

/// The mode pages with code `code` (3Fh: all), or which of their bits can be changed: none.
pub(super) fn mode_pages(code: u8, is_changeable: bool, is_locked: bool) -> Vec<u8> {
    const SPEED_KB: [u8; 2] = 8467_u16.to_be_bytes();
    let [fast, slow] = SPEED_KB;
    let lock = u8::from(is_locked) << 1;
    let pages: [&[u8]; 5] = [
        // Error recovery: five retries.
        &[0x01, 6, 0, 5, 0, 0, 0, 0],
        // Caching: reads are cached.
        &[0x08, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        // CD parameters: 60 seconds, 75 frames.
        &[0x0d, 6, 0, 0x0d, 0, 60, 0, 75],
        // Audio: two ports at full volume.
        &[0x0e, 14, 0x04, 0, 0, 0, 0, 75, 1, 0xff, 2, 0xff, 0, 0, 0, 0],
        // Capabilities: reads CD-R, CD-RW and DVD-ROM, mode 2, multisession; a tray that locks and
        // ejects; 48 times as fast as it sounds.
        &[
            0x2a,
            18,
            0x0f,
            0,
            0x70,
            0,
            0x29 | lock,
            0,
            fast,
            slow,
            0,
            0,
            2,
            0,
            fast,
            slow,
            0,
            0,
            0,
            0,
        ],
    ];
    let chosen = pages.into_iter().filter(|page| code == 0x3f || page[0] == code);
    chosen
        .flat_map(|page| {
            let mut page = page.to_vec();
            if is_changeable {
                page[2..].fill(0);
            }
            page
        })
        .collect()
}

/// Bytes of the chosen parts of a sector.
pub(super) fn sector_len(parts: u8) -> usize {
    [(SYNC, 12), (HEADER, 4), (USER_DATA, super::BLOCK), (CORRECTION, CORRECTION_LEN)]
        .into_iter()
        .filter(|(part, _)| parts & part != 0)
        .map(|(_, len)| len)
        .sum()
}

/// The chosen parts of the sector that holds block `block`, whose data are `data`.
pub(super) fn sector(parts: u8, block: u32, data: &[u8]) -> Vec<u8> {
    let mut sector = Vec::with_capacity(sector_len(parts));
    if parts & SYNC != 0 {
        sector.push(0);
        sector.extend([0xff; 10]);
        sector.push(0);
    }
    if parts & HEADER != 0 {
        // Times are in binary-coded decimal here; mode 1.
        sector.extend(time(block).map(|n| (n / 10 % 10) << 4 | n % 10));
        sector.push(1);
    }
    if parts & USER_DATA != 0 {
        sector.extend(data);
    }
    if parts & CORRECTION != 0 {
        sector.extend([0; CORRECTION_LEN]);
    }
    sector
}
