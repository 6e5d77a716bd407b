//! Numbers from a seed: the same on every machine, for ever, so that a world is known by its number alone.

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014): small, and its whole state is the seed.
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `low` to `high`, both included.
    pub fn number(&mut self, low: u32, high: u32) -> u32 {
        let span = u64::from(high - low) + 1;
        low + u32::try_from(self.next() % span).unwrap()
    }

    /// True `percent` times of a hundred.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.number(1, 100) <= percent
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.number(0, u32::try_from(from.len() - 1).unwrap()) as usize]
    }

    pub fn word(&mut self, from: &[&'static str]) -> &'static str {
        self.pick::<&str>(from)
    }

    /// A row of a table, as often as its weight says.
    pub fn row<'a, T>(&mut self, table: &'a [T], weight: impl Fn(&T) -> u32) -> &'a T {
        let mut left = self.number(1, table.iter().map(&weight).sum());
        table
            .iter()
            .find(|row| {
                let here = weight(row);
                let found = left <= here;
                left = left.saturating_sub(here);
                found
            })
            .expect("weights add up")
    }
}
