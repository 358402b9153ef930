//! Plans for the prologues that compilers write.

use super::{
    super::{Architecture, Class, Code, Extent, Site, emulation, plan},
    *,
};

const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];

const fn at(offset: u64) -> Site {
    Site { offset, class: Class::Emulated }
}

#[track_caller]
fn check(code: &[&[u8]], followed: Site, entered: Site) {
    let code = code.concat();
    let found = [FOLLOWED, ENTERED].map(|needs| plan(&Bytes(&code), extent(&code), needs));
    assert_eq!(found, [followed, entered], "{code:02x?}");
}

/// `sub rsp, 0x18; mov rax, fs:0x28; mov [rsp+8], rax; xor eax, eax`
const PROTECTED: [u8; 20] = [
    0x48, 0x83, 0xec, 0x18, 0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0, 0x48, 0x89, 0x44, 0x24,
    0x08, 0x31, 0xc0,
];

#[test]
fn prologues_of_compilers() {
    // gcc: push r15; ret
    check(&[&[0x41, 0x57, 0xc3]], at(0), at(0));
    // gcc for Ubuntu: endbr64; push rbx; ret
    check(&[&ENDBR64, &[0x53, 0xc3]], at(4), at(4));
    // rustc and clang: push rbp; mov rbp, rsp; pop rbp; ret
    check(&[&[0x55, 0x48, 0x89, 0xe5, 0x5d, 0xc3]], at(0), at(0));
    // SSL_free: test rdi, rdi; je; push rbx; pop rbx; ret
    check(&[&[0x48, 0x85, 0xff, 0x74, 0x02, 0x53, 0x5b, 0xc3]], at(3), at(3));
    // SSL_read: …; test edx, edx; js; add rsp, 0x18; ret
    let rest = [0x85, 0xd2, 0x78, 0, 0x48, 0x83, 0xc4, 0x18, 0xc3];
    check(&[&PROTECTED, &rest], Site::PLAIN, at(0x16));
    // SSL_read_ex: sub rsp, 8; call; add rsp, 8; ret
    let call = [0x48, 0x83, 0xec, 8, 0xe8, 0, 0x10, 0, 0, 0x48, 0x83, 0xc4, 8, 0xc3];
    check(&[&call], Site::PLAIN, at(4));
    // A stub: jmp to what lies in the same code.
    check(&[&[0xeb, 0x01, 0xcc, 0xc3]], at(0), at(0));
    // mov rax, rdi; mov edi, esi; push rbx
    check(&[&[0x48, 0x89, 0xf8, 0x89, 0xf7, 0x53, 0x5b, 0xc3]], Site::PLAIN, Site::PLAIN);
    // Go: cmp rsp, [r14+0x10]; jbe; ret; back: jmp to the first instruction
    check(&[&[0x49, 0x3b, 0x66, 0x10, 0x76, 1, 0xc3, 0xeb, 0xf7]], at(4), at(4));
}

#[test]
fn what_is_not_passed_over() {
    // Nothing cheap at all: mov eax, 1; ret
    check(&[&[0xb8, 1, 0, 0, 0, 0xc3]], Site::PLAIN, Site::PLAIN);
    // Memory that may be another's: mov [rdi], rsi; push rbx
    check(&[&[0x48, 0x89, 0x37, 0x53, 0x5b, 0xc3]], Site::PLAIN, Site::PLAIN);
    // Memory below the frame that was taken: sub rsp, 8; mov [rsp+8], rax; push rbx
    let above = [0x48, 0x83, 0xec, 8, 0x48, 0x89, 0x44, 0x24, 8, 0x53, 0xc3];
    check(&[&above], Site::PLAIN, Site::PLAIN);
    // A call by pointer: call [rdi]; push rbx
    check(&[&[0xff, 0x17, 0x53, 0x5b, 0xc3]], Site::PLAIN, Site::PLAIN);
    // The stack pointer in other ways: lea rsp, [rsp-8]; push rbx. mov rsp, rax; push rbx
    check(&[&[0x48, 0x8d, 0x64, 0x24, 0xf8, 0x53, 0xc3]], Site::PLAIN, at(5));
    check(&[&[0x48, 0x89, 0xc4, 0x53, 0xc3]], Site::PLAIN, Site::PLAIN);
    // One byte of an argument: mov dl, 1; push rbx
    check(&[&[0xb2, 1, 0x53, 0x5b, 0xc3]], Site::PLAIN, Site::PLAIN);
    // An instruction that is cut off by the function's end: push, with its prefix only.
    check(&[&ENDBR64, &[0x41]], Site::PLAIN, Site::PLAIN);
    check(&[], Site::PLAIN, Site::PLAIN);
}

#[test]
fn an_argument_that_is_not_needed_may_go() {
    // xor edx, edx; push rbx; pop rbx; ret
    let code = [0x31, 0xd2, 0x53, 0x5b, 0xc3];
    assert_eq!(plan(&Bytes(&code), extent(&code), OBJECT), at(2));
    assert_eq!(plan(&Bytes(&code), extent(&code), ENTERED), Site::PLAIN);
}

#[test]
fn an_object_may_be_filled_in() {
    // SSL_set0_rbio: mov rax, [rdi+0x18]; mov [rdi+0x18], rsi; test rax, rax; je; ret
    let code = [0x48, 0x8b, 0x47, 0x18, 0x48, 0x89, 0x77, 0x18, 0x48, 0x85, 0xc0, 0x74, 0, 0xc3];
    assert_eq!(plan(&Bytes(&code), extent(&code), OBJECT), at(11));
    assert_eq!(plan(&Bytes(&code), extent(&code), ENTERED), Site::PLAIN);
}

#[test]
fn what_leads_back_is_seen() {
    // test edi, edi; L: je over; dec esi; jmp L; over: ret
    let back = [0x85, 0xff, 0x74, 4, 0xff, 0xce, 0xeb, 0xfa, 0xc3];
    check(&[&back], Site::PLAIN, Site::PLAIN);
    // The same to the first instruction: another call.
    let first = [0x85, 0xff, 0x74, 4, 0xff, 0xce, 0xeb, 0xf8, 0xc3];
    check(&[&first], at(2), at(2));
    // test edi, edi; je; jmp rax: anywhere.
    check(&[&[0x85, 0xff, 0x74, 2, 0xff, 0xe0, 0xc3]], Site::PLAIN, Site::PLAIN);
    // The same with a frame: test edi, edi; je; push rbx; jmp rax; ret
    check(&[&[0x85, 0xff, 0x74, 3, 0x53, 0xff, 0xe0, 0xc3]], at(2), at(2));
    // With the one that there was already: sub rsp, 8; test edi, edi; je; jmp rax; ret
    let same = [0x48, 0x83, 0xec, 8, 0x85, 0xff, 0x74, 2, 0xff, 0xe0, 0xc3];
    check(&[&same], Site::PLAIN, Site::PLAIN);
    // The frame is given back before: test edi, edi; je; push rbx; pop rbx; jmp rax; ret
    let back = [0x85, 0xff, 0x74, 4, 0x53, 0x5b, 0xff, 0xe0, 0xc3];
    check(&[&back], Site::PLAIN, Site::PLAIN);
    // Nobody knows how much it is: test edi, edi; je; mov rsp, rbp; jmp rax; ret
    let unknown = [0x85, 0xff, 0x74, 5, 0x48, 0x89, 0xec, 0xff, 0xe0, 0xc3];
    check(&[&unknown], Site::PLAIN, Site::PLAIN);
    // Through a table: test edi, edi; je; jmp [rdx+rax*8]; ret
    check(&[&[0x85, 0xff, 0x74, 3, 0xff, 0x24, 0xc2, 0xc3]], Site::PLAIN, Site::PLAIN);
    // Through an object: test edi, edi; je; jmp [rax+0x20]; ret
    check(&[&[0x85, 0xff, 0x74, 3, 0xff, 0x60, 0x20, 0xc3]], at(2), at(2));
    // The same, read before: test edi, edi; je; mov rax, [rax+0x20]; jmp rax; ret
    let read = [0x85, 0xff, 0x74, 6, 0x48, 0x8b, 0x40, 0x20, 0xff, 0xe0, 0xc3];
    check(&[&read], at(2), at(2));
    // Changed since: …; mov rax, [rax+0x20]; add rax, rdx; jmp rax; ret
    let added = [0x85, 0xff, 0x74, 9, 0x48, 0x8b, 0x40, 0x20, 0x48, 0x01, 0xd0, 0xff, 0xe0, 0xc3];
    check(&[&added], Site::PLAIN, Site::PLAIN);
    // On one of two ways only: test edi, edi; je over; mov rax, [rax+0x20]; over: jmp rax
    let one = [0x85, 0xff, 0x74, 4, 0x48, 0x8b, 0x40, 0x20, 0xff, 0xe0];
    check(&[&one], Site::PLAIN, Site::PLAIN);
    // Before a call: test edi, edi; je; mov rax, [rax+0x20]; call; jmp rax; ret
    let call =
        [0x85, 0xff, 0x74, 11, 0x48, 0x8b, 0x40, 0x20, 0xe8, 0, 0x10, 0, 0, 0xff, 0xe0, 0xc3];
    check(&[&call], Site::PLAIN, Site::PLAIN);
    // A jump through the table of imports: another function.
    check(&[&[0x85, 0xff, 0x74, 6, 0xff, 0x25, 0, 0, 0, 0, 0xc3]], at(2), at(2));
    // Into the probed instruction: je rel32 at 2, then a jump to 3.
    let into = [0x85, 0xff, 0x0f, 0x84, 2, 0, 0, 0, 0xeb, 0xf9, 0xc3];
    check(&[&into], Site::PLAIN, Site::PLAIN);
}

#[test]
fn the_way_back_through_a_part_elsewhere() {
    // test edi, edi; je cold; ret; (the function's end) cold: jmp to the branch
    let code = [0x85, 0xff, 0x74, 1, 0xc3, 0xeb, 0xfb];
    let found = plan(&Bytes(&code), Extent { address: BASE, size: 5 }, FOLLOWED);
    assert_eq!(found, Site::PLAIN);
    // cold: ret
    let code = [0x85, 0xff, 0x74, 1, 0xc3, 0xc3];
    for size in [0, 5] {
        let found = plan(&Bytes(&code), Extent { address: BASE, size }, FOLLOWED);
        assert_eq!(found, at(2), "size {size}");
    }
}

#[test]
fn a_function_that_begins_within_the_line() {
    struct Two<'a>(Bytes<'a>);
    impl Code for Two<'_> {
        fn architecture(&self) -> Architecture {
            self.0.architecture()
        }
        fn bytes(&self, address: u64, len: u64) -> Option<&[u8]> {
            self.0.bytes(address, len)
        }
        fn begins_in(&self, addresses: &Range<u64>) -> bool {
            addresses.contains(&(BASE + 4))
        }
    }
    let code = [ENDBR64.as_slice(), &[0x53, 0x5b, 0xc3]].concat();
    assert_eq!(plan(&Two(Bytes(&code)), extent(&code), FOLLOWED), Site::PLAIN);
}

#[test]
fn what_the_kernel_emulates() {
    let emulated: [&[u8]; 9] = [
        &[0x55],
        &[0x41, 0x57],
        &[0x90],
        &[0xe8, 0, 0, 0, 0],
        &[0xe9, 0, 0, 0, 0],
        &[0xeb, 0],
        &[0x78, 0],
        &[0x7f, 0],
        &[0x0f, 0x8f, 0, 0, 0, 0],
    ];
    let stepped: [&[u8]; 14] = [
        &ENDBR64,
        &[0xc3],
        &[0x5d],
        &[0x48, 0x83, 0xec, 0x18],
        // push of 16 bits, of memory, of a number, with a useless prefix
        &[0x66, 0x50],
        &[0xff, 0x37],
        &[0x6a, 0],
        &[0x48, 0x55],
        // nop of two bytes and more
        &[0x66, 0x90],
        &[0x0f, 0x1f, 0x44, 0, 0],
        // jcc with a hint, jmp notrack, call with 16 bits, jrcxz
        &[0x2e, 0x74, 0],
        &[0x3e, 0xff, 0xe0],
        &[0x66, 0xe8, 0, 0],
        &[0xe3, 0],
    ];
    assert!(emulated.iter().all(|bytes| emulation::emulates(bytes)));
    for bytes in stepped {
        assert!(!emulation::emulates(bytes), "{bytes:02x?}");
    }
}
