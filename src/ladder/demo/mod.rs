//! Scenarios played by two engines over a cable in memory: the textbook, with the states that the engines really are in.
//!
//! [`Scenario::ALL`] lists what there is; [`play`] plays one and gives the exchange, complete. The time is turned by hand and all secrets are fixed, so a scenario is
//! the same on every machine; it needs no interface and no rights. Called by `ringway ladder --demo` and by tests, which hold the states
//! that are inferred from segments against these.

mod host;
mod scenario;
mod stage;

pub use scenario::Scenario;

use std::io;

use super::exchange::Exchange;

/// Plays a scenario to its end. The left end is at 10.0.0.1, the right one at 10.0.0.2.
///
/// # Errors
/// The system refuses the descriptors that an engine sleeps with.
///
/// ```
/// use ringway::ladder::demo::{Scenario, play};
/// use ringway::tcp::State;
/// let exchange = play(Scenario::named("handshake").unwrap())?;
/// assert_eq!(exchange.steps.len(), 3);
/// assert_eq!(exchange.steps[2].states, [Some(State::Established); 2]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn play(scenario: &Scenario) -> io::Result<Exchange> {
    let mut exchange = stage::play(scenario)?;
    exchange.complete();
    Ok(exchange)
}
