//! The curve of CUBIC (RFC 8312 4.1, RFC 9438 4.2) in integers: bytes and nanoseconds.
//!
//! Round-trip times here may be microseconds, so K and t are kept in nanoseconds; a cube of them fills 111 of 128 bits. Pure functions;
//! nothing overflows, whatever the arguments.

use crate::tcp::folded::Form;

/// W_cubic(t) = C (t - K)^3 + origin, from a window of `begin` bytes at t = 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Curve {
    /// Where the plateau lies, in bytes.
    origin: u32,
    /// When it is reached.
    k_ns: u64,
    smss: u32,
}

impl Curve {
    /// The curve that leads from a window of `begin` to `w_max`, or that leaves `begin` upwards when that is not below `w_max`.
    pub(super) fn new(begin: u32, w_max: u32, smss: u32) -> Self {
        let smss = smss.max(1);
        //= rfc8312#4.1
        //# K = cubic_root(W_max*(1-beta_cubic)/C) (Eq. 2)
        // RFC 9438 (2) takes the distance that the window really has to go, which differs after fast convergence and marks.
        let distance = u128::from(w_max.saturating_sub(begin));
        let k_ns = cube_root(distance * C_DENOMINATOR * NS_CUBED / (C_NUMERATOR * u128::from(smss)));
        Self { origin: begin.max(w_max), k_ns, smss }
    }

    /// The window `t_ns` after the begin.
    pub(super) fn window(&self, t_ns: u64) -> u32 {
        //= rfc8312#4.1
        //# W_cubic(t) = C*(t-K)^3 + W_max (Eq. 1)
        let span = u128::from(t_ns.abs_diff(self.k_ns).min(LONGEST_NS));
        let change = C_NUMERATOR * u128::from(self.smss.min(u32::from(u16::MAX))) * span.pow(3) / (C_DENOMINATOR * NS_CUBED);
        let change = u32::try_from(change).unwrap_or(u32::MAX);
        if t_ns < self.k_ns { self.origin.saturating_sub(change) } else { self.origin.saturating_add(change) }
    }

    /// K: how long it takes to the plateau.
    #[cfg(test)]
    const fn k_ns(&self) -> u64 {
        self.k_ns
    }

    /// One pass over its fields ([`crate::tcp::folded`]).
    pub(super) fn pass(&mut self, form: &mut impl Form, begin: u32, w_max: u32, mss: u32) {
        let Self { origin, k_ns, smss } = self;
        form.near(smss, mss);
        form.near(origin, begin.max(w_max));
        form.near(k_ns, 0);
    }

    /// Before [`Curve::pass`] reads one.
    pub(super) const BLANK: Self = Self { origin: 0, k_ns: 0, smss: 0 };
}

/// The largest integer whose cube is at most `n`.
fn cube_root(n: u128) -> u64 {
    if n == 0 {
        return 0;
    }
    // Newton from above: it falls until it is there.
    let bits = 128 - n.leading_zeros();
    let mut root = 1u128 << bits.div_ceil(3);
    loop {
        let better = (2 * root + n / (root * root)) / 3;
        if better >= root {
            return u64::try_from(root).unwrap_or(u64::MAX);
        }
        root = better;
    }
}

//= rfc8312#5.1
//# Therefore, C SHOULD be set to 0.4.
const C_NUMERATOR: u128 = 4;
const C_DENOMINATOR: u128 = 10;
/// A cubic second in cubic nanoseconds.
const NS_CUBED: u128 = 1_000_000_000_000_000_000_000_000_000;
/// Further from the plateau than this, the curve is 400,000 segments away.
const LONGEST_NS: u64 = 100_000_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    //= type=test
    //= rfc8312#4.1
    //# W_cubic(t) = C*(t-K)^3 + W_max (Eq. 1)
    #[test]
    fn the_curve_is_that_of_the_rfc() {
        let mss = 1000;
        // W_max, cwnd at the begin; t in ms and W_cubic(t) in segments, by hand: K = cbrt(30 / 0.4) = 4.217 s.
        let curve = Curve::new(70 * mss, 100 * mss, mss);
        assert_eq!(curve.k_ns() / 1_000_000, 4217);
        let cases = [(0, 70.0), (1000, 86.677), (2000, 95.639), (3000, 99.279), (4217, 100.0), (5000, 100.192), (8000, 121.645)];
        for (ms, segments) in cases {
            let window = f64::from(curve.window(ms * 1_000_000)) / f64::from(mss);
            assert!((window - segments).abs() < 0.01, "after {ms} ms {window} segments, not {segments}");
        }
    }

    #[test]
    fn without_a_plateau_ahead_it_rises_at_once() {
        let curve = Curve::new(50_000, 40_000, 1000);
        assert_eq!((curve.k_ns(), curve.window(0), curve.window(10 * SECOND)), (0, 50_000, 450_000));
    }

    #[test]
    fn microseconds_are_not_lost() {
        // 100 segments at 5 us: a curve over 8 segments takes 2.7 s; after a million round trips of 5 us it has left the plateau.
        let curve = Curve::new(92_000, 100_000, 1000);
        let windows: Vec<_> = (0..=1_000_000u64).step_by(100_000).map(|trips| curve.window(trips * 5_000)).collect();
        assert!(windows.windows(2).all(|pair| pair[0] < pair[1]), "{windows:?}");
    }

    proptest! {
        #[test]
        fn the_cube_root_is_the_largest_below(n in any::<u128>().prop_map(|n| n >> 2)) {
            let root = u128::from(cube_root(n));
            prop_assert!(root.pow(3) <= n && (root + 1).checked_pow(3).is_none_or(|next| next > n));
        }

        #[test]
        fn the_cube_root_is_that_of_floating_point(n in 0..1u128 << 100) {
            let (root, float) = (cube_root(n) as f64, (n as f64).cbrt());
            prop_assert!((root - float).abs() <= 1.0 + float * 1e-9, "{root} {float}");
        }

        #[test]
        fn the_window_is_that_of_floating_point(
            begin in 2_000u32..10_000_000,
            more in 0u32..10_000_000,
            mss in 64u32..9_000,
            t_ns in 0..60 * SECOND,
        ) {
            let curve = Curve::new(begin, begin + more, mss);
            let k = (f64::from(more) / f64::from(mss) / 0.4).cbrt();
            let expected = 0.4 * f64::from(mss) * (t_ns as f64 / 1e9 - k).powi(3) + f64::from(begin + more);
            let window = f64::from(curve.window(t_ns));
            prop_assert!((window - expected).abs() <= 2.0 + expected * 1e-6, "{window} {expected}");
        }

        #[test]
        fn nothing_overflows(begin: u32, w_max: u32, mss: u32, t_ns: u64) {
            let curve = Curve::new(begin, w_max, mss);
            prop_assert!(t_ns < curve.k_ns() || curve.window(t_ns) >= begin);
        }
    }
}
