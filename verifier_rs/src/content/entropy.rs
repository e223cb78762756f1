//! How disorderly the bytes are, along the file: at most 256 buckets of one size, in bits per byte.
//!
//! Near 8 means compressed, encrypted or random; code lies around 5 to 6.5, text below 5, padding at 0.

/// A bucket is never smaller: fewer bytes cannot show more than a few bits.
const MIN_BUCKET: u64 = 1024;
const BUCKETS: u64 = 256;
/// From here on bytes cannot be told from random ones: compressed or encrypted.
pub const DENSE: f64 = 7.8;

pub type Counts = [u32; 256];

pub struct Map {
    pub bucket: u64,
    counts: Vec<Counts>,
}

impl Map {
    pub fn of(size: u64) -> Self {
        let bucket = size.div_ceil(BUCKETS).max(MIN_BUCKET);
        let buckets = usize::try_from(size.div_ceil(bucket)).unwrap_or(0);
        Map {
            bucket,
            counts: vec![[0; 256]; buckets],
        }
    }

    pub fn add(&mut self, bucket: u64, counts: &Counts) {
        let place = usize::try_from(bucket).unwrap_or(usize::MAX);
        if let Some(total) = self.counts.get_mut(place) {
            for (sum, more) in total.iter_mut().zip(counts) {
                *sum = sum.saturating_add(*more);
            }
        }
    }

    /// Bits per byte of each bucket, to two decimals.
    pub fn bits(&self) -> Vec<f64> {
        let wide = |counts: &Counts| counts.map(u64::from);
        self.counts.iter().map(|counts| bits(&wide(counts))).collect()
    }

    /// Bits per byte of the whole file.
    pub fn overall(&self) -> f64 {
        let mut total = [0_u64; 256];
        for counts in &self.counts {
            for (sum, more) in total.iter_mut().zip(counts) {
                *sum = sum.saturating_add(u64::from(*more));
            }
        }
        bits(&total)
    }

    /// The share of the file, in percent, that looks compressed or encrypted.
    pub fn dense(&self) -> u64 {
        let dense = self.bits().into_iter().filter(|bits| *bits >= DENSE).count();
        let percent = dense
            .saturating_mul(100)
            .checked_div(self.counts.len())
            .unwrap_or(0);
        u64::try_from(percent).unwrap_or(0)
    }
}

fn bits(counts: &[u64; 256]) -> f64 {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return 0.0;
    }
    let whole = float(total);
    let sum: f64 = counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = float(*count) / whole;
            -share * share.log2()
        })
        .sum();
    (sum * 100.0).round().abs() / 100.0
}

fn float(number: u64) -> f64 {
    let part = |bits: u64| f64::from(u32::try_from(bits & 0xffff_ffff).unwrap_or(0));
    part(number >> 32) * 4_294_967_296.0 + part(number)
}

/// How often each byte is there. Four tables: equal neighbours would otherwise wait for each other.
pub fn count(data: &[u8]) -> Counts {
    let mut tables = [[0_u32; 256]; 4];
    let (fours, rest) = data.as_chunks::<4>();
    let [first, second, third, fourth] = &mut tables;
    let bump = |table: &mut Counts, byte: u8| {
        if let Some(count) = table.get_mut(usize::from(byte)) {
            *count = count.wrapping_add(1);
        }
    };
    for [a, b, c, d] in fours {
        bump(first, *a);
        bump(second, *b);
        bump(third, *c);
        bump(fourth, *d);
    }
    for byte in rest {
        bump(first, *byte);
    }
    let [mut sum, second, third, fourth] = tables;
    for (place, count) in sum.iter_mut().enumerate() {
        for table in [&second, &third, &fourth] {
            *count = count.wrapping_add(table.get(place).copied().unwrap_or(0));
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_is_that_of_shannon() {
        let all: Vec<u8> = (0..=255).collect();
        let mut map = Map::of(4096);
        assert_eq!(map.bucket, 1024);
        map.add(0, &count(&all.repeat(4)));
        map.add(1, &count(&[7; 1024]));
        map.add(2, &count(&[1, 2].repeat(512)));
        assert_eq!(map.bits(), vec![8.0, 0.0, 1.0, 0.0]);
        assert_eq!(map.dense(), 25);
        assert_eq!(Map::of(0).overall(), 0.0);
    }

    #[test]
    fn a_large_file_has_no_more_buckets_than_a_small_one() {
        assert_eq!(Map::of(64 << 30).bits().len(), 256);
        assert_eq!(Map::of(1).bits().len(), 1);
    }
}
