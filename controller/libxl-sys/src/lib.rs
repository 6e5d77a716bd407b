//! Raw declarations of libxenlight, generated at build time from the installed headers.
