//! Zstd, as the captures are stored.

use anyhow::{Context as _, ensure};
use zstd_safe::{DCtx, InBuffer, OutBuffer};

/// Decompresses any number of concatenated frames.
///
/// # Errors
/// When the bytes are no zstd, or end in the middle of a frame.
pub fn unzstd(compressed: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut context = DCtx::create();
    let mut input = InBuffer::around(compressed);
    let mut plain = Vec::new();
    let mut chunk = vec![0; DCtx::out_size()];
    let mut to_come = 0;
    while input.pos() < compressed.len() || to_come != 0 {
        let before = input.pos();
        let mut output = OutBuffer::around(chunk.as_mut_slice());
        to_come = context
            .decompress_stream(&mut output, &mut input)
            .map_err(|code| anyhow::anyhow!(zstd_safe::get_error_name(code)))
            .with_context(|| format!("zstd at offset {before} of {}", compressed.len()))?;
        let written = output.pos();
        plain.extend_from_slice(&chunk[..written]);
        ensure!(written > 0 || input.pos() > before, "zstd: the last frame is cut off");
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zstd(plain: &[u8]) -> Vec<u8> {
        let mut out = vec![0; zstd_safe::compress_bound(plain.len())];
        let n = zstd_safe::compress(out.as_mut_slice(), plain, 3).unwrap();
        out.truncate(n);
        out
    }

    #[test]
    fn frames_follow_one_another() {
        let long: Vec<u8> = (0..1_000_000u32).flat_map(|n| n.to_le_bytes()).collect();
        let bytes = [zstd(b"one"), zstd(b""), zstd(&long)].concat();
        assert_eq!(unzstd(&bytes).unwrap(), [b"one".as_slice(), &long].concat());
        assert_eq!(unzstd(b"").unwrap(), b"");
    }

    #[test]
    fn cut_or_foreign_bytes_are_errors() {
        let bytes = zstd(&[7; 100_000]);
        assert!(unzstd(&bytes[..bytes.len() - 1]).is_err());
        assert!(unzstd(b"not zstd at all").is_err());
    }
}
