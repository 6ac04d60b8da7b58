//! An interface of the host's that is a cable to the guest (Linux's `tap`): what the guest sends
//! arrives there, and what the host sends there the guest receives. Source: Linux,
//! `Documentation/networking/tuntap.rst`.
//!
//! Frames come whole: the kernel has nothing left to do to them.

use std::{io, os::fd::AsRawFd};

use mio::{Events, Interest, Poll, Token, unix::SourceFd};
use trine_devices::{FRAME_MAX, Frame, Link, Offload, Offloads};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use super::exchange::{Cable, Exchange};
use crate::disk::Wake;

const GUEST: Token = Token(0);
const INTERFACE: Token = Token(1);
/// Frames that are read before those of the guest have their turn.
const TURN: usize = 64;

/// Opens the interface called `name`, or makes one. `wake` is called, from another thread, when there
/// is a frame.
pub(super) fn open(name: Option<&str>, wake: Wake) -> io::Result<Box<dyn Link>> {
    let mut builder = DeviceBuilder::new().layer(Layer::L2).inherit_enable_state();
    if let Some(name) = name {
        builder = builder.name(name);
    }
    let device = builder.build_sync()?;
    device.set_nonblocking(true)?;
    let poll = Poll::new()?;
    let fd = device.as_raw_fd();
    poll.registry().register(&mut SourceFd(&fd), INTERFACE, Interest::READABLE)?;
    if name.is_none() {
        log::info!("the guest's network is interface {}", device.name()?);
    }
    let work = move |poll: Poll, exchange: &Exchange| {
        if let Err(error) = work(poll, &device, exchange) {
            log::error!("the guest's network is gone: {error}");
        }
    };
    Ok(Box::new(Cable::start(Offloads::default(), wake, (poll, GUEST), work)?))
}

/// The life of the thread behind an interface.
fn work(mut poll: Poll, device: &SyncDevice, exchange: &Exchange) -> io::Result<()> {
    let mut events = Events::with_capacity(2);
    let mut buffer = vec![0; FRAME_MAX];
    let mut is_readable = true;
    loop {
        let room = exchange.room();
        let wait = (is_readable && room > 0).then_some(std::time::Duration::ZERO);
        match poll.poll(&mut events, wait) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
            _ => {}
        }
        is_readable |= events.iter().any(|event| event.token() == INTERFACE);
        let Some(sent) = exchange.take_sent() else { return Ok(()) };
        for (frame, _) in sent {
            // What the interface does not take now is lost, as when its cable is unplugged.
            let _ = device.send(&frame);
        }
        let mut frames = Vec::new();
        let mut left = room;
        while is_readable && left > 0 && frames.len() < TURN {
            match device.recv(&mut buffer) {
                Ok(len) => {
                    left = left.saturating_sub(len);
                    let bytes = buffer.get(..len).unwrap_or_default().to_vec();
                    frames.push(Frame { bytes, offload: Offload::default() });
                }
                // Somebody has taken the interface down: it may come again.
                Err(_) => is_readable = false,
            }
        }
        exchange.put(frames);
    }
}
