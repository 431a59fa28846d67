//! The choice of a source port whose replies come home.
//!
//! RFC 6056 leaves open which of the free ports is suitable; the order in which they are offered, and so the chance in it, is the caller's.

/// The first of the free ports for which `comes_home`, of at most `tries` that are looked at; without one the first of all. With no tries that is all
/// there is to it.
pub fn pick(mut free: impl Iterator<Item = u16>, tries: usize, mut comes_home: impl FnMut(u16) -> bool) -> Option<u16> {
    let first = free.next()?;
    if tries == 0 || comes_home(first) {
        return Some(first);
    }
    free.take(tries - 1).find(|&port| comes_home(port)).or(Some(first))
}

/// How far apart two ports are that are tried one after the other. The hash is linear: ports that follow each other differ in a few low bits, and under
/// some keys those alone never lead to half of the queues. Steps of about 0.618 of the span, and odd, so that every port of a
/// span of a power of two has its turn, change all of them.
pub const STRIDE: u32 = 20_251;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::PORT_TRIES_PER_QUEUE;
    use crate::link::interface::Transport;
    use crate::rng::Rng;
    use crate::rss::{Fields, Function, Spread, Toeplitz, Told, Transform, Tuple};

    #[test]
    fn the_first_port_that_comes_home_is_taken() {
        let mut seen = Vec::new();
        let picked = pick(40_000.., 16, |port| {
            seen.push(port);
            port == 40_003
        });
        assert_eq!((picked, seen), (Some(40_003), vec![40_000, 40_001, 40_002, 40_003]));
    }

    #[test]
    fn after_the_last_try_the_first_free_port_is_taken() {
        let mut tried = 0;
        let picked = pick(40_000.., 16, |_| {
            tried += 1;
            false
        });
        assert_eq!((picked, tried), (Some(40_000), 16));
        assert_eq!(pick([7].into_iter(), 16, |_| false), Some(7));
        assert_eq!(pick([].into_iter(), 16, |_| true), None);
        let mut free = [5, 6].into_iter();
        assert_eq!(pick(&mut free, 0, |_| panic!("no try was asked for")), Some(5));
        assert_eq!(free.next(), Some(6), "no other port was used up");
    }

    #[test]
    fn the_stride_visits_every_port_of_the_span_once() {
        let mut seen = vec![false; 1 << 15];
        (0..1_u32 << 15).for_each(|n| seen[(n.wrapping_mul(STRIDE) % (1 << 15)) as usize] = true);
        assert!(seen.into_iter().all(|visited| visited));
    }

    /// Whatever the key, the transform and the number of queues: nearly every connection finds a port in its tries.
    #[test]
    fn some_port_comes_home_under_any_key() {
        let mut rng = Rng::seeded(6056);
        let (mut lost, mut all) = (0, 0);
        for case in 0..400_u32 {
            let key: Vec<u8> = (0..40).map(|_| rng.next_u64() as u8).collect();
            let queues = 2 + case % 31;
            let transform = [Transform::None, Transform::SymmetricXor, Transform::SymmetricOrXor][case as usize % 3];
            let told = Told {
                function: Function::Toeplitz,
                key: Toeplitz::new(key),
                transform,
                table: (0..128).map(|at| at % queues).collect(),
                fields: [Fields::FourTuple; 4],
                rules: Some(0),
            };
            let spread = Spread::new(&told).unwrap();
            for home in [0, queues / 2, queues - 1] {
                let start = rng.next_u64() as u32;
                let reply = |port| Tuple {
                    transport: Transport::Tcp,
                    source: "192.0.2.1:443".parse().unwrap(),
                    target: (std::net::Ipv4Addr::new(198, 51, 100, 7), port).into(),
                };
                let tries = spread.tries(&reply(0), |queue| queue == home);
                assert_eq!(tries, PORT_TRIES_PER_QUEUE * queues as usize);
                let ports = (0..1 << 15).map(|n: u32| 32_768 + (start.wrapping_add(n.wrapping_mul(STRIDE)) % (1 << 15)) as u16);
                let port = pick(ports, tries, |port| spread.queue_of(&reply(port)) == Some(home)).unwrap();
                all += 1;
                lost += u32::from(spread.queue_of(&reply(port)) != Some(home));
            }
        }
        assert!(lost <= 1, "{lost} of {all} connections found no port");
    }
}
