//! Parsers of the values of variables, one for each type.

use crate::{BackendName, HostName};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// The allowed values in words, for errors and the reference page.
pub(crate) trait Allowed {
    const KIND: &'static str;
    const ALLOWED: &'static str;
}

/// A value that can be read from a variable.
pub(crate) trait Parse: Allowed + Sized {
    /// Parses `raw`; `None` if it is not [`ALLOWED`](Allowed::ALLOWED). Never called with an empty string.
    fn parse(raw: &OsStr) -> Option<Self>;
}

impl Allowed for BackendName {
    const KIND: &'static str = "name";
    const ALLOWED: &'static str = "mpi, pymp or pyseq, in upper or lower case";
}

impl Parse for BackendName {
    fn parse(raw: &OsStr) -> Option<Self> {
        let name = text(raw)?;
        BackendName::ALL.into_iter().find(|backend| backend.as_str().eq_ignore_ascii_case(name))
    }
}

impl Allowed for Option<BackendName> {
    const KIND: &'static str = BackendName::KIND;
    const ALLOWED: &'static str = BackendName::ALLOWED;
}

impl Parse for Option<BackendName> {
    fn parse(raw: &OsStr) -> Option<Self> {
        BackendName::parse(raw).map(Some)
    }
}

impl Allowed for NonZeroUsize {
    const KIND: &'static str = "integer";
    const ALLOWED: &'static str = "an integer of at least 1";
}

impl Parse for NonZeroUsize {
    fn parse(raw: &OsStr) -> Option<Self> {
        text(raw)?.parse().ok()
    }
}

impl Parse for Option<NonZeroUsize> {
    fn parse(raw: &OsStr) -> Option<Self> {
        NonZeroUsize::parse(raw).map(Some)
    }
}

impl Allowed for Option<NonZeroUsize> {
    const KIND: &'static str = NonZeroUsize::KIND;
    const ALLOWED: &'static str = NonZeroUsize::ALLOWED;
}

/// A number of bytes; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteCount(pub(crate) u64);

impl Allowed for ByteCount {
    const KIND: &'static str = "bytes";
    const ALLOWED: &'static str = "a number of bytes from 1 to below 8 EiB: an integer, with or without one of the \
                                   suffixes B, kB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB (powers of \
                                   1024), such as 512MiB";
}

impl Parse for ByteCount {
    fn parse(raw: &OsStr) -> Option<Self> {
        bytes(raw).filter(|bytes| *bytes > 0).map(ByteCount)
    }
}

impl Allowed for Option<ByteCount> {
    const KIND: &'static str = ByteCount::KIND;
    const ALLOWED: &'static str = "the same as for UNIDIST_OBJECT_STORE_MEMORY";
}

impl Parse for Option<ByteCount> {
    fn parse(raw: &OsStr) -> Option<Self> {
        ByteCount::parse(raw).map(Some)
    }
}

/// A number of bytes that fits into a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Threshold(pub(crate) u32);

impl Allowed for Option<Threshold> {
    const KIND: &'static str = ByteCount::KIND;
    const ALLOWED: &'static str =
        "a number of bytes from 1 to 16MiB, written as for UNIDIST_OBJECT_STORE_MEMORY";
}

impl Parse for Option<Threshold> {
    fn parse(raw: &OsStr) -> Option<Self> {
        let allowed = bytes(raw).filter(|bytes| (1..=16 << 20).contains(bytes))?;
        Some(Some(Threshold(u32::try_from(allowed).ok()?)))
    }
}

/// A number of bytes that may be 0; if `None`, the session computes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteLimit(pub(crate) Option<u64>);

impl Allowed for ByteLimit {
    const KIND: &'static str = ByteCount::KIND;
    const ALLOWED: &'static str = "0, or the same as for UNIDIST_OBJECT_STORE_MEMORY";
}

impl Parse for ByteLimit {
    fn parse(raw: &OsStr) -> Option<Self> {
        bytes(raw).map(|bytes| ByteLimit(Some(bytes)))
    }
}

/// Parses a number of bytes, with or without a unit.
fn bytes(raw: &OsStr) -> Option<u64> {
    unidist_options::parse_bytes(text(raw)?)
}

/// The resource that every host offers by default, in bytes.
pub(crate) const MEMORY: &str = "memory";

impl Allowed for BTreeMap<String, f64> {
    const KIND: &'static str = "list";
    const ALLOWED: &'static str = "a list of name=amount, separated by commas, such as gpu=2,licence=1; each name \
                                   occurs once and contains no space, `=` or `,`, each amount is a finite number of \
                                   at least 0; memory is in bytes and may have a unit, as in memory=8GiB; for CPUs set \
                                   UNIDIST_CPUS instead";
}

impl Parse for BTreeMap<String, f64> {
    fn parse(raw: &OsStr) -> Option<Self> {
        let mut resources = BTreeMap::new();
        for item in text(raw)?.split(',') {
            let (name, amount) = item.split_once('=')?;
            let (name, amount) = (name.trim(), amount.trim());
            let amount = match amount.parse::<f64>() {
                Ok(amount) => amount,
                Err(_) if name == MEMORY => unidist_options::parse_bytes(amount)? as f64,
                Err(_) => return None,
            };
            let valid_name = !name.is_empty() && !name.contains(char::is_whitespace);
            let valid_amount = amount.is_finite() && amount >= 0.0;
            if !valid_name || !valid_amount || name.eq_ignore_ascii_case("cpu") {
                return None;
            }
            if resources.insert(name.to_owned(), amount).is_some() {
                return None;
            }
        }
        Some(resources)
    }
}

impl Allowed for Option<PathBuf> {
    const KIND: &'static str = "path";
    const ALLOWED: &'static str = "the path of a folder";
}

impl Parse for Option<PathBuf> {
    fn parse(raw: &OsStr) -> Option<Self> {
        Some(Some(PathBuf::from(raw)))
    }
}

impl Allowed for Duration {
    const KIND: &'static str = "seconds";
    const ALLOWED: &'static str = "a number of seconds of at least 0, such as 0.5";
}

impl Parse for Duration {
    fn parse(raw: &OsStr) -> Option<Self> {
        let seconds: f64 = text(raw)?.parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// A time that is not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Positive(pub(crate) Duration);

impl Allowed for Positive {
    const KIND: &'static str = Duration::KIND;
    const ALLOWED: &'static str = "a number of seconds of at least 1e-9, such as 0.001";
}

impl Parse for Positive {
    fn parse(raw: &OsStr) -> Option<Self> {
        Duration::parse(raw).filter(|time| !time.is_zero()).map(Positive)
    }
}

impl Allowed for bool {
    const KIND: &'static str = "boolean";
    const ALLOWED: &'static str = "true, yes, 1, false, no or 0, in upper or lower case";
}

impl Parse for bool {
    fn parse(raw: &OsStr) -> Option<Self> {
        let text = text(raw)?.to_ascii_lowercase();
        match text.as_str() {
            "true" | "yes" | "1" => Some(true),
            "false" | "no" | "0" => Some(false),
            _ => None,
        }
    }
}

impl Allowed for Vec<HostName> {
    const KIND: &'static str = "list";
    const ALLOWED: &'static str = "a list of host names or addresses, separated by commas, such as node1,node2:8; each \
                                   host occurs once, with or without `:` and its number of CPU slots";
}

impl Parse for Vec<HostName> {
    fn parse(raw: &OsStr) -> Option<Self> {
        let hosts: Option<Vec<_>> = text(raw)?.split(',').map(|host| HostName::parse(host.trim())).collect();
        let hosts = hosts?;
        let names: BTreeSet<_> = hosts.iter().map(|host| &host.name).collect();
        (names.len() == hosts.len()).then_some(hosts)
    }
}

fn text(raw: &OsStr) -> Option<&str> {
    raw.to_str().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<T: Parse>(text: &str) -> Option<T> {
        T::parse(OsStr::new(text))
    }

    #[test]
    fn seconds_are_parsed() {
        assert_eq!(parse("2"), Some(Duration::from_secs(2)));
        assert_eq!(parse(" 0.5"), Some(Duration::from_millis(500)));
        assert_eq!(parse("0"), Some(Duration::ZERO));
        for wrong in ["-1", "1s", "NaN", "inf", "1e300", "soon"] {
            assert_eq!(parse::<Duration>(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn positive_time_excludes_zero() {
        assert_eq!(parse("1e-4"), Some(Positive(Duration::from_micros(100))));
        for wrong in ["0", "1e-12", "-1", "soon"] {
            assert_eq!(parse::<Positive>(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn booleans_are_parsed_in_any_case() {
        for (text, value) in [("true", true), ("Yes", true), ("1", true), ("FALSE", false), ("no", false)] {
            assert_eq!(parse(text), Some(value), "{text}");
        }
        for wrong in ["2", "on", "truth"] {
            assert_eq!(parse::<bool>(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn hosts_are_parsed_with_and_without_slots() {
        let hosts: Vec<HostName> = parse("node1:4, node-2.example.org ,10.77.0.3").unwrap();
        let slots = hosts.iter().map(|host| (host.name.as_str(), host.cpus.map(NonZeroUsize::get)));
        let expected = [("node1", Some(4)), ("node-2.example.org", None), ("10.77.0.3", None)];
        assert_eq!(slots.collect::<Vec<_>>(), expected);
        for wrong in ["a,", ",", "a,a", "a:0", "a:x", "a b", "a=1", "-a", "a,a:2"] {
            assert_eq!(parse::<Vec<HostName>>(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn backends_are_parsed_in_any_case() {
        assert_eq!(parse("mpi"), Some(BackendName::Mpi));
        assert_eq!(parse("pymp"), Some(BackendName::Pymp));
        assert_eq!(parse(" PySeq "), Some(BackendName::Pyseq));
        assert_eq!(parse::<BackendName>("ray"), None);
        assert_eq!(parse::<BackendName>("pymp,pyseq"), None);
    }

    #[test]
    fn allowed_names_every_backend() {
        for backend in BackendName::ALL {
            assert!(BackendName::ALLOWED.contains(backend.as_str()));
        }
    }

    #[test]
    fn counts_start_at_one() {
        assert_eq!(parse::<NonZeroUsize>("3").map(NonZeroUsize::get), Some(3));
        for wrong in ["0", "-1", "1.5", "two", "1e3", "99999999999999999999999"] {
            assert_eq!(parse::<NonZeroUsize>(wrong), None, "{wrong}");
            assert_eq!(parse::<Option<NonZeroUsize>>(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn bytes_are_parsed_with_and_without_suffix() {
        let valid = [
            ("1", 1),
            ("4096", 4096),
            ("7b", 7),
            ("3kB", 3000),
            ("512MiB", 512 << 20),
            ("2GiB", 2 << 30),
            ("2 gib", 2 << 30),
            ("1tb", 1_000_000_000_000),
            ("9223372036854775807", i64::MAX as u64),
        ];
        for (text, bytes) in valid {
            assert_eq!(parse(text), Some(ByteCount(bytes)), "{text}");
        }
        for wrong in ["0", "0GiB", "-1", "GiB", "1.5GiB", "1 2", "5XB", "9223372036854775808", "8388608TiB"] {
            assert_eq!(parse::<ByteCount>(wrong), None, "{wrong}");
        }
        assert_eq!(parse("0"), Some(ByteLimit(Some(0))));
        assert_eq!(parse("1kB"), Some(ByteLimit(Some(1000))));
        assert_eq!(parse::<ByteLimit>("-1"), None);
    }

    #[test]
    fn resources_are_parsed_by_name() {
        let given: BTreeMap<String, f64> = parse("gpu=2, licence = 0.5 ,tiny=1e-4,none=0").unwrap();
        let expected = [("gpu", 2.0), ("licence", 0.5), ("tiny", 1e-4), ("none", 0.0)];
        assert_eq!(given, expected.map(|(name, amount)| (name.to_owned(), amount)).into());
        for (text, bytes) in [("memory=8GiB", 8_589_934_592.0), ("memory = 2 kB", 2000.0), ("memory=7", 7.0)]
        {
            assert_eq!(parse(text), Some(BTreeMap::from([("memory".to_owned(), bytes)])), "{text}");
        }
        let wrong = [
            "gpu",
            "gpu=",
            "=1",
            "gpu=x",
            "gpu=1GiB",
            "memory=1XB",
            "gpu=-1",
            "gpu=inf",
            "gpu=nan",
            "gpu=1,",
            "gpu=1,gpu=2",
            "CPU=1",
            "cpu=1",
            "a b=1",
            "a=1=2",
            "a=1;b=2",
        ];
        for wrong in wrong {
            assert_eq!(parse::<BTreeMap<String, f64>>(wrong), None, "{wrong}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn paths_need_not_be_unicode() {
        use std::os::unix::ffi::OsStrExt;
        let raw = OsStr::from_bytes(b"/logs/\xff");
        assert_eq!(Option::<PathBuf>::parse(raw), Some(Some(PathBuf::from(raw))));
        assert_eq!(NonZeroUsize::parse(raw), None);
    }
}
