//! [`Group`]: calls that share the workers fairly with other groups.

use crate::session;
use std::num::NonZeroU32;
use unidist_common::{Error, GroupId, GroupSpec, Result};

/// A group of calls. Groups share the workers in turns: while several have ready calls, each starts equally many,
/// however many wait. All calls without a group form a group too.
///
/// ```no_run
/// # fn main() -> unidist_core::Result<()> {
/// use unidist_core::{CallSettings, Group, get, prepare};
///
/// let (many, few) = (Group::new()?, Group::new()?);
/// let flood = prepare(|x: u64| x, &CallSettings::new().group(&many));
/// let drops = prepare(|x: u64| x, &CallSettings::new().group(&few));
/// let flood: Vec<_> = (0..100_000).map(|x| flood.remote((x,))).collect();
/// let drops: Vec<_> = (0..10).map(|x| drops.remote((x,))).collect();
/// get(&drops)?; // long before the flood has ended
/// # Ok(())
/// # }
/// ```
///
/// A group belongs to the session in which it was made.
///
/// Priorities go before groups: a call of a higher priority starts first, whatever group it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    spec: GroupSpec,
}

impl Group {
    /// A group of its own.
    ///
    /// # Errors
    ///
    /// There is no session.
    pub fn new() -> Result<Self> {
        Group::make(None)
    }

    /// A group of which at most this number of calls run at once.
    ///
    /// A call that waits for others, in `get` or `wait`, does not count meanwhile, as it holds no CPU slot either.
    ///
    /// # Errors
    ///
    /// The limit is 0, or there is no session.
    pub fn limited(limit: u32) -> Result<Self> {
        match NonZeroU32::new(limit) {
            Some(limit) => Group::make(Some(limit)),
            None => Err(Error::InvalidArgument {
                call: "Group::limited".to_owned(),
                message: "the limit of a group must be at least 1".to_owned(),
            }),
        }
    }

    fn make(limit: Option<NonZeroU32>) -> Result<Self> {
        let id = GroupId::of_reserved(session::current("Group::new")?.reserve(1));
        Ok(Group { spec: GroupSpec { id, limit } })
    }

    pub(crate) fn spec(&self) -> GroupSpec {
        self.spec
    }
}
