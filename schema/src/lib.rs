//! The language: kinds, units, diagnostics, YAML reading, resolving, JSON Schema.
