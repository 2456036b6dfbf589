//! The digest sees each action, and no text.

use super::super::world::{Options, recorded};
use super::*;
use unidist_common::ErrorKind;

fn digest_of<'a>(actions: impl Iterator<Item = &'a Action>) -> u64 {
    let mut digest = Digest::default();
    actions.for_each(|action| digest.action(action));
    digest.value()
}

/// All actions of a few real simulations, each dropped and each swapped with the next one.
#[test]
fn digest_changes_with_each_dropped_and_each_swapped_action() {
    let mut kinds = std::collections::BTreeSet::new();
    for seed in 0..5 {
        let actions = recorded(seed, &Options::default());
        let whole = digest_of(actions.iter());
        assert!(actions.len() > 50, "seed {seed} does too little");
        for at in 0..actions.len() {
            let dropped = actions[..at].iter().chain(&actions[at + 1..]);
            assert_ne!(digest_of(dropped), whole, "seed {seed}: {:?} was dropped", actions[at]);
            if let Some(next) = actions.get(at + 1).filter(|next| **next != actions[at]) {
                let swapped = [next, &actions[at]];
                let swapped = actions[..at].iter().chain(swapped).chain(&actions[at + 2..]);
                assert_ne!(digest_of(swapped), whole, "seed {seed}: {:?} was swapped", actions[at]);
            }
        }
        kinds.extend(actions.iter().map(|action| format!("{:?}", std::mem::discriminant(action))));
    }
    assert!(kinds.len() >= 6, "too few kinds of actions: {kinds:?}");
}

#[test]
fn digest_does_not_depend_on_texts() {
    let digest = |text: &str| {
        let error = TaskError::new(ErrorKind::Failed, text);
        digest_of([Action::Unobserved(error)].iter())
    };
    assert_eq!(digest("one"), digest("another"));
}
