//! Every bound of the engine in one place.
//!
//! What a peer can make grow has its limit here; full is a counted drop or back-pressure, never an allocation. Limits that a user
//! may change are settings ([`crate::settings`]); these are the rest, and the defaults of those.

use std::time::Duration;

/// Frames taken from a ring in one burst. 64 covers a NAPI budget; a longer burst would delay the replies of its head.
pub const BURST: usize = 64;

/// Connections of a core whose TCBs are thought to lie in its caches: only among more is what comes next fetched ahead, and are timers cancelled that nothing
/// needs any more.
pub const FLOWS_IN_CACHE: usize = 1024;

/// Frames of one packet at most: a packet of the kernel has one linear part and MAX_SKB_FRAGS (17) further ones.
pub const CHAIN_PIECES: usize = 18;
/// Packets of several frames taken from a ring in one turn.
pub const CHAINS_PER_TURN: usize = 32;
/// Routes of an interface beyond its own networks. A host has a handful; a full table of the Internet is a router's.
pub const ROUTES: usize = 4096;
/// Neighbours remembered per interface.
pub const NEIGHBORS: usize = 1024;
/// Neighbours of the kernel that are followed, per interface: its own bound is far lower by default (gc_thresh3, 1024).
pub const KERNEL_NEIGHBORS: usize = 16_384;
/// Frames that wait for one neighbour (RFC 1122 2.3.2.2 asks for one at least): as many as connections that are opened in one turn, whose SYNs would
/// otherwise be sent again a second later. Fewer where there are few frames.
pub const NEIGHBOR_QUEUE: usize = 64;
/// Frames that wait for all neighbours of an interface together; the oldest makes room.
pub const NEIGHBOR_QUEUE_TOTAL: usize = 128;
/// Listeners of one core.
pub const LISTENERS: usize = 1024;
/// UDP ports of groups on an interface.
pub const GROUPS: usize = 256;
/// Sources that a group may be limited to (the kernel allows 10 over IPv4, 64 over IPv6, unless told otherwise).
pub const GROUP_SOURCES: usize = 64;
/// Copies of datagrams that wait for endpoints of the core they were sent from.
pub const LOOPED: usize = 64;
/// UDP endpoints of one core.
pub const ENDPOINTS: usize = 4096;
/// Timers that services may have armed on one core.
pub const SERVICE_TIMERS: usize = 65_536;
/// Timers that are served in one turn, and as many looks at connections; some may send. The others have their turn in the next: a burst of frames waits for no more than these.
pub const TIMERS_PER_TURN: usize = 256;
/// Timers that move from one level of the wheel to lower ones in a turn, some tens of nanoseconds each.
pub const TIMER_MOVES_PER_TURN: usize = 1024;
/// Messages that wait in the mailbox of one core.
pub const MAILBOX: usize = 1024;
/// Cores of one process: a bit of a word each.
pub const WORKERS: usize = 64;
/// Frames on their way from one core to another: some bursts, so that a core that is busy for 100 us loses none at a million frames a second.
pub const HAND_OFF: usize = 1024;
/// Segments of no flow for which one core asks all others in a turn. What follows, of a flood of such, is dropped, not answered.
pub const FOREIGN_MISSES_PER_TURN: u32 = 64;
/// Frames about neighbours and ICMP errors whose contents a core tells the others in a turn. What is beyond is said again by who said it.
pub const TOLD_PER_TURN: u32 = 16;
/// News of the kernel that wait for an engine; what does not fit is told later.
pub const NEWS: usize = 1024;
/// Questions of an inspection that wait for an engine.
pub const INQUIRIES: usize = 16;
/// Connections whose figures an engine tells in one turn: each is a cache miss or two.
pub const INQUIRED_PER_TURN: usize = 64;
/// Places of connections that are looked at in one turn for such as are in use.
pub const PLACES_PER_TURN: usize = 256;
/// Copies of frames of one core that wait for whoever captures: four milliseconds of a million a second.
pub const CAPTURED: usize = 4096;
/// Bytes of the longest copy of a frame: the longest IP packet in the longest Ethernet header.
pub const SNAP_LEN: usize = 65_535 + 22;
/// Records of the recorder told in one turn: 16 KiB.
pub const RECORDS_PER_TURN: usize = 256;
/// How long an answer of an engine is waited for. One that sleeps is woken; one that turns answers within microseconds.
pub const INQUIRY_PATIENCE: Duration = Duration::from_secs(2);
/// Clients of the control socket at once; further ones wait until one has gone.
pub const SHOW_CLIENTS: usize = 8;
/// Bytes of a request to the control socket.
pub const SHOW_REQUEST: usize = 4096;
/// Scrapers that are answered at once; who has been there longest makes room for one more.
pub const SCRAPERS: usize = 16;
/// Bytes of the head of a scrape's request.
pub const SCRAPE_REQUEST: usize = 8192;
/// Scrapes that are nearer to each other get the same figures: so no more than fifty times a second is a core asked.
pub const SCRAPE_APART: Duration = Duration::from_millis(20);
/// Entries of the folder of control sockets that are looked at for those of killed processes.
pub const SOCKETS_SWEPT: usize = 1024;
/// Entries of the folder of dumps that are looked at for those of earlier processes.
pub const DUMPS_FOUND: usize = 4096;
/// Wishes of an engine that wait for the control thread; a lost one is wished again.
pub const WISHES: usize = 256;
/// Separate blocks of out-of-order data kept for one connection.
pub const REASSEMBLY_BLOCKS: usize = 32;
/// Connections that are looked at in one turn for memory to take back, while stream buffers run short.
pub const PRUNED_PER_TURN: usize = 4;
/// ICMP errors a core may send in one second (RFC 1812 4.3.2.8), with bursts of up to [`ICMP_BURST`].
pub const ICMP_PER_SECOND: u32 = 1000;
/// ICMP errors that may be sent at once after a quiet time.
pub const ICMP_BURST: u32 = 50;
/// The share of a device's frames that services may keep: one of this many.
pub const KEPT_SHARE: usize = 4;
/// Segments that one connection may send in one turn, so that a bulk transfer does not starve the others.
pub const SEGMENTS_PER_TURN: usize = 32;
/// The smallest payload, options included, that a peer's MSS option can make us send: a smaller one would turn a stream
/// into a flood of tiny segments.
pub const SEND_MSS_MIN: u16 = 64;
/// While fewer than one in so many connections of the table are free, SYNs are answered with cookies: the rest is for completed handshakes.
pub const KEPT_FOR_COOKIES: usize = 16;
/// Cookies of the recent past, per core, that are known to have made a connection already (32 KiB); a power of two.
pub const SPENT_COOKIES: usize = 4096;
/// Prefixes of `--allow` and `--deny` together.
pub const ADMISSION_PREFIXES: usize = 4096;
/// Sources whose SYNs are counted apart from others', per core (256 KiB, where `tcp.syn_rate_per_source` is on); a power of two.
pub const SYN_SOURCES: usize = 16_384;
/// Connections in TIME-WAIT that are looked at for one that can give way to a new connection.
pub const TIME_WAITS_LOOKED_AT: usize = 16;
/// Looks at the directory of another core until a lookup is called unsure. A look lasts some hundred nanoseconds, and is in vain only when the
/// owner moves an entry meanwhile.
pub const DIRECTORY_LOOKS: u32 = 16;
/// The smallest path MTU that is believed, as on Linux: a forged smaller one would turn a stream into a flood of tiny segments.
pub const PATH_MTU_MIN: u16 = 552;
/// Destinations whose path is known to be narrower than the link, per core. When there are more, the one known longest is forgotten, and found
/// anew by the next error.
pub const PATH_MTUS: usize = 1024;
/// Destinations of an interface whose first hop is another than the routes say, because a router told so. When there are more, the one told longest
/// ago goes by the routes again.
pub const REDIRECTS: usize = 256;
/// Hops of an interface that redirects have named and that did not answer, so that they are not tried again at once.
pub const SILENT_HOPS: usize = 16;
/// Errors about the size of datagrams that are believed in a second although anybody may have made them up, those about endpoints with no one peer; and
/// the most at once.
pub const UNSURE_PATH_MTUS: u32 = 100;
/// Ports that are given out when a caller does not choose one: the dynamic ones of RFC 6335 and those Linux adds.
pub const SOURCE_PORTS: std::ops::RangeInclusive<u16> = 32_768..=65_535;
/// Counters of source ports, so that those of one destination tell little of how busy others are (RFC 6056 3.3.4).
pub const PORT_COUNTERS: usize = 64;
/// Source ports that are tried for each receive queue of a NIC, so that replies arrive on a wanted one: of independent tries all fail once in ten million
/// times.
pub const PORT_TRIES_PER_QUEUE: usize = 16;
/// Entries of a NIC's indirection table that are read, and bytes of its hash key: those of today have 2048 and 52.
pub const RSS_TABLE: usize = 16_384;
/// See [`RSS_TABLE`].
pub const RSS_KEY: usize = 256;
/// Replies that came in on another queue than foretold, after which nothing more is foretold.
pub const PREDICTION_MISSES: u32 = 8;
/// Answers to data that has arrived before, per connection and second. An honest peer sends so much when it took a delay for a loss.
pub const DUPLICATE_ACKS_PER_SECOND: u8 = 200;
/// Challenge ACKs and answers to unacceptable segments that one connection sends in a second (RFC 5961 7).
pub const CHALLENGE_ACKS_PER_SECOND: u8 = 10;
/// Bytes of the head of an HTTP request, from its first line to the empty one.
pub const HTTP_HEAD_BYTES: usize = 16_384;
/// Bytes of the target in it (RFC 9110 4.1 asks for at least 8000).
pub const HTTP_TARGET_BYTES: usize = 8000;
/// Fields of a head.
pub const HTTP_FIELDS: usize = 100;
/// Heads that arrive in pieces at once on one core: with [`HTTP_HEAD_BYTES`] their memory is 64 MiB at most.
pub const HTTP_PARTIAL_HEADS: usize = 4096;
/// Bytes of a request's body that are read and thrown away to keep the connection.
pub const HTTP_BODY_BYTES: u64 = 65_536;
/// Ranges that one request may ask for.
pub const HTTP_RANGES: usize = 16;
/// Entity tags of a condition that are compared: whoever lists more is served as if the rest were not ours.
pub const HTTP_TAGS: usize = 64;
/// Requests of one connection answered at a stretch; then it is the others' turn.
pub const HTTP_PIPELINED: usize = 16;
/// Bytes of files read for one connection at a stretch: what a core copies from the page cache in some 10 us.
pub const HTTP_PIECE_BYTES: usize = 65_536;
/// Files that are answered from memory for a moment, on one core: with [`HTTP_KEPT_BYTES`] 4 MiB at most, beside their names. An answer in work holds what
/// it was begun with.
pub const HTTP_KEPT_FILES: usize = 256;
/// Bytes of the longest of them.
pub const HTTP_KEPT_BYTES: usize = 16_384;
/// Bytes of the longest name of them.
pub const HTTP_KEPT_NAME_BYTES: usize = 1024;
/// Files that answers in work on one core may hold open.
pub const HTTP_OPEN_FILES: usize = 4096;
/// Bytes of a DNS query over TCP: a question with all that EDNS may add to it. Who sends more is no client.
pub const DNS_QUERY_BYTES: usize = 4096;
/// DNS queries that arrive in pieces at once on one core: with [`DNS_QUERY_BYTES`] their memory is 16 MiB at most.
pub const DNS_GATHERED: usize = 4096;
/// DNS queries of one connection answered at a stretch; then it is the others' turn.
pub const DNS_PIPELINED: usize = 64;
/// Aliases (CNAME) that are followed for one DNS query.
pub const DNS_ALIASES: usize = 16;
/// Records of what one connection has in flight (SACK scoreboard): 40 KiB. When there are more, neighbours are joined.
pub const FLIGHT_RECORDS: usize = 1024;
/// Extension headers of an IPv6 packet that are walked over (RFC 8504 5.3 lets a host bound them); honest packets have one or two.
pub const EXTENSION_HEADERS: usize = 8;
/// Bytes of all extension headers of a packet together, so that the walk over their options ends soon.
pub const EXTENSION_BYTES: usize = 512;
/// Prefixes of one router advertisement that are read.
pub const ROUTER_PREFIXES: usize = 8;
/// Default routers of a link that are remembered (RFC 4861 6.3.4 asks for two).
pub const ROUTERS: usize = 8;
/// Prefixes of a link that are remembered, of all its routers together, and so addresses made of them.
pub const LINK_PREFIXES: usize = 16;
/// Datagrams that came in fragments and that services may keep: 4 MiB at most.
pub const KEPT_WHOLE: usize = 64;
/// Fragmented datagrams in work on one core.
pub const FRAGMENTED_DATAGRAMS: usize = 256;
/// Pieces of 2 KiB that hold their fragments: 2 MiB, taken when the first one comes.
pub const FRAGMENT_PIECES: usize = 1024;
/// The share of both that one sender may have: one of this many. The longest datagram fits into it several times on a usual link.
pub const FRAGMENT_SHARE: usize = 4;
/// Fragments of one datagram: the longest one comes in 119 over a link of 576 bytes, the smallest MTU in use.
pub const FRAGMENTS_PER_DATAGRAM: usize = 128;
/// Senders that a receiver of RTP keeps books of; further ones are counted together.
pub const RTP_SOURCES: usize = 64;
/// Packets that streams send in one call of their timer; the others follow in the next turn.
pub const STREAM_BURST: u64 = 32;
/// Bytes of a file that a stream sends, which it keeps in memory.
pub const STREAM_FILE_BYTES: u64 = 64 << 20;
/// Connections that are told apart in a captured file.
pub const CAPTURE_FLOWS: usize = 16_384;
/// Packets of a captured file that are kept, of all connections together: some 100 MB with their drawing.
pub const CAPTURE_STEPS: usize = 1 << 16;
/// Interfaces of a captured file.
pub const CAPTURE_INTERFACES: usize = 1024;
