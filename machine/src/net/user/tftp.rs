//! The gateway's TFTP server: a folder of the host, to be read.
//!
//! Sources: RFC 1350 (the protocol), RFC 2347 (options), 2348 (`blksize`), 2349 (`timeout`,
//! `tsize`), 7440 (`windowsize`). It never sends anything by itself: a client that misses something
//! acknowledges what it has once more. So it needs no clock, and the same questions have the same
//! answers.

use std::{
    collections::VecDeque,
    fs::File,
    io::{Read, Seek, SeekFrom},
    net::SocketAddrV4,
    path::{Path, PathBuf},
};

// Opcodes (RFC 1350, section 5; RFC 2347).
const READ: u16 = 1;
const WRITE: u16 = 2;
const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;
const OPTIONS_ACK: u16 = 6;

/// The block size without an option, and the least.
const BLOCK: u16 = 512;
const BLOCK_MIN: u16 = 8;
/// The most: what fits into a packet that need not be cut (an IP header, a UDP header and 4 bytes
/// before it).
const BLOCK_MAX: u16 = 1500 - 20 - 8 - 4;
const WINDOW_MAX: u16 = 64;
/// So many files are sent at once; another pushes out the oldest.
const TRANSFERS_MAX: usize = 32;

/// Why there is no file.
enum Refusal {
    Undefined(&'static str),
    NotFound,
    AccessViolation,
    IllegalOperation,
}

impl Refusal {
    fn message(&self) -> Vec<u8> {
        let (code, text) = match self {
            Self::Undefined(text) => (0, *text),
            Self::NotFound => (1, "file not found"),
            Self::AccessViolation => (2, "access violation"),
            Self::IllegalOperation => (4, "illegal operation"),
        };
        let mut bytes = ERROR.to_be_bytes().to_vec();
        bytes.extend(u16::to_be_bytes(code));
        bytes.extend(text.as_bytes());
        bytes.push(0);
        bytes
    }
}

/// The server.
pub(super) struct Tftp {
    /// The folder, without links in its name; `None` if there is none to read.
    folder: Option<PathBuf>,
    transfers: VecDeque<Transfer>,
}

/// A file on its way to a client.
struct Transfer {
    client: SocketAddrV4,
    file: File,
    len: u64,
    block_len: u16,
    window: u16,
    /// The client has so many blocks.
    received: u64,
}

impl Tftp {
    /// A server of what is in `folder`.
    ///
    /// # Errors
    /// If there is no such folder.
    pub(super) fn new(folder: Option<&Path>) -> std::io::Result<Self> {
        let folder = folder.map(std::fs::canonicalize).transpose()?;
        if let Some(folder) = &folder {
            std::fs::read_dir(folder)?;
        }
        Ok(Self { folder, transfers: VecDeque::new() })
    }

    /// Whether there is anything to read.
    pub(super) fn is_there(&self) -> bool {
        self.folder.is_some()
    }

    /// Answers what `client` says.
    pub(super) fn answer(
        &mut self,
        client: SocketAddrV4,
        message: &[u8],
        mut send: impl FnMut(&[u8]),
    ) {
        let word = |at: usize| Some(u16::from_be_bytes(*message.get(at..)?.first_chunk()?));
        match (word(0), word(2)) {
            (Some(READ), _) => match self.open(client, &message[2..]) {
                Ok(reply) => send(&reply),
                Err(refusal) => send(&refusal.message()),
            },
            (Some(WRITE), _) => send(&Refusal::AccessViolation.message()),
            (Some(ACK), Some(block)) => self.acknowledge(client, block, send),
            (Some(ERROR), _) => self.transfers.retain(|transfer| transfer.client != client),
            _ => send(&Refusal::IllegalOperation.message()),
        }
    }

    /// A request to read: begins a transfer and returns its first message.
    fn open(&mut self, client: SocketAddrV4, request: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut strings = request.split(|byte| *byte == 0);
        let mut string = || strings.next().map(String::from_utf8_lossy);
        let (name, mode) = string().zip(string()).ok_or(Refusal::IllegalOperation)?;
        if !mode.eq_ignore_ascii_case("octet") {
            return Err(Refusal::Undefined("only mode octet is there"));
        }
        let (file, len) = self.find(&name)?;
        let mut transfer = Transfer { client, file, len, block_len: BLOCK, window: 1, received: 0 };
        let mut reply = OPTIONS_ACK.to_be_bytes().to_vec();
        while let Some((key, value)) = string().zip(string()) {
            if let Some(value) = transfer.option(&key.to_ascii_lowercase(), &value) {
                for text in [&*key, &*value] {
                    reply.extend(text.as_bytes());
                    reply.push(0);
                }
            }
        }
        if reply.len() == 2 {
            reply = transfer.block(1).ok_or(Refusal::Undefined("the file cannot be read"))?;
        }
        self.transfers.retain(|transfer| transfer.client != client);
        if self.transfers.len() == TRANSFERS_MAX {
            self.transfers.pop_front();
        }
        self.transfers.push_back(transfer);
        Ok(reply)
    }

    /// A plain file in the folder or below, also by a link that does not lead out of it.
    fn find(&self, name: &str) -> Result<(File, u64), Refusal> {
        let folder = self.folder.as_ref().ok_or(Refusal::NotFound)?;
        let name = name.replace('\\', "/");
        // Whoever puts a link there between the look and the opening has the host anyway.
        let path = folder.join(name.trim_start_matches('/'));
        let path = path.canonicalize().map_err(|_| Refusal::NotFound)?;
        if !path.starts_with(folder) {
            return Err(Refusal::AccessViolation);
        }
        if !path.is_file() {
            return Err(Refusal::NotFound);
        }
        let file = File::open(path).map_err(|_| Refusal::AccessViolation)?;
        let len = file.metadata().map_err(|_| Refusal::AccessViolation)?.len();
        Ok((file, len))
    }

    /// `client` has everything up to block `block`.
    fn acknowledge(&mut self, client: SocketAddrV4, block: u16, mut send: impl FnMut(&[u8])) {
        let is_its = |transfer: &Transfer| transfer.client == client;
        let Some(index) = self.transfers.iter().position(is_its) else { return };
        let Some(transfer) = self.transfers.get_mut(index) else { return };
        // Block numbers have 16 bits and begin again at 0.
        let more = block.wrapping_sub(transfer.received as u16);
        if more > transfer.window {
            return;
        }
        transfer.received += u64::from(more);
        if transfer.received >= transfer.blocks() {
            self.transfers.remove(index);
            return;
        }
        let first = transfer.received + 1;
        let last = transfer.blocks().min(transfer.received + u64::from(transfer.window));
        for number in first..=last {
            match transfer.block(number) {
                Some(block) => send(&block),
                None => {
                    send(&Refusal::Undefined("the file cannot be read").message());
                    self.transfers.remove(index);
                    return;
                }
            }
        }
    }
}

impl Transfer {
    /// How many blocks there are. The last one is shorter than the others, if need be empty.
    fn blocks(&self) -> u64 {
        self.len / u64::from(self.block_len) + 1
    }

    /// Takes an option if it can; the value that it takes.
    fn option(&mut self, key: &str, value: &str) -> Option<String> {
        let number: u64 = value.parse().ok()?;
        let clamp = |most: u16| u16::try_from(number).unwrap_or(most).min(most);
        match key {
            "blksize" if number >= u64::from(BLOCK_MIN) => {
                self.block_len = clamp(BLOCK_MAX);
                Some(self.block_len.to_string())
            }
            "windowsize" if number >= 1 => {
                self.window = clamp(WINDOW_MAX);
                Some(self.window.to_string())
            }
            "tsize" => Some(self.len.to_string()),
            "timeout" if (1..=255).contains(&number) => Some(value.to_owned()),
            _ => None,
        }
    }

    /// The message with block `number`, counted from 1; `None` if the file cannot be read, or is
    /// not as long as it was.
    fn block(&mut self, number: u64) -> Option<Vec<u8>> {
        let at = (number - 1) * u64::from(self.block_len);
        let len = self.len.saturating_sub(at).min(u64::from(self.block_len));
        let mut bytes = vec![0; 4 + len as usize];
        bytes[..2].copy_from_slice(&DATA.to_be_bytes());
        bytes[2..4].copy_from_slice(&(number as u16).to_be_bytes());
        self.file.seek(SeekFrom::Start(at)).ok()?;
        self.file.read_exact(&mut bytes[4..]).ok()?;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tempfile::TempDir;

    use super::*;

    const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 15), 1000);

    fn contents(len: usize) -> Vec<u8> {
        (0..len).map(|n| (n * 7 / 3) as u8).collect()
    }

    /// A folder with `file`, one more below, and what must not be read beside it.
    fn folder(len: usize) -> (TempDir, Tftp) {
        let outer = tempfile::tempdir().expect("a folder");
        let inner = outer.path().join("tftp");
        std::fs::create_dir_all(inner.join("below")).expect("made");
        std::fs::write(outer.path().join("secret"), "secret").expect("written");
        std::fs::write(inner.join("file"), contents(len)).expect("written");
        std::fs::write(inner.join("below/other"), "other").expect("written");
        #[cfg(unix)]
        {
            use std::os::unix::fs::symlink;
            symlink("../secret", inner.join("out")).expect("linked");
            symlink("below/other", inner.join("in")).expect("linked");
        }
        let tftp = Tftp::new(Some(&inner)).expect("a server");
        (outer, tftp)
    }

    fn ask(tftp: &mut Tftp, message: &[u8]) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        tftp.answer(CLIENT, message, |reply| all.push(reply.to_vec()));
        all
    }

    fn read(tftp: &mut Tftp, strings: &[&str]) -> Vec<Vec<u8>> {
        let mut message = vec![0, 1];
        strings.iter().for_each(|s| message.extend(format!("{s}\0").bytes()));
        ask(tftp, &message)
    }

    fn ack(tftp: &mut Tftp, block: u16) -> Vec<Vec<u8>> {
        let [high, low] = block.to_be_bytes();
        ask(tftp, &[0, 4, high, low])
    }

    /// The numbers of these blocks.
    fn numbers(blocks: &[Vec<u8>]) -> Vec<u16> {
        blocks.iter().map(|b| u16::from_be_bytes([b[2], b[3]])).collect()
    }

    #[test]
    fn a_file_comes_block_by_block() {
        for len in [0, 1, 511, 512, 1000, 1024] {
            let (_folder, mut tftp) = folder(len);
            let mut all = Vec::new();
            let mut reply = read(&mut tftp, &["file", "octet"]);
            let mut number = 1;
            while let [block] = &reply[..] {
                assert_eq!((block[1], numbers(&reply)), (3, vec![number]));
                all.extend(&block[4..]);
                let again = if number > 1 { ack(&mut tftp, number - 1) } else { reply.clone() };
                assert_eq!(again, reply, "it was lost");
                reply = ack(&mut tftp, number);
                number += 1;
            }
            assert_eq!((all, usize::from(number)), (contents(len), len / 512 + 2));
            assert!(tftp.transfers.is_empty());
        }
    }

    #[test]
    fn options_are_answered_with_what_there_is() {
        let (_folder, mut tftp) = folder(100_000);
        let options =
            ["file", "OCTET", "BlkSize", "9000", "tsize", "0", "windowsize", "3", "utimeout", "1"];
        let reply = read(&mut tftp, &options);
        assert_eq!(reply, [b"\0\x06BlkSize\x001468\0tsize\x00100000\0windowsize\x003\0".to_vec()]);
        assert_eq!(numbers(&ack(&mut tftp, 0)), [1, 2, 3]);
        assert_eq!(numbers(&ack(&mut tftp, 3)), [4, 5, 6]);
        // Block 5 was lost.
        assert_eq!(numbers(&ack(&mut tftp, 4)), [5, 6, 7]);
        assert!(ack(&mut tftp, 2).is_empty() && ack(&mut tftp, 8).is_empty(), "out of the window");
        let last = (100_000 / 1468 + 1) as u16;
        let mut received = 4;
        while received < last {
            let blocks = ack(&mut tftp, received);
            received = *numbers(&blocks).last().expect("blocks");
        }
        assert!(ack(&mut tftp, last).is_empty() && tftp.transfers.is_empty());
    }

    #[test]
    fn block_numbers_begin_again() {
        let (_folder, mut tftp) = folder(8 * 66_000);
        read(&mut tftp, &["file", "octet", "blksize", "8", "windowsize", "64"]);
        let (mut all, mut received) = (Vec::<u8>::new(), 0);
        loop {
            let blocks = ack(&mut tftp, received);
            let Some(last) = numbers(&blocks).last().copied() else { break };
            blocks.iter().for_each(|block| all.extend(&block[4..]));
            received = last;
        }
        assert_eq!(all, contents(8 * 66_000));
    }

    #[test]
    fn nothing_outside_the_folder_is_read() {
        let (outer, mut tftp) = folder(10);
        let secret = outer.path().join("secret").display().to_string();
        for name in ["/file", "below/other", "below\\other", "below/../file", "in"] {
            let reply = read(&mut tftp, &[name, "octet"]);
            assert_eq!(reply[0][..2], [0, 3], "{name}");
        }
        for name in
            ["../secret", "below/../../secret", "out", &secret, "below", "", ".", "no", "a\u{fffd}"]
        {
            let reply = read(&mut tftp, &[name, "octet"]);
            assert_eq!(reply[0][..2], [0, 5], "{name}");
        }
    }

    #[test]
    fn nonsense_is_refused_and_too_much_is_bounded() {
        let (_folder, mut tftp) = folder(5000);
        assert_eq!(read(&mut tftp, &["file", "netascii"])[0][1], 5);
        for (message, reply) in [
            (&[][..], Some(4)),
            (&[0], Some(4)),
            (&[0, 1], Some(4)),
            (&[0, 1, b'f'], Some(4)),
            (&[0, 2, b'f', 0], Some(2)),
            (&[0, 9, 0, 0], Some(4)),
            (&[0, 4, 0, 1], None),
            (&[0, 4], Some(4)),
            (&[0, 5], None),
        ] {
            let code = ask(&mut tftp, message).first().map(|reply| reply[3]);
            assert_eq!(code, reply, "{message:?}");
        }
        for port in 0..1000 {
            let client = SocketAddrV4::new(*CLIENT.ip(), port);
            tftp.answer(client, b"\0\x01file\0octet\0", |reply| assert_eq!(reply[1], 3));
        }
        assert_eq!(tftp.transfers.len(), TRANSFERS_MAX);
        assert!(!Tftp::new(None).expect("none").is_there());
        assert!(Tftp::new(Some(Path::new("/no/such/folder"))).is_err());
    }
}
