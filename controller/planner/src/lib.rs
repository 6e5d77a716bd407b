//! Desired + observed -> plan. Pure.
