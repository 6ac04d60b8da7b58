//! What a viewer is sent: pictures when it asks for them, and what it has to know beside them.
//!
//! Sources: RFC 6143, sections 7.5.3, 7.6 and 7.8; the RFB community's specification for
//! ExtendedDesktopSize, QEMU's pointer motion change, extended key event and LED state.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use trine_devices::Rect;

use super::{
    encode::{Encoder, Encoding, put_header},
    pixels::PixelFormat,
};
use crate::seat::{Canvas, Damage, Monitor, common};

/// Pseudo-encodings.
mod pseudo {
    pub(super) const DESKTOP_SIZE: i32 = -223;
    pub(super) const LEVEL_0: i32 = -256;
    pub(super) const LEVEL_9: i32 = -247;
    pub(super) const POINTER_MOTION: i32 = -257;
    pub(super) const KEYCODES: i32 = -258;
    pub(super) const LEDS: i32 = -261;
    pub(super) const EXTENDED_DESKTOP_SIZE: i32 = -308;
}

/// Lines of a picture that are encoded together: what is sent of a large one takes little memory.
const BAND: usize = 64;
/// A viewer is sent pictures at most so often.
const PERIOD: Duration = Duration::from_millis(25);
/// How hard to compress, unless the viewer says.
const LEVEL: u8 = 2;

/// A request for a picture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Asked {
    is_incremental: bool,
    area: Rect,
}

/// What a viewer wants: written by who reads from it, read by who writes to it.
pub(super) struct Wishes {
    pub(super) format: PixelFormat,
    encoding: (Encoding, u8),
    asked: Option<Asked>,
    resizes: bool,
    resizes_extended: bool,
    pub(super) says_movements: bool,
    says_keycodes: bool,
    knows_leds: bool,
    /// What it does not know yet.
    untold: Untold,
    pub(super) is_gone: bool,
}

#[derive(Clone, Copy, Default)]
struct Untold {
    color_map: bool,
    movements: bool,
    keycodes: bool,
    leds: Option<u8>,
    /// The layout of screens, and why it is told (ExtendedDesktopSize's reason and status).
    layout: Option<(u16, u16)>,
}

impl Untold {
    fn is_any(self) -> bool {
        self.movements || self.keycodes || self.leds.is_some() || self.layout.is_some()
    }
}

impl Wishes {
    fn new() -> Self {
        Self {
            format: PixelFormat::ours().0,
            encoding: (Encoding::Raw, LEVEL),
            asked: None,
            resizes: false,
            resizes_extended: false,
            says_movements: false,
            says_keycodes: false,
            knows_leds: false,
            untold: Untold::default(),
            is_gone: false,
        }
    }

    /// SetPixelFormat.
    pub(super) fn set_format(&mut self, format: PixelFormat) {
        self.untold.color_map = format.color_map().is_some();
        self.format = format;
    }

    /// SetEncodings: the first that we have is the one.
    pub(super) fn set_encodings(&mut self, encodings: &[i32]) {
        let has = |pseudo: i32| encodings.contains(&pseudo);
        let encoding = encodings.iter().find_map(|number| Encoding::numbered(*number));
        let is_level = |number: &&i32| (pseudo::LEVEL_0..=pseudo::LEVEL_9).contains(*number);
        let level = encodings.iter().find(is_level);
        let level = level.map_or(LEVEL, |number| (number - pseudo::LEVEL_0) as u8);
        self.encoding = (encoding.unwrap_or_default(), level);
        self.resizes = has(pseudo::DESKTOP_SIZE);
        let learns = |knows: &mut bool, pseudo| !std::mem::replace(knows, has(pseudo)) && *knows;
        self.untold.movements |= learns(&mut self.says_movements, pseudo::POINTER_MOTION);
        self.untold.keycodes |= learns(&mut self.says_keycodes, pseudo::KEYCODES);
        if learns(&mut self.resizes_extended, pseudo::EXTENDED_DESKTOP_SIZE) {
            self.untold.layout = Some((0, 0));
        }
        self.knows_leds = has(pseudo::LEDS);
    }

    /// SetDesktopSize: it is not for a viewer to decide.
    pub(super) fn refuse_size(&mut self) {
        if self.resizes_extended {
            self.untold.layout = Some((1, 1));
        }
    }

    /// FramebufferUpdateRequest. One that comes before the last was answered adds to it.
    pub(super) fn ask(&mut self, is_incremental: bool, area: Rect) {
        self.asked = Some(match self.asked {
            None => Asked { is_incremental, area },
            Some(asked) => Asked {
                is_incremental: asked.is_incremental && is_incremental,
                area: hull(asked.area, area),
            },
        });
    }
}

/// The smallest rectangle that holds both.
fn hull(a: Rect, b: Rect) -> Rect {
    let (x, y) = (a.x.min(b.x), a.y.min(b.y));
    let right = (a.x + a.width).max(b.x + b.width);
    let bottom = (a.y + a.height).max(b.y + b.height);
    Rect { x, y, width: right - x, height: bottom - y }
}

/// An answer to a request.
struct Update {
    format: PixelFormat,
    encoding: (Encoding, u8),
    untold: Untold,
    /// The size, if the viewer has to be told, and how.
    resize: Option<i32>,
    parts: Vec<(Rect, Vec<u32>)>,
}

/// Sends one viewer what it asks for.
pub(super) struct Updates {
    monitor: Arc<Monitor>,
    wishes: Mutex<Wishes>,
}

/// What its writer knows of a viewer.
struct Known {
    size: (usize, usize),
    /// The size of the picture that was sent last: a viewer that cannot be told sees a part of it.
    shown: (usize, usize),
    leds: u8,
    damage: Damage,
}

impl Updates {
    pub(super) fn new(monitor: Arc<Monitor>) -> Self {
        Self { monitor, wishes: Mutex::new(Wishes::new()) }
    }

    /// What the viewer wants.
    pub(super) fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was wished, or the viewer is gone.
    pub(super) fn ring(&self) {
        self.monitor.ring();
    }

    /// Sends updates until the viewer is gone. It knows that the picture has `size`.
    ///
    /// # Errors
    /// If the connection fails.
    pub(super) fn send(&self, to: impl Write, size: (usize, usize)) -> io::Result<()> {
        let mut to = io::BufWriter::new(to);
        let (mut encoder, mut sent) = (Encoder::default(), None::<Instant>);
        let mut known = Known { size, shown: size, leds: 0, damage: Damage::default() };
        loop {
            self.monitor.sleep(|| {
                let wishes = self.wishes();
                (wishes.asked.is_some() || wishes.is_gone).then_some(())
            });
            let update = self.monitor.wait(|canvas| {
                let mut wishes = self.wishes();
                if wishes.is_gone {
                    return Some(None);
                }
                // Who asks without end does not keep the host busy.
                if sent.is_some_and(|at| at.elapsed() < PERIOD) {
                    return None;
                }
                let leds = if wishes.knows_leds { self.monitor.seat().leds() } else { known.leds };
                known.next(&mut wishes, canvas, leds).map(Some)
            });
            let Some(update) = update else { return Ok(()) };
            sent = Some(Instant::now());
            update.write(&mut to, &mut encoder, known.size)?;
            to.flush()?;
        }
    }
}

impl Known {
    /// The answer to what the viewer asks for, if there is anything to say.
    fn next(&mut self, wishes: &mut Wishes, canvas: &Canvas, leds: u8) -> Option<Update> {
        let asked = wishes.asked?;
        if leds != self.leds {
            wishes.untold.leds = Some(leds);
        }
        let can_resize = wishes.resizes || wishes.resizes_extended;
        let resize = can_resize && canvas.size() != self.size;
        let rects = if resize { Vec::new() } else { self.rects(asked, canvas) };
        let must_answer = resize || !asked.is_incremental || wishes.untold.is_any();
        if rects.is_empty() && !must_answer {
            return None;
        }
        if resize {
            self.size = canvas.size();
            wishes.untold.layout = wishes.resizes_extended.then_some((0, 0));
        }
        self.leds = leds;
        wishes.asked = None;
        Some(Update {
            format: wishes.format.clone(),
            encoding: wishes.encoding,
            untold: std::mem::take(&mut wishes.untold),
            resize: (resize && !wishes.resizes_extended).then_some(pseudo::DESKTOP_SIZE),
            parts: rects.into_iter().map(|rect| (rect, canvas.dots(rect))).collect(),
        })
    }

    /// What to send of the area that was asked for.
    fn rects(&mut self, asked: Asked, canvas: &Canvas) -> Vec<Rect> {
        self.damage.note(canvas);
        let all = Rect { x: 0, y: 0, width: self.size.0, height: self.size.1 };
        let Some(area) = common(asked.area, all) else { return Vec::new() };
        let changed = self.damage.take(area);
        let is_new = std::mem::replace(&mut self.shown, canvas.size()) != canvas.size();
        let rects = if is_new || !asked.is_incremental { vec![area] } else { changed };
        rects.into_iter().flat_map(bands).collect()
    }
}

/// A rectangle in pieces of few lines.
fn bands(rect: Rect) -> impl Iterator<Item = Rect> {
    let end = rect.y + rect.height;
    (rect.y..end).step_by(BAND).map(move |y| Rect { y, height: BAND.min(end - y), ..rect })
}

impl Update {
    /// FramebufferUpdate, and SetColorMapEntries before it if that is due.
    fn write(
        &self,
        to: &mut impl Write,
        encoder: &mut Encoder,
        size: (usize, usize),
    ) -> io::Result<()> {
        if let Some(map) = self.format.color_map().filter(|_| self.untold.color_map) {
            to.write_all(&[1, 0, 0, 0])?;
            to.write_all(&(map.len() as u16).to_be_bytes())?;
            to.write_all(&map.concat().into_iter().flat_map(u16::to_be_bytes).collect::<Vec<_>>())?;
        }
        let extras = self.extras(size);
        let count = (self.parts.len() + extras.len()) as u16;
        to.write_all(&[0, 0])?;
        to.write_all(&count.to_be_bytes())?;
        let mut bytes = Vec::new();
        for (rect, dots) in &self.parts {
            bytes.clear();
            encoder.encode(self.encoding, &self.format, *rect, dots, &mut bytes);
            to.write_all(&bytes)?;
        }
        // A new size is the last one.
        to.write_all(&extras.concat())
    }

    /// Rectangles that say something else than dots.
    fn extras(&self, (width, height): (usize, usize)) -> Vec<Vec<u8>> {
        let mut extras = Vec::new();
        let mut add = |(x, y): (u16, u16), encoding, data: &[u8]| {
            let mut bytes = Vec::new();
            let rect = Rect { x: x.into(), y: y.into(), width, height };
            put_header(rect, encoding, &mut bytes);
            bytes.extend_from_slice(data);
            extras.push(bytes);
        };
        if self.untold.movements {
            // 0: the viewer is to say movements.
            add((0, 0), pseudo::POINTER_MOTION, &[]);
        }
        if self.untold.keycodes {
            add((0, 0), pseudo::KEYCODES, &[]);
        }
        if let Some(leds) = self.untold.leds {
            add((0, 0), pseudo::LEDS, &[leds]);
        }
        if let Some(resize) = self.resize {
            add((0, 0), resize, &[]);
        }
        if let Some(why) = self.untold.layout {
            // A single screen, number 0, as large as the picture.
            let mut layout = vec![1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            layout.extend([width, height].map(|n| (n as u16).to_be_bytes()).concat());
            layout.extend([0; 4]);
            add(why, pseudo::EXTENDED_DESKTOP_SIZE, &layout);
        }
        extras
    }
}
