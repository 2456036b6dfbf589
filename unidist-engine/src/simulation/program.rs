//! The behaviour of simulated calls: a short list of steps, drawn when the call is made.

use fastrand::Rng;

/// One step of a call.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Submit this many tasks.
    Spawn(usize),
    /// Call the actor whose handle the call was given.
    CallActor,
    /// Wait for everything submitted so far.
    GetAll,
    /// Wait, without the thread, for everything submitted so far.
    Await,
    /// Wait for everything submitted so far on a thread of its own, and perhaps for that thread.
    GetOnThread { joins: bool },
    /// Wait, without the thread, for some time.
    Sleep,
    /// Wait for this percentage of what was submitted so far, or until the time limit has passed.
    WaitSome { percent: u64, hurry: bool },
    /// Put an object into the store.
    Put,
    /// Give back a reference to something submitted or put.
    Release,
    /// Cancel something submitted, or the call that has made this one.
    Cancel,
    /// Run until canceled, or longer: the call has a time limit.
    Hang,
    /// End with an error.
    Fail,
    /// Take the process down.
    Crash,
}

/// Draws the steps of a call at this depth of the call tree. Asynchronous tasks leave their thread while they wait, but
/// not always.
pub(super) fn draw(rng: &mut Rng, depth: u32, asynchronous: bool, crashes: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    for _ in 0..rng.usize(0..5) {
        steps.push(match rng.u32(0..100) {
            0..30 if depth < 4 => Step::Spawn(rng.usize(1..4)),
            30..45 => Step::CallActor,
            45..61 if asynchronous && rng.u32(0..4) > 0 => Step::Await,
            45..49 => Step::GetOnThread { joins: rng.u32(0..3) > 0 },
            49..61 => Step::GetAll,
            61..65 => Step::Cancel,
            65..75 => Step::WaitSome { percent: rng.u64(0..=100), hurry: rng.bool() },
            75..80 if asynchronous => Step::Sleep,
            75..85 => Step::Put,
            85..94 => Step::Release,
            94..97 => Step::Fail,
            97..98 => Step::Hang,
            98..100 if crashes => Step::Crash,
            _ => Step::Put,
        });
    }
    steps
}
