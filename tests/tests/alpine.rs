//! Alpine Linux from its own disk image, and what is left of its files when its machine is killed.
//!
//! `tests/guests/fetch --all` brings the image. They take minutes, so one has to ask for them:
//!
//! ```sh
//! cargo test --release -p trine-tests --test alpine -- --ignored --nocapture
//! ```

use std::{
    collections::BTreeMap,
    fs, thread,
    time::{Duration, Instant},
};

use trine_tests::{
    console::{Console, Ending, ask, end_by, guest_file, power_off, run},
    folder::Folder,
    initramfs::overlay,
};

/// How often the machine is killed. `TRINE_TEST_KILLS` replaces it.
const KILLS: u32 = 100;

/// So many of its last files does the writer keep at least.
const KEPT: u32 = 40;

/// What the writer does, and what it says: see [`a_hundred_kills_lose_nothing`].
const WRITER: &str = include_str!("alpine/writer.sh");

/// The files of Alpine's image, and a disk that begins as its copy.
struct Alpine {
    kernel: String,
    initrd: String,
    disk: String,
    folder: Folder,
}

impl Alpine {
    fn new(test: &str) -> Option<Self> {
        let file = |name: &str| guest_file(&format!("alpine/{name}"));
        let (kernel, initrd, image) = (file("kernel")?, file("initrd")?, file("disk.qcow2")?);
        let folder = Folder::new(test);
        let disk = folder.path("disk.qcow2");
        let made = run(&["image", "create", "-f", "qcow2", "-b", &image, "-F", "qcow2", &disk]);
        assert_eq!(made.status.code(), Some(0), "{}", made.stderr);
        Some(Self { kernel, initrd, disk, folder })
    }

    /// The machine, begun with more of an initramfs and more words on its command line.
    fn start(&self, initrd: Option<&str>, words: &str) -> Console {
        let engine = std::env::var("TRINE_TEST_ENGINE").unwrap_or_else(|_| "translate".to_owned());
        let disk = format!("{},if=virtio", self.disk);
        let append = format!(
            "console=ttyS0 quiet root=/dev/vda rootfstype=ext4 modules=virtio_blk,ext4 {words}"
        );
        let mut arguments = vec!["run", "--engine", &engine, "--memory", "512M", "--no-reboot"];
        arguments.extend(["--kernel", &self.kernel, "--initrd", &self.initrd]);
        arguments.extend(initrd.iter().flat_map(|file| ["--initrd", file]));
        arguments.extend(["--append", &append, "--disk", &disk, "--net", "user"]);
        Console::start(&arguments)
    }

    /// The machine at a shell that is its init, with its disk writable.
    fn shell(&self) -> Console {
        let mut console = self.start(None, "init=/bin/sh");
        wait(&mut console, "~ # ");
        ask(&mut console, "mount -o remount,rw /");
        console
    }
}

fn wait(console: &mut Console, text: &str) -> String {
    console.wait_for(text).unwrap_or_else(|silence| panic!("{silence}"))
}

#[test]
#[ignore = "long: Alpine starts three times"]
fn alpine_boots_from_its_disk_and_lets_one_log_in() {
    let Some(alpine) = Alpine::new("alpine") else { return };
    let mut shell = alpine.shell();
    // The image has neither a password that we know nor a login on the serial port.
    ask(&mut shell, "passwd -d root");
    ask(&mut shell, "echo ttyS0::respawn:/sbin/getty -L ttyS0 115200 vt100 >>/etc/inittab; sync");
    power_off(shell);

    let mut login = alpine.start(None, "");
    wait(&mut login, "login: ");
    login.type_text("root\n");
    wait(&mut login, ":~# ");
    let release = ask(&mut login, "cat /etc/alpine-release");
    assert!(release.starts_with("3.23"), "{release}");
    // Nothing in the image does that.
    ask(&mut login, "mount -o remount,rw /");
    ask(&mut login, "dd if=/dev/urandom of=/root/data bs=1M count=16 2>/dev/null; sync");
    let sum = ask(&mut login, "sha256sum /root/data");
    assert!(sum.ends_with("/root/data") && sum.len() > 64, "{sum}");
    end_by(login, "poweroff\n");

    let mut shell = alpine.shell();
    assert_eq!(ask(&mut shell, "sha256sum /root/data"), sum);
    power_off(shell);
    let checked = run(&["image", "check", &alpine.disk]);
    assert_eq!(checked.status.code(), Some(0), "{}", checked.stderr);
}

/// What the guest said of its files, by their numbers: sums of their contents.
type Sums = BTreeMap<u32, String>;

/// The numbers and sums in those lines that begin with `word`.
fn sums(ending: &Ending, word: &str) -> Sums {
    let text = String::from_utf8_lossy(&ending.stdout);
    // The last line may be cut.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let lines = whole.lines().filter_map(|line| line.trim_end().strip_prefix(word));
    let pairs = lines.filter_map(|line| line.trim().split_once(' '));
    pairs.filter_map(|(n, sum)| Some((n.parse().ok()?, sum.to_owned()))).collect()
}

/// The writer makes files of random bytes, brings each to the disk (fsync), notes its sum in a
/// journal, brings that to the disk, too, and then says `ACK number sum`, while others of its kind
/// write and delete as fast as they can. We kill the machine at random moments. When it has started
/// again, the file system's own check has to find nothing wrong, and every file that was
/// acknowledged has to be there, with its sum, in the journal as in its contents.
#[test]
#[ignore = "long: Alpine starts a hundred times"]
fn a_hundred_kills_lose_nothing() {
    let Some(alpine) = Alpine::new("alpine-kills") else { return };
    let initrd = alpine.folder.path("writer.cpio");
    fs::write(&initrd, overlay(&[("init", WRITER)])).expect("there is room");
    let kills = std::env::var("TRINE_TEST_KILLS").ok().and_then(|n| n.parse().ok());
    let kills: u32 = kills.unwrap_or(KILLS);
    let begin = Instant::now();
    let mut acknowledged = Sums::new();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for kill in 0..=kills {
        let words = if kill == kills { "writer=last" } else { "writer=again" };
        let mut machine = alpine.start(Some(&initrd), words);
        let said = wait(&mut machine, "CHECKED ");
        assert!(!said.contains("FAILED"), "after kill {kill}:\n{said}");
        if kill == kills {
            let ending = machine.finish().unwrap_or_else(|silence| panic!("{silence}"));
            assert_eq!(ending.status.code(), Some(0), "{}", ending.stderr);
            let found = sums(&ending, "FOUND ");
            assert_none_lost(&acknowledged, &found, kill);
            break;
        }
        // Not before it writes again, and then for a while.
        wait(&mut machine, "ACK ");
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        thread::sleep(Duration::from_millis(random % 3000));
        let ending = machine.kill();
        assert_none_lost(&acknowledged, &sums(&ending, "FOUND "), kill);
        acknowledged = sums(&ending, "ACK ");
        let last = acknowledged.keys().next_back().copied().unwrap_or(0);
        acknowledged.extend(sums(&ending, "FOUND "));
        acknowledged.retain(|n, _| n + KEPT > last);
        let checked = run(&["image", "check", "--repair", &alpine.disk]);
        assert_eq!(checked.status.code(), Some(0), "after kill {kill}: {}", checked.stderr);
        println!(
            "kill {} of {kills}: {} files acknowledged, none lost; {} s",
            kill + 1,
            acknowledged.len(),
            begin.elapsed().as_secs()
        );
    }
}

fn assert_none_lost(acknowledged: &Sums, found: &Sums, kill: u32) {
    let lost: Vec<_> = acknowledged.iter().filter(|(n, sum)| found.get(n) != Some(sum)).collect();
    assert!(lost.is_empty(), "lost by kill {kill}: {lost:?}");
}
