use std::io::{self, BufRead, ErrorKind};

use crate::auth::import::Line;

/// The longest line, in bytes: as long as a body may be.
const LONGEST: usize = 16 * 1_024;

/// The lines of a stream, some at a time, in bounded memory.
pub(super) struct Lines<R> {
    reader: R,
    /// Of the lines that were read last, one after the other.
    bytes: Vec<u8>,
    /// Where each ends there. None: it is too long.
    ends: Vec<Option<usize>>,
    /// The number of the first of them, from 1.
    first: u64,
    read: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, bytes: Vec::new(), ends: Vec::new(), first: 1, read: 0 }
    }

    /// How many bytes have been read.
    pub(super) fn bytes_read(&self) -> u64 {
        self.read
    }

    /// Reads the next lines, at most so many. False: there are none.
    pub(super) fn advance(&mut self, most: usize) -> io::Result<bool> {
        self.first += self.ends.len() as u64;
        self.bytes.clear();
        self.ends.clear();
        while self.ends.len() < most && self.line()? {}
        Ok(!self.ends.is_empty())
    }

    /// The lines that were read last, with their numbers, but for empty ones.
    pub(super) fn get(&self) -> impl Iterator<Item = (u64, Line<'_>)> {
        let mut from = 0;
        let line = move |end: &Option<usize>| match *end {
            None => Line::TooLong,
            Some(to) => Line::Whole(self.bytes.get(std::mem::replace(&mut from, to)..to).unwrap_or_default()),
        };
        let is_empty = |line: &Line<'_>| matches!(line, Line::Whole(bytes) if bytes.trim_ascii().is_empty());
        (self.first..).zip(self.ends.iter().map(line)).filter(move |(_, line)| !is_empty(line))
    }

    /// Reads a line. False: the stream has ended.
    fn line(&mut self) -> io::Result<bool> {
        let (from, mut length) = (self.bytes.len(), 0);
        loop {
            let chunk = match self.reader.fill_buf() {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                filled => filled?,
            };
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
            length += part.len();
            if length <= LONGEST {
                self.bytes.extend_from_slice(part);
            }
            let (is_over, taken) = (chunk.is_empty(), part.len() + usize::from(end.is_some()));
            self.reader.consume(taken);
            self.read += taken as u64;
            if end.is_none() && !is_over {
                continue;
            }
            if is_over && length == 0 {
                return Ok(false);
            }
            let is_whole = length <= LONGEST;
            if !is_whole {
                self.bytes.truncate(from);
            }
            self.ends.push(is_whole.then_some(self.bytes.len()));
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use super::{LONGEST, Line, Lines};

    fn read(text: &[u8], most: usize, buffer: usize) -> Vec<(u64, Option<Vec<u8>>)> {
        let mut lines = Lines::new(BufReader::with_capacity(buffer, Cursor::new(text.to_vec())));
        let mut all = Vec::new();
        while lines.advance(most).unwrap() {
            all.extend(lines.get().map(|(number, line)| match line {
                Line::Whole(bytes) => (number, Some(bytes.to_vec())),
                Line::TooLong => (number, None),
            }));
            assert!(lines.bytes.len() <= most * LONGEST);
        }
        assert_eq!(lines.bytes_read(), text.len() as u64);
        all
    }

    #[test]
    fn lines_keep_their_numbers_and_none_is_longer_than_the_limit() {
        let (fits, long) = ("a".repeat(LONGEST), "b".repeat(LONGEST + 1));
        let text = format!("one\n\n two\r\n{fits}\n{long}\n\nthree\n{long}\nlast");
        for (most, buffer) in [(1, 7), (2, 64), (100, 8_192)] {
            let found = read(text.as_bytes(), most, buffer);
            let line = |number: u64, text: &str| (number, Some(text.as_bytes().to_vec()));
            assert_eq!(
                found,
                [
                    line(1, "one"),
                    line(3, " two\r"),
                    line(4, &fits),
                    (5, None),
                    line(7, "three"),
                    (8, None),
                    line(9, "last")
                ]
            );
        }
        assert!(read(b"", 3, 8).is_empty());
        assert!(read(b"\n\n", 3, 8).is_empty());
    }
}
