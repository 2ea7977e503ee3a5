//! Who wants to see a worker's counts: each connection is handed the page, and closed.
//!
//! The process's first thread does this, which has nothing else to do: a reader never reaches a worker, and nothing is ever
//! read from it or kept for it. `docs/statistics.md` has the one message.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use outrigger_ring::{CounterPage, CounterView};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tracing::debug;

use super::Stop;
use crate::front::Listener;
use crate::statistics::greeting;

/// A listening socket and what it hands out.
#[derive(Debug)]
pub(super) struct Readers {
    socket: Listener,
    page: OwnedFd,
    view: CounterView,
    worker: Arc<Stop>,
}

impl Readers {
    pub(super) fn new(socket: Listener, page: &CounterPage, worker: Arc<Stop>) -> io::Result<Self> {
        let page = page.descriptor().try_clone_to_owned()?;
        let view = CounterView::new(page.try_clone()?).map_err(io::Error::other)?;
        Ok(Self {
            socket,
            page,
            view,
            worker,
        })
    }

    /// Serves one reader, if one is there. Never waits.
    pub(super) fn serve(&self) {
        let reader = match self.socket.accept() {
            Ok(reader) => reader,
            Err(Errno::AGAIN | Errno::INTR) => return,
            Err(error) => {
                debug!(%error, "cannot accept a reader of statistics");
                return;
            }
        };
        // The reader waits for a writing after this one: the worker may sleep, and have shown older counts, or be about to.
        let updates = self.view.begun();
        self.worker.ask_to_show();
        let fds = [self.page.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&fds));
        let bytes = greeting(updates);
        let parts = [IoSlice::new(&bytes)];
        if let Err(error) = sendmsg(&reader, &parts, &mut control, SendFlags::NOSIGNAL) {
            debug!(%error, "cannot answer a reader of statistics");
        }
    }
}

impl AsFd for Readers {
    /// Readable when a reader waits.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
