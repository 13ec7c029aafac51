#![cfg(coatroom_bugs)]
