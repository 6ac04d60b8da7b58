//! The entropy device (VIRTIO 1.2, section 5.4).

use super::{DeviceType, Driver, Queue};

/// The size of the one queue, requestq.
const QUEUE_SIZE: u16 = 64;
/// The most bytes for one buffer: the device may use less of it than there is.
const BYTES_MAX: u64 = 4096;

/// What fills a buffer with random bytes. Where they come from is the board's business, so that a
/// run can be repeated.
pub type Entropy = Box<dyn FnMut(&mut [u8]) + Send>;

/// A source of random bytes.
pub struct VirtioRng {
    source: Entropy,
}

impl VirtioRng {
    /// A device that fills buffers by `source`.
    #[must_use]
    pub fn new(source: Entropy) -> Self {
        Self { source }
    }
}

impl DeviceType for VirtioRng {
    type State = ();
    const ID: u16 = 4;
    /// A device that fits no class.
    const CLASS: u32 = 0xff_00_00;

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> Vec<u16> {
        vec![QUEUE_SIZE]
    }

    fn config(&self) -> Vec<u8> {
        Vec::new()
    }

    fn reset(&mut self) {}

    fn serve(&mut self, driver: &mut Driver<'_>) {
        while driver.is_notified(0)
            && let Some(chain) = driver.next(0)
        {
            let mut bytes = vec![0; chain.writable_len().min(BYTES_MAX) as usize];
            (self.source)(&mut bytes);
            let written = chain.write(driver.ram, 0, &bytes);
            driver.give_back(0, chain.head, written as u32);
        }
    }

    fn save(&self) {}

    fn load(&mut self, (): (), _queues: &[Queue]) -> Result<(), String> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtio::rig::{Part, Rig, VERSION_1};

    #[test]
    fn buffers_are_filled_in_the_sources_order() {
        let mut next = 0_u8;
        let source = move |bytes: &mut [u8]| {
            bytes.fill_with(|| {
                next = next.wrapping_add(1);
                next
            });
        };
        let mut rig = Rig::started(VirtioRng::new(Box::new(source)), VERSION_1);
        assert_eq!(rig.call(0, &[Part::In(0x8000, 3), Part::In(0x9000, 2)]), 5);
        assert_eq!((rig.get(0x8000), rig.get(0x9000)), ([1, 2, 3, 0], [4, 5, 0]));
        assert_eq!(rig.call(0, &[Part::In(0x8000, 0x8000)]), 4096, "less than there is room for");
        assert_eq!((rig.get(0x8000), rig.get(0x9000)), ([6, 7], [4]));
        assert_eq!(rig.call(0, &[Part::Out(0x8000, 4)]), 0);
        assert_eq!(rig.vectors(), [0x51; 3]);
    }
}
