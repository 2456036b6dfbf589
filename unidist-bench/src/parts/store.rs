//! Objects in shared memory, compared with plain copies into the same kind of memory.

use super::{Samples, Scale, settle, start_session};
use crate::Result;
use crate::procfs::available_memory;
use std::time::Instant;
use unidist::{get, put_slice};
use unidist_engine::bench::shared_memory;

/// A size, with its name in the report.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) name: &'static str,
    pub(crate) bytes: usize,
}

const SMALL: usize = 1 << 10;
const LARGE: [Size; 3] = [
    Size { name: "1 MiB", bytes: 1 << 20 },
    Size { name: "64 MiB", bytes: 64 << 20 },
    Size { name: "1 GiB", bytes: 1 << 30 },
];

/// The large sizes that fit into the time and the memory: the data, its copy in a store of at most half of the
/// available memory, and some reserve.
pub(crate) fn sizes(scale: Scale) -> Vec<Size> {
    let available = available_memory().unwrap_or(0);
    let fits = |size: &Size| size.bytes < 1 << 30 || (!scale.quick && size.bytes as u64 * 5 <= available);
    LARGE.into_iter().filter(fits).collect()
}

/// Objects that are too small for shared memory.
pub(super) fn small(scale: Scale, samples: &mut Samples) -> Result {
    let _session = start_session(1)?;
    let data = vec![7_u8; SMALL];
    let kept = put_slice(&data)?;
    for _ in 0..scale.of(5, 20) {
        samples.time("put 1 KiB", 1_000, || Ok(put_slice(&data)?))?;
        samples.time("get 1 KiB", 1_000, || Ok(get(&kept)?))?;
    }
    Ok(())
}

/// Objects in shared memory: put into untouched memory, put into touched memory, and get.
pub(super) fn large(size: Size, scale: Scale, samples: &mut Samples) -> Result {
    let Size { name, bytes } = size;
    let _session = start_session(1)?;
    let data = vec![7_u8; bytes];
    let fresh = if bytes < 1 << 30 { 4 } else { 1 };
    let mut kept = Vec::new();
    for _ in 0..fresh {
        // Held objects keep their memory, so each put takes untouched pages.
        samples.time(&format!("put {name}, untouched"), 1, || {
            kept.push(put_slice(&data)?);
            Ok(())
        })?;
        let mut memory = shared_memory(bytes as u64)?;
        samples.time(&format!("memcpy {name}, untouched"), 1, || copy(&data, &mut memory))?;
    }
    for _ in 0..scale.of(5, 20) {
        samples.time(&format!("get {name}"), 1_000, || Ok(get(&kept[0])?))?;
    }
    drop(kept);
    settle()?;
    let mut memory = shared_memory(bytes as u64)?;
    memory.copy_from_slice(&data);
    for _ in 0..scale.of(4, 8) {
        let start = Instant::now();
        let reference = put_slice(&data)?;
        samples.add(format!("put {name}, touched"), start.elapsed().as_secs_f64());
        drop(reference);
        settle()?;
        samples.time(&format!("memcpy {name}, touched"), 1, || copy(&data, &mut memory))?;
    }
    Ok(())
}

fn copy(from: &[u8], to: &mut [u8]) -> Result {
    to.copy_from_slice(from);
    Ok(())
}
