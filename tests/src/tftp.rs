//! What a guest boots from the network: a folder behind the gateway's TFTP, and iPXE in the ROM of its
//! card.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{console::guest_file, folder::Folder};

/// A script for iPXE: Debian's kernel, called `linux`, and an initramfs, with a serial console.
pub const BOOT_LINUX: &str = "#!ipxe
kernel linux console=ttyS0 quiet initrd=initrd.gz
initrd initrd.gz
boot
";

/// iPXE as the expansion ROM of a card, `virtio` or `e1000`; `None`, after saying so, where it was not
/// fetched.
#[must_use]
pub fn rom(card: &str) -> Option<String> {
    guest_file(&format!("ipxe-qemu/usr/lib/ipxe/qemu/pxe-{card}.rom"))
}

/// A folder that is served.
pub struct Tftp(Folder);

impl Tftp {
    /// One for the test called `test`, with copies of guests: the name here, and the file. `None`,
    /// after saying so, where one was not fetched.
    ///
    /// # Panics
    /// If there is no room for it.
    #[must_use]
    pub fn new(test: &str, guests: &[(&str, &str)]) -> Option<Self> {
        let folder = Folder::new(&format!("tftp-{test}"));
        for (name, file) in guests {
            fs::copy(guest_file(file)?, folder.path(name)).expect("there is room");
        }
        Some(Self(folder))
    }

    /// Where it is.
    #[must_use]
    pub fn at(&self) -> &Path {
        self.0.at()
    }

    /// Adds a file.
    ///
    /// # Panics
    /// If there is no room for it.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(PathBuf::from(self.0.path(name)), contents).expect("there is room");
    }

    /// The value of `--net` for a card behind which this is served: DHCP calls `bootfile` the file to
    /// boot. More options can follow.
    #[must_use]
    pub fn net(&self, card: &str, bootfile: &str) -> String {
        format!("user,model={card},tftp={},bootfile={bootfile}", self.at().display())
    }
}
