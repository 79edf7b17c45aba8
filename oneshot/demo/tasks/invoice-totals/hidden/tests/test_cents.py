import unittest
from decimal import Decimal

from invoice import total


class Cents(unittest.TestCase):
    def test_three_times_ten_cents(self):
        self.assertEqual(str(total([("cable", "0.10", 3)])), "0.30")

    def test_half_a_cent_goes_up(self):
        self.assertEqual(total([("pin", "0.05", 1)], 10), Decimal("0.06"))

    def test_tax_is_applied_once_to_the_sum(self):
        self.assertEqual(total([("pin", "0.05", 1), ("nail", "0.05", 1)], 10), Decimal("0.11"))

    def test_is_a_decimal(self):
        self.assertIsInstance(total([("desk", "100", 2)]), Decimal)
