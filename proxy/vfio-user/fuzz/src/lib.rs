//! Fuzz targets of the vfio-user codec.

pub mod reply;
pub mod request;
pub mod stream;

/// All of them.
pub const TARGETS: &[outrigger_fuzz::Target] = &[
    ("vfio_user_request", request::run),
    ("vfio_user_reply", reply::run),
    ("vfio_user_stream", stream::run),
];
