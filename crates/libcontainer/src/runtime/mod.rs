//! Effects in the runtime process: everything around the clone of init.
//!
//! Runs in: runtime.

pub(crate) mod console;
pub(crate) mod gate;
pub(crate) mod handles;
pub(crate) mod id_map;
pub(crate) mod image;
pub(crate) mod link;
pub(crate) mod listener;
pub(crate) mod map_helper;
pub(crate) mod new_network;
pub(crate) mod notify;
pub(crate) mod pid_file;
pub(crate) mod source;
pub(crate) mod start_fifo;
pub(crate) mod stdio;
pub(crate) mod user_namespace;
