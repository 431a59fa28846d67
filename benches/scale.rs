//! The program of `scripts/scale.sh`: what many connections and several cores cost, over a device in memory.
//!
//!     scale [--quick] [SECTION...]
//!     scale churn CONNECTS
//!
//! Sections are `segments`, `lookups`, `connects`, `cores`, `handed`, `readers` and `scrapes`; all of them when none is named. Ends with 4 when a bound is
//! missed; with `--quick`, whose figures are of fewer connections and rounds, bounds are only reported. `churn` opens and closes so many connections
//! beside some that stay, and fails when anything of them is left in the end.

#[path = "scale/churn.rs"]
mod churn;
mod common;
#[path = "scale/cores.rs"]
mod cores;
#[path = "common/figures.rs"]
mod figures;
#[path = "scale/lookups.rs"]
mod lookups;
#[path = "common/memory.rs"]
mod memory;
#[path = "common/order.rs"]
mod order;
#[path = "scale/peer.rs"]
mod peer;
#[path = "scale/scraper.rs"]
mod scraper;
#[path = "scale/world.rs"]
mod world;

use std::process::ExitCode;

use cores::{Arrival, Team, Walker, work};
use figures::{Rounds, Verdict, grouped};
use lookups::Flows;
use memory::Chase;
use ringway::cpu;
use scraper::{Pace, Scraper};
use world::World;

const SIZES: [usize; 4] = [1 << 10, 10_240, 102_400, 1 << 20];
const SECTIONS: [&str; 7] = ["segments", "lookups", "connects", "cores", "handed", "readers", "scrapes"];

/// Requests of each size before the first that is timed: a third of a second by the clock of the engine, longer than until a rest.
const WARM_UP: usize = 524_288;

struct Plan {
    quick: bool,
    sizes: &'static [usize],
    verdict: Verdict,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if let [word, connects] = &words[..]
        && word == "churn"
        && let Ok(connects) = connects.parse()
    {
        return churn::run(connects);
    }
    let quick = words.iter().any(|word| word == "--quick");
    let mut sections: Vec<&str> = words.iter().map(String::as_str).filter(|word| *word != "--quick").collect();
    if sections.iter().any(|word| !SECTIONS.contains(word)) {
        eprintln!("usage: scale [--quick] [{}]...", SECTIONS.join("|"));
        eprintln!("       scale churn CONNECTS");
        return ExitCode::from(2);
    }
    if sections.is_empty() {
        sections = SECTIONS.to_vec();
    }
    let cores = std::thread::available_parallelism().map_or(1, |count| count.get());
    if cores < 2 && sections.iter().any(|section| ["cores", "handed", "readers", "scrapes"].contains(section)) {
        eprintln!("scale: two cores are needed, and there is one");
        return ExitCode::from(3);
    }
    let mut plan = Plan { quick, sizes: if quick { &SIZES[..3] } else { &SIZES }, verdict: Verdict::default() };
    let wants = |section: &str| sections.contains(&section);
    cpu::pin(0).expect("there is a first core");
    if wants("segments") || wants("connects") {
        plan.worlds(wants("segments"), wants("connects"));
    }
    if wants("lookups") {
        plan.lookups();
    }
    if wants("cores") || wants("handed") {
        plan.cores(wants("cores"), wants("handed"));
    }
    if wants("readers") {
        plan.readers();
    }
    if wants("scrapes") {
        plan.scrapes();
    }
    match plan.verdict.missed() {
        0 => ExitCode::SUCCESS,
        missed => {
            eprintln!("scale: {missed} bounds missed{}", if quick { "; reported only, as the run was a quick one" } else { "" });
            ExitCode::from(if quick { 0 } else { 4 })
        }
    }
}

impl Plan {
    fn rounds(&self, full: usize) -> usize {
        if self.quick { full.div_ceil(3) } else { full }
    }

    /// What segments and connects cost among few and among many.
    fn worlds(&mut self, segments: bool, connects: bool) {
        let mut worlds: Vec<World> = self.sizes.iter().map(|&held| World::new(held)).collect();
        if segments {
            let mut costs = vec![(Rounds::default(), Rounds::default()); worlds.len()];
            // Until as many get up as are laid down: memory for those that are whole is taken once.
            for world in &mut worlds {
                world.exchanges(WARM_UP);
            }
            for _ in 0..self.rounds(15) {
                for (world, (requests, acknowledgments)) in worlds.iter_mut().zip(&mut costs) {
                    let (request, acknowledgment) = world.exchanges(65_536);
                    requests.push(request);
                    acknowledgments.push(acknowledgment);
                }
            }
            println!(
                "\nA request of 64 bytes and its answer, ns of CPU time of the engine (bursts of 32, connections at random, IPv4, timestamps; 65,536 a round,"
            );
            println!(
                "sizes by turns; table and directory for {} connections; after {} that are not timed)",
                grouped(memory::CAPACITY),
                grouped(WARM_UP)
            );
            rows(self.sizes, costs.iter().map(|cost| &cost.0));
            for (size, world) in self.sizes.iter().zip(&mut worlds) {
                let resting = world.engine.report().tcp.resting;
                if resting > 0 {
                    println!(
                        "  (at rest in the end: {} of {}, so that many requests have one get up first)",
                        grouped(resting),
                        grouped(*size)
                    );
                }
            }
            println!("The acknowledgment of the answer, in the burst after it");
            rows(self.sizes, costs.iter().map(|cost| &cost.1));
            if let [(few, _), .., (many, _)] = &costs[..] {
                let growth = many.by(few).median();
                self.verdict.hold(&format!("growth from {}", self.span()), growth, growth <= 2.0, "at most 2");
            }
        }
        if connects {
            let (mut few, mut many) = (Rounds::default(), Rounds::default());
            let last = worlds.len() - 1;
            for _ in 0..self.rounds(15) {
                few.push(1e9 / worlds[0].connects(32_768));
                many.push(1e9 / worlds[last].connects(32_768));
            }
            println!(
                "\nConnects a second of the engine's CPU time (handshake, one request, close by the peer; bursts of 32; 32,768 a round)"
            );
            rows(&[self.sizes[0], self.sizes[last]], [&few, &many].into_iter());
            let ratio = many.by(&few).median();
            self.verdict.hold(&format!("rate from {}", self.span()), ratio, ratio >= 0.75, "at least 0.75");
        }
    }

    /// What a lookup costs among few and among many.
    fn lookups(&mut self) {
        let mut flows: Vec<(Flows, Chase)> = self.sizes.iter().map(|&count| (Flows::new(count), Chase::new(count))).collect();
        let mut costs: Vec<[Rounds; 4]> = flows.iter().map(|_| Default::default()).collect();
        for _ in 0..self.rounds(9) {
            for ((flows, chase), [serial, apart, foreign, miss]) in flows.iter_mut().zip(&mut costs) {
                let cost = flows.measure();
                serial.push(cost.serial);
                apart.push(cost.apart);
                foreign.push(cost.foreign);
                miss.push(lookups::miss(chase));
            }
        }
        println!(
            "\nA lookup in the directory, ns (hash known, key confirmed in a table; at random, each waits for the one before; sizes by turns)"
        );
        rows(self.sizes, costs.iter().map(|cost| &cost[0]));
        println!("The same, none waits for another");
        rows(self.sizes, costs.iter().map(|cost| &cost[1]));
        println!("By a reader of another core, which reads the whole card, each waits");
        rows(self.sizes, costs.iter().map(|cost| &cost[2]));
        println!(
            "One load that waits for the one before, among as many cache lines as the lookups touch (index and key, one each)"
        );
        rows(self.sizes, costs.iter().map(|cost| &cost[3]));
        if let [few, .., many] = &costs[..] {
            // A thousand lie in a cache that is left by then, which no lookup can mend: what it adds to a miss is its own.
            let (growth, misses) = (many[0].by(&few[0]).median(), many[0].by(&many[3]).median());
            let within = if growth <= 5.0 { "at most 5" } else { "at most 5, which is MISSED, or 1.3 loads that wait each" };
            self.verdict.hold(&format!("growth from {}", self.span()), growth, growth <= 5.0 || misses <= 1.3, within);
            println!("  one lookup among the most by one such load: {misses:.3}");
        }
    }

    /// What two cores do, and what a frame costs that arrives at the wrong one.
    fn cores(&mut self, two: bool, handed: bool) {
        let requests = if self.quick { 131_072 } else { 524_288 };
        let (mut alone, mut strangers, mut joined) = (Team::siblings(1), Team::strangers(2), Team::siblings(2));
        let [mut one, mut apart, mut both, mut wrong] = std::array::from_fn(|_| [Rounds::default(), Rounds::default()]);
        let [mut right_by_turns, mut wrong_by_turns] = [Rounds::default(), Rounds::default()];
        for _ in 0..self.rounds(11) {
            if two {
                push(&mut one, alone.at_once(Arrival::Owner, requests));
                push(&mut apart, strangers.at_once(Arrival::Owner, requests));
            }
            push(&mut both, joined.at_once(Arrival::Owner, requests));
            if handed {
                push(&mut wrong, joined.at_once(Arrival::Other, requests));
                right_by_turns.push(joined.by_turns(Arrival::Owner, requests / 512));
                wrong_by_turns.push(joined.by_turns(Arrival::Other, requests / 512));
            }
        }
        if two {
            println!(
                "\nA request and its answer, ns of a core, peer included (4,096 connections a core; one engine alone, two that know"
            );
            println!("nothing of each other, and two siblings, each on a thread of its own, by turns)");
            println!("  alone                     {}", one[0]);
            println!("  each of two strangers     {}", apart[0]);
            println!("  each of two               {}", both[0]);
            println!("  alone, CPU time           {}", one[1]);
            println!("  each of two, CPU time     {}", both[1]);
            // Each of the two does as many.
            let [wall, cpu] = [0, 1].map(|clock| one[clock].by(&both[clock]).median() * 2.0);
            println!("  throughput of two by that of one, if nobody else had been on the cores: {cpu:.3}");
            println!(
                "  throughput of two strangers by that of one: {:.3}: what the machine takes",
                one[0].by(&apart[0]).median() * 2.0
            );
            println!("  throughput of two by that of two strangers: {:.3}: what siblings take", apart[0].by(&both[0]).median());
            // What two that share nothing cannot do on this machine, siblings cannot either.
            let of_strangers = apart[0].by(&both[0]).median();
            let within = if wall >= 1.9 { "at least 1.9" } else { "at least 1.9, which is MISSED, or 0.95 of two strangers" };
            self.verdict.hold("throughput of two by that of one", wall, wall >= 1.9 || of_strangers >= 0.95, within);
        }
        if handed {
            println!("\nA frame that is handed over, ns more than one that arrives at its owner ({} were)", joined.handed_over());
            println!("  one thread turns both engines, their CPU time alone, a frame; requests and acknowledgments");
            println!("    right core    {right_by_turns}");
            println!("    wrong core    {wrong_by_turns}");
            println!("    difference    {}", wrong_by_turns.less(&right_by_turns));
            println!("  a thread and a core for each, CPU time, peer included, a request that acknowledges the answer before");
            println!("    right core    {}", both[1]);
            println!("    wrong core    {}", wrong[1]);
            println!("    difference    {}", wrong[1].less(&both[1]));
        }
    }

    /// What it costs a core that another reads its cards.
    fn readers(&mut self) {
        let (held, requests) = (SIZES[2], if self.quick { 32_768 } else { 65_536 });
        let mut world = World::new(held);
        let walker = Walker::new(world.engine.inquirer(), 1);
        let [mut with, mut without, mut first, mut second] = std::array::from_fn(|_| [Rounds::default(), Rounds::default()]);
        work(&mut world, requests);
        let before = walker.cards();
        for pair in 0..self.rounds(20) {
            // What comes first takes turns.
            for half in [pair % 2, 1 - pair % 2] {
                walker.walk(half == 0);
                push(if half == 0 { &mut with } else { &mut without }, work(&mut world, requests));
            }
            walker.walk(false);
            push(&mut first, work(&mut world, requests));
            push(&mut second, work(&mut world, requests));
        }
        println!(
            "\nA core whose cards another walks all the time: its CPU time by that without ({} connections, engine and peer on",
            grouped(held)
        );
        println!("one core, reader on another; {} cards read)", grouped((walker.cards() - before) as usize));
        for (part, what) in ["requests, which write no card", "connects, which write cards"].iter().enumerate() {
            println!("  {what}, {} a round", grouped(requests >> (3 * part)));
            println!("    with by without {}", with[part].by(&without[part]));
            println!("    without twice   {}", first[part].by(&second[part]));
        }
        let (median, same) = (with[0].by(&without[0]).median(), first[0].by(&second[0]));
        self.verdict.hold("requests, against the most of without twice", median, median <= same.most(), "no more");
        self.verdict.hold("requests, median ratio", median, median < 1.03, "below 1.03");
    }

    /// What it costs a core that its figures are scraped.
    fn scrapes(&mut self) {
        let (held, requests) = (SIZES[2], if self.quick { 131_072 } else { 262_144 });
        let mut world = World::new(held);
        let scraper = Scraper::new(world.engine.inquirer(), 1);
        work(&mut world, requests);
        println!(
            "\nA core whose figures are scraped over HTTP: its CPU time by that without ({} connections, engine and peer on one core,",
            grouped(held)
        );
        println!("server and scraper on another)");
        for (pace, how) in [(Pace::TenASecond, "ten times a second"), (Pace::AsFastAsItCan, "as fast as it can")] {
            let [mut with, mut without, mut first, mut second, mut spun] =
                std::array::from_fn(|_| [Rounds::default(), Rounds::default()]);
            let before = scraper.scrapes();
            for pair in 0..self.rounds(10) {
                // What comes first takes turns.
                for half in [pair % 2, 1 - pair % 2] {
                    scraper.scrape(if half == 0 { pace } else { Pace::Not });
                    push(if half == 0 { &mut with } else { &mut without }, work(&mut world, requests));
                }
                scraper.scrape(Pace::Not);
                push(&mut first, work(&mut world, requests));
                push(&mut second, work(&mut world, requests));
                scraper.scrape(Pace::Spins);
                push(&mut spun, work(&mut world, requests));
                scraper.scrape(Pace::Not);
            }
            let pages = grouped((scraper.scrapes() - before) as usize);
            println!(
                "  {how}: {pages} pages while {:.1} s of CPU time were used",
                with.iter().map(Rounds::sum).sum::<f64>() / 1e9
            );
            for (part, what) in ["requests", "connects"].iter().enumerate() {
                println!("    {what}, {} a round", grouped(requests >> (3 * part)));
                println!("      with by without       {}", with[part].by(&without[part]));
                println!("      without twice         {}", first[part].by(&second[part]));
                println!("      beside one that spins {}", spun[part].by(&second[part]));
            }
            let (median, same) = (with[0].by(&without[0]).median(), first[0].by(&second[0]));
            // What a busy core beside it takes is the machine's.
            let beside = spun[0].by(&second[0]).median();
            let met = median <= same.most() || pace == Pace::AsFastAsItCan && median <= beside;
            let within = match median <= same.most() {
                true => "no more",
                false => "no more, which is MISSED, or as fast as it can no more than beside one that spins",
            };
            self.verdict.hold(&format!("requests, {how}, against the most of without twice"), median, met, within);
        }
    }

    fn span(&self) -> String {
        let name = |size: usize| grouped(size);
        format!("{} to {} open", name(self.sizes[0]), name(self.sizes[self.sizes.len() - 1]))
    }
}

fn push(rounds: &mut [Rounds; 2], values: [f64; 2]) {
    rounds.iter_mut().zip(values).for_each(|(rounds, value)| rounds.push(value));
}

fn rows<'a>(sizes: &[usize], rounds: impl Iterator<Item = &'a Rounds>) {
    for (size, rounds) in sizes.iter().zip(rounds) {
        println!("  {:>9} {rounds}", grouped(*size));
    }
}
