import unittest

from alarms import parse_delay
from jobs import parse_timeout


class Durations(unittest.TestCase):
    def test_hours_minutes_seconds(self):
        self.assertEqual((parse_timeout("1h30m"), parse_delay("90s")), (5400, 90))

    def test_empty_means_the_default_of_each(self):
        self.assertEqual((parse_timeout(""), parse_delay("")), (60, 0))

    def test_timeout_names_itself_in_its_error(self):
        with self.assertRaisesRegex(ValueError, "'soon' is not a timeout"):
            parse_timeout("soon")

    def test_delay_names_itself_in_its_error(self):
        with self.assertRaisesRegex(ValueError, "'soon' is not a delay"):
            parse_delay("soon")
