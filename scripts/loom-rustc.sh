#!/usr/bin/env bash
# Compiles this crate, and none of its dependencies, for the loom models: a RUSTC_WORKSPACE_WRAPPER, called by cargo with
# the compiler and its arguments. RUSTFLAGS="--cfg loom" would do the same and build every dependency a second time.
exec "$@" --cfg loom
