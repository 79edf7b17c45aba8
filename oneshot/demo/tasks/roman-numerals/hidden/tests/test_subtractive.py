import unittest

from roman import from_roman, to_roman


class Subtractive(unittest.TestCase):
    def test_four_and_nine(self):
        self.assertEqual([to_roman(4), to_roman(9)], ["IV", "IX"])

    def test_tens_and_hundreds(self):
        self.assertEqual([to_roman(n) for n in (40, 90, 400, 900)], ["XL", "XC", "CD", "CM"])

    def test_every_number_reads_back(self):
        self.assertTrue(all(from_roman(to_roman(n)) == n and "IIII" not in to_roman(n) for n in range(1, 4000)))

    def test_zero_and_four_thousand_raise(self):
        for number in (0, -1, 4000):
            with self.assertRaises(ValueError):
                to_roman(number)
