//! Linux that moves data: through a network card and user-mode networking to and from a server of
//! ours on the loopback interface, and to and from a virtio disk. Each emulator has its own user-mode
//! network, its own models of the cards, and the same image.

use std::{
    fs,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    thread,
};

use trine_tests::initramfs::initramfs;

use crate::image::Result;

/// What the guest gets from the server.
const GET_BYTES: u64 = 1 << 30;
/// The file that the guest serves, and how often it is fetched.
const SERVED_BYTES: u64 = 64 << 20;
const SERVED_TIMES: u64 = 8;
/// The disk.
const DISK_BYTES: u64 = 512 << 20;
/// What the guest runs.
const SCRIPT: &str = include_str!("../guest/traffic.sh");

/// Drivers of the generic kernel.
const MODULES: [&str; 4] = ["virtio_pci", "virtio_blk", "virtio_net", "e1000"];

/// The server: what a guest gets from it by HTTP (`/get`), and how it is made to fetch what the
/// guest serves (`/fetch`).
pub struct Peer {
    http: u16,
    /// The port that leads into the guest.
    forwarded: Arc<AtomicU16>,
}

impl Peer {
    /// One that listens.
    pub fn new() -> Result<Self> {
        let failed = |e: io::Error| format!("cannot listen: {e}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let http = listener.local_addr().map_err(failed)?.port();
        let forwarded = Arc::<AtomicU16>::default();
        let port = forwarded.clone();
        let serve = move |stream| serve(stream, port.load(Ordering::Relaxed));
        thread::spawn(move || listener.incoming().flatten().for_each(serve));
        Ok(Self { http, forwarded })
    }
}

/// A client that goes away early is measured as failed by the guest itself.
fn serve(mut stream: TcpStream, forwarded: u16) {
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        request.push(byte[0]);
    }
    if request.starts_with(b"GET /fetch ") {
        let bytes = (0..SERVED_TIMES).map(|_| fetch(forwarded).unwrap_or(0)).sum::<u64>();
        let _ = stream.write_all(format!("HTTP/1.0 200 OK\r\n\r\n{bytes}\n").as_bytes());
    } else {
        let header = format!("HTTP/1.0 200 OK\r\nContent-Length: {GET_BYTES}\r\n\r\n");
        let _ = stream.write_all(header.as_bytes()).and_then(|()| send(&mut stream, GET_BYTES));
    }
}

/// Gets the guest's file; how many bytes came, without the header's.
fn fetch(forwarded: u16) -> io::Result<u64> {
    let mut guest = TcpStream::connect((Ipv4Addr::LOCALHOST, forwarded))?;
    guest.write_all(b"GET /served HTTP/1.0\r\n\r\n")?;
    let all = io::copy(&mut guest, &mut io::sink())?;
    Ok(all.min(SERVED_BYTES))
}

fn send(stream: &mut TcpStream, mut left: u64) -> io::Result<()> {
    let chunk: Vec<u8> = (0..1 << 18).map(|n: u32| (n * 7) as u8).collect();
    while left > 0 {
        let len = left.min(chunk.len() as u64);
        stream.write_all(&chunk[..len as usize])?;
        left -= len;
    }
    Ok(())
}

/// What the guest is booted with and connected to.
pub struct Traffic {
    kernel: PathBuf,
    initrd: PathBuf,
    append: String,
    disk: PathBuf,
    card: String,
    forwarded: u16,
}

impl Traffic {
    /// A guest that does what is called `names`, with its files in `folder`.
    pub fn new(
        guests: &Path,
        card: &str,
        names: &[&str],
        peer: &Peer,
        folder: &Path,
    ) -> Result<Self> {
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.join(format!("{card}-{name}"));
            fs::write(&path, bytes).map_err(|e| format!("{}: {e}", path.display())).map(|()| path)
        };
        let initramfs = initramfs(guests, "amd64", &MODULES, &[("traffic", SCRIPT)]);
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr());
        let forwarded = free.map_err(|e| format!("no free port: {e}"))?.port();
        peer.forwarded.store(forwarded, Ordering::Relaxed);
        let contents: Vec<u8> = (0..DISK_BYTES / 4)
            .flat_map(|n| (n as u32).wrapping_mul(0x9e37_79b9).to_le_bytes())
            .collect();
        let append = format!(
            "console=ttyS0 quiet http={} served={} do={} run=sh,/traffic",
            peer.http,
            SERVED_BYTES >> 20,
            names.join(",")
        );
        Ok(Self {
            kernel: guests.join("amd64/vmlinuz"),
            initrd: write("initramfs", &initramfs)?,
            append,
            disk: write("disk.img", &contents)?,
            card: card.to_owned(),
            forwarded,
        })
    }

    /// What Trine is told.
    pub fn of_trine(&self) -> Vec<String> {
        let Self { kernel, initrd, append, disk, card, forwarded } = self;
        let net = format!("user,model={card},hostfwd=tcp:127.0.0.1:{forwarded}-:80");
        let words = [
            "--kernel",
            &kernel.display().to_string(),
            "--initrd",
            &initrd.display().to_string(),
            "--append",
            append,
            "--net",
            &net,
            "--disk",
            &format!("{},if=virtio,format=raw", disk.display()),
        ];
        words.map(str::to_owned).to_vec()
    }

    /// What QEMU is told.
    pub fn of_qemu(&self) -> Vec<String> {
        let Self { kernel, initrd, append, disk, card, forwarded } = self;
        let model = if card == "virtio" { "virtio-net-pci" } else { card };
        let net = format!("user,model={model},hostfwd=tcp:127.0.0.1:{forwarded}-:80");
        let words = [
            "-kernel",
            &kernel.display().to_string(),
            "-initrd",
            &initrd.display().to_string(),
            "-append",
            append,
            "-nic",
            &net,
            "-drive",
            &format!("file={},if=virtio,format=raw,cache=writeback", disk.display()),
        ];
        words.map(str::to_owned).to_vec()
    }
}
