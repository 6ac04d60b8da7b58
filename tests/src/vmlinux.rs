//! The ELF file that is packed in a bzImage, which a machine can start by PVH.
//!
//! Sources: the kernel's `Documentation/arch/x86/boot.rst` for where the payload is; `lz4_Block_format`
//! and `lz4_Frame_format` (legacy frames) of the LZ4 project for how Debian's cloud kernel packs it.

/// Unpacks `kernel`, a bzImage; `None` if it is packed in another way than LZ4's.
#[must_use]
pub fn vmlinux(kernel: &[u8]) -> Option<Vec<u8>> {
    const LEGACY: &[u8] = &[0x02, 0x21, 0x4c, 0x18];
    let number = |at: usize| Some(u32::from_le_bytes(*kernel.get(at..)?.first_chunk()?) as usize);
    let setup = (usize::from(*kernel.get(0x1f1)?) + 1) * 512;
    let (start, len) = (setup + number(0x248)?, number(0x24c)?);
    let mut blocks = kernel.get(start..start + len)?.strip_prefix(LEGACY)?;
    let mut unpacked = Vec::new();
    // Behind the last block are the bytes of the unpacked length, too few for another.
    while let Some((len, rest)) = blocks.split_first_chunk() {
        let Some(block) = rest.get(..u32::from_le_bytes(*len) as usize) else { break };
        unpack(block, &mut unpacked)?;
        blocks = &rest[block.len()..];
    }
    Some(unpacked)
}

/// A block: literals and copies of what was there before, in turn.
fn unpack(mut block: &[u8], out: &mut Vec<u8>) -> Option<()> {
    fn length(nibble: u8, from: &mut &[u8]) -> Option<usize> {
        let mut length = usize::from(nibble);
        let mut more = nibble == 15;
        while more {
            let (byte, rest) = from.split_first()?;
            *from = rest;
            length += usize::from(*byte);
            more = *byte == 255;
        }
        Some(length)
    }
    while let Some((token, rest)) = block.split_first() {
        block = rest;
        let literals = length(token >> 4, &mut block)?;
        out.extend(block.get(..literals)?);
        block = &block[literals..];
        let Some((back, rest)) = block.split_first_chunk() else { break };
        block = rest;
        let copied = 4 + length(token & 15, &mut block)?;
        let start = out.len().checked_sub(u16::from_le_bytes(*back).into())?;
        (start..start + copied).try_for_each(|at| out.get(at).copied().map(|b| out.push(b)))?;
    }
    Some(())
}
