//! A guest made of frames, before the gateway: every protocol, what is refused, and what a hostile
//! guest tries.

mod connections;
mod datagrams;
mod hostile;
mod rig;
mod servers;
