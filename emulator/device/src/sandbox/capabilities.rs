//! Capabilities: none, in any set, for ever.

use caps::CapSet;
use caps::errors::CapsError;

/// Empties all five sets.
pub(super) fn drop_all() -> Result<(), CapsError> {
    // The bounding set first, as long as there is CAP_SETPCAP to change it. Without that it cannot be changed; but
    // then no_new_privs already keeps any program file from granting what is in it.
    if caps::has_cap(None, CapSet::Effective, caps::Capability::CAP_SETPCAP)? {
        caps::clear(None, CapSet::Bounding)?;
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::clear(None, CapSet::Permitted)
}
