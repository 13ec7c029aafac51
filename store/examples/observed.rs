//! Log lines on the terminal and figures for Prometheus:
//!
//!     cargo run -p coatroom-store --features tracing,metrics --example observed

use coatroom_core::{KeyRing, Policy, Rules, Settings};
use coatroom_store::{Driver, memory::Memory};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tracing_subscriber::filter::LevelFilter;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Both before the driver is made. A server calls `install` instead of `install_recorder`, and is scraped.
    tracing_subscriber::fmt().with_max_level(LevelFilter::DEBUG).init();
    let buckets = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0];
    let figures = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full("coatroom_store_seconds".into()), &buckets)?
        .install_recorder()?;

    let keys = KeyRing::parse("1:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3JldCE")?;
    let driver = Driver::new(Rules::new(Policy::try_from(Settings::default())?, keys), Memory::default());

    let mut session = driver.open_now(b"__Host-visitor=junk")?;
    session.add("visits", 1)?;
    session.login("alice", &["admin"], 1)?;
    let reply = driver.close_now(session)?;
    let cookie = reply.set_cookies().find_map(|line| line.split(';').next()).unwrap_or_default();
    let mut session = driver.open_now(cookie.as_bytes())?;
    session.logout();
    driver.close_now(session)?;

    println!("{}", figures.render());
    Ok(())
}
