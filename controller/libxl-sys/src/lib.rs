//! Raw declarations of libxenlight, libxentoollog, libxenstore and the two calls of libxenctrl that list cpupools.
//!
//! Generated at build time by bindgen from the installed headers (`build.rs` lists what is taken), so they are right for one Xen minor
//! release: [`XEN_MINOR`]. Enums are newtypes over integers, since C may return values that no header names.
//! `libxl_domain_config` is opaque: it is filled and read as JSON.
//!
//! There is deliberately no safe function here; `pinfold-xen` has those.

#![allow(non_camel_case_types, non_upper_case_globals, non_snake_case)]
#![allow(missing_docs, clippy::pedantic, clippy::undocumented_unsafe_blocks, clippy::missing_safety_doc)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));

/// The Xen minor release whose headers these declarations were made from, such as `4.17`.
pub const XEN_MINOR: &str = env!("XENLIGHT_MINOR");
