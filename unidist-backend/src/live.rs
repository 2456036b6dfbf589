//! What a session holds, for checks that nothing is left.

use std::fmt;
use unidist_common::DataId;

/// An object, an actor or an unfinished call of a session.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Live {
    /// Its id: that of the object, of the actor's handles, or of the call's first result.
    pub id: DataId,
    /// What it is.
    pub kind: LiveKind,
    /// The function, that of an actor's constructor; empty for an object that was put, and for one whose function is not known.
    pub name: String,
}

/// The kinds of what a session holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum LiveKind {
    /// An object with a value, or with the error in place of it.
    Object,
    /// A call that has not ended.
    Call,
    /// An actor.
    Actor,
}

impl fmt::Display for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Live { id, kind, name } = self;
        match kind {
            LiveKind::Object if name.is_empty() => write!(f, "object {id}"),
            LiveKind::Object => write!(f, "object {id}, a result of `{name}`"),
            LiveKind::Call => write!(f, "call {id} of `{name}`, which has not ended"),
            LiveKind::Actor => write!(f, "actor {id}, made by `{name}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unidist_common::ProcessId;

    #[test]
    fn each_kind_is_described() {
        let id = DataId::new(ProcessId::CONTROLLER, 1);
        let text = |kind, name: &str| Live { id, kind, name: name.to_owned() }.to_string();
        assert_eq!(text(LiveKind::Object, ""), format!("object {id}"));
        assert_eq!(text(LiveKind::Object, "f"), format!("object {id}, a result of `f`"));
        assert_eq!(text(LiveKind::Call, "f"), format!("call {id} of `f`, which has not ended"));
        assert_eq!(text(LiveKind::Actor, "T::new"), format!("actor {id}, made by `T::new`"));
    }
}
