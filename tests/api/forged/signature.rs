//! What is wrong with a signature under a header and claims that are right.

use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac,
};

use super::{Mint, Table};
use crate::{app::SECRET_KEY, forge::base64url};

/// The order of P-256, big end first.
const N: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7,
    0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// Its field, big end first.
const P: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff,
];

/// The order of Ed25519, little end first.
const L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The points of small order on Ed25519, and other spellings of them.
const SMALL: [&str; 12] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

pub fn lengths(mint: &Mint, table: &mut Table) {
    let right = mint.right();
    for length in 0..right.len() {
        table.invalid(format!("the first {length} bytes of the signature"), mint.signature(&right[..length]));
    }
    for (what, bytes) in [
        ("a zero behind", [&right[..], &[0]].concat()),
        ("a zero before", [&[0], &right[..]].concat()),
        ("two zeros behind", [&right[..], &[0, 0]].concat()),
        ("one before and one behind", [&[0], &right[..], &[0]].concat()),
        ("twice", [&right[..], &right].concat()),
        ("a line feed behind", [&right[..], b"\n"].concat()),
        ("without its first byte", right[1..].to_vec()),
        ("its last half", right[right.len() / 2..].to_vec()),
        ("its halves changed over", [&right[right.len() / 2..], &right[..right.len() / 2]].concat()),
        ("backwards", right.iter().rev().copied().collect()),
        ("every bit turned", right.iter().map(|byte| !byte).collect()),
    ] {
        table.invalid(format!("the signature, {what}"), mint.signature(bytes));
    }
    for byte in 0..right.len() {
        let mut bytes = right.clone();
        bytes[byte] ^= 1 << (byte % 5);
        table.invalid(format!("a bit of byte {byte} of the signature"), mint.signature(bytes));
    }
    for length in [16, 20, 31, 32, 33, 48, 63, 64, 65, 72, 96, 114, 128, 256] {
        for byte in [0_u8, 0xff] {
            table.invalid(format!("{length} bytes of {byte:#x}"), mint.signature(vec![byte; length]));
        }
    }
}

/// Numbers at the ends of their ranges: CVE-2022-21449 took zeros (RFC 8725, section 2.9).
pub fn edges(mint: &Mint, table: &mut Table) {
    let small = |last: u8| {
        let mut number = [0; 32];
        number[31] = last;
        number
    };
    let about = |number: [u8; 32], step: i16| {
        let mut number = number;
        number[31] = u8::try_from(i16::from(number[31]) + step).unwrap();
        number
    };
    let mut half = [0; 32];
    half[0] = 0x80;
    let numbers = [
        ("0", small(0)),
        ("1", small(1)),
        ("2", small(2)),
        ("n - 1", about(N, -1)),
        ("n", N),
        ("n + 1", about(N, 1)),
        ("p", P),
        ("2^255", half),
    ];
    for (r_name, r) in numbers {
        for (s_name, s) in numbers {
            if (r_name, s_name) != ("0", "0") {
                table.invalid(format!("r = {r_name}, s = {s_name}"), mint.signature([r, s].concat()));
            }
        }
    }
    let right = padded(mint);
    for (name, number) in numbers {
        table.invalid(format!("r = {name}, s as it was"), mint.signature([&number, &right[32..]].concat()));
        table.invalid(format!("r as it was, s = {name}"), mint.signature([&right[..32], &number].concat()));
    }
    // As Java, OpenSSL and most others write ECDSA.
    for (what, bytes) in [
        ("DER", der(&right, &[])),
        ("DER with a zero too many", der(&right, &[0])),
        ("DER and a byte behind", [der(&right, &[]), vec![0]].concat()),
        ("a byte that says which key", [&right[..], &[27]].concat()),
        ("numbers of 33 bytes", [&[0], &right[..32], &[0], &right[32..]].concat()),
        ("numbers little end first", [reversed(&right[..32]), reversed(&right[32..])].concat()),
    ] {
        table.invalid(format!("the signature in {what}"), mint.signature(bytes));
    }
    // Ed25519: a scalar has one spelling (RFC 8032, section 5.1.7), and no point of small order helps.
    let mut scalar: [u8; 32] = right[32..].try_into().unwrap();
    for times in 1..=7 {
        scalar = plus(scalar, L);
        table.invalid(format!("S + {times} L"), mint.signature([&right[..32], &scalar].concat()));
    }
    table.invalid("S = L", mint.signature([&right[..32], &L].concat()));
    for bit in [0x20, 0x40, 0x80] {
        let mut other = right;
        other[63] ^= bit;
        table.invalid(format!("S with bit {bit:#x} of its last byte"), mint.signature(other));
    }
    let mut mirrored = right;
    mirrored[31] ^= 0x80;
    table.invalid("R mirrored", mint.signature(mirrored));
    for point in SMALL {
        let bytes: Vec<u8> = point
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        // All zeros are a row above.
        if bytes.iter().any(|byte| *byte != 0) {
            table.invalid(format!("R = {point}, S = 0"), mint.signature([bytes.as_slice(), &[0; 32]].concat()));
            table.invalid(
                format!("R = {point}, S as it was"),
                mint.signature([bytes.as_slice(), &right[32..]].concat()),
            );
        }
    }
    let public = mint.key.public();
    if public.len() >= 32 {
        table.invalid("R = the public key, S = 0", mint.signature([&public[..32], &[0; 32]].concat()));
        table.invalid("R = the public key, S as it was", mint.signature([&public[..32], &right[32..]].concat()));
    }
}

/// What signs something else, or is no signature.
pub fn others(mint: &Mint, table: &mut Table) {
    let (header, payload, _) = mint.parts();
    let message = format!("{header}.{payload}");
    let sign = |bytes: &[u8]| mint.key.sign(bytes);
    for (what, bytes) in [
        ("of the header", sign(header.as_bytes())),
        ("of the payload", sign(payload.as_bytes())),
        ("of nothing", sign(b"")),
        ("of the message and a dot", sign(format!("{message}.").as_bytes())),
        ("of the message without its dot", sign(format!("{header}{payload}").as_bytes())),
        ("of the message turned round", sign(format!("{payload}.{header}").as_bytes())),
        ("of the message in clear", sign(format!("{}.{}", mint.header, mint.claims).as_bytes())),
        ("of the claims in clear", sign(mint.claims.to_string().as_bytes())),
        ("of the digest of the message", sign(digest(&SHA256, message.as_bytes()).as_ref())),
        ("of the message in UTF-16", sign(&message.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>())),
        ("of the message and a NUL", sign(format!("{message}\0").as_bytes())),
        ("of the signature", sign(&mint.right())),
    ] {
        table.invalid(format!("a signature {what}"), mint.signature(bytes));
    }
    let mac =
        |algorithm, key: &[u8], message: &[u8]| hmac::sign(&hmac::Key::new(algorithm, key), message).as_ref().to_vec();
    let (key, message) = (SECRET_KEY.as_bytes(), message.as_bytes());
    let sha512 = mac(hmac::HMAC_SHA512, key, message);
    for (what, bytes) in [
        ("HMAC with SHA-1", mac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key, message)),
        ("HMAC with SHA-384", mac(hmac::HMAC_SHA384, key, message)),
        ("HMAC with SHA-512, cut to 32 bytes", sha512[..32].to_vec()),
        ("HMAC with SHA-512", sha512),
        ("HMAC, key and message changed over", mac(hmac::HMAC_SHA256, message, key)),
        ("HMAC under the digest of the key", mac(hmac::HMAC_SHA256, digest(&SHA256, key).as_ref(), message)),
        ("SHA-256", digest(&SHA256, message).as_ref().to_vec()),
        ("SHA-256 behind the key", digest(&SHA256, &[key, message].concat()).as_ref().to_vec()),
        ("SHA-256 before the key", digest(&SHA256, &[message, key].concat()).as_ref().to_vec()),
        ("the message", message[..64].to_vec()),
        ("the key's id", mint.kid.clone().into_bytes()),
        ("`none`", b"none".to_vec()),
        ("JSON", b"{}".to_vec()),
    ] {
        table.invalid(format!("{what} for a signature"), mint.signature(bytes));
    }
    assert_ne!(base64url(mint.key.sign(message)), "");
}

/// The signature, of 64 bytes: under HS256 with zeros behind.
fn padded(mint: &Mint) -> [u8; 64] {
    let mut bytes = mint.right();
    // Not zero: that would be another row.
    bytes.resize(64, 9);
    bytes.try_into().unwrap()
}

fn reversed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().rev().copied().collect()
}

/// Of numbers little end first.
fn plus(a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
    let mut carry = 0;
    let mut sum = [0; 32];
    for (n, to) in sum.iter_mut().enumerate() {
        let digit = u16::from(a[n]) + u16::from(b[n]) + carry;
        *to = u8::try_from(digit & 0xff).unwrap();
        carry = digit >> 8;
    }
    sum
}

/// `(r, n - s)`.
pub fn negated(signature: &[u8]) -> Vec<u8> {
    let mut bytes = signature.to_vec();
    let mut borrow = 0;
    for n in (0..32).rev() {
        let digit = i16::from(N[n]) - i16::from(signature[32 + n]) - borrow;
        bytes[32 + n] = u8::try_from(digit.rem_euclid(256)).unwrap();
        borrow = i16::from(digit < 0);
    }
    bytes
}

/// Two numbers in DER, with these bytes before each.
fn der(signature: &[u8; 64], before: &[u8]) -> Vec<u8> {
    let number = |bytes: &[u8]| {
        let sign: &[u8] = if bytes[0] >= 0x80 { &[0] } else { &[] };
        let content = [before, sign, bytes].concat();
        [&[2, u8::try_from(content.len()).unwrap()], content.as_slice()].concat()
    };
    let content = [number(&signature[..32]), number(&signature[32..])].concat();
    [&[0x30, u8::try_from(content.len()).unwrap()], content.as_slice()].concat()
}
