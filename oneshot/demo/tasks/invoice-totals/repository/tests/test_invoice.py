import unittest

from invoice import total


class Total(unittest.TestCase):
    def test_of_nothing_is_nothing(self):
        self.assertEqual(total([]), 0)

    def test_whole_prices(self):
        self.assertEqual(total([("desk", "100", 2), ("chair", "50", 1)]), 250)
