"""Programs that are put into the grading sandbox and run there, with whatever Python or Node the image has.

They import nothing of OneShot, and only what Python 3.6 knows. They are read as text, never imported here.
"""
