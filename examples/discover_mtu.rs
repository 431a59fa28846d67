//! Finds out how large datagrams to an echo server may be, whether routers tell of it or not (RFC 8899): each probe that comes back has arrived.
//!
//!     cargo run --release --example discover_mtu -- veth0 10.0.0.2/24 10.9.0.1:7 10.0.0.1

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ringway::error::SetupError;
use ringway::launch::Launch;
use ringway::link::interface::AddressClaim;
use ringway::service::{Answer, CallError, Context, Datagram, EndpointId, IcmpError, Sending, Service};
use ringway::time::Instant;
use ringway::udp::dplpmtud::{Discovery, Phase};

/// Headers of IP and UDP.
const fn headers(target: SocketAddr) -> usize {
    if target.is_ipv4() { 28 } else { 48 }
}

struct Discover {
    target: SocketAddr,
    endpoint: Option<EndpointId>,
    discovery: Option<Discovery>,
    begun: Instant,
}

impl Discover {
    /// Sends the probe that is due, and comes back when the next one may be.
    fn go_on(&mut self, cx: &mut impl Context) {
        let now = cx.now();
        let (Some(endpoint), Some(discovery)) = (self.endpoint, &mut self.discovery) else { return cx.stop() };
        if now.since(self.begun) > Duration::from_secs(120) {
            return cx.stop();
        }
        if let Some(size) = discovery.poll_probe(now) {
            let how = Sending { probe: true, ..Sending::default() };
            match cx.send_with(endpoint, self.target, &vec![0; size], how) {
                // What did not leave is as good as lost: it is sent again when the timer expires.
                Ok(()) | Err(CallError::WouldBlock) => {}
                Err(error) => {
                    eprintln!("cannot send to {}: {error}", self.target);
                    return cx.stop();
                }
            }
        }
        if discovery.phase() == Phase::SearchComplete {
            println!("{} bytes get through to {}", discovery.limit() + headers(self.target), self.target);
            return cx.stop();
        }
        let wait = discovery.deadline().max(now + Duration::from_millis(1));
        if cx.set_timer(wait, 0).is_err() {
            cx.stop();
        }
    }
}

impl Service for Discover {
    type Message = ();

    fn start(&mut self, cx: &mut impl Context) {
        self.begun = cx.now();
        self.endpoint = cx.open_udp(0.into()).ok();
        let most = self.endpoint.and_then(|endpoint| cx.datagram_limit(endpoint, self.target));
        // Errors are not believed below 552 bytes, nor is IPv6 carried by less than 1280.
        let least = if self.target.is_ipv4() { 552 } else { 1280 } - headers(self.target);
        self.discovery = most.map(|most| Discovery::new(least, most).with_probe_timer(Duration::from_secs(1)));
        self.go_on(cx);
    }

    fn datagram(&mut self, cx: &mut impl Context, datagram: &mut Datagram<'_>) -> Answer {
        if datagram.meta().remote == self.target
            && let Some(discovery) = &mut self.discovery
        {
            discovery.confirmed(cx.now(), datagram.payload().len());
            self.go_on(cx);
        }
        Answer::Ignore
    }

    fn icmp_error(&mut self, cx: &mut impl Context, error: IcmpError) {
        if let (Some(mtu), Some(discovery)) = (error.mtu, &mut self.discovery) {
            discovery.too_big(usize::from(mtu).saturating_sub(headers(self.target)));
            self.go_on(cx);
        }
    }

    fn timer(&mut self, cx: &mut impl Context, _: u64) {
        self.go_on(cx);
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let parsed = || {
        let [interface, address, target, gateway] = &words[..] else { return None };
        Some((interface, address.parse().ok()?, target.parse().ok()?, gateway.parse().ok()?))
    };
    let Some((interface, address, target, gateway)) = parsed() else {
        eprintln!("usage: discover_mtu INTERFACE ADDRESS/PREFIX TARGET:PORT GATEWAY");
        std::process::exit(2);
    };
    if let Err(error) = discover(interface, address, target, gateway) {
        eprintln!("{error}");
        std::process::exit(error.exit_code().into());
    }
}

fn discover(interface: &str, address: AddressClaim, target: SocketAddr, gateway: IpAddr) -> Result<(), SetupError> {
    let service = Discover { target, endpoint: None, discovery: None, begun: Instant::ZERO };
    Launch::new().interface(interface).address(address).gateway(gateway).run(service)?;
    Ok(())
}
