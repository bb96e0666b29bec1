"""Puts the files that a workspace starts from into the package; all else stands in pyproject.toml.

In a clone they lie where DVC and people look for them, at the top. A wheel has no top.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

FILES = ("params.yaml", "dvc.yaml", ".dvc/config", ".dvcignore", "presets/*.yaml")


class BuildWithWorkspaceFiles(build_py):
    """Builds the package with a folder `workspace_files`."""

    def run(self) -> None:
        """Copy the files beside the modules."""
        super().run()
        if self.editable_mode:
            return  # the clone is there
        top = Path(__file__).parent
        for pattern in FILES:
            for source in sorted(top.glob(pattern)):
                target = Path(self.build_lib, "ofa_pipeline", "workspace_files")
                target /= source.relative_to(top)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)


setup(cmdclass={"build_py": BuildWithWorkspaceFiles})
