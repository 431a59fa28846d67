//! Counts that say what they count: the name in reports, the name of the metric and a sentence of help, each written once.
//!
//! The structs of counts are made by [`counted!`] (`engine/counters.rs`, `device/mod.rs`); reports serialise their fields, and
//! [`crate::metrics::prometheus`] prints them by the list [`Count`]s. Values only; nothing panics.

/// One count of a struct `T` of them.
#[derive(Clone, Copy, Debug)]
pub struct Count<T: 'static> {
    /// Its field, as reports print it.
    pub name: &'static str,
    /// Its metric, whole: prefix, unit and `_total`.
    pub metric: &'static str,
    /// What it counts.
    pub help: &'static str,
    pub(crate) of: fn(&T) -> u64,
}

impl<T> Count<T> {
    /// Its value.
    pub fn of(&self, counts: &T) -> u64 {
        (self.of)(counts)
    }
}

/// A struct of counts. Each has one line of documentation, which is its help, and names its metric.
macro_rules! counted {
    ($(#[$meta:meta])* pub struct $Counts:ident; $(#[doc = $help:literal] $name:ident = $metric:literal,)*) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
        pub struct $Counts {
            $(#[doc = $help] pub $name: u64,)*
        }

        impl $Counts {
            /// Each of them, in this order.
            pub const ALL: &'static [$crate::counted::Count<Self>] = &[$($crate::counted::Count {
                name: stringify!($name),
                metric: $metric,
                help: $help.trim_ascii(),
                of: |counts| counts.$name,
            },)*];

            /// Adds what another has counted.
            pub const fn add(&mut self, other: &Self) {
                $(self.$name = self.$name.saturating_add(other.$name);)*
            }
        }
    };
}

pub(crate) use counted;
