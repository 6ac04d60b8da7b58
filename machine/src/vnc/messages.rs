//! What a viewer says once the connection stands.
//!
//! Sources: RFC 6143, section 7.5; the RFB community's specification for SetDesktopSize and QEMU's
//! extended key event.

use std::io::{self, Read};

use trine_devices::Rect;

use super::pixels::FORMAT_LEN;

/// Encodings of a SetEncodings that are looked at; who sends more has better ones among the first.
const ENCODINGS_MAX: usize = 1024;

/// A message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Message {
    PixelFormat([u8; FORMAT_LEN]),
    /// In the order of preference.
    Encodings(Vec<i32>),
    Update {
        is_incremental: bool,
        area: Rect,
    },
    Key {
        keysym: u32,
        goes_down: bool,
    },
    /// QEMU's: with the number of the key.
    Keycode {
        keycode: u32,
        goes_down: bool,
    },
    Pointer {
        buttons: u8,
        x: u16,
        y: u16,
    },
    /// Text was cut there; nothing here could paste it.
    CutText,
    /// The viewer wants another size, which the guest alone decides on.
    DesktopSize,
}

impl Message {
    /// Reads the next message.
    ///
    /// # Errors
    /// If the connection fails or ends, or if there is no such message: nobody knows then where the
    /// next one begins.
    pub(super) fn read(from: &mut impl Read) -> io::Result<Self> {
        let [kind] = take(from)?;
        Ok(match kind {
            0 => {
                let [_, _, _] = take(from)?;
                Self::PixelFormat(take(from)?)
            }
            2 => Self::Encodings(encodings(from)?),
            3 => {
                let [is_incremental, x, x_, y, y_, w, w_, h, h_] = take(from)?;
                let number = |high, low| usize::from(u16::from_be_bytes([high, low]));
                let area = Rect {
                    x: number(x, x_),
                    y: number(y, y_),
                    width: number(w, w_),
                    height: number(h, h_),
                };
                Self::Update { is_incremental: is_incremental != 0, area }
            }
            4 => {
                let [down, _, _, a, b, c, d] = take(from)?;
                Self::Key { keysym: u32::from_be_bytes([a, b, c, d]), goes_down: down != 0 }
            }
            5 => {
                let [buttons, x, x_, y, y_] = take(from)?;
                let [x, y] = [[x, x_], [y, y_]].map(u16::from_be_bytes);
                Self::Pointer { buttons, x, y }
            }
            6 => {
                let [_, _, _, a, b, c, d] = take(from)?;
                skip(from, u32::from_be_bytes([a, b, c, d]).into())?;
                Self::CutText
            }
            251 => {
                let [_, _, _, _, _, screens, _] = take(from)?;
                skip(from, 16 * u64::from(screens))?;
                Self::DesktopSize
            }
            255 => qemu(from)?,
            _ => return Err(unknown(format!("message {kind}"))),
        })
    }
}

fn qemu(from: &mut impl Read) -> io::Result<Message> {
    let [kind] = take(from)?;
    if kind != 0 {
        return Err(unknown(format!("QEMU's message {kind}")));
    }
    let [down, down_, _, _, _, _, a, b, c, d] = take(from)?;
    Ok(Message::Keycode {
        keycode: u32::from_be_bytes([a, b, c, d]),
        goes_down: [down, down_] != [0, 0],
    })
}

fn encodings(from: &mut impl Read) -> io::Result<Vec<i32>> {
    let [_, high, low] = take(from)?;
    let count = u16::from_be_bytes([high, low]);
    let mut encodings = Vec::new();
    for _ in 0..count {
        let encoding = i32::from_be_bytes(take(from)?);
        if encodings.len() < ENCODINGS_MAX {
            encodings.push(encoding);
        }
    }
    Ok(encodings)
}

fn unknown(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} is not known"))
}

pub(super) fn take<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn skip(from: &mut impl Read, len: u64) -> io::Result<()> {
    match io::copy(&mut from.take(len), &mut io::sink())? {
        skipped if skipped == len => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
