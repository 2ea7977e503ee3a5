//! The vfio-user wire format.
