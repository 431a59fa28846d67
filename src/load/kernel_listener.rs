//! A listener over a kernel socket: the same books as [`crate::service::listen`] keeps on Ringway's engine.
//!
//! Called by `ringway listen --stack kernel`. Groups are joined by the caller. One thread; a datagram's time of arrival is read after the call
//! that brought it.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::clock;
use crate::error::SetupError;
use crate::rtp::{Book, Heard};
use crate::service::listen::Wanted;
use crate::time::Instant;

/// A bound socket.
#[derive(Debug)]
pub struct KernelListener {
    socket: UdpSocket,
    sources: Vec<IpAddr>,
    scratch: Box<[u8]>,
}

/// How long the socket is waited for at most: then the stop flag is looked at.
const TICK: Duration = Duration::from_millis(50);
/// Datagrams that the kernel keeps meanwhile, as far as it allows.
const BUFFER_BYTES: usize = 4 << 20;

impl KernelListener {
    /// Binds to an address or a group. Several sockets may hear the same group, so the port may be in use by others. Of `sources` alone is
    /// heard, unless there are none.
    ///
    /// # Errors
    /// The address is not one of this machine, or the port is taken by somebody who shares it with nobody.
    pub fn bind(at: SocketAddr, sources: &[IpAddr]) -> Result<Self, SetupError> {
        let socket = Self::socket(at).map_err(|error| {
            let refused = SetupError::environment(format!("cannot listen at {at}"), error.to_string());
            match error.kind() {
                ErrorKind::AddrInUse => refused.mend(format!("ss -lnup sport = :{}", at.port())),
                ErrorKind::AddrNotAvailable => refused.mend("ip -br address"),
                _ => refused,
            }
        })?;
        Ok(Self { socket, sources: sources.to_vec(), scratch: vec![0; 65_536].into_boxed_slice() })
    }

    fn socket(at: SocketAddr) -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_address(at.ip().is_multicast())?;
        if at.ip() == IpAddr::from([0_u16; 8]) {
            socket.set_only_v6(false)?;
        }
        socket.set_recv_buffer_size(BUFFER_BYTES)?;
        socket.set_read_timeout(Some(TICK))?;
        socket.bind(&at.into())?;
        Ok(socket.into())
    }

    /// The address it is bound to.
    ///
    /// # Errors
    /// The kernel does not tell it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Listens until `stop` is set, or as long as is wanted; `show` sees the book at intervals.
    ///
    /// # Errors
    /// The socket fails.
    pub fn run(mut self, wanted: &Wanted, stop: &AtomicBool, mut show: impl FnMut(&mut Book, Duration)) -> io::Result<Book> {
        let mut book = Book::new(wanted.clock);
        let start = clock::now();
        let end = wanted.duration.map_or(Instant::NEVER, |duration| start + duration);
        let mut next = wanted.every.map_or(Instant::NEVER, |every| start + every);
        let mut now = start;
        while !stop.load(Ordering::Relaxed) {
            if now >= next {
                show(&mut book, now.since(start));
                next += wanted.every.unwrap_or(Duration::MAX);
            }
            if now >= end {
                break;
            }
            self.socket.set_read_timeout(Some(end.min(next).since(now).clamp(Duration::from_micros(1), TICK)))?;
            let received = self.socket.recv_from(&mut self.scratch);
            now = clock::now();
            match received {
                Ok((len, from)) if self.sources.is_empty() || self.sources.contains(&from.ip().to_canonical()) => {
                    let from = SocketAddr::new(from.ip().to_canonical(), from.port());
                    let heard = book.hear(from, self.scratch.get(..len).unwrap_or_default(), now);
                    if heard == Heard::Rtp && wanted.packets.is_some_and(|packets| book.counts().rtp >= packets) {
                        break;
                    }
                }
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(book)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Header;
    use crate::service::Local;

    fn wanted(packets: Option<u64>, millis: u64) -> Wanted {
        let at = Local { address: None, port: 5004 };
        Wanted {
            at,
            clock: None,
            duration: Some(Duration::from_millis(millis)),
            packets,
            every: Some(Duration::from_millis(100)),
        }
    }

    #[test]
    fn what_comes_to_a_kernel_socket_is_reckoned() {
        for at in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let listener = KernelListener::bind(at.parse().unwrap(), &[]).unwrap();
            let mut to = listener.address().unwrap();
            if to.ip().is_unspecified() {
                to.set_ip([127, 0, 0, 1].into());
            }
            let sender = UdpSocket::bind((to.ip(), 0)).unwrap();
            for sequence in [1, 2, 3, 5, 4, 5, 8] {
                let header = Header { marker: false, payload_type: 0, sequence, timestamp: 0, ssrc: 9 };
                sender.send_to(&header.emit(), to).unwrap();
            }
            let book = listener.run(&wanted(Some(7), 10_000), &AtomicBool::new(false), |_, _| {}).unwrap();
            let report = book.reports().remove(0);
            assert_eq!((report.expected, report.received, report.lost, report.missing), (7, 6, 1, 2), "{at}");
            assert_eq!((report.reordered, report.duplicates, report.from), (1, 1, sender.local_addr().unwrap()));
        }
    }

    #[test]
    fn it_ends_in_time_shows_its_book_and_hears_whom_it_should() {
        let listener = KernelListener::bind("127.0.0.1:0".parse().unwrap(), &["127.0.0.9".parse().unwrap()]).unwrap();
        let to = listener.address().unwrap();
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&[0x80; 12], to).unwrap();
        let mut shown = 0;
        let book = listener.run(&wanted(None, 350), &AtomicBool::new(false), |_, _| shown += 1).unwrap();
        assert_eq!((book.counts().datagrams, shown), (0, 3));
    }

    #[test]
    fn an_address_of_nobody_and_a_port_in_use_are_refused() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr();
        let held = UdpSocket::bind(taken.unwrap()).unwrap();
        let at = held.local_addr().unwrap();
        let error = KernelListener::bind(at, &[]).unwrap_err();
        assert_eq!((error.exit_code(), error.remedy().unwrap()), (3, format!("ss -lnup sport = :{}", at.port()).as_str()));
        assert_eq!(KernelListener::bind("192.0.2.1:5004".parse().unwrap(), &[]).unwrap_err().remedy(), Some("ip -br address"));
    }
}
