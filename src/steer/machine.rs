//! A machine that runs the `steer` program in plain Rust: it counts instructions, and needs neither rights nor the kernel.
//!
//! Only for tests. It knows what that program uses and no more, and panics at anything else: a read beyond the frame, a pointer that is none.

use std::collections::BTreeMap;

use zerocopy::IntoBytes as _;

use super::assembler::Assembled;
use super::cause::Cause;
use super::claims::Claims;
use super::program::{CAUSES, CLAIMS, SOCKETS};

/// What a run did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// `enum xdp_action`.
    pub(super) action: u64,
    /// The counter that moved.
    pub(super) cause: Cause,
    /// How many instructions it took.
    pub(super) instructions: usize,
}

#[derive(Clone, Copy, Debug)]
enum Value {
    Nothing,
    Number(u64),
    Context,
    /// A place in the frame.
    Packet(i64),
    /// A place on the stack, from its end.
    Stack(i64),
    Map(usize),
    /// The value of a claim.
    Entry(u32),
    /// A counter.
    Counter(u32),
}

use Value::{Context, Counter, Entry, Map, Nothing, Number, Packet, Stack};

/// A program and its maps, with a socket at the queue.
pub(super) struct Machine<'a> {
    text: &'a Assembled,
    entries: BTreeMap<Vec<u8>, u32>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(text: &'a Assembled, claims: &Claims) -> Self {
        let entries = claims.entries().into_iter().map(|(key, vlan)| (key.as_bytes().to_vec(), vlan)).collect();
        Self { text, entries }
    }

    pub(super) fn run(&self, frame: &[u8]) -> Run {
        let text = self.text.link(&[0, 1, 2]).unwrap();
        let mut registers = [Nothing; 11];
        (registers[1], registers[10]) = (Context, Stack(0));
        let mut stack = [0_u8; 64];
        let (mut place, mut instructions, mut cause) = (0, 0, None);
        loop {
            let line = text[place];
            let (target, source) = (usize::from(line.registers & 0x0f), usize::from(line.registers >> 4));
            let (offset, constant) = (i64::from(line.offset), Number(i64::from(line.immediate) as u64));
            let operand = if line.opcode & 0x08 != 0 { registers[source] } else { constant };
            place += 1;
            instructions += 1;
            match (line.opcode & 0x07, line.opcode) {
                (_, 0x18) => {
                    registers[target] = Map(line.immediate as usize);
                    place += 1;
                }
                (1, opcode) => registers[target] = load(registers[source], offset, width(opcode), frame, &stack),
                (2 | 3, opcode) => {
                    let value = if opcode & 0x07 == 3 { registers[source] } else { constant };
                    match registers[target] {
                        Stack(base) => {
                            let at = (64 + base + offset) as usize;
                            stack[at..at + width(opcode)].copy_from_slice(&number(value).to_le_bytes()[..width(opcode)]);
                        }
                        Counter(index) => {
                            assert!(number(value) == 1 && cause.is_none(), "counted once");
                            cause = Some(index);
                        }
                        other => panic!("a store at {other:?}"),
                    }
                }
                (4, _) => registers[target] = Number((number(registers[target]) as u16).swap_bytes().into()),
                (7, opcode) => registers[target] = compute(opcode & 0xf0, registers[target], operand),
                (_, 0x85) => registers[0] = self.call(line.immediate, &registers, &stack),
                (_, 0x95) => {
                    let cause = Cause::ALL[cause.expect("every frame is counted") as usize];
                    return Run { action: number(registers[0]), cause, instructions };
                }
                (_, opcode) => {
                    if opcode == 0x05 || holds(opcode & 0xf0, registers[target], operand) {
                        place += line.offset as usize;
                    }
                }
            }
        }
    }

    fn call(&self, helper: i32, registers: &[Value; 11], stack: &[u8; 64]) -> Value {
        match (helper, registers[1], registers[2]) {
            (1, Map(map), Stack(at)) => {
                let key = &stack[(64 + at) as usize..];
                if map == CAUSES.position {
                    return Counter(u32::from_le_bytes(key[..4].try_into().unwrap()));
                }
                assert_eq!(map, CLAIMS.position);
                self.entries.get(&key[..24]).map_or(Number(0), |&vlan| Entry(vlan))
            }
            (51, Map(map), Number(0)) if map == SOCKETS.position => Number(4),
            other => panic!("a call with {other:?}"),
        }
    }
}

const fn width(opcode: u8) -> usize {
    match opcode & 0x18 {
        0x00 => 4,
        0x08 => 2,
        0x10 => 1,
        _ => 8,
    }
}

fn number(value: Value) -> u64 {
    match value {
        Number(number) => number,
        Entry(_) | Counter(_) => 1 << 32,
        other => panic!("{other:?} is not a number"),
    }
}

fn load(base: Value, offset: i64, width: usize, frame: &[u8], stack: &[u8; 64]) -> Value {
    let bytes = match (base, offset) {
        (Context, 0) => return Packet(0),
        (Context, 4) => return Packet(frame.len() as i64),
        (Context, 16) => return Number(0),
        (Entry(vlan), 0) => return Number(vlan.into()),
        (Counter(_), 0) => return Number(0),
        (Packet(base), _) => &frame[(base + offset) as usize..][..width],
        (Stack(base), _) => &stack[(64 + base + offset) as usize..][..width],
        other => panic!("a load from {other:?}"),
    };
    let mut wide = [0; 8];
    wide[..width].copy_from_slice(bytes);
    Number(u64::from_le_bytes(wide))
}

fn compute(operation: u8, target: Value, operand: Value) -> Value {
    match (operation, target, operand) {
        (0xb0, _, value) => value,
        (0x00, Packet(base), Number(n)) => Packet(base + n as i64),
        (0x00, Stack(base), Number(n)) => Stack(base + n as i64),
        (0x00, ..) => Number(number(target).wrapping_add(number(operand))),
        (0x50, ..) => Number(number(target) & number(operand)),
        (0x60, ..) => Number(number(target) << number(operand)),
        other => panic!("no such operation: {other:?}"),
    }
}

fn holds(condition: u8, left: Value, right: Value) -> bool {
    let (left, right) = match (left, right) {
        (Packet(left), Packet(right)) => (left as u64, right as u64),
        _ => (number(left), number(right)),
    };
    match condition {
        0x10 => left == right,
        0x20 => left > right,
        0x50 => left != right,
        0xa0 => left < right,
        0xb0 => left <= right,
        other => panic!("no such condition: {other:#x}"),
    }
}
