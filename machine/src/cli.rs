//! The command line of `trine`.

mod ctl;
mod display;
mod guest;
mod image;

use std::{path::PathBuf, str::FromStr};

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use ctl::{CtlArgs, CtlCommand};
pub use display::Display;
pub use guest::{GuestArgs, unix_seconds};
pub use image::{FormatOption, ImageArgs, ImageCommand, ImageSize, Resize};

use crate::{
    BoardKind, EngineKind, Switch, compare::CompareArgs, conform::ConformArgs,
    lockstep::LockstepArgs,
};

/// A full-system x86 emulator: one PC, several ways to run it.
///
/// Without a command it boots a built-in demonstration guest on every engine that this host has.
#[derive(Parser, Debug)]
#[command(name = "trine", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a guest.
    Run(Box<RunArgs>),
    /// Say what this host offers: engines, and why something is missing.
    Probe {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Run a guest under each engine of this host and compare: a table, and a page with plots.
    Compare(Box<CompareArgs>),
    /// Run a guest on two engines in step, and find the first instruction at which they differ.
    Lockstep(Box<LockstepArgs>),
    /// Run a conformance suite: prove that the CPU is right.
    Conform(Box<ConformArgs>),
    /// Make, describe, copy, check and resize disk images.
    Image(ImageArgs),
    /// Look at, type into and control a guest that runs with --ctl. Status 2: what was waited for did
    /// not come.
    Ctl(CtlArgs),
}

/// How and what to run.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// How guest code is executed.
    #[arg(long, value_enum, default_value_t = EngineChoice::Auto)]
    pub engine: EngineChoice,
    /// Move the running guest to another engine: after so many instructions of all vCPUs (5000000,
    /// 300K, 5M, 2G: thousands, millions, milliards; to the instruction with --clock instructions)
    /// or at a guest time (2.5s, 300ms, 50us). Repeatable.
    #[arg(long, value_name = "AT=ENGINE")]
    pub switch: Vec<Switch>,
    /// The guest and its machine.
    #[command(flatten)]
    pub guest: GuestArgs,
    /// The first serial port: stdio, null, file:PATH or unix:PATH (listens for one client at a
    /// time).
    #[arg(long, value_name = "WHERE", default_value = "stdio")]
    pub serial: Serial,
    /// Add a console (virtio-console, hvc0 in Linux), connected to where --serial could be.
    #[arg(long, value_name = "WHERE")]
    pub console: Option<Serial>,
    /// Where the guest's screen, keyboard and mouse are: none, terminal (Ctrl-A c turns to the serial
    /// port and back), or vnc:ADDR, where ADDR is HOST:PORT, :DISPLAY on this host alone, or
    /// unix:PATH. Behind it may stand password=FILE and share=allow-exclusive|force-shared|ignore, after
    /// commas.
    #[arg(long, value_name = "WHERE", default_value = "none")]
    pub display: Display,
    /// Listen at this Unix socket for `trine ctl`.
    #[arg(long, value_name = "SOCKET")]
    pub ctl: Option<PathBuf>,
    /// Write statistics to this file when the run ends.
    #[arg(long, value_name = "FILE")]
    pub stats: Option<PathBuf>,
    /// End with status 2 where the machine would reset, and say why it would.
    #[arg(long)]
    pub no_reboot: bool,
    /// End with status 2 after so many seconds of host time.
    #[arg(long, value_name = "SECONDS")]
    pub time_limit: Option<f64>,
    /// Where the debug console at port E9h goes: null, or file:PATH.
    #[arg(long, value_name = "WHERE", default_value = "null")]
    pub debug_console: Serial,
}

/// `--engine`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum EngineChoice {
    /// The fastest that this host has.
    Auto,
    /// The interpreter.
    Interp,
    /// The translator.
    Translate,
    /// The host's CPU.
    Kvm,
}

impl EngineChoice {
    /// The engine that was chosen by name.
    #[must_use]
    pub fn named(self) -> Option<EngineKind> {
        match self {
            Self::Auto => None,
            Self::Interp => Some(EngineKind::Interp),
            Self::Translate => Some(EngineKind::Translate),
            Self::Kvm => Some(EngineKind::Kvm),
        }
    }
}

/// `--memory`: bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not a size; write for example 512M or 2G");
        let (digits, shift) = match text.as_bytes().last() {
            Some(b'k' | b'K') => (&text[..text.len() - 1], 10),
            Some(b'm' | b'M') => (&text[..text.len() - 1], 20),
            Some(b'g' | b'G') => (&text[..text.len() - 1], 30),
            Some(b'0'..=b'9') => (text, 0),
            _ => return Err(wrong()),
        };
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let too_large = || format!("'{text}' is more than any machine can have");
        let number: u64 = digits.parse().map_err(|_| too_large())?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(too_large)
    }
}

/// `--serial` and `--console`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Serial {
    /// Standard input and output.
    Stdio,
    /// Nowhere.
    Null,
    /// To a file.
    File(PathBuf),
    /// To and from a client of a Unix socket.
    Unix(PathBuf),
}

impl FromStr for Serial {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "stdio" => Ok(Self::Stdio),
            None if text == "null" => Ok(Self::Null),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(path.into())),
            _ => Err(format!("'{text}' is none of stdio, null, file:PATH and unix:PATH")),
        }
    }
}

/// A port number, decimal or with 0x.
fn port(text: &str) -> Result<u16, String> {
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u16::from_str_radix(hex, 16),
        None => text.parse(),
    };
    number.map_err(|_| format!("'{text}' is not a port number; write for example 0xf4"))
}

impl RunArgs {
    /// What was asked for and is not there yet, with what to do instead.
    ///
    /// # Errors
    /// One line that says what.
    pub fn check(&self) -> Result<(), String> {
        self.guest.check()?;
        if matches!(self.debug_console, Serial::Unix(_) | Serial::Stdio) {
            return Err("--debug-console can be null or file:PATH".into());
        }
        if self.guest.machine == BoardKind::Microvm && self.display != Display::None {
            return Err("--machine microvm has no --display; use --serial or --console".into());
        }
        if self.console == Some(Serial::Stdio) {
            if self.serial == Serial::Stdio {
                return Err("--serial and --console cannot both have stdio; add --serial null, \
                            file:PATH or unix:PATH"
                    .into());
            }
            if self.display == Display::Terminal {
                return Err("--display terminal has stdio; --console can be null, file:PATH or \
                            unix:PATH beside it"
                    .into());
            }
        }
        for switch in &self.switch {
            let name = switch.engine.name();
            if let Some(reason) = switch.engine.missing() {
                return Err(format!("--switch to {name}: {reason}; see trine probe"));
            }
        }
        if self.time_limit.is_some_and(|seconds| !(seconds > 0.0 && seconds < 1e9)) {
            return Err("--time-limit takes a number of seconds above 0".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_take_suffixes_and_refuse_nonsense() {
        assert_eq!("512M".parse(), Ok(Size(512 << 20)));
        assert_eq!("2g".parse(), Ok(Size(2 << 30)));
        assert_eq!("64K".parse(), Ok(Size(64 << 10)));
        assert_eq!("0".parse(), Ok(Size(0)));
        for wrong in ["", "M", "-1M", "1T", "0x10", "1.5G", "99999999999999999999", "20000000000G"]
        {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn serial_ports_and_port_numbers() {
        assert_eq!("file:a:b".parse(), Ok(Serial::File("a:b".into())));
        assert!("file:".parse::<Serial>().is_err());
        assert!("pty".parse::<Serial>().is_err());
        assert_eq!(port("0xF4"), Ok(0xf4));
        assert_eq!(port("1281"), Ok(0x501));
        assert!(port("65536").is_err());
    }

    #[test]
    fn wrong_switches_are_refused() {
        let parse = |at: &str| Cli::try_parse_from(["trine", "run", "--switch", at]);
        assert!(parse("5M=interp").is_ok());
        for wrong in ["5M", "5M=qemu", "soon=interp"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_there_yet_is_refused() {
        let parse = |args: &[&str]| {
            let all = ["trine", "run"].iter().chain(args);
            match Cli::try_parse_from(all).expect("parses").command {
                Some(Command::Run(run)) => run.check(),
                _ => panic!("not run"),
            }
        };
        assert_eq!(parse(&["--cpus", "2"]), Ok(()));
        assert_eq!(parse(&["--console", "stdio", "--serial", "file:a"]), Ok(()));
        let error = parse(&["--console", "stdio"]);
        assert!(error.is_err_and(|e| e.contains("add --serial null")));
        let error = parse(&["--console", "stdio", "--serial", "null", "--display", "terminal"]);
        assert!(error.is_err_and(|e| e.contains("--display terminal has stdio")));
        assert_eq!(parse(&["--disk", "a.img,if=virtio"]), Ok(()));
        assert_eq!(parse(&["--net", "user,hostfwd=tcp::2222-:22", "--net", "none"]), Ok(()));
        let error = parse(&["--gdb", "127.0.0.1:1234"]);
        assert!(error.is_err_and(|e| e.contains("not available yet")));
        assert_eq!(parse(&["--machine", "microvm"]), Ok(()));
        let error = parse(&["--machine", "microvm", "--display", "terminal"]);
        assert!(error.is_err_and(|e| e.contains("has no --display")));
    }

    #[test]
    fn each_of_several_machines_writes_its_own_frames_down() {
        let all = ["trine", "run", "--net", "user,pcap=/a/b.pcap", "--net", "user,pcap=c"];
        let cli = Cli::try_parse_from(all).expect("parses");
        let Some(Command::Run(run)) = cli.command else { panic!("not run") };
        let nets = run.guest.nets_of("kvm").into_iter().filter_map(|net| net.pcap);
        let names: Vec<_> = nets.map(|file| file.display().to_string()).collect();
        assert_eq!(names, ["/a/b-kvm.pcap", "c-kvm"]);
    }
}
