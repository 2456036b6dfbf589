//! The id of this build of the executable.

use std::fs::File;
use std::hash::Hasher;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use unidist_common::StableHasher;

/// The build id of the image (executable or shared library) that holds this code: its GNU build id, or else a hash of
/// its file. All processes of a session must agree on it.
pub fn build_id() -> String {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        let named = image().and_then(|path| {
            // The note lies near the start; reading all of a debug build would take each process too long.
            let start = read(&path, START).ok()?;
            if let Some(id) = gnu_build_id(&start) {
                return Some(id.iter().fold("gnu:".to_owned(), |text, byte| text + &format!("{byte:02x}")));
            }
            let mut hash = StableHasher::with_seed(0);
            hash.write(&read(&path, u64::MAX).ok()?);
            Some(format!("hash:{:016x}", hash.finish()))
        });
        named.unwrap_or_else(|| format!("version:{}", env!("CARGO_PKG_VERSION")))
    })
    .clone()
}

/// The number of leading bytes searched for the build id.
const START: u64 = 64 * 1024;

/// The first bytes of a file.
fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The file that this code was loaded from.
#[cfg(target_os = "linux")]
fn image() -> Option<PathBuf> {
    let executable = PathBuf::from("/proc/self/exe"); // opens even when the file has been replaced or removed
    let here = (build_id as fn() -> String as *const ()).addr();
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let path = maps.lines().find_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let [start, end] = [start, end].map(|number| usize::from_str_radix(number, 16).ok());
        if !(start?..end?).contains(&here) {
            return None;
        }
        Some(rest.splitn(5, ' ').nth(4)?.trim_start().to_owned())
    })?;
    let own = std::fs::read_link(&executable).ok()?;
    Some(if own == *path { executable } else { path.into() })
}

#[cfg(not(target_os = "linux"))]
fn image() -> Option<PathBuf> {
    std::env::current_exe().ok()
}

/// The build id in the notes of a 64-bit little-endian ELF image.
fn gnu_build_id(image: &[u8]) -> Option<&[u8]> {
    const NOTE_SEGMENT: u64 = 4;
    const BUILD_ID_NOTE: u64 = 3;
    if !image.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let number = |bytes: &[u8], at: usize, len: usize| -> Option<u64> {
        let bytes = bytes.get(at..at.checked_add(len)?)?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    };
    let place =
        |at: usize, len: usize| number(image, at, len).and_then(|number| usize::try_from(number).ok());
    let (headers, size, count) = (place(32, 8)?, place(54, 2)?, place(56, 2)?);
    for header in (0..count).map_while(|index| headers.checked_add(index * size)) {
        if number(image, header, 4)? != NOTE_SEGMENT {
            continue;
        }
        let start = place(header.checked_add(8)?, 8)?;
        let mut notes = image.get(start..start.checked_add(place(header.checked_add(32)?, 8)?)?)?;
        while notes.len() >= 12 {
            let [name_len, len] = [number(notes, 0, 4)?, number(notes, 4, 4)?].map(|len| len as usize);
            let name = notes.get(12..12_usize.checked_add(name_len)?)?;
            let start = 12 + name_len.next_multiple_of(4);
            let value = notes.get(start..start.checked_add(len)?)?;
            if name == b"GNU\0" && number(notes, 8, 4)? == BUILD_ID_NOTE {
                return Some(value);
            }
            notes = notes.get(start + len.next_multiple_of(4)..).unwrap_or_default();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_has_an_id() {
        let id = build_id();
        assert!(id.starts_with("gnu:") || id.starts_with("hash:"), "{id}");
        assert_eq!(id, build_id());
    }

    #[test]
    fn damaged_image_has_no_id() {
        let image = std::fs::read(image().unwrap()).unwrap();
        assert_eq!(gnu_build_id(&image[..100]), None);
        for len in 0..2_000 {
            let _ = gnu_build_id(&image[..len]); // any result will do, but no panic
        }
        let mut wrong = image[..1_000].to_vec();
        wrong[32..40].fill(0xff);
        assert_eq!(gnu_build_id(&wrong), None);
    }
}
