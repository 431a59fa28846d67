//! A small eBPF assembler: named registers, labels, one comment a line.
//!
//! [`super::program`] writes programs with it once at start; the result is the instructions for bpf(2) and a listing for people.
//! It knows only the instructions those programs need. A wrong program (a label that is missing, defined twice or too far away) is an
//! [`AssembleError`] of ours, never a panic; the kernel's verifier judges the rest.

use std::collections::HashMap;
use std::fmt::Write as _;

use zerocopy::{Immutable, IntoBytes};

/// One instruction, `struct bpf_insn` of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub struct Instruction {
    /// Class, source and operation.
    pub opcode: u8,
    /// Target register in the low half, source register in the high half (the other way round on big-endian machines).
    pub registers: u8,
    /// Displacement of a memory access in bytes, or distance of a jump in instructions.
    pub offset: i16,
    /// Constant operand.
    pub immediate: i32,
}

const _: () = assert!(size_of::<Instruction>() == 8);

/// A register. R0 holds results, R1 to R5 arguments (lost by every call), R6 to R9 survive calls, R10 is the frame's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "their numbers are their names")]
pub enum Register {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// Width of a memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// 1 byte.
    Byte,
    /// 2 bytes.
    Half,
    /// 4 bytes.
    Word,
    /// 8 bytes.
    Double,
}

impl Size {
    const fn bits(self) -> u8 {
        match self {
            Self::Word => 0x00,
            Self::Half => 0x08,
            Self::Byte => 0x10,
            Self::Double => 0x18,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Byte => "u8",
            Self::Half => "u16",
            Self::Word => "u32",
            Self::Double => "u64",
        }
    }
}

/// Comparison of a conditional jump, unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names say all")]
pub enum Condition {
    Equal,
    NotEqual,
    Above,
    Below,
    AtMost,
}

impl Condition {
    const fn bits(self) -> u8 {
        match self {
            Self::Equal => 0x10,
            Self::Above => 0x20,
            Self::NotEqual => 0x50,
            Self::Below => 0xa0,
            Self::AtMost => 0xb0,
        }
    }

    const fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Above => ">",
            Self::Below => "<",
            Self::AtMost => "<=",
        }
    }
}

/// Arithmetic on a register, 64 bits wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names say all")]
pub enum Operation {
    Add,
    And,
    ShiftLeft,
    Move,
}

impl Operation {
    const fn bits(self) -> u8 {
        match self {
            Self::Add => 0x00,
            Self::And => 0x50,
            Self::ShiftLeft => 0x60,
            Self::Move => 0xb0,
        }
    }

    const fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+=",
            Self::And => "&=",
            Self::ShiftLeft => "<<=",
            Self::Move => "=",
        }
    }
}

/// Second operand: a register or a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// The value of a register.
    Register(Register),
    /// A constant, sign-extended to 64 bits.
    Constant(i32),
}

impl From<Register> for Operand {
    fn from(register: Register) -> Self {
        Self::Register(register)
    }
}

impl From<i32> for Operand {
    fn from(constant: i32) -> Self {
        Self::Constant(constant)
    }
}

/// A function of the kernel. The numbers are those of `enum bpf_func_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
#[expect(missing_docs, reason = "the kernel's names")]
pub enum Helper {
    MapLookup = 1,
    RedirectMap = 51,
}

impl Helper {
    const fn name(self) -> &'static str {
        match self {
            Self::MapLookup => "bpf_map_lookup_elem",
            Self::RedirectMap => "bpf_redirect_map",
        }
    }
}

/// A map the program refers to, by its position among the program's maps and its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapName {
    /// Position in the list of descriptors given to [`Assembled::link`].
    pub position: usize,
    /// Name in the listing.
    pub name: &'static str,
}

/// A mistake in a program's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    /// A jump to a label that stands nowhere.
    #[error("no such label: {0}")]
    UndefinedLabel(&'static str),
    /// A label that stands twice.
    #[error("label defined twice: {0}")]
    DuplicateLabel(&'static str),
    /// A label that no jump names: dead text.
    #[error("label never used: {0}")]
    UnusedLabel(&'static str),
    /// A jump further than 32,767 instructions, or backwards (a loop has no place here).
    #[error("jump to {label} out of range: {distance} instructions")]
    JumpRange {
        /// Where to.
        label: &'static str,
        /// How far.
        distance: i64,
    },
    /// A line without a comment.
    #[error("instruction {0} has no comment")]
    NoComment(usize),
    /// A map without a descriptor.
    #[error("no descriptor for map {0}")]
    UnknownMap(&'static str),
}

/// Collects instructions; [`Assembler::finish`] resolves the jumps.
#[derive(Clone, Debug)]
pub struct Assembler {
    lines: Vec<Line>,
    labels: Vec<(&'static str, usize)>,
    names: [&'static str; 11],
    maps: Vec<(usize, MapName)>,
}

#[derive(Clone, Debug)]
struct Line {
    instruction: Instruction,
    text: String,
    comment: &'static str,
    target: Option<&'static str>,
    /// The second half of a 16-byte instruction has no line of its own in the listing.
    shown: bool,
}

impl Default for Assembler {
    fn default() -> Self {
        Self::new()
    }
}

impl Assembler {
    /// An empty program.
    pub const fn new() -> Self {
        let names = ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "fp"];
        Self { lines: Vec::new(), labels: Vec::new(), names, maps: Vec::new() }
    }

    /// Gives a register the name it has in the listing.
    pub const fn name(&mut self, register: Register, name: &'static str) {
        self.names[register as usize] = name;
    }

    /// Puts a label before the next instruction.
    pub fn label(&mut self, label: &'static str) {
        self.labels.push((label, self.lines.len()));
    }

    /// As [`Assembler::label`], if any jump above goes there: for text whose parts are optional.
    pub fn label_if_used(&mut self, label: &'static str) {
        if self.lines.iter().any(|line| line.target == Some(label)) {
            self.label(label);
        }
    }

    /// `target = *(size *)(base + offset)`.
    pub fn load(&mut self, size: Size, target: Register, base: Register, offset: i16, comment: &'static str) {
        let text = format!("{} = *({} *)({} {})", self.named(target), size.name(), self.named(base), signed(offset));
        self.push(0x61 | size.bits(), target, base, offset, 0, text, comment);
    }

    /// `*(size *)(base + offset) = value`.
    pub fn store(&mut self, size: Size, base: Register, offset: i16, value: impl Into<Operand>, comment: &'static str) {
        let value = value.into();
        let text = format!("*({} *)({} {}) = {}", size.name(), self.named(base), signed(offset), self.operand(value));
        match value {
            Operand::Register(source) => self.push(0x63 | size.bits(), base, source, offset, 0, text, comment),
            Operand::Constant(constant) => self.push(0x62 | size.bits(), base, Register::R0, offset, constant, text, comment),
        }
    }

    /// `target = target operation value`.
    pub fn compute(&mut self, operation: Operation, target: Register, value: impl Into<Operand>, comment: &'static str) {
        let value = value.into();
        let operand = match (operation, value) {
            // Sums are lengths and places, shifts are counts: decimal. Everything else is a pattern.
            (Operation::Add | Operation::ShiftLeft, Operand::Constant(constant)) => constant.to_string(),
            _ => self.operand(value),
        };
        let text = format!("{} {} {operand}", self.named(target), operation.symbol());
        self.push_with(0x07 | operation.bits(), target, value, 0, text, comment);
    }

    /// `target = value`.
    pub fn set(&mut self, target: Register, value: impl Into<Operand>, comment: &'static str) {
        self.compute(Operation::Move, target, value, comment);
    }

    /// Turns a 16-bit value from network into host byte order, and clears the bits above.
    pub fn to_host_half(&mut self, target: Register, comment: &'static str) {
        let text = format!("{0} = be16({0})", self.named(target));
        self.push(0xdc, target, Register::R0, 0, 16, text, comment);
    }

    /// `goto label`.
    pub fn jump(&mut self, label: &'static str, comment: &'static str) {
        self.push(0x05, Register::R0, Register::R0, 0, 0, format!("goto {label}"), comment);
        self.aim(label);
    }

    /// `if left condition right goto label`.
    pub fn jump_if(
        &mut self,
        left: Register,
        condition: Condition,
        right: impl Into<Operand>,
        label: &'static str,
        comment: &'static str,
    ) {
        let right = right.into();
        let text = format!("if {} {} {} goto {label}", self.named(left), condition.symbol(), self.operand(right));
        self.push_with(0x05 | condition.bits(), left, right, 0, text, comment);
        self.aim(label);
    }

    /// `target = map`, a 16-byte instruction whose descriptor is filled in by [`Assembled::link`].
    pub fn load_map(&mut self, target: Register, map: MapName, comment: &'static str) {
        /// The constant is a map's descriptor.
        const BPF_PSEUDO_MAP_FD: u8 = 1;
        self.maps.push((self.lines.len(), map));
        let text = format!("{} = map {}", self.named(target), map.name);
        self.push(0x18, target, Register::R0, 0, 0, text, comment);
        if let Some(line) = self.lines.last_mut() {
            line.instruction.registers = pair(target as u8, BPF_PSEUDO_MAP_FD);
        }
        self.push(0, Register::R0, Register::R0, 0, 0, String::new(), comment);
        if let Some(line) = self.lines.last_mut() {
            line.shown = false;
        }
    }

    /// `r0 = helper(r1, ...)`; r1 to r5 are lost.
    pub fn call(&mut self, helper: Helper, comment: &'static str) {
        let text = format!("{} = {}()", self.named(Register::R0), helper.name());
        self.push(0x85, Register::R0, Register::R0, 0, helper as i32, text, comment);
    }

    /// `return r0`.
    pub fn exit(&mut self, comment: &'static str) {
        self.push(0x95, Register::R0, Register::R0, 0, 0, "exit".to_owned(), comment);
    }

    /// Resolves the jumps.
    ///
    /// # Errors
    /// A label undefined, defined twice or never used; a jump backwards or too far; a line without a comment.
    pub fn finish(mut self) -> Result<Assembled, AssembleError> {
        let mut places = HashMap::new();
        for &(label, place) in &self.labels {
            if places.insert(label, place).is_some() {
                return Err(AssembleError::DuplicateLabel(label));
            }
        }
        let mut used = Vec::new();
        for (place, line) in self.lines.iter_mut().enumerate() {
            if line.comment.trim().is_empty() {
                return Err(AssembleError::NoComment(place));
            }
            let Some(label) = line.target else { continue };
            let &target = places.get(label).ok_or(AssembleError::UndefinedLabel(label))?;
            let distance = target as i64 - place as i64 - 1;
            line.instruction.offset =
                i16::try_from(distance).ok().filter(|&d| d >= 0).ok_or(AssembleError::JumpRange { label, distance })?;
            used.push(label);
        }
        if let Some(&(label, _)) = self.labels.iter().find(|(label, _)| !used.contains(label)) {
            return Err(AssembleError::UnusedLabel(label));
        }
        let listing = self.listing();
        let instructions = self.lines.iter().map(|line| line.instruction).collect();
        Ok(Assembled { instructions, maps: self.maps, listing })
    }

    fn listing(&self) -> String {
        let mut out = String::new();
        for (place, line) in self.lines.iter().enumerate() {
            for (label, _) in self.labels.iter().filter(|&&(_, at)| at == place) {
                let _ = writeln!(out, "{label}:");
            }
            if line.shown {
                let _ = writeln!(out, "{place:4}  {:<52} ; {}", line.text, line.comment);
            }
        }
        out
    }

    fn push_with(&mut self, opcode: u8, target: Register, value: Operand, offset: i16, text: String, comment: &'static str) {
        /// The second operand is a register.
        const BPF_X: u8 = 0x08;
        match value {
            Operand::Register(source) => self.push(opcode | BPF_X, target, source, offset, 0, text, comment),
            Operand::Constant(constant) => self.push(opcode, target, Register::R0, offset, constant, text, comment),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of an instruction and its line")]
    fn push(
        &mut self,
        opcode: u8,
        target: Register,
        source: Register,
        offset: i16,
        immediate: i32,
        text: String,
        comment: &'static str,
    ) {
        let registers = pair(target as u8, source as u8);
        let instruction = Instruction { opcode, registers, offset, immediate };
        self.lines.push(Line { instruction, text, comment, target: None, shown: true });
    }

    fn aim(&mut self, label: &'static str) {
        if let Some(line) = self.lines.last_mut() {
            line.target = Some(label);
        }
    }

    const fn named(&self, register: Register) -> &'static str {
        self.names[register as usize]
    }

    fn operand(&self, operand: Operand) -> String {
        match operand {
            Operand::Register(register) => self.named(register).to_owned(),
            Operand::Constant(constant) if constant < 16 => constant.to_string(),
            Operand::Constant(constant) => format!("{constant:#x}"),
        }
    }
}

/// A program without its map descriptors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembled {
    instructions: Vec<Instruction>,
    maps: Vec<(usize, MapName)>,
    listing: String,
}

impl Assembled {
    /// The instructions with the descriptors of the maps filled in, `descriptors` in the order of [`MapName::position`].
    ///
    /// # Errors
    /// A map that `descriptors` does not reach.
    pub fn link(&self, descriptors: &[i32]) -> Result<Vec<Instruction>, AssembleError> {
        let mut linked = self.instructions.clone();
        for &(place, map) in &self.maps {
            let &descriptor = descriptors.get(map.position).ok_or(AssembleError::UnknownMap(map.name))?;
            if let Some(instruction) = linked.get_mut(place) {
                instruction.immediate = descriptor;
            }
        }
        Ok(linked)
    }

    /// One line per instruction: number, text, comment; labels on lines of their own.
    pub fn listing(&self) -> &str {
        &self.listing
    }

    /// How many 8-byte instructions there are.
    pub const fn len(&self) -> usize {
        self.instructions.len()
    }

    /// The program with its branch at `place` broken: the condition turned round, and the constant it compares with changed. Empty when no
    /// conditional jump is there.
    #[cfg(all(test, feature = "afxdp"))]
    pub(super) fn broken_at(&self, place: usize) -> Vec<Self> {
        let with = |instruction| {
            let mut broken = self.clone();
            broken.instructions[place] = instruction;
            broken
        };
        let branch = self.instructions[place];
        let turned = match branch.opcode & 0xf7 {
            0x15 => 0x55,
            0x55 => 0x15,
            0x25 => 0xb5,
            0xa5 => 0x35,
            0xb5 => 0x25,
            _ => return Vec::new(),
        };
        let compares_constant = branch.opcode & 0x08 == 0;
        let mut broken = vec![with(Instruction { opcode: turned | branch.opcode & 0x08, ..branch })];
        if compares_constant {
            broken.push(with(Instruction { immediate: branch.immediate ^ 1, ..branch }));
        }
        broken
    }

    /// True without instructions.
    pub const fn is_empty(&self) -> bool {
        self.instructions.is_empty()
    }
}

/// The two register numbers as the kernel's bit-fields lie in their byte.
const fn pair(target: u8, source: u8) -> u8 {
    if cfg!(target_endian = "little") { source << 4 | target } else { target << 4 | source }
}

fn signed(offset: i16) -> String {
    if offset < 0 { format!("- {}", offset.unsigned_abs()) } else { format!("+ {offset}") }
}

#[cfg(test)]
mod tests;
