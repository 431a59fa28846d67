//! A ring whose two ends are both ours: what goes into the TX end comes out of the RX end, as between a queue and the kernel, but without a socket.
//!
//! For benches, and for who wants to know what the protocol of the rings costs on a machine. The ends are those of a queue, and they are driven
//! as a queue drives them; but nothing moves from one core to another. Nothing here panics.

use std::io;

use super::ring::{self, Descriptor, ReceiveRing, TransmitRing};

/// A TX ring and an RX ring over the same memory.
///
/// ```
/// use ringway::xsk::{Descriptor, Loopback};
/// let mut ring = Loopback::new(4)?;
/// let packet = Descriptor { addr: 4096, len: 60, options: 0 };
/// assert_eq!(ring.submit(&[packet; 6]), 4);
/// let mut taken = [Descriptor::default(); 6];
/// assert_eq!(ring.take(&mut taken), 4);
/// assert_eq!(taken[3], packet);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Loopback {
    transmit: TransmitRing,
    receive: ReceiveRing,
}

impl Loopback {
    /// An empty ring of at least so many entries: a power of two.
    ///
    /// # Errors
    /// What mmap(2) says, or that no ring has so many entries.
    pub fn new(entries: u32) -> io::Result<Self> {
        let (transmit, receive) = ring::pair(entries)?;
        Ok(Self { transmit, receive })
    }

    /// Writes as many of the packets as there is room for, one by one, and shows them to the other end; how many those are.
    #[inline]
    pub fn submit(&mut self, packets: &[Descriptor]) -> usize {
        for &packet in packets {
            if self.transmit.room(1) == 0 || !self.transmit.write(packet) {
                break;
            }
        }
        self.transmit.publish() as usize
    }

    /// Reads as many packets as there are, up to the length of `packets`, and gives their slots back; how many those are.
    #[inline]
    pub fn take(&mut self, packets: &mut [Descriptor]) -> usize {
        let wanted = u32::try_from(packets.len()).unwrap_or(u32::MAX);
        let available = self.receive.available(wanted).min(wanted);
        let mut taken = 0;
        for place in packets.iter_mut().take(available as usize) {
            let Some(packet) = self.receive.read() else { break };
            *place = packet;
            taken += 1;
        }
        self.receive.release();
        taken
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn packet(number: u64) -> Descriptor {
        Descriptor { addr: number, len: 60, options: 0 }
    }

    #[test]
    fn packets_come_out_in_order_and_none_is_lost_or_doubled() {
        let mut ring = Loopback::new(5).unwrap();
        let mut taken = [Descriptor::default(); 3];
        let (mut sent, mut seen) = (0, 0);
        for _ in 0..1000 {
            let packets: Vec<_> = (sent..sent + 4).map(packet).collect();
            sent += ring.submit(&packets) as u64;
            assert!(sent - seen <= 8, "five entries are rounded up to eight");
            let count = ring.take(&mut taken);
            assert_eq!(count, 3);
            for found in &taken[..count] {
                assert_eq!(*found, packet(seen));
                seen += 1;
            }
        }
    }

    #[test]
    fn a_ring_larger_than_any_is_refused() {
        assert!(Loopback::new(u32::MAX).is_err());
        assert_eq!(Loopback::new(0).unwrap().submit(&[packet(1); 2]), 1);
    }
}
