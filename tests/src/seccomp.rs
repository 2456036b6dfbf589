#![allow(unsafe_code)] // the system call that installs a filter takes pointers
//! Makes the kernel refuse a system call, as a sandbox or an old kernel does.

use std::io;

/// A system call that the kernel refuses.
#[derive(Clone, Copy)]
pub(crate) struct Refusal {
    /// Its number.
    pub(crate) call: libc::c_long,
    /// Its first argument; `None` for any.
    pub(crate) argument: Option<i32>,
    /// The error that it returns.
    pub(crate) errno: i32,
}

impl Refusal {
    /// As a word that [`from_word`](Refusal::from_word) reads.
    pub(crate) fn to_word(self) -> String {
        format!("{}:{}:{}", self.call, self.argument.map_or(String::new(), |n| n.to_string()), self.errno)
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        let mut parts = word.split(':');
        let mut next = || parts.next();
        let (call, argument, errno) = (next()?.parse().ok()?, next()?.parse().ok(), next()?.parse().ok()?);
        Some(Refusal { call, argument, errno })
    }

    /// Refuses the call in this thread, and in the threads and programs that it starts from now on.
    pub(crate) fn install(self) -> io::Result<()> {
        const NUMBER: u32 = 0;
        const FIRST_ARGUMENT: u32 = 16; // on a little-endian machine its lower half
        let load = |k| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, k);
        let finish = |k| statement(libc::BPF_RET | libc::BPF_K, k);
        let skip_unless = |k, jf| libc::sock_filter {
            code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            jt: 0,
            jf,
            k,
        };
        let refuse = finish(libc::SECCOMP_RET_ERRNO | self.errno.unsigned_abs());
        let allow = finish(libc::SECCOMP_RET_ALLOW);
        let number = self.call as u32;
        let mut filter = match self.argument {
            None => vec![load(NUMBER), skip_unless(number, 1), refuse, allow],
            Some(argument) => vec![
                load(NUMBER),
                skip_unless(number, 3),
                load(FIRST_ARGUMENT),
                skip_unless(argument as u32, 1),
                refuse,
                allow,
            ],
        };
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: the calls read their arguments and keep none: the filter lives until they return.
        let installed = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
        };
        if installed { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}
