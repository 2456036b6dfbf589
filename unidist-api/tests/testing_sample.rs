//! The sample of the chapter on testing.

use unidist::prelude::*;

#[remote]
fn square(x: i64) -> i64 {
    x * x
}

#[unidist::test]
fn squares_are_computed() {
    assert_eq!(get(square.remote(3)), Ok(9));
}

#[unidist::test]
fn squares_of_refs_are_computed() -> unidist::Result<()> {
    let three = put(3_i64)?;
    assert_eq!(get(square.remote(&three))?, 9);
    Ok(())
}

#[unidist::test]
async fn squares_can_be_awaited() {
    assert_eq!(square.remote(3).await, Ok(9));
}

#[unidist::test]
#[should_panic(expected = "overflow")]
fn large_squares_overflow() {
    get(square.remote(i64::MAX)).unwrap();
}
