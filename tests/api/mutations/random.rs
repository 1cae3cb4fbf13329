//! What changes bytes at random, and the same way again from the same seed.

/// `HALLPASS_SEED`, so that a run can be repeated or differ from the one before.
pub fn seed() -> u64 {
    setting("HALLPASS_SEED", 1)
}

/// `HALLPASS_ROUNDS`: how many requests are sent in all. A million is the long form.
pub fn rounds() -> u64 {
    setting("HALLPASS_ROUNDS", 20_000)
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// `SplitMix64` (Steele, Lea and Flood, 2014).
pub struct Random(u64);

/// What parsers stumble over.
const PIECES: &[&[u8]] = &[
    b".",
    b"=",
    b"==",
    b"+",
    b"/",
    b"-",
    b"_",
    b" ",
    b"\t",
    b"\"",
    b"'",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b";",
    b"%",
    b"%00",
    b"%zz",
    b"&",
    b"#",
    b"?",
    b"*",
    b"@",
    b"\0",
    b"\n",
    b"\r\n",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xc0\xaf",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    "\u{e9}".as_bytes(),
    "\u{200b}".as_bytes(),
    "\u{202e}".as_bytes(),
    "\u{1f600}".as_bytes(),
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"true",
    b"none",
    b"NaN",
    b"1e400",
    b"-1",
    b"0",
    b"9223372036854775808",
    b"340282366920938463463374607431768211456",
    b"' OR 1=1 --",
    b"../../",
    b"${x}",
    b"{{7*7}}",
    b"<script>",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    b"{\"a\":{\"a\":{\"a\":",
    b"eyJhbGciOiJub25lIn0",
];

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below a bound, which is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    pub fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// A range of a text of this length, the end not before the beginning.
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let (a, b) = (self.below(length + 1), self.below(length + 1));
        a.min(b)..a.max(b)
    }

    /// Changes some bytes in one to three ways. `others` are what may be spliced in.
    pub fn mutate(&mut self, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
        for _ in 0..=self.below(3) {
            self.change(bytes, others);
        }
    }

    fn change(&mut self, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
        let length = bytes.len();
        if length == 0 {
            bytes.push(self.byte());
            return;
        }
        let at = self.below(length);
        match self.below(13) {
            0 | 1 => bytes[at] ^= 1 << self.below(8),
            2 => bytes[at] = self.byte(),
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(..at)),
            5 => {
                let range = self.range(length);
                drop(bytes.drain(range));
            }
            6 => {
                let again = bytes[self.range(length)].to_vec();
                drop(bytes.splice(at..at, again));
            }
            7 => bytes.swap(at, self.below(length)),
            8 => {
                let new = self.byte();
                bytes.insert(at, new);
            }
            9 => {
                let other = self.of(others).clone();
                let from = self.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            10 => {
                let piece = *self.of(PIECES);
                drop(bytes.splice(at..at, piece.iter().copied()));
            }
            11 => {
                let piece = *self.of(PIECES);
                let end = length.min(at + piece.len());
                drop(bytes.splice(at..end, piece.iter().copied()));
            }
            _ => {
                let letter = bytes[at];
                bytes[at] =
                    if letter.is_ascii_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() };
            }
        }
    }
}
