//! Gzip bodies: honest ones, flushed chunk by chunk, and the bomb.

use std::io::Write;

use flate2::{Compress, Compression, Crc, FlushCompress, write::GzEncoder};

/// A gzip header (RFC 1952) without name or time.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
const BLOCK: usize = 1 << 20;

/// Compresses chunks so that each can be decoded as soon as it has arrived.
pub(crate) fn compress(chunks: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let mut compressed = Vec::new();
    for chunk in chunks {
        encoder.write_all(chunk).and_then(|()| encoder.flush()).expect("a Vec takes all");
        compressed.push(std::mem::take(encoder.get_mut()));
    }
    compressed.push(encoder.finish().expect("a Vec takes all"));
    compressed.retain(|chunk| !chunk.is_empty());
    compressed
}

/// The pieces of one valid gzip member that decodes to `prefix`, `mebibytes` MiB of the letter a, and `suffix`. A piece is
/// about a thousandth of what it decodes to, and none exists before it is asked for.
pub(crate) fn bomb(prefix: &[u8], mebibytes: u64, suffix: &[u8]) -> impl Iterator<Item = Vec<u8>> + use<> {
    let filler = vec![b'a'; BLOCK];
    // A fresh compressor refers to nothing before it, and a full flush ends on a byte: so blocks can be repeated.
    let (start, block, end) =
        (deflate(prefix, FlushCompress::Full), deflate(&filler, FlushCompress::Full), deflate(suffix, FlushCompress::Finish));
    let (mut sum, mut block_sum, mut end_sum) = (Crc::new(), Crc::new(), Crc::new());
    sum.update(prefix);
    block_sum.update(&filler);
    end_sum.update(suffix);
    let trailer = move || {
        (0..mebibytes).for_each(|_| sum.combine(&block_sum));
        sum.combine(&end_sum);
        [end.as_slice(), &sum.sum().to_le_bytes(), &sum.amount().to_le_bytes()].concat()
    };
    std::iter::once([&HEADER, start.as_slice()].concat())
        .chain((0..mebibytes).map(move |_| block.clone()))
        .chain(std::iter::once_with(trailer))
}

fn deflate(bytes: &[u8], flush: FlushCompress) -> Vec<u8> {
    let mut compressor = Compress::new(Compression::best(), false);
    let mut out = Vec::with_capacity(bytes.len() / 100 + 1024);
    compressor.compress_vec(bytes, &mut out, flush).expect("deflate cannot fail on valid input");
    assert_eq!(compressor.total_in(), bytes.len() as u64, "the whole input fits the output's room");
    out
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_bomb_is_valid_gzip_and_a_thousand_times_smaller_on_the_wire() {
        let wire: Vec<u8> = bomb(b"{\"", 8, b"\"}").flatten().collect();
        assert!(wire.len() < 8 * BLOCK / 900, "{} bytes", wire.len());
        let mut decoded = Vec::new();
        flate2::read::GzDecoder::new(wire.as_slice()).read_to_end(&mut decoded).unwrap();
        assert_eq!(decoded.len(), 8 * BLOCK + 4);
        assert!(decoded.starts_with(b"{\"aaaa") && decoded.ends_with(b"aaaa\"}"));
    }
}
