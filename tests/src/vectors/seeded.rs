//! Random bytes that every language can foretell.

use std::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};

/// SHA-256 over a seed and a count, one for each piece of up to 32 bytes that is asked for.
#[derive(Clone, Debug)]
pub struct Seeded {
    seed: Vec<u8>,
    drawn: u64,
}

impl Seeded {
    pub fn new(seed: Vec<u8>) -> Self {
        Self { seed, drawn: 0 }
    }
}

impl TryRng for Seeded {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes).map(|()| u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for piece in bytes.chunks_mut(32) {
            let block = Sha256::new().chain_update(&self.seed).chain_update(self.drawn.to_be_bytes()).finalize();
            self.drawn += 1;
            piece.copy_from_slice(&block[..piece.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Seeded {}
