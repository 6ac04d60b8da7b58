//! A file with all frames on a cable, for tcpdump and Wireshark.
//!
//! Source: draft-ietf-opsawg-pcap (PCAP Capture File Format), section 4, with nanoseconds. Times are
//! the guest's, from the one that its clock showed at power-on. Frames are as the card and the
//! network pass them to each other: with checksums and segmentation left to do where both agreed on
//! that, as on a host whose card does it.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use trine_devices::{FRAME_MAX, Frame, Link, Offload, Offloads};
use trine_guest::VmTime;

/// Nanoseconds follow.
const MAGIC: u32 = 0xa1b2_3c4d;
const VERSION: [u16; 2] = [2, 4];
const LINKTYPE_ETHERNET: u32 = 1;

/// A link of which everything is written down.
pub(super) struct Capture {
    link: Box<dyn Link>,
    path: PathBuf,
    /// `None` after an error.
    file: Option<BufWriter<File>>,
    /// What the guest's clock showed at time 0.
    start: Duration,
}

impl Capture {
    /// Writes what goes over `link` to the file at `path`, in the place of what is there.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn new(link: Box<dyn Link>, path: &Path, unix_seconds: i64) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        let [major, minor] = VERSION;
        file.write_all(&MAGIC.to_le_bytes())?;
        file.write_all(&major.to_le_bytes())?;
        file.write_all(&minor.to_le_bytes())?;
        // Two fields that are not used, and the length of the longest frame.
        file.write_all(&[0; 8])?;
        file.write_all(&(FRAME_MAX as u32).to_le_bytes())?;
        file.write_all(&LINKTYPE_ETHERNET.to_le_bytes())?;
        file.flush()?;
        let start = Duration::from_secs(u64::try_from(unix_seconds).unwrap_or(0));
        Ok(Self { link, path: path.into(), file: Some(file), start })
    }

    fn note(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            log::warn!("--net …,pcap={}: {error}; no more is written", self.path.display());
            self.file = None;
        }
    }

    fn write(&mut self, now: VmTime, frame: &[u8]) {
        let Some(file) = &mut self.file else { return };
        let at = self.start + Duration::from_nanos(now.ns());
        let len = frame.len() as u32;
        let mut header = Vec::with_capacity(16);
        for word in [at.as_secs() as u32, at.subsec_nanos(), len, len] {
            header.extend(word.to_le_bytes());
        }
        let result = file.write_all(&header).and_then(|()| file.write_all(frame));
        self.note(result);
    }

    /// Whoever looks at the file while the guest runs finds whole frames in it.
    fn flush(&mut self) {
        if let Some(file) = &mut self.file {
            let result = file.flush();
            self.note(result);
        }
    }
}

impl Link for Capture {
    fn is_up(&self) -> bool {
        self.link.is_up()
    }

    fn takes(&self) -> Offloads {
        self.link.takes()
    }

    fn send(&mut self, now: VmTime, frame: &[u8], offload: Offload) {
        self.write(now, frame);
        self.link.send(now, frame, offload);
    }

    fn next_frame(&self) -> Option<VmTime> {
        self.link.next_frame()
    }

    fn receive(&mut self, now: VmTime, takes: Offloads) -> Option<Frame> {
        let frame = self.link.receive(now, takes);
        match &frame {
            Some(frame) => self.write(now, &frame.bytes),
            None => self.flush(),
        }
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link that sends everything back.
    struct Echo(Option<Frame>);

    impl Link for Echo {
        fn send(&mut self, _now: VmTime, frame: &[u8], offload: Offload) {
            self.0 = Some(Frame { bytes: frame.to_vec(), offload });
        }
        fn next_frame(&self) -> Option<VmTime> {
            None
        }
        fn receive(&mut self, _now: VmTime, _takes: Offloads) -> Option<Frame> {
            self.0.take()
        }
    }

    #[test]
    fn frames_are_written_with_their_times() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.pcap");
        let mut capture = Capture::new(Box::new(Echo(None)), &path, 1_000_000).expect("a file");
        capture.send(VmTime(2_000_000_003), b"frame", Offload::default());
        assert!(capture.receive(VmTime(5_000_000_000), Offloads::default()).is_some());
        assert!(capture.receive(VmTime(5_000_000_000), Offloads::default()).is_none());
        let bytes = std::fs::read(&path).expect("written");
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(bytes[..24].len() + 2 * (16 + 5), bytes.len());
        assert_eq!([word(0), word(4), word(20)], [0xa1b2_3c4d, 0x0004_0002, 1]);
        assert_eq!([24, 28, 32, 36].map(word), [1_000_002, 3, 5, 5]);
        assert_eq!([45, 49].map(word), [1_000_005, 0]);
        assert_eq!(&bytes[40..45], b"frame");
        assert!(Capture::new(Box::new(Echo(None)), Path::new("/no/such/file"), 0).is_err());
    }
}
