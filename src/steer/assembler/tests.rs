//! The assembler: encodings, labels, listing.

use super::*;

/// A two-line program around `text`.
fn assembled(text: impl FnOnce(&mut Assembler)) -> Result<Assembled, AssembleError> {
    let mut program = Assembler::new();
    text(&mut program);
    program.set(Register::R0, 2, "pass");
    program.exit("done");
    program.finish()
}

fn bytes(text: impl FnOnce(&mut Assembler)) -> [u8; 8] {
    let instructions = assembled(text).unwrap().link(&[0x1234]).unwrap();
    instructions[0].as_bytes().try_into().unwrap()
}

#[test]
#[cfg(target_endian = "little")]
fn encodes_as_the_kernel_documents() {
    // Hand-checked against Documentation/bpf/standardization/instruction-set.rst.
    use Register::{R1, R2, R6};
    assert_eq!(bytes(|p| p.load(Size::Half, R1, R6, 12, "x")), [0x69, 0x61, 12, 0, 0, 0, 0, 0]);
    assert_eq!(bytes(|p| p.load(Size::Double, R1, R6, -8, "x")), [0x79, 0x61, 0xf8, 0xff, 0, 0, 0, 0]);
    assert_eq!(bytes(|p| p.store(Size::Byte, R6, 1, R2, "x")), [0x73, 0x26, 1, 0, 0, 0, 0, 0]);
    assert_eq!(bytes(|p| p.store(Size::Word, R6, -4, 7, "x")), [0x62, 0x06, 0xfc, 0xff, 7, 0, 0, 0]);
    assert_eq!(bytes(|p| p.compute(Operation::Add, R1, -24, "x")), [0x07, 0x01, 0, 0, 0xe8, 0xff, 0xff, 0xff]);
    assert_eq!(bytes(|p| p.compute(Operation::And, R1, R2, "x")), [0x5f, 0x21, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes(|p| p.compute(Operation::ShiftLeft, R1, 16, "x")), [0x67, 0x01, 0, 0, 16, 0, 0, 0]);
    assert_eq!(bytes(|p| p.set(R1, R2, "x")), [0xbf, 0x21, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes(|p| p.to_host_half(R1, "x")), [0xdc, 0x01, 0, 0, 16, 0, 0, 0]);
    assert_eq!(bytes(|p| p.call(Helper::RedirectMap, "x")), [0x85, 0, 0, 0, 51, 0, 0, 0]);
    assert_eq!(bytes(|p| p.exit("x")), [0x95, 0, 0, 0, 0, 0, 0, 0]);
    let map = MapName { position: 0, name: "m" };
    assert_eq!(bytes(|p| p.load_map(R1, map, "x")), [0x18, 0x11, 0, 0, 0x34, 0x12, 0, 0]);
}

#[test]
fn jumps_count_from_the_next_instruction() {
    let program = assembled(|p| {
        p.jump_if(Register::R1, Condition::Equal, 3, "end", "over the map load, which is two instructions");
        p.load_map(Register::R2, MapName { position: 0, name: "m" }, "two");
        p.label("end");
    });
    let instructions = program.unwrap().link(&[9]).unwrap();
    assert_eq!((instructions[0].opcode, instructions[0].offset, instructions[0].immediate), (0x15, 2, 3));
}

#[test]
fn refuses_an_undefined_label() {
    let error = assembled(|p| p.jump("nowhere", "x")).unwrap_err();
    assert_eq!(error, AssembleError::UndefinedLabel("nowhere"));
}

#[test]
fn refuses_a_label_defined_twice() {
    let error = assembled(|p| {
        p.jump("here", "x");
        p.label("here");
        p.label("here");
    });
    assert_eq!(error.unwrap_err(), AssembleError::DuplicateLabel("here"));
}

#[test]
fn refuses_a_label_nobody_jumps_to() {
    assert_eq!(assembled(|p| p.label("dead")).unwrap_err(), AssembleError::UnusedLabel("dead"));
}

#[test]
fn refuses_a_jump_backwards() {
    let error = assembled(|p| {
        p.label("loop");
        p.jump("loop", "x");
    });
    assert_eq!(error.unwrap_err(), AssembleError::JumpRange { label: "loop", distance: -1 });
}

#[test]
fn a_jump_reaches_32767_instructions_and_no_further() {
    let far = |count: usize| {
        assembled(|p| {
            p.jump("far", "x");
            (0..count).for_each(|_| p.set(Register::R0, 0, "filler"));
            p.label("far");
        })
    };
    assert!(far(32_767).is_ok());
    assert_eq!(far(32_768).unwrap_err(), AssembleError::JumpRange { label: "far", distance: 32_768 });
}

#[test]
fn refuses_a_line_without_a_comment_and_a_map_without_a_descriptor() {
    assert_eq!(assembled(|p| p.exit(" ")).unwrap_err(), AssembleError::NoComment(0));
    let program = assembled(|p| p.load_map(Register::R1, MapName { position: 1, name: "m" }, "x")).unwrap();
    assert_eq!(program.link(&[5]).unwrap_err(), AssembleError::UnknownMap("m"));
}

#[test]
fn lists_names_labels_and_comments() {
    let program = assembled(|p| {
        p.name(Register::R6, "context");
        p.load(Size::Word, Register::R1, Register::R6, 4, "data_end");
        p.jump_if(Register::R1, Condition::Above, 0x0800, "end", "why");
        p.label("end");
    });
    let expected = "   0  r1 = *(u32 *)(context + 4)                           ; data_end\n\
                    \x20  1  if r1 > 0x800 goto end                               ; why\n\
                    end:\n\
                    \x20  2  r0 = 2                                               ; pass\n\
                    \x20  3  exit                                                 ; done\n";
    assert_eq!(program.unwrap().listing(), expected);
}
