//! Every order, given to a machine that is none.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use trine_devices::{Key, Rect};

use super::*;
use crate::seat::{
    Monitor, Typist,
    fake::{FakeSeat, text},
};

/// Remembers what it was asked for.
#[derive(Default)]
struct FakeControls {
    is_paused: AtomicBool,
    asked: Mutex<Vec<String>>,
}

impl FakeControls {
    fn note(&self, what: String) {
        self.asked.lock().expect("no panic").push(what);
    }
}

impl Controls for FakeControls {
    fn is_running(&self) -> bool {
        !self.is_paused.load(Ordering::SeqCst)
    }
    fn ask(&self, request: Request, _patience: Duration) -> bool {
        match request {
            Request::Pause => self.is_paused.store(true, Ordering::SeqCst),
            Request::Resume => self.is_paused.store(false, Ordering::SeqCst),
            _ => {}
        }
        self.note(format!("{request:?}"));
        true
    }
    fn quit(&self) {
        self.note("quit".into());
    }
    fn press_power_button(&self) {
        self.note("power".into());
    }
    fn balloon(&self) -> Option<Balloon> {
        Some(Balloon { target: 64 << 20, actual: 3 << 19 })
    }
    fn set_balloon(&self, bytes: u64) -> Result<(), String> {
        self.note(format!("balloon {bytes:#x}"));
        (bytes <= 1 << 30).then_some(()).ok_or_else(|| "too much".into())
    }
    fn drives(&self) -> Vec<String> {
        vec!["fd0".into(), "cd0".into()]
    }
    fn change_medium(
        &self,
        drive: &str,
        image: Option<&Path>,
        is_read_only: bool,
    ) -> Result<(), String> {
        if drive != "cd0" {
            return Err(format!("there is no drive {drive}"));
        }
        self.note(format!("{drive} {image:?} {is_read_only}"));
        Ok(())
    }
}

struct Machine {
    seat: Arc<FakeSeat>,
    controls: Arc<FakeControls>,
    server: Arc<CtlServer>,
}

impl Machine {
    fn new() -> Self {
        let (seat, controls) = (FakeSeat::new(20, 10), Arc::new(FakeControls::default()));
        let monitor = Arc::new(Monitor::new(seat.clone()));
        let typist = Arc::new(Typist::new(seat.clone()).expect("a thread"));
        let server = Arc::new(CtlServer::new(monitor, typist, controls.clone()));
        Self { seat, controls, server }
    }

    fn obey(&self, order: &Order) -> Answer {
        self.server.obey(order, &|| false)
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.controls.asked.lock().expect("no panic"))
    }

    fn client(&self) -> UnixStream {
        let (near, far) = UnixStream::pair().expect("sockets");
        let server = self.server.clone();
        thread::spawn(move || server.serve(&far));
        near
    }
}

fn refusal(answer: Answer) -> String {
    match answer {
        Answer::Refused { why } => why,
        other => panic!("not refused: {other:?}"),
    }
}

fn order(json: &str) -> Order {
    serde_json::from_str(json).expect("an order")
}

#[test]
fn keys_and_text_reach_the_keyboard() {
    let machine = Machine::new();
    let obey = |json: &str| machine.obey(&order(json));
    assert_eq!(obey(r#"{"do":"key","chords":["ctrl-c","f1"]}"#), Answer::Done);
    assert_eq!(obey(r#"{"do":"type","text":"a:"}"#), Answer::Done);
    let [control, shift] = [Key::ControlLeft, Key::ShiftLeft];
    let want = [
        [(control, true), (Key::C, true), (Key::C, false), (control, false)],
        [(Key::F1, true), (Key::F1, false), (Key::A, true), (Key::A, false)],
        [(shift, true), (Key::Semicolon, true), (Key::Semicolon, false), (shift, false)],
    ];
    assert_eq!(machine.seat.strokes(), want.concat());
    // Nothing of what is partly wrong is typed.
    let why = refusal(obey(r#"{"do":"key","chords":["a","ctrl-nothing"]}"#));
    assert!(why.contains("'ctrl-nothing'"), "{why}");
    assert!(refusal(obey(r#"{"do":"type","text":"aé"}"#)).contains("'é'"));
    assert_eq!(machine.seat.strokes().len(), 12);
}

#[test]
fn the_mouse_moves_and_clicks() {
    let machine = Machine::new();
    for json in [
        r#"{"do":"button","button":"right","press":"down"}"#,
        r#"{"do":"mouse","right":3,"down":-4}"#,
        r#"{"do":"button","button":"left"}"#,
        r#"{"do":"button","button":"right","press":"up"}"#,
        r#"{"do":"mouse","right":0,"down":0,"wheel":-1}"#,
    ] {
        assert_eq!(machine.obey(&order(json)), Answer::Done);
    }
    let want =
        [(0, 0, 0, 2), (3, -4, 0, 2), (0, 0, 0, 3), (0, 0, 0, 2), (0, 0, 0, 0), (0, 0, -1, 0)];
    assert_eq!(machine.seat.motions(), want);
}

#[test]
fn a_screenshot_is_the_picture() {
    let machine = Machine::new();
    let folder = tempfile::tempdir().expect("there is room");
    let file = folder.path().join("screen.png");
    machine.seat.paint(Rect { x: 3, y: 2, width: 1, height: 1 }, 0x0012_3456);
    assert_eq!(machine.obey(&Order::Screenshot { file: file.clone() }), Answer::Done);
    let png = png::Decoder::new(std::io::Cursor::new(std::fs::read(&file).expect("it is there")));
    let mut png = png.read_info().expect("a PNG");
    let mut dots = vec![0; png.output_buffer_size().expect("it is small")];
    let frame = png.next_frame(&mut dots).expect("a picture");
    assert_eq!((frame.width, frame.height, dots.len()), (20, 10, 600));
    let painted = 3 * (2 * 20 + 3);
    assert_eq!(dots[painted..painted + 3], [0x12, 0x34, 0x56]);
    assert!(
        dots.iter().enumerate().all(|(n, dot)| *dot == 0 || (painted..painted + 3).contains(&n))
    );
    let file = folder.path().join("nowhere/screen.png");
    assert!(refusal(machine.obey(&Order::Screenshot { file })).contains("nowhere"));
}

#[test]
fn text_is_read_and_waited_for() {
    let machine = Machine::new();
    let obey = |json: &str| machine.obey(&order(json));
    let why = refusal(obey(r#"{"do":"screen-text"}"#));
    assert!(why.contains("graphics, 20 by 10 dots"), "{why}");
    let wait = r#"{"do":"wait-text","text":"login:","seconds":0.05}"#;
    let Answer::TimedOut { why } = obey(wait) else { panic!("it is not there") };
    assert!(why.contains("graphics"), "{why}");
    machine.seat.write(Some(text(&["Debian ", "", "host login"])));
    let lines = ["Debian", "", "host login"].map(str::to_owned).to_vec();
    assert_eq!(obey(r#"{"do":"screen-text"}"#), Answer::Text { lines });
    let Answer::TimedOut { why } = obey(wait) else { panic!("it is not there") };
    assert!(why.contains(r#"the screen ends with "host login""#), "{why}");
    let seat = machine.seat.clone();
    let writer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        seat.write(Some(text(&["host login: "])));
    });
    assert_eq!(obey(r#"{"do":"wait-text","text":"login:","seconds":1e300}"#), Answer::Done);
    writer.join().expect("no panic");
}

#[test]
fn the_machine_is_controlled() {
    let machine = Machine::new();
    let obey = |json: &str| machine.obey(&order(json));
    assert_eq!(obey(r#"{"do":"pause"}"#), Answer::Done);
    let Answer::Status(status) = obey(r#"{"do":"status"}"#) else { panic!("no status") };
    assert_eq!((status.is_running, status.drives.len()), (false, 2));
    assert_eq!(status.screen, Screen::Graphics { width: 20, height: 10 });
    for json in ["resume", "reset", "power", "quit"] {
        assert_eq!(obey(&format!(r#"{{"do":"{json}"}}"#)), Answer::Done);
    }
    assert_eq!(machine.asked(), ["Pause", "Resume", "Reset", "power", "quit"]);
    assert_eq!(obey(r#"{"do":"eject","drive":"cd0"}"#), Answer::Done);
    assert_eq!(obey(r#"{"do":"insert","drive":"cd0","file":"/a.iso"}"#), Answer::Done);
    assert!(refusal(obey(r#"{"do":"eject","drive":"cd7"}"#)).contains("cd7"));
    assert_eq!(machine.asked(), ["cd0 None false", "cd0 Some(\"/a.iso\") false"]);
}

#[test]
fn orders_are_lines_and_so_are_answers() {
    let machine = Machine::new();
    let mut clients = [machine.client(), machine.client()];
    let mut lines = clients
        .each_ref()
        .map(|client| BufReader::new(client.try_clone().expect("there are descriptors")).lines());
    let mut next = |n: usize| lines[n].next().expect("a line").expect("it is served");
    // Two orders at once; nonsense between them; another client.
    clients[0].write_all(b"{\"do\":\"power\"}\nwhat?\n").expect("it listens");
    clients[1].write_all(b"{\"do\":\"explode\"}\n{\"do\":\"key\"}\n").expect("it listens");
    assert_eq!(next(0), r#"{"answer":"done"}"#);
    for n in [0, 1, 1] {
        let line = next(n);
        assert!(line.starts_with(r#"{"answer":"refused","why":"this is no order:"#), "{line}");
    }
    clients[0].write_all(b"{\"do\":\"type\",\"text\":\"\",\"hard\":1}\n").expect("it listens");
    assert!(next(0).contains("unknown field"));
    // A line without end is not kept for ever.
    let endless = vec![b' '; 2 << 20];
    let _ = clients[0].write_all(&endless);
    assert!(lines[0].next().is_none_or(|line| line.is_err()));
    clients[1].write_all(b"{\"do\":\"quit\"}\n").expect("it listens");
    assert_eq!(lines[1].next().expect("a line").expect("it is served"), r#"{"answer":"done"}"#);
    assert_eq!(machine.asked(), ["power", "quit"]);
}

#[test]
fn nobody_waits_for_a_client_that_has_gone() {
    let machine = Machine::new();
    let (mut near, far) = UnixStream::pair().expect("sockets");
    let server = machine.server.clone();
    let served = thread::spawn(move || server.serve(&far));
    near.write_all(b"{\"do\":\"wait-text\",\"text\":\"x\",\"seconds\":1e9}\n").expect("it listens");
    thread::sleep(Duration::from_millis(50));
    assert!(!served.is_finished());
    drop(near);
    served.join().expect("it is served to the end");
}

#[test]
fn the_client_finds_the_machine_or_says_why_not() {
    let folder = tempfile::tempdir().expect("there is room");
    let path = folder.path().join("ctl");
    let why = send(&path, &Order::Status).expect_err("nobody is there");
    assert!(why.contains("no machine listens there"), "{why}");
    let machine = Machine::new();
    let monitor = Arc::new(Monitor::new(machine.seat.clone()));
    let typist = Arc::new(Typist::new(machine.seat.clone()).expect("a thread"));
    let server = CtlServer::new(monitor, typist, machine.controls.clone());
    server.start(&path).expect("a socket");
    assert_eq!(send(&path, &Order::Power), Ok(Outcome::Done(String::new())));
    machine.seat.write(Some(text(&["one", "two"])));
    assert_eq!(send(&path, &Order::ScreenText), Ok(Outcome::Done("one\ntwo\n".into())));
    let Ok(Outcome::Done(status)) = send(&path, &Order::Status) else { panic!("no status") };
    assert!(status.contains("screen: text, 3 by 2\ndrives: fd0, cd0\n"), "{status}");
    let wait = Order::WaitText { text: "three".into(), seconds: 0.0 };
    assert!(matches!(send(&path, &wait), Ok(Outcome::TimedOut(_))));
    let eject = Order::Eject { drive: "hd0".into() };
    assert_eq!(send(&path, &eject), Err("there is no drive hd0".into()));
}
