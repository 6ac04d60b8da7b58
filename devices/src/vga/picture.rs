//! From registers and video memory to pixels: what the monitor shows, line by line.
//!
//! The picture has the dots and lines of the raster: a mode of 320 by 200 pixels that the CRT
//! controller shows with every pixel two dots wide and two lines high is 640 by 400. The modes of
//! the Bochs interface have a dot for each pixel.

mod frame;
mod linear;
mod scan;
mod text;

use std::ops::Range;

use trine_guest::VmTime;

use super::{
    State,
    memory::{PAGE, VideoMemory},
};
use crate::{Picture, Rect};
use frame::{Content, Frame};
use scan::PLANES;
pub use text::{Cell, Text};

/// The picture, and what it was drawn from.
#[derive(Default)]
pub(super) struct Screen {
    picture: Picture,
    /// What `picture` shows; `None` if all of it is to be drawn.
    frame: Option<Frame>,
    /// A VGA's planes as they were last drawn, if the picture is drawn from these.
    planes: Vec<u8>,
    /// The colors of a line, for the modes with a palette.
    indices: Vec<u8>,
    /// The bytes of a line, for the linear modes.
    bytes: Vec<u8>,
    line: Vec<u32>,
}

impl Screen {
    pub(super) fn picture(&self) -> &Picture {
        &self.picture
    }

    /// Registers or memory are not what they were: everything is drawn the next time.
    pub(super) fn forget(&mut self) {
        self.frame = None;
    }

    /// Draws what has changed, and says where.
    pub(super) fn draw(
        &mut self,
        state: &State,
        memory: &mut dyn VideoMemory,
        now: VmTime,
    ) -> Vec<Rect> {
        let frame = Frame::of(state, now);
        let is_new = self.frame.as_ref() != Some(&frame);
        // First the marks, then the bytes: what is stored meanwhile is seen now or the next time.
        let dirty = memory.take_dirty(frame.source());
        self.copy_planes(&frame, memory, &dirty);
        let mut changed = Vec::new();
        let Frame { width, height, .. } = frame;
        let is_resized = (self.picture.width(), self.picture.height()) != (width, height);
        if is_resized {
            self.picture = Picture::new(width, height);
        }
        let mut last = None;
        for y in 0..height {
            if !is_new && !is_dirty(&dirty, frame.content.source(y)) {
                last = None;
                continue;
            }
            // A line that is shown again need not be drawn again.
            let scan = frame.content.scan(y);
            if scan.is_none() || scan != last {
                self.draw_line(&frame, memory, y);
            }
            last = scan;
            self.place_line(y, &mut changed);
        }
        self.frame = Some(frame);
        if is_resized {
            changed = vec![Rect { x: 0, y: 0, width, height }];
        }
        changed
    }

    /// Brings the copy of the planes up to date.
    fn copy_planes(&mut self, frame: &Frame, memory: &dyn VideoMemory, dirty: &[usize]) {
        if !matches!(frame.content, Content::Scanned(_)) {
            self.planes.clear();
        } else if self.planes.is_empty() || self.frame.is_none() {
            self.planes.resize(PLANES, 0);
            memory.load(0, &mut self.planes);
        } else {
            for page in dirty {
                if let Some(copy) = self.planes.chunks_mut(PAGE).nth(*page) {
                    memory.load(page * PAGE, copy);
                }
            }
        }
    }

    /// Draws line `y` into `line`.
    fn draw_line(&mut self, frame: &Frame, memory: &dyn VideoMemory, y: usize) {
        self.line.clear();
        match &frame.content {
            Content::Off => {}
            Content::Scanned(scan) => {
                scan.draw(y, &self.planes, &mut self.indices);
                let [skip, repeat] = [scan.pan(y), scan.repeat()];
                let dots = self.indices.iter().skip(skip);
                let dots = dots.map(|index| frame.colors[usize::from(*index)]);
                self.line.extend(dots.flat_map(|dot| std::iter::repeat_n(dot, repeat)));
            }
            Content::Linear(mode) => {
                let Range { start, end } = linear::source(mode, y);
                self.bytes.resize(end - start, 0);
                memory.load(start, &mut self.bytes);
                linear::draw(mode, &self.bytes, &frame.colors, &mut self.line);
            }
        }
        self.line.resize(frame.width, 0);
    }

    /// Puts `line` into the picture as line `y`, and adds what has changed to `changed`.
    fn place_line(&mut self, y: usize, changed: &mut Vec<Rect>) {
        let Some(Range { start, end }) = self.picture.set_line(y, &self.line) else { return };
        match changed.last_mut() {
            Some(above) if above.y + above.height == y => {
                let right = end.max(above.x + above.width);
                above.x = above.x.min(start);
                above.width = right - above.x;
                above.height += 1;
            }
            _ => changed.push(Rect { x: start, y, width: end - start, height: 1 }),
        }
    }
}

/// Whether one of the `dirty` pages has a byte of `source`.
fn is_dirty(dirty: &[usize], source: Range<usize>) -> bool {
    let first = dirty.partition_point(|page| (page + 1) * PAGE <= source.start);
    dirty.get(first).is_some_and(|page| page * PAGE < source.end)
}
