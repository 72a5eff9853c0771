"""Plug-ins: functions of the user's that run inside the router's process; a name in, the function out."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from actors.errors import PostroomError

from .printable import printable

if TYPE_CHECKING:
    from .app import Plugin

__all__ = ["PluginError", "load_plugin"]


class PluginError(PostroomError):
    """A plug-in cannot be loaded; `str()` says why."""


def load_plugin(spec: str) -> Plugin:
    """Import `MODULE:FUNCTION` and return the function.

    The working directory is put at the end of `sys.path`, so that modules there are found and replace none of
    the installed ones. Importing runs the module's code.

    Raises:
        PluginError: There is no such module or function, or importing the module failed.
    """
    module_name, _, function_name = spec.partition(":")
    folder = _working_folder()
    if folder is not None and folder not in sys.path:
        sys.path.append(folder)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise PluginError(_why(spec, module_name, error)) from error
    function = getattr(module, function_name, None)
    if function is None:
        where = getattr(module, "__file__", None) or module_name
        raise PluginError(f"plug-in {spec}: {where} has no function {function_name!r}")
    if not callable(function):
        raise PluginError(f"plug-in {spec}: {function_name!r} is not a function")
    plugin: Plugin = function
    return plugin


def _working_folder() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:  # somebody deleted it
        return None


def _why(spec: str, module_name: str, error: BaseException) -> str:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing is not None and f"{module_name}.".startswith(f"{missing}."):
        where = _working_folder() or "the working directory, which was deleted,"
        return f"plug-in {spec}: there is no module {missing!r} in {where} or among the installed packages"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    what = printable(f"{type(error).__name__}: {error}")
    return f"plug-in {spec}: importing it failed at {frame.filename}:{frame.lineno}: {what}"
