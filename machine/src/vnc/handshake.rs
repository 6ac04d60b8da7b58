//! How a connection begins: versions, security, and who else may look.
//!
//! Source: RFC 6143, sections 7.1 to 7.3, and appendix A for what versions 3.3 and 3.7 do differently.

use std::{
    io::{self, Read, Write},
    thread,
    time::Duration,
};

use super::{
    messages::take,
    password::{CHALLENGE_LEN, Password},
    pixels::PixelFormat,
};

/// The security types that there are: none, and VNC authentication.
const NONE: u8 = 1;
const VNC_AUTHENTICATION: u8 = 2;
/// Whoever gives a wrong password waits so long for the answer.
const PENALTY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Version {
    V3,
    V7,
    V8,
}

impl Version {
    /// The version that both sides speak, by what the viewer says: `RFB 003.008` and a line feed.
    fn parse(said: &[u8; 12]) -> Option<Self> {
        let text = std::str::from_utf8(said).ok()?.strip_prefix("RFB ")?.strip_suffix('\n')?;
        let (major, minor) = text.split_once('.')?;
        match (major.parse().ok()?, minor.parse().ok()?) {
            // Versions that nobody published are to be taken for 3.3.
            (3_u32, 0..=6_u32) => Some(Self::V3),
            (3, 7) => Some(Self::V7),
            (3.., _) => Some(Self::V8),
            _ => None,
        }
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// Agrees with a viewer on how to talk, and has it prove that it knows the password. Returns whether
/// it shares the machine with other viewers.
///
/// # Errors
/// If the connection fails, or the viewer is not let in.
pub(super) fn admit(
    viewer: &mut (impl Read + Write),
    password: Option<&Password>,
) -> io::Result<bool> {
    viewer.write_all(b"RFB 003.008\n")?;
    let version = Version::parse(&take(viewer)?).ok_or_else(|| wrong("this is no VNC viewer"))?;
    let offered = if password.is_some() { VNC_AUTHENTICATION } else { NONE };
    if version == Version::V3 {
        viewer.write_all(&[0, 0, 0, offered])?;
    } else {
        viewer.write_all(&[1, offered])?;
        let [chosen] = take(viewer)?;
        if chosen != offered {
            refuse(viewer, version, "there is no such security type")?;
        }
    }
    match password {
        Some(password) => authenticate(viewer, version, password)?,
        None if version == Version::V8 => viewer.write_all(&[0; 4])?,
        None => {}
    }
    let [is_shared] = take(viewer)?;
    Ok(is_shared != 0)
}

fn authenticate(
    viewer: &mut (impl Read + Write),
    version: Version,
    password: &Password,
) -> io::Result<()> {
    let mut challenge = [0; CHALLENGE_LEN];
    getrandom::fill(&mut challenge).map_err(|e| io::Error::other(e.to_string()))?;
    viewer.write_all(&challenge)?;
    if password.accepts(challenge, take(viewer)?) {
        return viewer.write_all(&[0; 4]);
    }
    thread::sleep(PENALTY);
    refuse(viewer, version, "the password is wrong")
}

/// Says that the viewer is not let in, and why, if it can be told.
fn refuse(viewer: &mut impl Write, version: Version, why: &str) -> io::Result<()> {
    viewer.write_all(&1_u32.to_be_bytes())?;
    if version == Version::V8 {
        put_text(viewer, why)?;
    }
    Err(wrong(why))
}

/// ServerInit: the size of the picture, its pixels and its name.
pub(super) fn introduce(
    viewer: &mut impl Write,
    (width, height): (usize, usize),
    name: &str,
) -> io::Result<()> {
    let mut init = [width, height].map(|number| (number as u16).to_be_bytes()).concat();
    init.extend_from_slice(&PixelFormat::ours().1);
    viewer.write_all(&init)?;
    put_text(viewer, name)
}

fn put_text(viewer: &mut impl Write, text: &str) -> io::Result<()> {
    viewer.write_all(&(text.len() as u32).to_be_bytes())?;
    viewer.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let rows: [(&[u8; 12], Option<Version>); 8] = [
            (b"RFB 003.003\n", Some(Version::V3)),
            (b"RFB 003.005\n", Some(Version::V3)),
            (b"RFB 003.007\n", Some(Version::V7)),
            (b"RFB 003.008\n", Some(Version::V8)),
            (b"RFB 003.889\n", Some(Version::V8)),
            (b"RFB 005.000\n", Some(Version::V8)),
            (b"RFB 002.002\n", None),
            (b"GET / HTTP/1", None),
        ];
        for (said, version) in rows {
            assert_eq!(Version::parse(said), version);
        }
    }

    /// A viewer that says what it has to say at once.
    struct Script {
        says: io::Cursor<Vec<u8>>,
        hears: Vec<u8>,
    }

    impl Read for Script {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            self.says.read(to)
        }
    }

    impl Write for Script {
        fn write(&mut self, from: &[u8]) -> io::Result<usize> {
            self.hears.write(from)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn admit_script(says: &[u8]) -> (Option<bool>, Vec<u8>) {
        let mut script = Script { says: io::Cursor::new(says.to_vec()), hears: Vec::new() };
        let is_shared = admit(&mut script, None).ok();
        (is_shared, script.hears.split_off(12))
    }

    #[test]
    fn each_version_has_its_greeting() {
        assert_eq!(admit_script(b"RFB 003.003\n\x01"), (Some(true), vec![0, 0, 0, 1]));
        assert_eq!(admit_script(b"RFB 003.007\n\x01\x00"), (Some(false), vec![1, 1]));
        assert_eq!(admit_script(b"RFB 003.008\n\x01\x01"), (Some(true), vec![1, 1, 0, 0, 0, 0]));
        let (refused, heard) = admit_script(b"RFB 003.008\n\x02\x01");
        assert_eq!((refused, &heard[..6]), (None, &[1, 1, 0, 0, 0, 1][..]));
        assert!(heard.ends_with(b"there is no such security type"));
        assert_eq!(admit_script(b"RFB 003.007\n\x10\x01").1, [1, 1, 0, 0, 0, 1]);
        assert_eq!(admit_script(b"nonsense!!!!").0, None);
        assert_eq!(admit_script(b"RFB 003.008\n\x01").0, None, "it hangs up");
    }
}
