"""A small shop that keeps its sessions in Coatroom and shows what Coatroom did."""
