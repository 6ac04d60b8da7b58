//! Debian's stock kernels boot to a shell that answers, and power off. The guests come from
//! `tests/guests/fetch`; without them these tests say that they skip.
//!
//! The daily suite boots one kernel. All of them, in some minutes:
//! `cargo test --release -p trine-tests --test boot -- --include-ignored --test-threads 2`

use std::path::Path;

use trine_tests::console::{Console, Ending, Silence, guests};

/// 0 + 1 + … + 999.
const SUM: &str = "i=0; s=0; while [ $i -lt 1000 ]; do s=$((s+i)); i=$((i+1)); done; echo $s";

/// A CPU with all that KVM does for guests. Without a TSC that never stops, the kernel takes KVM's
/// clock for the better one.
const PARAVIRTUAL: &str = "max,-invtsc,+kvmclock,+kvm-steal-time,+kvm-pv-eoi";

/// A stock kernel with the initramfs that fits it.
struct Guest {
    kernel: &'static str,
    initrd: &'static str,
    /// What `uname -m` says.
    machine: &'static str,
    /// What the kernel's version ends with.
    flavour: &'static str,
}

const CLOUD: Guest = Guest {
    kernel: "cloud/vmlinuz",
    initrd: "initrd-amd64.gz",
    machine: "x86_64",
    flavour: "-cloud-amd64",
};
const GENERIC: Guest = Guest {
    kernel: "amd64/vmlinuz",
    initrd: "initrd-amd64.gz",
    machine: "x86_64",
    flavour: "-amd64",
};
const I686: Guest =
    Guest { kernel: "686/vmlinuz", initrd: "initrd-i386.gz", machine: "i686", flavour: "-686" };
const I686_PAE: Guest = Guest {
    kernel: "686-pae/vmlinuz",
    initrd: "initrd-i386.gz",
    machine: "i686",
    flavour: "-686-pae",
};

impl Guest {
    /// Starts it in `folder` on `engine` with more `options` and kernel arguments.
    fn start(&self, folder: &Path, engine: &str, options: &[&str], append: &str) -> Console {
        let kernel = folder.join(self.kernel).display().to_string();
        let initrd = folder.join(self.initrd).display().to_string();
        let append = format!("console=ttyS0 {append}");
        let mut arguments = vec!["run", "--engine", engine, "--memory", "512M", "--kernel"];
        arguments.extend([kernel.as_str(), "--initrd", &initrd, "--append", &append]);
        arguments.extend(options);
        Console::start(&arguments)
    }

    /// Boots it to the shell on each engine, tries the shell, and switches it off.
    fn answers(&self, options: &[&str], cpus: u32) {
        let Some(folder) = guests() else { return };
        for engine in engines() {
            let mut console = self.start(&folder, engine, options, "");
            if let Err(silence) = self.talk(&mut console, cpus) {
                panic!("on {engine}: {silence}");
            }
            console.type_text("poweroff -f\n");
            let ending = console.finish().unwrap_or_else(|silence| panic!("{engine}: {silence}"));
            assert_eq!(ending.status.code(), Some(0), "{engine}: {}", ending.stderr);
        }
    }

    /// Boots it to the shell and suspends it to RAM until the clock's alarm wakes it.
    fn wakes(&self, engine: &str, options: &[&str], cpus: u32) -> Result<(), Silence> {
        let Some(folder) = guests() else { return Ok(()) };
        let mut console = self.start(&folder, engine, options, "quiet");
        console.wait_for("READY")?;
        console.wait_for("/ #")?;
        console.ask("mount -t proc p /proc; mount -t sysfs s /sys; dmesg -n 1")?;
        assert_eq!(console.ask("cat /sys/power/mem_sleep")?, "s2idle [deep]");
        console.ask("date +%s > /before; echo +2 > /sys/class/rtc/rtc0/wakealarm")?;
        assert_eq!(console.ask("echo mem > /sys/power/state; echo $?")?, "0");
        let slept = console.ask("echo $(($(date +%s) - $(cat /before)))")?;
        assert!(slept.parse::<u32>().is_ok_and(|s| (1..60).contains(&s)), "{slept} s");
        assert_eq!(console.ask("dmesg | grep -c 'Low-level resume complete'")?, "1");
        assert_eq!(console.ask("nproc")?, cpus.to_string());
        assert_eq!(console.ask(SUM)?, "499500");
        console.type_text("poweroff -f\n");
        let ending = console.finish()?;
        assert_eq!(ending.status.code(), Some(0), "{}", ending.stderr);
        Ok(())
    }

    /// What the guest says of itself, and what its shell and its programs compute.
    fn talk(&self, console: &mut Console, cpus: u32) -> Result<(), Silence> {
        console.wait_for("READY")?;
        // Up to the prompt, so that nothing is typed before the shell listens.
        let greeting = console.wait_for("/ #")?;
        assert!(greeting.starts_with(&format!(" {} cpus={cpus} ", self.machine)), "{greeting}");
        assert_eq!(console.ask("echo $((6*7))")?, "42");
        assert_eq!(console.ask("uname -m")?, self.machine);
        assert!(console.ask("uname -r")?.ends_with(self.flavour));
        assert_eq!(console.ask("nproc")?, cpus.to_string());
        let flags = console.ask("grep -m 1 ^flags /proc/cpuinfo")?;
        let mut wanted = vec!["fpu", "tsc", "msr", "apic", "cmov", "mmx", "fxsr", "sse", "sse2"];
        if self.machine == "x86_64" {
            wanted.extend(["lm", "nx", "syscall"]);
        }
        for flag in wanted {
            assert!(flags.split_whitespace().any(|f| f == flag), "{flag} is not in: {flags}");
        }
        // The shell's own arithmetic, compiled integer code, and doubles.
        assert_eq!(console.ask(SUM)?, "499500");
        assert_eq!(console.ask("printf abc | sha256sum | cut -c 1-16")?, "ba7816bf8f01cfea");
        assert_eq!(console.ask("awk 'BEGIN { printf \"%.12f\", 355/113 }'")?, "3.141592920354");
        for cpu in (0..cpus).filter(|_| cpus > 1) {
            // Field 39 is the CPU that the process runs on.
            let on = format!("taskset -c {cpu} cut -d ' ' -f 39 /proc/self/stat");
            assert_eq!(console.ask(&on)?, cpu.to_string(), "taskset -c {cpu}");
            let busy = format!("taskset -c {cpu} sh -c '{SUM}'");
            assert_eq!(console.ask(&busy)?, "499500", "taskset -c {cpu}");
        }
        Ok(())
    }

    /// Boots it with what KVM offers, by KVM's clock, and looks whether it is used and is right.
    fn knows_kvm(&self, engine: &str, cpus: u32) -> Result<(), Silence> {
        let Some(folder) = guests() else { return Ok(()) };
        let options = ["--cpus", &cpus.to_string(), "--cpu", PARAVIRTUAL];
        let mut console = self.start(&folder, engine, &options, "");
        console.wait_for("READY")?;
        console.wait_for("/ #")?;
        console.ask("dmesg -n 1")?;
        let source = "cat /sys/devices/system/clocksource/clocksource0/current_clocksource";
        assert_eq!(console.ask(source)?, "kvm-clock");
        assert_eq!(console.ask("dmesg | grep -c 'Hypervisor detected: KVM'")?, "1");
        assert_eq!(console.ask("nproc")?, cpus.to_string());
        // Within what the host was told, and by two clocks of the guest's.
        let off = console.ask("echo $(($(date +%s) - $(cat /sys/class/rtc/rtc0/since_epoch)))")?;
        assert!(["-1", "0", "1"].contains(&off.as_str()), "{off} s off");
        let centiseconds = "cut -d ' ' -f 1 /proc/uptime | tr -d .";
        console.ask(&format!("a=$({centiseconds}); sleep 1; b=$({centiseconds})"))?;
        let slept = console.ask("echo $((b - a))")?;
        assert!(slept.parse().is_ok_and(|s: u32| (100..1000).contains(&s)), "{slept} cs");
        // Each CPU's timer interrupts it, again and again.
        for cpu in 0..cpus {
            let ticks = format!("awk '/LOC/ {{ print ${} }}' /proc/interrupts", cpu + 2);
            let busy = format!("t=$({ticks}); taskset -c {cpu} sh -c '{SUM}'");
            assert_eq!(console.ask(&busy)?, "499500");
            console.ask("sleep 0.2")?;
            let more = console.ask(&format!("echo $(($({ticks}) - t))"))?;
            assert!(more.parse().is_ok_and(|n: u32| n > 0), "CPU {cpu}: {more} ticks");
        }
        console.type_text("poweroff -f\n");
        let ending = console.finish()?;
        assert_eq!(ending.status.code(), Some(0), "{}", ending.stderr);
        Ok(())
    }

    /// Runs a command in it without typing, with a counted clock and `more` options.
    fn counted(&self, folder: &Path, engine: &str, more: &[&str], run: usize) -> Counted {
        // What depends on time and on interrupts; then a moment for the serial line to send it.
        const COMMAND: &str = "cat,/proc/interrupts,/proc/uptime;sleep,1";
        let name = format!("trine-boot-{}-{run}.json", std::process::id());
        let file = std::env::temp_dir().join(name);
        let stats = file.display().to_string();
        let options = [&["--clock", "instructions", "--stats", &stats], more].concat();
        let console = self.start(folder, engine, &options, &format!("run={COMMAND}"));
        let ending = console.finish().unwrap_or_else(|silence| panic!("{silence}"));
        let text = std::fs::read_to_string(&file).expect("there are statistics");
        std::fs::remove_file(&file).expect("the file can be removed");
        (ending, serde_json::from_str(&text).expect("they are JSON"))
    }
}

/// How a run ended, and its statistics.
type Counted = (Ending, serde_json::Value);

/// The software engines of this host.
fn engines() -> Vec<&'static str> {
    use trine_machine::EngineKind::{Interp, Translate};
    let there = |kind: &trine_machine::EngineKind| kind.missing().is_none();
    [Interp, Translate].into_iter().filter(there).map(|kind| kind.name()).collect()
}

/// Every number named `instructions` in the statistics, in order.
fn instructions(stats: &serde_json::Value) -> Vec<u64> {
    match stats {
        serde_json::Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| match value.as_u64() {
                Some(count) if name == "instructions" => vec![count],
                _ => instructions(value),
            })
            .collect(),
        serde_json::Value::Array(rows) => rows.iter().flat_map(instructions).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn cloud_amd64() {
    CLOUD.answers(&[], 1);
}

#[test]
#[ignore = "takes minutes"]
fn long_amd64() {
    GENERIC.answers(&[], 1);
}

#[test]
#[ignore = "takes minutes"]
fn long_686() {
    I686.answers(&[], 1);
}

#[test]
#[ignore = "takes minutes"]
fn long_686_pae() {
    I686_PAE.answers(&[], 1);
}

#[test]
#[ignore = "takes minutes"]
fn long_cloud_amd64_on_two_cpus() {
    CLOUD.answers(&["--cpus", "2"], 2);
}

#[test]
#[ignore = "takes minutes"]
fn long_amd64_on_two_cpus() {
    GENERIC.answers(&["--cpus", "2"], 2);
}

#[test]
#[ignore = "takes minutes"]
fn long_686_pae_on_two_cpus() {
    I686_PAE.answers(&["--cpus", "2"], 2);
}

#[test]
#[ignore = "takes minutes"]
fn long_kernels_suspend_to_ram_and_wake() {
    for engine in engines() {
        for (guest, cpus) in [(GENERIC, 2), (I686_PAE, 1)] {
            let options = ["--cpus", &cpus.to_string()];
            guest.wakes(engine, &options, cpus).unwrap_or_else(|e| panic!("{engine}: {e}"));
        }
    }
}

#[test]
#[ignore = "takes minutes"]
fn long_counted_runs_are_the_same_to_the_bit_on_every_engine() {
    let Some(folder) = guests() else { return };
    for (n, more) in [&[][..], &["--cpus", "2", "--cpu", PARAVIRTUAL]].into_iter().enumerate() {
        let first = CLOUD.counted(&folder, "interp", more, 10 * n);
        for (run, engine) in (10 * n + 1..).zip(engines()) {
            compare(&first, CLOUD.counted(&folder, engine, more, run), engine);
        }
    }
}

#[test]
#[ignore = "takes minutes"]
fn long_cloud_amd64_uses_what_kvm_offers() {
    for engine in engines() {
        for cpus in [1, 2] {
            let result = CLOUD.knows_kvm(engine, cpus);
            result.unwrap_or_else(|e| panic!("{engine}, {cpus} CPUs: {e}"));
        }
    }
}

/// Two counted runs, the second on `engine`, must not differ in anything.
fn compare((first, counts): &Counted, (second, counts_again): Counted, engine: &str) {
    for ending in [first, &second] {
        assert_eq!(ending.status.code(), Some(0), "{}", ending.stderr);
        let text = String::from_utf8_lossy(&ending.stdout);
        assert!(text.contains("IO-APIC"), "{text}");
    }
    let (a, b) = (&first.stdout, &second.stdout);
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let tail = |text: &[u8]| String::from_utf8_lossy(&text[same.saturating_sub(80)..]).into_owned();
    assert!(a == b, "{engine} differs after {same} bytes:\n{}\n--\n{}", tail(a), tail(b));
    let counted = instructions(counts);
    assert!(counted.iter().any(|&n| n > 1_000_000), "no counts of instructions: {counts}");
    assert_eq!(counted, instructions(&counts_again), "{engine}");
}
