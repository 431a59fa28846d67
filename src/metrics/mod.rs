//! Counters, histograms and the reports made of them.
//!
//! The load generator, the command and `show::scrape` call this folder after the fact: nothing here runs on the packet path except
//! [`histogram::Recorder::record`], which neither allocates nor fails. Nothing here panics on a report it is given.

pub mod conditions;
pub mod cost;
pub mod histogram;
pub mod page;
pub mod plot;
pub mod prometheus;
pub mod report;
pub mod row;
pub mod table;
pub mod threshold;
pub mod units;
pub mod words;
