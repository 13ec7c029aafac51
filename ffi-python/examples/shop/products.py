"""What the shop sells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Product:
    """One article; `sku` also names its picture."""

    sku: str
    name: str
    price: int
    words: str


PRODUCTS = (
    Product("coat", "Harbour coat", 189, "Wool, two pockets, one of them secret."),
    Product("scarf", "Long scarf", 39, "Goes round twice, argues with no coat."),
    Product("umbrella", "Tall umbrella", 45, "Eight ribs and a handle to lean on."),
    Product("hat", "Bobble hat", 27, "Knitted, warm, not entirely serious."),
    Product("mittens", "Mittens", 24, "A pair. Joined by a cord if you ask."),
    Product("boots", "Rain boots", 59, "For puddles of every size."),
)

BY_SKU = {product.sku: product for product in PRODUCTS}
