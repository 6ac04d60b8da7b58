//! Xen and its first guest, dom0: Debian's own kernel, paravirtualised, with BusyBox.

use std::process::Command;

use trine_tests::{
    console::guest_file,
    seat::Seat,
    tftp::{Tftp, rom},
};

use super::{Firmware, start, start_by, turn};

const XEN: &str = "xen-hypervisor-4.17-amd64/boot/xen-4.17-amd64.gz";
const XEN_LINE: &str = "console=com1 com1=115200,8n1 dom0_mem=512M";
/// Xen's console, which it shows on COM1.
const DOM0_LINE: &str = "console=hvc0";
const SCRIPT: &str = "#!ipxe
kernel xen XEN_LINE
module linux DOM0_LINE
module initrd.gz
boot
";

/// Waits for dom0's shell, asks it where it is, and has it switch off.
fn reaches_a_shell(mut seat: Seat) {
    seat.wait_for_print("Xen version 4.17");
    seat.wait_for_print("READY x86_64");
    assert_eq!(seat.ask("cat /sys/hypervisor/type"), "xen");
    assert_eq!(seat.ask("cat /sys/hypervisor/version/major"), "4");
    assert_eq!(seat.ask("cat /sys/hypervisor/guest_type"), "PV");
    seat.say("the shell has answered");
    seat.console.type_text("poweroff -f\n");
    seat.end();
}

#[test]
#[ignore = "long: about two minutes"]
fn xen_starts_dom0_with_the_machines_own_loader() {
    let _turn = turn();
    let files = [XEN, "amd64/vmlinuz", "initrd-amd64.gz"].map(guest_file);
    let [Some(xen), Some(linux), Some(initrd)] = files else { return };
    let linux = format!("{linux} {DOM0_LINE}");
    let arguments = ["--memory", "1G", "--kernel", &xen, "--append", XEN_LINE];
    let modules = ["--initrd", &linux, "--initrd", &initrd];
    reaches_a_shell(start("xen", &[&arguments[..], &modules].concat()));
}

#[test]
#[ignore = "long: about four minutes"]
fn xen_starts_dom0_from_the_network() {
    let _turn = turn();
    let files = [("linux", "amd64/vmlinuz"), ("initrd.gz", "initrd-amd64.gz")];
    let served = Tftp::new("xen", &files);
    let (Some(served), Some(xen), Some(rom)) = (served, guest_file(XEN), rom("virtio")) else {
        return;
    };
    // iPXE does not unpack it.
    let xen = Command::new("gzip").args(["-dc", &xen]).output().expect("gzip is there").stdout;
    served.write("xen", xen);
    let script = SCRIPT.replace("XEN_LINE", XEN_LINE).replace("DOM0_LINE", DOM0_LINE);
    served.write("boot.ipxe", script);
    let net = format!("{},restrict=on,rom={rom}", served.net("virtio", "boot.ipxe"));
    for firmware in Firmware::ALL {
        let arguments = ["--memory", "1G", "--net", &net];
        let Some(seat) = start_by(firmware, "xen-network", &arguments) else { return };
        reaches_a_shell(seat);
    }
}
