//! Counters, histograms and the reports made of them.

pub mod row;
