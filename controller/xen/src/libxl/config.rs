//! `libxl_domain_config`, filled and read as JSON: its fields move with every Xen release, its JSON does not.

use super::list::take_text;
use super::{Libxl, c_text};
use libxl_sys as sys;
use protocol::Failure;
use std::mem::MaybeUninit;

/// A domain's configuration in libxl's own form; disposed of when dropped.
pub(crate) struct DomainConfig(Box<sys::libxl_domain_config>);

impl DomainConfig {
    /// Reads JSON. libxl ignores members it does not know without a word, so the caller compares [`DomainConfig::understood`].
    ///
    /// The JSON must be made by us: libxl aborts the process on two `type.…` members in one object.
    pub(crate) fn from_json(libxl: &Libxl, json: &str) -> Result<Self, Failure> {
        let call = "libxl_domain_config_from_json";
        let json = c_text(call, json)?;
        let mut config = Box::new(MaybeUninit::uninit());
        // SAFETY: init writes the struct whole.
        unsafe { sys::libxl_domain_config_init(config.as_mut_ptr()) };
        // SAFETY: it was just initialised.
        let mut config = Self(unsafe { config.assume_init() });
        let pointer = config.as_mut_ptr();
        // SAFETY: the context is open, the config initialised, the text NUL-terminated.
        libxl.call(call, |ctx| unsafe { sys::libxl_domain_config_from_json(ctx, pointer, json.as_ptr()) })?;
        Ok(config)
    }

    /// What libxl understood, as JSON.
    pub(crate) fn understood(&mut self, libxl: &Libxl) -> Result<String, Failure> {
        let config = self.as_mut_ptr();
        // SAFETY: the context is open, the config is initialised.
        let text =
            libxl.ask("libxl_domain_config_to_json", |ctx| unsafe { sys::libxl_domain_config_to_json(ctx, config) })?;
        Ok(take_text(text))
    }

    /// For a call that reads it, and may fill in its defaults.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut sys::libxl_domain_config {
        &raw mut *self.0
    }
}

impl Drop for DomainConfig {
    fn drop(&mut self) {
        // SAFETY: it was initialised and is not used after this.
        unsafe { sys::libxl_domain_config_dispose(self.as_mut_ptr()) };
    }
}
