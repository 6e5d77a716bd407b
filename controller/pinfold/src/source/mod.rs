//! Where manifests come from: a git repository, mirrored and judged.
