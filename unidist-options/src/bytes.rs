//! Numbers of bytes as text.

/// What [`parse_bytes`] reads, for error messages.
pub const BYTES_ALLOWED: &str = "an integer, with or without one of the suffixes B, kB, MB, GB, TB (powers of 1000), \
                                 KiB, MiB, GiB, TiB (powers of 1024), such as 512MiB";

/// Parses a number of bytes below 8 EiB: see [`BYTES_ALLOWED`].
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    let unit: u64 = match suffix.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1000_u64.pow(2),
        "gb" => 1000_u64.pow(3),
        "tb" => 1000_u64.pow(4),
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    let bytes = number.parse::<u64>().ok()?.checked_mul(unit)?;
    (bytes <= i64::MAX as u64).then_some(bytes)
}
