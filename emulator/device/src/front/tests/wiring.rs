//! The client's half of INTx: what wires its eventfds.

use outrigger_vfio_user::{IrqSetFlags as F, SetIrqs};

use super::*;

/// SET_IRQS for INTx.
pub(super) fn set(flags: F, count: u32, data: &'static [u8]) -> Request<'static> {
    Request::SetIrqs(SetIrqs {
        flags,
        index: 0,
        start: 0,
        count,
        data,
    })
}

pub(super) const TRIGGER_FD: F = F::DATA_EVENTFD.union(F::ACTION_TRIGGER);
pub(super) const UNMASK_FD: F = F::DATA_EVENTFD.union(F::ACTION_UNMASK);

/// A client with its interrupt wired.
pub(super) fn wired(server: &mut Server) -> (Client, OwnedFd) {
    let mut client = server.attach();
    let trigger = eventfd();
    let answered = client.ask(server, &set(TRIGGER_FD, 1, &[]), &[trigger.as_fd()]);
    assert_eq!((answered.errno(), answered.bytes.len()), (0, 16));
    (client, trigger)
}
