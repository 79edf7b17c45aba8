"""Intervals for proportions, in plain Python so that any page may use them."""

from math import sqrt
from statistics import NormalDist


def wilson(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval (low, high) for a proportion, both within 0 and 1.

    It stays sensible at 0 and n successes: 0 of 10 gives 0 to 0.278. `successes` may be a fraction, for a mean of
    rates. Raises ValueError unless 0 <= successes <= n and n > 0.
    Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927), 209.
    """
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no proportion: successes must lie between 0 and n, n above 0.")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))
