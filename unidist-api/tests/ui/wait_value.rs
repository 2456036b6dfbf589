//! `wait` for what is no ref, and `get` of what it returns for refs of different types.
use unidist::prelude::*;

fn main() {
    let refs = [put(1).unwrap(), put(2).unwrap()];
    let _ = wait(16, 1, None);
    let _ = wait(refs.iter(), 1, None);
    let waited = wait((&refs[0], put(2.5).unwrap()), 1, None).unwrap();
    let _ = get(&waited.ready);
}
