//! Vectors in a byte a dimension: enough to put tables in an order.

/// A vector in bytes: each number as a part of the largest, from -127 to 127.
pub fn quantized(vector: &[f32]) -> Vec<u8> {
    let largest = vector.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
    if largest <= 0.0 || !largest.is_finite() {
        return vec![0; vector.len()];
    }
    #[allow(clippy::cast_possible_truncation, reason = "from -127 to 127")]
    let byte = |number: &f32| ((number / largest * 127.0).round() as i8).cast_unsigned();
    vector.iter().map(byte).collect()
}

/// The cosine between a vector and one in bytes; none where they are of different lengths or have no direction.
pub fn cosine(vector: &[f32], kept: &[u8]) -> Option<f32> {
    if vector.len() != kept.len() {
        return None;
    }
    let (mut product, mut own, mut other) = (0.0_f32, 0.0_f32, 0.0_f32);
    for (number, byte) in vector.iter().zip(kept) {
        let byte = f32::from(byte.cast_signed());
        product += number * byte;
        own += number * number;
        other += byte * byte;
    }
    let length = (own * other).sqrt();
    (length > 0.0 && length.is_finite()).then(|| product / length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_a_dimension_keeps_the_angle() {
        let (a, b): (Vec<f32>, Vec<f32>) = (0..1000_u16).map(|n| (f32::from(n).sin(), f32::from(n).cos())).unzip();
        assert!(cosine(&a, &quantized(&a)).is_some_and(|cosine| cosine > 0.999));
        assert!(cosine(&a, &quantized(&b)).is_some_and(|cosine| cosine.abs() < 0.01));
        assert!(cosine(&[1.0, 0.0], &quantized(&[-2.0, 0.0])).is_some_and(|cosine| cosine < -0.999));
    }

    #[test]
    fn what_has_no_direction_or_another_length_has_no_angle() {
        assert_eq!(cosine(&[1.0], &quantized(&[1.0, 2.0])), None);
        assert_eq!(cosine(&[1.0, 2.0], &quantized(&[0.0, 0.0])), None);
        assert_eq!(cosine(&[f32::NAN], &quantized(&[1.0])), None);
        assert_eq!(cosine(&[1.0], &quantized(&[f32::INFINITY])), None);
        assert_eq!(cosine(&[], &[]), None);
    }
}
