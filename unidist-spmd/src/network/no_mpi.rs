//! Without MPI there are no other ranks, so these types have no values.

use crate::communicator::Guards;
use crate::hosts::HostLayout;
use crate::memory::MemoryHandle;
use crate::{Communicator, Result};
use std::ops::Range;
use std::rc::Rc;

#[derive(Debug)]
pub(crate) enum Network {}

#[derive(Debug)]
pub(crate) enum Window {}

#[derive(Debug)]
pub(crate) enum Tokens {}

pub(crate) fn world() -> Result<Communicator> {
    Ok(Communicator::alone())
}

pub(crate) fn abort(why: &str) -> ! {
    eprintln!("unidist: {why}");
    std::process::abort()
}

pub(crate) fn abort_from_thread(why: &str) -> ! {
    abort(why)
}

impl Network {
    pub(crate) fn gather_handles(&self, _: &MemoryHandle) -> Result<Vec<MemoryHandle>> {
        match *self {}
    }

    pub(crate) fn gather(&self, _: &HostLayout, _: &[u8]) -> Vec<u8> {
        match *self {}
    }

    pub(crate) fn split(&self, _: Option<usize>, _: usize, _: &Rc<Guards>) -> Result<Option<Communicator>> {
        match *self {}
    }

    pub(crate) fn send(&self, _: usize, _: &[u8], _: impl FnMut(Range<usize>)) {
        match *self {}
    }

    pub(crate) fn receive(&self, _: usize, _: Option<usize>, _: &mut [u8]) {
        match *self {}
    }

    pub(crate) fn window(&self, _: &[u64]) -> Result<Window> {
        match *self {}
    }

    pub(crate) fn tokens(&self) -> Result<Tokens> {
        match *self {}
    }

    pub(crate) fn free(&mut self) {
        match *self {}
    }
}

impl Window {
    pub(crate) fn add(&self, _: usize, _: u64) -> Result<u64> {
        match *self {}
    }

    pub(crate) fn compare_and_swap(&self, _: usize, _: u64, _: u64) -> Result<u64> {
        match *self {}
    }

    pub(crate) fn free(&mut self) -> Result<()> {
        match *self {}
    }
}

impl Tokens {
    pub(crate) fn send(&self, _: usize, _: u64) -> Result<()> {
        match *self {}
    }

    pub(crate) fn try_receive(&self) -> Result<Option<u64>> {
        match *self {}
    }

    pub(crate) fn pause(&self, _: std::time::Instant, _: Option<std::time::Duration>) {
        match *self {}
    }

    pub(crate) fn free(&mut self) -> Result<()> {
        match *self {}
    }
}
