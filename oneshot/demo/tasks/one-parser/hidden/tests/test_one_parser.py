import pathlib
import unittest


class OneParser(unittest.TestCase):
    def test_the_parser_is_importable(self):
        from durations import parse_duration

        self.assertTrue(callable(parse_duration))

    def test_only_one_module_knows_the_pattern(self):
        root = pathlib.Path(__file__).parent.parent
        knowing = [path.name for path in root.glob("*.py") if "fullmatch" in path.read_text()]
        self.assertEqual(knowing, ["durations.py"])
