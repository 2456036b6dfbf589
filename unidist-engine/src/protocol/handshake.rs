//! The first messages between two processes: the engine's welcome and a process's answer, a controller's greeting and a
//! monitor's reply.
//!
//! Their prefix (magic number, version, length) never changes, so that any two versions can tell each other that they
//! differ.

#[cfg(any(test, feature = "fuzz"))]
use super::monitor::{Greeting, GreetingReply};
use super::wire;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use unidist_common::ProcessId;

const MAGIC: [u8; 8] = *b"unidist\n";
/// The version of the protocol. Change it with every message and every layout in shared memory.
pub(crate) const VERSION: u32 = 6;
/// The length of the prefix in bytes: magic number, version, length of the body.
pub(crate) const PREFIX_LEN: usize = 16;
const MAX_BODY_LEN: usize = 1 << 20;

/// From the engine to a new process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Welcome {
    /// The build of the program.
    pub(crate) build_id: String,
    /// The id of the process.
    pub(crate) process: ProcessId,
    /// Whether it hosts an actor.
    pub(crate) actor: bool,
    /// The folder of its log file; standard error if there is none.
    pub(crate) log_dir: Option<PathBuf>,
    /// The name of the host, in a session of several hosts.
    pub(crate) host: Option<String>,
    /// Up to this many bytes of an object travel in messages, larger parts through the store.
    pub(crate) inline_limit: u32,
}

/// From a new process to the engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Joined { build_id: String },
    Refused { why: String },
}

/// Encodes a first message.
pub(crate) fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::from(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    wire::append(message, MAX_BODY_LEN, &mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// Decodes a first message that is complete.
pub(crate) fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Result<M, String> {
    match parse(bytes)? {
        Parsed::Message(message) => Ok(message),
        Parsed::Incomplete { missing } => Err(format!("the message is cut off: {missing} bytes are missing")),
    }
}

/// The result of [`parse`].
pub(crate) enum Parsed<M> {
    Message(M),
    /// At least this many bytes are missing.
    Incomplete {
        missing: usize,
    },
}

/// Decodes a first message from the bytes received so far.
pub(crate) fn parse<M: DeserializeOwned>(bytes: &[u8]) -> Result<Parsed<M>, String> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX_LEN>() else {
        return Ok(Parsed::Incomplete { missing: PREFIX_LEN - bytes.len() });
    };
    let len = body_len(prefix)?;
    match rest.get(..len) {
        Some(body) => wire::decode(body).map(Parsed::Message).map_err(|error| error.to_string()),
        None => Ok(Parsed::Incomplete { missing: len - rest.len() }),
    }
}

/// The length of the body behind this prefix.
pub(crate) fn body_len(prefix: &[u8; PREFIX_LEN]) -> Result<usize, String> {
    let (magic, rest) = prefix.split_at(MAGIC.len());
    let number = |at: usize| u32::from_le_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
    if magic != MAGIC {
        return Err(
            "the other process does not use unidist's protocol: check that it is a program that uses unidist"
                .into(),
        );
    }
    if number(0) != VERSION {
        let theirs = number(0);
        return Err(format!(
            "the other process uses version {theirs} of the protocol, this one version {VERSION}: start the same \
             executable everywhere"
        ));
    }
    match number(4) as usize {
        len if len <= MAX_BODY_LEN => Ok(len),
        len => Err(format!("the other process announces a message of {len} bytes, which is over the limit")),
    }
}

/// Checks that two processes run the same build.
pub(crate) fn check_build(ours: &str, theirs: &str) -> Result<(), String> {
    if ours == theirs {
        return Ok(());
    }
    Err(format!(
        "the program and its worker are different builds ({ours} and {theirs}): start the same executable everywhere, \
         and restart it after a rebuild"
    ))
}

/// Decodes any bytes as each of the first messages.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn decode_anything(bytes: &[u8]) {
    fn check<M: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
        match parse::<M>(bytes) {
            Ok(Parsed::Incomplete { missing }) => assert!((1..=PREFIX_LEN + MAX_BODY_LEN).contains(&missing)),
            Ok(Parsed::Message(message)) => {
                let again = encode(&message).map(|bytes| parse::<M>(&bytes));
                assert!(matches!(again, Ok(Ok(Parsed::Message(again))) if again == message), "{message:?}");
            }
            Err(why) => assert!(!why.is_empty()),
        }
    }
    check::<Welcome>(bytes);
    check::<Answer>(bytes);
    check::<Greeting>(bytes);
    check::<GreetingReply>(bytes);
}

/// Examples of the first messages, whole and halved.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn examples() -> Vec<Vec<u8>> {
    let (build_id, log_dir) = ("build".to_owned(), Some("logs".into()));
    let host = Some("node1".to_owned());
    let welcome = Welcome {
        build_id,
        process: ProcessId::CONTROLLER,
        actor: true,
        log_dir,
        host,
        inline_limit: 1 << 15,
    };
    let joined = Answer::Joined { build_id: "build".into() };
    let refused = Answer::Refused { why: "another build".into() };
    let (greeting, replies) = crate::fuzz::greetings();
    let whole = [encode(&welcome), encode(&joined), encode(&refused), encode(&greeting)];
    let whole = whole.into_iter().chain(replies.iter().map(encode)).flatten();
    whole.flat_map(|bytes| [bytes[..bytes.len() / 2].to_vec(), bytes]).collect()
}
