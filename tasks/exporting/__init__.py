"""Writes tasks out of OneShot as directories that others read, and that an import here knows again.

notes = write_created(version, Path("out/fix-it_20261120_225428"))
results = export_tasks(tasks, Path("out"))
"""

from tasks.exporting.created import created_name, write_created
from tasks.exporting.exports import ExportResult, export_tasks
from tasks.exporting.places import Foreign

__all__ = ["ExportResult", "Foreign", "created_name", "export_tasks", "write_created"]
