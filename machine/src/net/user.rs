//! Networks that the host makes for its guest, without any privilege: a gateway that speaks to the
//! guest in frames and to the world with the host's own sockets (address translation, as a home
//! router does it; RFC 3022).
//!
//! - `gateway` takes frames apart; `lan` puts those for the guest together, `reassembly` joins
//!   fragments;
//! - `dhcp` and `tftp` are the gateway's own servers, `ipv6` says that there is none;
//! - `tcp` and `datagrams` (UDP, DNS, pings) are what goes to the outside, and what comes from there
//!   to forwarded ports; `outside` knows what may be reached, `resolvers` the host's DNS servers.
//!
//! The gateway itself neither waits nor looks at a clock. By the host's clock a thread sees to it and
//! to its sockets. A network that is [closed](UserSpec::is_closed) has no sockets: what happens
//! there depends on the guest alone, so there is no thread either, and a guest whose time follows
//! instructions finds everything as it was the last time.
//!
//! No connection outlives its process. A guest that goes back to a snapshot finds that the gateway
//! knows nothing of its connections, and has them reset; its address it keeps.

mod datagrams;
mod dhcp;
mod gateway;
mod ipv6;
mod lan;
mod outside;
mod reassembly;
mod resolvers;
mod tcp;
#[cfg(test)]
mod tests;
mod tftp;

use std::{
    collections::VecDeque,
    io,
    net::{TcpListener, UdpSocket},
    time::{Duration, Instant},
};

use mio::{Events, Poll};
use trine_devices::{Frame, Link, Offload, Offloads};
use trine_guest::VmTime;

use self::{
    gateway::Gateway,
    outside::{Outside, Source},
};
use super::{
    NetError,
    exchange::{Cable, Exchange},
    spec::{Forward, Protocol, UserSpec},
};
use crate::disk::Wake;

/// Events that are taken from the host at once.
const EVENTS: usize = 256;
/// The gateway rests for this long at least, whatever wakes it.
const REST: Duration = Duration::from_millis(1);
/// What the gateway takes.
const TAKES: Offloads = Offloads { checksum: true, tcp4: true, tcp6: false };

/// How long the gateway of a closed network takes for an answer.
const LATENCY_NS: u64 = 50_000;
/// Frames of its that wait for the guest; more are lost.
const WAITING_MAX: usize = 1024;

/// The network that `spec` describes. `wake` is called, from another thread, when there is a frame.
///
/// # Errors
/// [`NetError`], in a line for the user.
pub(super) fn open(spec: &UserSpec, wake: Wake) -> Result<Box<dyn Link>, NetError> {
    if spec.is_closed() {
        return Ok(Box::new(Closed { gateway: gateway(spec, None)?, waiting: VecDeque::new() }));
    }
    let poll = Poll::new().map_err(NetError::Host)?;
    let registry = poll.registry().try_clone().map_err(NetError::Host)?;
    let mut gateway = gateway(spec, Some(Outside::new(spec, registry)))?;
    for forward in &spec.forwards {
        open_forward(&mut gateway, forward)
            .map_err(|source| NetError::Forward { at: forward.host, source })?;
    }
    let work = |poll: Poll, exchange: &Exchange| {
        if let Err(error) = work(poll, gateway, exchange) {
            log::error!("the guest's network is gone: {error}");
        }
    };
    let cable = Cable::start(TAKES, wake, (poll, Source::Guest.into()), work);
    Ok(Box::new(cable.map_err(NetError::Host)?))
}

fn gateway(spec: &UserSpec, outside: Option<Outside>) -> Result<Gateway, NetError> {
    let folder = spec.tftp.clone().unwrap_or_default();
    Gateway::new(spec, outside).map_err(|source| NetError::Tftp { folder, source })
}

fn open_forward(gateway: &mut Gateway, forward: &Forward) -> io::Result<()> {
    match forward.protocol {
        Protocol::Tcp => gateway.forward_tcp(TcpListener::bind(forward.host)?, forward.guest),
        Protocol::Udp => gateway.forward_udp(UdpSocket::bind(forward.host)?, forward.guest),
    }
}

/// The life of the thread behind a network.
fn work(mut poll: Poll, mut gateway: Gateway, exchange: &Exchange) -> io::Result<()> {
    let start = Instant::now();
    let mut events = Events::with_capacity(EVENTS);
    let mut room = exchange.room();
    loop {
        let wait = match gateway.is_busy() && room > 0 {
            true => Some(Duration::ZERO),
            false => gateway.next_event().map(|at| at.saturating_sub(start.elapsed()).max(REST)),
        };
        match poll.poll(&mut events, wait) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
            _ => {}
        }
        let now = start.elapsed();
        let Some(sent) = exchange.take_sent() else { return Ok(()) };
        gateway.set_room(room);
        for (mut frame, offload) in sent {
            gateway.receive(now, &mut frame, offload);
        }
        events.iter().for_each(|event| gateway.event(now, event));
        gateway.run(now);
        exchange.put(gateway.take());
        room = exchange.room();
    }
}

/// A network with nothing outside.
struct Closed {
    gateway: Gateway,
    /// Answers, and when they arrive.
    waiting: VecDeque<(VmTime, Frame)>,
}

impl Link for Closed {
    fn takes(&self) -> Offloads {
        TAKES
    }

    fn send(&mut self, now: VmTime, frame: &[u8], offload: Offload) {
        self.gateway.receive(Duration::from_nanos(now.ns()), &mut frame.to_vec(), offload);
        let room = WAITING_MAX - self.waiting.len().min(WAITING_MAX);
        let at = now.after_ns(LATENCY_NS);
        let answers = self.gateway.take().into_iter().take(room);
        self.waiting.extend(answers.map(|frame| (at, frame)));
    }

    fn next_frame(&self) -> Option<VmTime> {
        self.waiting.front().map(|(at, _)| *at)
    }

    fn receive(&mut self, now: VmTime, _takes: Offloads) -> Option<Frame> {
        // Nothing is left to do to answers of a gateway without connections.
        self.next_frame().filter(|at| *at <= now)?;
        self.waiting.pop_front().map(|(_, frame)| frame)
    }
}
