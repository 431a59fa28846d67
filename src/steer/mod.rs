//! steer: to be written.
