//! The harness of the suite: the agent as a child, Docker with its images, and what /proc and
//! the kernel say about both.
//!
//! It knows tlstap from outside only: the command line, the JSON lines, the exit status.

pub mod account;
pub mod agent;
pub mod bpf;
mod broker;
pub mod canaries;
mod cgroup;
pub mod child;
pub mod cli;
pub mod collector;
pub mod compile;
pub mod containerd;
pub mod content;
pub mod coverage;
pub mod database;
pub mod deadline;
pub mod docker;
pub mod event;
pub mod exact;
pub mod feed;
pub mod go;
pub mod kernel;
pub mod killed;
pub mod libraries;
pub mod manifests;
pub mod musl;
pub mod network;
pub mod node;
pub mod pace;
pub mod packages;
pub mod podman;
pub mod pressure;
pub mod probed;
pub mod process;
pub mod random;
pub mod recording;
pub mod rooted;
pub mod rustls;
pub mod samples;
pub mod schema;
pub mod scrape;
pub mod server;
pub mod setting;
pub mod stories;
pub mod streams;
pub mod symbols;
pub mod talk;
pub mod terminal;
pub mod tool;
pub mod tshark;
pub mod unsteady;
pub mod wakeups;
