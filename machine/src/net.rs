//! What network cards are connected to: a gateway to the world, an interface of the host's, nothing.
//!
//! - a [`NetSpec`] is what `--net` says;
//! - [`open`] makes a [`Link`] of it, over which a card sends and receives frames;
//! - `user` is a network that needs no privilege, `tap` one that the host already has;
//! - `rom` is a card's own firmware, which boots from the network;
//! - `exchange` is where a card and the thread behind it leave frames for each other, `pcap` writes
//!   down what goes by.
//!
//! TCP towards the guest, and the taking apart of packets, are the crate smoltcp's.

mod exchange;
mod pcap;
pub(crate) mod rom;
pub mod spec;
#[cfg(target_os = "linux")]
mod tap;
mod user;

use std::{io, net::SocketAddrV4, path::PathBuf};

use thiserror::Error;
use trine_devices::Link;

pub use spec::{NetKind, NetModel, NetSpec, UserSpec};

use crate::{ClockKind, disk::Wake};

/// Why there is no such network.
#[derive(Debug, Error)]
pub enum NetError {
    /// A port of the host cannot be forwarded.
    #[error("hostfwd: the host's port {at} cannot be had: {source}")]
    Forward {
        /// The port.
        at: SocketAddrV4,
        /// Why.
        source: io::Error,
    },
    /// There is no folder for TFTP.
    #[error("tftp={}: {source}", folder.display())]
    Tftp {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The host's interface cannot be had.
    #[error("tap: the interface {name} cannot be had: {source}{advice}")]
    Tap {
        /// Its name.
        name: String,
        /// Why.
        source: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// The host's system has none.
    #[error("tap: only a Linux host has tap interfaces; use --net user")]
    NoTap,
    /// Frames cannot be written down.
    #[error("pcap={}: {source}", file.display())]
    Pcap {
        /// Where.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no such expansion ROM.
    #[error("rom={}: {reason}", file.display())]
    Rom {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// What happens outside does not happen again.
    #[error(
        "--clock instructions makes runs that can be repeated, and the world outside cannot: use \
         --net user,restrict=on (DHCP, TFTP and ping of the gateway), or --clock host"
    )]
    NotRepeatable,
    /// The board has no slot for the card.
    #[error("all slots are taken")]
    NoSlot,
    /// The host fails.
    #[error("{0}")]
    Host(io::Error),
}

/// Opens the network that `spec` describes; `None` if it is none. `wake` is called, from another
/// thread, when there is a frame, and never where guest time follows instructions: the board knows
/// the time from [`Link::next_frame`]. The guest's clock showed `unix_seconds` at power-on.
///
/// # Errors
/// [`NetError`], in a line for the user.
pub fn open(
    spec: &NetSpec,
    clock: ClockKind,
    unix_seconds: i64,
    wake: Wake,
) -> Result<Option<Box<dyn Link>>, NetError> {
    let is_closed = match &spec.kind {
        NetKind::None => return Ok(None),
        NetKind::User(user) => user.is_closed(),
        NetKind::Tap { .. } => false,
    };
    if clock == ClockKind::Instructions && !is_closed {
        return Err(NetError::NotRepeatable);
    }
    let link = match &spec.kind {
        NetKind::User(user) => user::open(user, wake)?,
        _ => open_tap(spec, wake)?,
    };
    Ok(Some(match &spec.pcap {
        None => link,
        Some(file) => {
            let capture = pcap::Capture::new(link, file, unix_seconds);
            Box::new(capture.map_err(|source| NetError::Pcap { file: file.clone(), source })?)
        }
    }))
}

#[cfg(target_os = "linux")]
fn open_tap(spec: &NetSpec, wake: Wake) -> Result<Box<dyn Link>, NetError> {
    let name = match &spec.kind {
        NetKind::Tap { interface } => interface.as_deref(),
        _ => None,
    };
    tap::open(name, wake).map_err(|source| {
        let advice = match source.kind() {
            io::ErrorKind::PermissionDenied => {
                "; make it with 'ip tuntap add mode tap user $USER NAME', as root"
            }
            io::ErrorKind::ResourceBusy => "; somebody else has it",
            _ => "",
        };
        NetError::Tap { name: name.unwrap_or("(any)").to_owned(), source, advice }
    })
}

#[cfg(not(target_os = "linux"))]
fn open_tap(_spec: &NetSpec, _wake: Wake) -> Result<Box<dyn Link>, NetError> {
    Err(NetError::NoTap)
}
