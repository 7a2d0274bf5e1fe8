//! Counting words: what the programs of this example share.
//!
//! A word is what stands between white space, which is what C calls so: blanks, line ends, tabs,
//! vertical tabs and form feeds, and no other byte. So these tables are what
//!
//! ```sh
//! cat FILE... | LC_ALL=C tr -s '[:space:]' '\n' | sed '/^$/d' | LC_ALL=C sort | uniq -c
//! ```
//!
//! counts. A table is a text, a line `COUNT WORD` for each word, in the order of the words. To
//! have the large tables at the end of a reduction combined in parallel too, a table is cut in
//! [`SHARDS`], by a hash of the words.

#![allow(dead_code, reason = "no program uses all of it")]

use std::cmp::Ordering;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::{Arc, OnceLock};

use palm::BoxError;

/// In how many parts a table is combined.
pub const SHARDS: usize = 8;

/// The bytes of a chunk, about.
pub const CHUNK: usize = 1 << 20;

fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// A text in chunks that are cut at white space. When it cannot be read, it ends, and the error
/// is in `failed`.
pub struct Chunks<R> {
    text: R,
    /// The beginning of a word that the next chunk goes on with.
    rest: Vec<u8>,
    failed: Arc<OnceLock<io::Error>>,
}

impl<R: Read> Chunks<R> {
    pub fn of(text: R, failed: Arc<OnceLock<io::Error>>) -> Self {
        Self {
            text,
            rest: Vec::new(),
            failed,
        }
    }
}

impl<R: Read> Iterator for Chunks<R> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut chunk = std::mem::take(&mut self.rest);
        loop {
            let before = chunk.len();
            match (&mut self.text).take(CHUNK as u64).read_to_end(&mut chunk) {
                // No more of it.
                Ok(0) => return (!chunk.is_empty()).then_some(chunk),
                Ok(_) => {}
                Err(error) => {
                    let _ = self.failed.set(error);
                    return None;
                }
            }
            // A word may be longer than a chunk.
            if let Some(at) = chunk[before..].iter().rposition(is_space) {
                self.rest = chunk.split_off(before + at + 1);
                return Some(chunk);
            }
        }
    }
}

/// Counts the words of a chunk: its shards one after another, with an empty line between.
pub fn count(chunk: &[u8]) -> Vec<u8> {
    let mut counts = HashMap::<&[u8], u64>::new();
    for word in chunk.split(is_space).filter(|word| !word.is_empty()) {
        *counts.entry(word).or_default() += 1;
    }
    let mut shards = vec![Vec::new(); SHARDS];
    for (word, count) in counts {
        shards[shard_of(word)].push((word, count));
    }
    let mut tables = Vec::new();
    for shard in &mut shards {
        shard.sort_unstable();
        for (word, count) in shard {
            line(&mut tables, *count, word);
        }
        tables.push(b'\n');
    }
    tables
}

/// Which shard a word belongs to: by FNV-1a, the same in every program.
fn shard_of(word: &[u8]) -> usize {
    let hash = word.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash >> 32) as usize % SHARDS
}

/// The shards of what [`count`] made, with their numbers; those without a word are left out.
pub fn shards(tables: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut rest = tables;
    let shards = std::iter::from_fn(move || {
        let end = match rest.first()? {
            b'\n' => 0,
            _ => rest.windows(2).position(|two| two == b"\n\n")? + 1,
        };
        let shard = &rest[..end];
        rest = &rest[end + 1..];
        Some(shard)
    });
    shards.enumerate().filter(|(_, shard)| !shard.is_empty())
}

/// Makes one table of two.
pub fn merge(left: &[u8], right: &[u8]) -> Result<Vec<u8>, BoxError> {
    let mut table = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (Lines(left), Lines(right));
    let (mut one, mut other) = (left.next().transpose()?, right.next().transpose()?);
    loop {
        let order = match (&one, &other) {
            (None, None) => return Ok(table),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((_, one)), Some((_, other))) => one.cmp(other),
        };
        let mut sum = 0;
        let mut word: &[u8] = b"";
        if order.is_le() {
            (sum, word) = one.unwrap_or_default();
            one = left.next().transpose()?;
        }
        if order.is_ge() {
            let (count, same) = other.unwrap_or_default();
            (sum, word) = (sum + count, same);
            other = right.next().transpose()?;
        }
        line(&mut table, sum, word);
    }
}

/// The lines of a table: the counts and the words.
pub struct Lines<'a>(pub &'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = Result<(u64, &'a [u8]), BoxError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let end = self.0.iter().position(|&byte| byte == b'\n');
        let end = end.unwrap_or(self.0.len());
        let line = &self.0[..end];
        self.0 = self.0.get(end + 1..).unwrap_or_default();
        let blank = line.iter().position(|&byte| byte == b' ');
        Some(blank.and_then(|at| parsed(line, at)).ok_or_else(|| {
            let line = line.escape_ascii();
            format!("no line of a table of words: '{line}'").into()
        }))
    }
}

fn parsed(line: &[u8], blank: usize) -> Option<(u64, &[u8])> {
    let count = std::str::from_utf8(&line[..blank]).ok()?.parse().ok()?;
    Some((count, &line[blank + 1..]))
}

fn line(table: &mut Vec<u8>, count: u64, word: &[u8]) {
    // Into memory: it cannot fail.
    let _ = write!(table, "{count} ");
    table.extend_from_slice(word);
    table.push(b'\n');
}

/// Writes tables as `sort | uniq -c` would, all words in one order.
pub fn print(tables: &[Vec<u8>], out: &mut impl Write) -> Result<(), BoxError> {
    let lines = tables.iter().flat_map(|table| Lines(table));
    let mut lines: Vec<(u64, &[u8])> = lines.collect::<Result<_, _>>()?;
    lines.sort_unstable_by_key(|(_, word)| *word);
    for (count, word) in lines {
        write!(out, "{count:>7} ")?;
        out.write_all(word)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}
