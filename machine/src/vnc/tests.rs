//! The server before viewers: ordinary ones, several at once, strange ones.

use std::io::{Read, Write};

use trine_devices::{Key, Rect};

use super::*;
use crate::{
    seat::fake::FakeSeat,
    vnc::decode::{Decoder, bytes, pixel_value, word},
};

/// A viewer.
struct Viewer {
    stream: UnixStream,
    wire: [u8; 16],
    decoder: Decoder,
    size: (usize, usize),
    /// The picture as pixels of its format.
    pixels: Vec<u32>,
    /// What it heard beside pictures: encoding, x, y and data.
    extras: Vec<(i32, usize, usize, Vec<u8>)>,
}

const DESKTOP_SIZE: i32 = -223;
const POINTER_MOTION: i32 = -257;
const KEYCODES: i32 = -258;
const LEDS: i32 = -261;
const EXTENDED_DESKTOP_SIZE: i32 = -308;

fn server(seat: &Arc<FakeSeat>, password: Option<&[u8]>, share: Share) -> Arc<VncServer> {
    let monitor = Arc::new(Monitor::new(seat.clone()));
    let typist = Arc::new(Typist::new(seat.clone()).expect("a thread"));
    let password = password.and_then(Password::new);
    Arc::new(VncServer::new(monitor, typist, password, share))
}

/// A connection to the server.
fn connect(server: &Arc<VncServer>) -> UnixStream {
    let (near, far) = UnixStream::pair().expect("sockets");
    let server = server.clone();
    thread::spawn(move || server.serve(far));
    near.set_read_timeout(Some(Duration::from_secs(60))).expect("it can be set");
    near
}

impl Viewer {
    fn greet(server: &Arc<VncServer>, is_shared: bool) -> io::Result<Self> {
        let mut stream = connect(server);
        assert_eq!(&bytes::<12>(&mut stream)?, b"RFB 003.008\n");
        stream.write_all(b"RFB 003.008\n")?;
        assert_eq!(bytes(&mut stream)?, [1, 1]);
        stream.write_all(&[1])?;
        assert_eq!(bytes(&mut stream)?, [0; 4]);
        stream.write_all(&[is_shared.into()])?;
        let size = (word(&mut stream)?, word(&mut stream)?);
        let wire = bytes(&mut stream)?;
        let [_, _, _, length] = bytes(&mut stream)?;
        let mut name = vec![0; length.into()];
        stream.read_exact(&mut name)?;
        assert_eq!(name, NAME.as_bytes());
        let (decoder, pixels) = (Decoder::new(wire), vec![0; size.0 * size.1]);
        Ok(Self { stream, wire, decoder, size, pixels, extras: Vec::new() })
    }

    fn new(server: &Arc<VncServer>) -> Self {
        Self::greet(server, true).expect("it is let in")
    }

    fn say(&mut self, message: &[u8]) {
        self.stream.write_all(message).expect("the server listens");
    }

    fn set_format(&mut self, wire: [u8; 16]) {
        self.say(&[0, 0, 0, 0]);
        self.say(&wire);
        self.wire = wire;
        self.decoder = Decoder::new(wire);
    }

    fn set_encodings(&mut self, encodings: &[i32]) {
        self.say(&[2, 0, 0, encodings.len() as u8]);
        encodings.iter().for_each(|encoding| self.say(&encoding.to_be_bytes()));
    }

    fn ask(&mut self, is_incremental: bool) {
        let size = [self.size.0, self.size.1].map(|n| (n as u16).to_be_bytes()).concat();
        self.say(&[3, is_incremental.into(), 0, 0, 0, 0]);
        self.say(&size);
    }

    /// Waits for a message; says where the picture changed.
    fn hear(&mut self) -> io::Result<Vec<Rect>> {
        let from = &mut self.stream;
        if bytes(from)? == [1] {
            let [_, _, _, high, low] = bytes(from)?;
            let mut map = vec![0; 6 * usize::from(u16::from_be_bytes([high, low]))];
            from.read_exact(&mut map)?;
            self.extras.push((1, 0, 0, map));
            return Ok(Vec::new());
        }
        let [_] = bytes(from)?;
        let mut changed = Vec::new();
        for _ in 0..word(from)? {
            let [x, y, width, height] = [word(from)?, word(from)?, word(from)?, word(from)?];
            let encoding = i32::from_be_bytes(bytes(from)?);
            let extra = match encoding {
                0.. => None,
                LEDS => Some(bytes::<1>(from)?.to_vec()),
                EXTENDED_DESKTOP_SIZE => Some(bytes::<20>(from)?.to_vec()),
                _ => Some(Vec::new()),
            };
            if let Some(data) = extra {
                if matches!(encoding, DESKTOP_SIZE | EXTENDED_DESKTOP_SIZE) {
                    self.size = (width, height);
                    self.pixels = vec![0; width * height];
                }
                self.extras.push((encoding, x, y, data));
                continue;
            }
            let rect = Rect { x, y, width, height };
            let dots = self.decoder.dots(encoding, rect, from)?;
            for (n, line) in dots.chunks(width).enumerate() {
                self.pixels[(y + n) * self.size.0 + x..][..width].copy_from_slice(line);
            }
            changed.push(rect);
        }
        Ok(changed)
    }

    fn look(&mut self, is_incremental: bool) -> Vec<Rect> {
        self.ask(is_incremental);
        self.hear().expect("the server answers")
    }

    fn sees(&self, dots: &[u32]) -> bool {
        let want = dots.iter().map(|dot| pixel_value(&self.wire, *dot));
        want.eq(self.pixels.iter().copied())
    }
}

fn is_over(mut stream: &UnixStream) -> bool {
    let mut rest = [0; 4096];
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(e) => return e.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

const fn rect(x: usize, y: usize, width: usize, height: usize) -> Rect {
    Rect { x, y, width, height }
}

fn noise(x: usize, y: usize) -> u32 {
    ((x * 1717 + y * 31) as u32).wrapping_mul(0x9e37_79b1) >> 8
}

#[test]
fn a_viewer_sees_the_picture_and_then_what_changes() {
    let seat = FakeSeat::new(200, 100);
    seat.paint_with(rect(0, 0, 200, 100), noise);
    let server = server(&seat, None, Share::AllowExclusive);
    let mut viewer = Viewer::new(&server);
    assert_eq!(viewer.size, (200, 100));
    for encoding in [0, 5, 6, 16] {
        viewer.set_encodings(&[encoding]);
        viewer.look(false);
        assert!(viewer.sees(&seat.pixels()), "{encoding}");
        seat.paint(rect(33, 20, 10, 5), encoding as u32 + 1);
        assert_eq!(viewer.look(true), [rect(32, 16, 16, 16)]);
        assert!(viewer.sees(&seat.pixels()), "{encoding}");
    }
    // Nothing has changed: the answer comes when something does.
    viewer.ask(true);
    viewer.stream.set_read_timeout(Some(Duration::from_millis(150))).expect("it can be set");
    assert!(viewer.stream.read(&mut [0]).is_err());
    viewer.stream.set_read_timeout(Some(Duration::from_secs(60))).expect("it can be set");
    seat.paint(rect(0, 0, 1, 1), 0x77);
    assert_eq!(viewer.hear().expect("the server answers"), [rect(0, 0, 16, 16)]);
}

#[test]
fn viewers_with_other_formats_see_the_same() {
    let seat = FakeSeat::new(150, 90);
    let server = server(&seat, None, Share::AllowExclusive);
    let formats: [[u8; 16]; 4] = [
        [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0],
        [32, 24, 1, 1, 0, 255, 0, 255, 0, 255, 0, 8, 16, 0, 0, 0],
        [16, 16, 0, 1, 0, 31, 0, 63, 0, 31, 11, 5, 0, 0, 0, 0],
        [8, 8, 0, 1, 0, 7, 0, 7, 0, 3, 0, 3, 6, 0, 0, 0],
    ];
    let mut viewers: Vec<Viewer> = formats.iter().map(|_| Viewer::new(&server)).collect();
    for (viewer, (wire, encoding)) in viewers.iter_mut().zip(formats.iter().zip([16, 5, 6, 16])) {
        viewer.set_format(*wire);
        viewer.set_encodings(&[-239, encoding, 0]);
        viewer.look(false);
    }
    for n in 0..20 {
        seat.paint_with(rect(3 * n, 2 * n, 40, 30), |x, y| noise(x, y + n));
        for viewer in &mut viewers {
            viewer.look(true);
            assert!(viewer.sees(&seat.pixels()), "{n} {:?}", viewer.wire);
        }
    }
}

#[test]
fn indices_come_with_their_color_map() {
    let seat = FakeSeat::new(20, 20);
    seat.paint(rect(0, 0, 20, 20), 0x00ff_0000);
    let mut viewer = Viewer::new(&server(&seat, None, Share::AllowExclusive));
    viewer.set_format([8, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    viewer.look(false);
    let (kind, .., map) = viewer.extras.remove(0);
    assert_eq!((kind, map.len()), (1, 256 * 6));
    let mut pixel = [0; 400 + 16];
    viewer.stream.read_exact(&mut pixel).expect("the picture follows");
    assert_eq!(map[6 * usize::from(pixel[20])..][..6], [0xff, 0xff, 0, 0, 0, 0]);
}

#[test]
fn sizes_are_told_to_those_who_understand() {
    let seat = FakeSeat::new(64, 48);
    let server = server(&seat, None, Share::AllowExclusive);
    let mut viewers = [0; 3].map(|_| Viewer::new(&server));
    viewers[1].set_encodings(&[0, DESKTOP_SIZE]);
    viewers[2].set_encodings(&[0, DESKTOP_SIZE, EXTENDED_DESKTOP_SIZE]);
    viewers.iter_mut().for_each(|viewer| drop(viewer.look(false)));
    // Who knows screens is told the layout at first.
    assert_eq!(viewers[2].extras.pop().map(|extra| extra.0), Some(EXTENDED_DESKTOP_SIZE));
    seat.resize(80, 30);
    seat.paint_with(rect(0, 0, 80, 30), noise);
    let [old, plain, extended] = &mut viewers;
    old.look(true);
    for y in 0..48 {
        for x in 0..64 {
            let want = if y < 30 { noise(x, y) } else { 0 };
            assert_eq!(old.pixels[y * 64 + x], want, "{x} {y}");
        }
    }
    for (viewer, encoding) in [(plain, DESKTOP_SIZE), (&mut *extended, EXTENDED_DESKTOP_SIZE)] {
        assert_eq!(viewer.look(true), []);
        assert_eq!(viewer.size, (80, 30));
        let (told, x, y, data) = viewer.extras.pop().expect("it was told");
        assert_eq!((told, x, y), (encoding, 0, 0));
        if encoding == EXTENDED_DESKTOP_SIZE {
            assert_eq!(data, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 80, 0, 30, 0, 0, 0, 0]);
        }
        viewer.look(true);
        assert!(viewer.sees(&seat.pixels()));
    }
    // A viewer's own wish is refused: it was the one to ask, and it is prohibited.
    extended.say(&[251, 0, 0, 99, 0, 99, 1, 0]);
    extended.say(&[0; 16]);
    extended.look(true);
    let (encoding, reason, status, _) = extended.extras.pop().expect("it was answered");
    assert_eq!((encoding, reason, status), (EXTENDED_DESKTOP_SIZE, 1, 1));
    assert_eq!(extended.size, (80, 30));
}

#[test]
fn keys_movements_and_lights() {
    let seat = FakeSeat::new(64, 48);
    let server = server(&seat, None, Share::AllowExclusive);
    let mut viewer = Viewer::new(&server);
    viewer.say(&[4, 1, 0, 0, 0, 0, 0, b'x']);
    viewer.say(&[4, 0, 0, 0, 0, 0, 0, b'x']);
    viewer.say(&[5, 0, 0, 10, 0, 10]);
    viewer.say(&[5, 1, 0, 13, 0, 6]);
    viewer.say(&[6, 0, 0, 0, 0, 0, 0, 3, b'c', b'u', b't']);
    viewer.set_encodings(&[0, POINTER_MOTION, KEYCODES, LEDS]);
    seat.light(0b010);
    viewer.look(true);
    viewer.extras.sort();
    let want =
        [(LEDS, 0, 0, vec![0b010]), (KEYCODES, 0, 0, vec![]), (POINTER_MOTION, 0, 0, vec![])];
    assert_eq!(viewer.extras, want);
    viewer.say(&[5, 0, 0x80, 0x01, 0x7f, 0xfe]);
    // The right Control, by its number; the keysym beside it does not matter.
    viewer.say(&[255, 0, 0, 1, 0, 0, 0, b'a', 0, 0, 0, 0x9d]);
    seat.wait_for_strokes(3);
    drop(viewer);
    seat.wait_for_strokes(4);
    let control = Key::ControlRight;
    let want = [(Key::X, true), (Key::X, false), (control, true), (control, false)];
    assert_eq!(seat.strokes(), want);
    assert_eq!(seat.motions(), [(0, 0, 0, 0), (3, -4, 0, 1), (2, -1, 0, 0)]);
}

#[test]
fn the_password_is_asked_for() {
    let seat = FakeSeat::new(8, 8);
    let server = server(&seat, Some(b"secret"), Share::AllowExclusive);
    let password = Password::new(b"secret").expect("a password");
    for (is_right, result) in [(true, 0), (false, 1)] {
        let mut stream = connect(&server);
        stream.write_all(b"RFB 003.008\n").expect("it listens");
        bytes::<12>(&mut stream).expect("a version");
        assert_eq!(bytes(&mut stream).expect("security types"), [1, 2]);
        stream.write_all(&[2]).expect("it listens");
        let challenge = bytes(&mut stream).expect("a challenge");
        let mut response = password.response(challenge);
        response[0] ^= u8::from(!is_right);
        stream.write_all(&response).expect("it listens");
        assert_eq!(bytes(&mut stream).expect("a result"), [0, 0, 0, result]);
        if is_right {
            stream.write_all(&[1]).expect("it listens");
            assert_eq!(word(&mut stream).expect("the width"), 8);
        } else {
            let [_, _, _, length] = bytes(&mut stream).expect("a reason");
            let mut reason = vec![0; length.into()];
            stream.read_exact(&mut reason).expect("a reason");
            assert_eq!(reason, b"the password is wrong");
            assert!(is_over(&stream));
        }
    }
    // No security is no choice.
    let mut stream = connect(&server);
    stream.write_all(b"RFB 003.007\n\x01\x01").expect("it listens");
    assert!(is_over(&stream));
}

#[test]
fn who_wants_to_be_alone() {
    let seat = FakeSeat::new(8, 8);
    for (share, others_stay, is_let_in) in [
        (Share::AllowExclusive, false, true),
        (Share::ForceShared, true, false),
        (Share::Ignore, true, true),
    ] {
        let server = server(&seat, None, share);
        let mut first = Viewer::new(&server);
        let second = Viewer::greet(&server, false);
        assert_eq!(second.is_ok(), is_let_in, "{share:?}");
        if others_stay {
            first.look(false);
        } else {
            assert!(is_over(&first.stream));
        }
    }
}

#[test]
fn a_slow_viewer_delays_nobody_and_costs_nothing() {
    let seat = FakeSeat::new(800, 600);
    let server = server(&seat, None, Share::AllowExclusive);
    let mut slow = Viewer::new(&server);
    // It asks for more than a socket holds, and reads nothing of it.
    for _ in 0..100 {
        slow.ask(false);
    }
    let mut quick = Viewer::new(&server);
    for n in 0..8 {
        seat.paint(rect(n, n, 5, 5), 0x00ff_0000 + n as u32);
        // The picture that it is sent may be as old as a drawing's period.
        while !quick.sees(&seat.pixels()) {
            quick.look(true);
        }
    }
    // While nobody asks, nothing is drawn: the slow one's answer is long made.
    let draws = seat.draws();
    thread::sleep(Duration::from_millis(200));
    assert!(seat.draws() <= draws + 1);
    // All that it asked for was answered by one picture, or two.
    slow.hear().expect("the first picture");
    slow.stream.set_read_timeout(Some(Duration::from_millis(300))).expect("it can be set");
    let mut updates = 1;
    while slow.hear().is_ok() {
        updates += 1;
    }
    assert!(updates <= 3, "{updates}");
}

#[test]
fn only_so_many_are_served() {
    let seat = FakeSeat::new(8, 8);
    let server = server(&seat, None, Share::AllowExclusive);
    let viewers: Vec<Viewer> = (0..VIEWERS_MAX).map(|_| Viewer::new(&server)).collect();
    assert!(is_over(&connect(&server)));
    drop(viewers);
    // Their places are free as soon as the server has heard of it.
    while Viewer::greet(&server, true).is_err() {
        thread::sleep(Duration::from_millis(5));
    }
}

/// Bytes without a pattern.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn bytes(&mut self, len: u64) -> Vec<u8> {
        (0..len).map(|_| self.below(256) as u8).collect()
    }
}

/// Says strange things to the server `rounds` times.
fn torment(rounds: u64) {
    let seat = FakeSeat::new(100, 100);
    let server = server(&seat, None, Share::AllowExclusive);
    let mut random = Random(0x1234_5678_9abc_def1);
    for round in 0..rounds {
        let mut said = match round % 4 {
            0 => random.bytes(40),
            1 => [&b"RFB 003.008\n"[..], &random.bytes(40)].concat(),
            _ => b"RFB 003.008\n\x01\x01".to_vec(),
        };
        for _ in 0..random.below(30) {
            let kind = [0, 2, 3, 4, 5, 6, 251, 255][random.below(8) as usize];
            said.push(kind);
            let len = random.below(24);
            said.extend(match random.below(4) {
                0 => random.bytes(len),
                1 => vec![0; len as usize],
                2 => vec![0xff; len as usize],
                // As long as the message has to be.
                _ => random.bytes([19, 3, 9, 7, 5, 7, 7, 11][usize::from(kind.min(7))]),
            });
        }
        let (mut near, far) = UnixStream::pair().expect("sockets");
        let end = thread::spawn({
            let server = server.clone();
            move || server.serve(far)
        });
        // It may be sent away in the middle, and what it is sent is not looked at.
        let _ = near.write_all(&said).and_then(|()| near.shutdown(Shutdown::Write));
        let _ = io::copy(&mut near, &mut io::sink());
        end.join().expect("the server does not panic");
    }
    // Some of it was understood, and it still serves.
    assert!(seat.motions().len() as u64 > rounds / 10, "{}", seat.motions().len());
    let mut viewer = Viewer::new(&server);
    viewer.look(false);
    assert!(viewer.sees(&seat.pixels()));
}

#[test]
fn hostile_viewers() {
    torment(3000);
}

#[test]
#[ignore = "takes five minutes"]
fn hostile_viewers_at_length() {
    torment(200_000);
}
