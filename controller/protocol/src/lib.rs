//! The messages between pinfold and pinfold-xen. Types only.
